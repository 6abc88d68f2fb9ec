"""What a model is run with."""

from __future__ import annotations

from ecotone.engines.settings import Limits, Model, Tuned, guess_bytes, worker_settings

MIB = 1 << 20


def test_the_configured_settings_win_over_those_found():
    found = Tuned(threads=3, batch=256, cache_type="q8_0")
    assert Model(name="m", digest="", file_bytes=1).settled(found) == found
    fixed = Model(name="m", digest="", file_bytes=1, threads=1, batch=64, cache_type="f16")
    assert fixed.settled(found) == Tuned(threads=1, batch=64, cache_type="f16")


def test_a_worker_gets_the_context_of_all_its_slots_and_no_repacked_weights_on_x86():
    model = Model(name="m", digest="", file_bytes=1, context_tokens=2048, slots=2, embeddings=True)
    made = worker_settings(model, Tuned(threads=1), Limits(), is_x86=True, socket="/s", key="k")
    assert (made.n_ctx, made.slots, made.no_extra_bufts, made.embeddings) == (4096, 2, True, True)
    assert 64 <= made.cache_ram_mib <= 256
    assert not worker_settings(model, Tuned(threads=1), Limits(), is_x86=False, socket="", key="").no_extra_bufts
    assert "k'" not in repr(made)


def test_the_guess_is_near_what_was_measured():
    starter = Model(name="m", digest="", file_bytes=98 * 10**6)
    assert 250 * MIB <= guess_bytes(starter) <= 360 * MIB
    large = Model(name="m", digest="", file_bytes=1_117 * 10**6)
    assert 1200 * MIB <= guess_bytes(large) <= 1600 * MIB


def test_larger_files_may_take_longer_to_start():
    assert Limits(start_s=1.0, start_s_per_gib=10.0).start_within_s(2 << 30) == 21.0
