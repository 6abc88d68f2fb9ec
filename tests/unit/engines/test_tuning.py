"""The choice of settings over measurements, and the file that keeps them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.engines import tuning
from ecotone.engines.settings import Model, Tuned
from ecotone.engines.tuning import Measured, Sample, Tunings, choose, request_s, variants

MODEL = Model(name="m", digest="d", file_bytes=1)


def sample(threads=1, speed=100.0, busy_s=None, **tuned):
    return Sample(
        tuned=Tuned(threads=threads, **tuned),
        prefill_tok_s=2 * speed,
        decode_tok_s=speed,
        load_s=0.2,
        rss_bytes=1,
        busy_request_s=busy_s,
    )


def test_all_cores_must_gain_a_quarter_and_stand_a_busy_neighbour():
    base = sample(busy_s=2.0)
    assert choose([base]) is base
    assert choose([base, sample(2, 120.0, 2.0)]) is base
    good = sample(2, 130.0, 2.4)
    assert choose([base, good]) is good
    assert choose([base, sample(2, 200.0, 2.6)]) is base, "it collapses beside another process"
    assert choose([base, sample(2, 200.0)]) is base, "nobody knows how it does beside another process"
    assert choose([sample(), sample(2, 200.0, 2.0)]).tuned.threads == 1


def test_anything_else_must_gain_a_tenth_and_the_fastest_wins():
    base = sample()
    assert choose([base, sample(speed=105.0, cache_type="q8_0")]) is base
    good, better = sample(speed=115.0, batch=256), sample(speed=120.0, cache_type="q8_0")
    assert choose([base, good, better]) is better


@given(st.lists(st.floats(1, 1000), min_size=1, max_size=6))
def test_the_choice_is_never_slower_than_the_default(speeds):
    samples = [sample(speed=speed, batch=256 + n) for n, speed in enumerate(speeds)]
    assert choose(samples).request_s <= samples[0].request_s


def test_variants_begin_with_the_safe_default_and_leave_what_is_configured():
    assert variants(MODEL, 4) == [
        Tuned(threads=3),
        Tuned(threads=4),
        Tuned(threads=3, batch=256),
        Tuned(threads=3, cache_type="q8_0"),
    ]
    assert len(variants(MODEL, 1)) == 3
    fixed = Model(name="m", digest="d", file_bytes=1, threads=2, batch=64, cache_type="q4_0")
    assert variants(fixed, 4) == [Tuned(threads=2, batch=64, cache_type="q4_0")]


def test_time_is_that_of_a_common_request():
    assert request_s(256.0, 64.0) == 2.0


def test_what_was_measured_is_kept_for_this_model_machine_and_engine(tmp_path):
    path = tmp_path / "state" / "engines.json"
    measured = Measured(best=sample(), took_s=1.0, samples=(sample(),))
    Tunings(path, "machine", "1").put("d", measured)
    assert Tunings(path, "machine", "1").get("d") == measured
    assert Tunings(path, "machine", "2").get("d") is None
    assert Tunings(path, "other", "1").get("d") is None
    assert Tunings(path, "machine", "1").get("e") is None
    assert [item.name for item in path.parent.iterdir()] == ["engines.json"]
    path.write_text("{torn")
    assert Tunings(path, "machine", "1").get("d") is None


def test_without_a_file_it_holds_until_the_end():
    tunings = Tunings(None, "machine", "1")
    measured = Measured(best=sample(), took_s=1.0)
    tunings.put("d", measured)
    assert tunings.get("d").tuned == measured.tuned


def test_a_disk_that_refuses_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tuning.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        Tunings(tmp_path / "engines.json", "machine", "1").put("d", Measured(best=sample(), took_s=1.0))
    assert not list(tmp_path.iterdir())
