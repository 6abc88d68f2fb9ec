"""Trials at a site: used, judged, gone back from; nothing is tried twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.agent.trying_site import PATIENT, Make, Site, digest, wish

from ecotone.agent import trials
from ecotone.agent.trying import Trying
from ecotone.values.fleet import Terms


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    return lambda *here: Site(tmp_path, monkeypatch, *here)


def test_a_version_that_does_well_is_good_and_the_one_before_stays_the_way_back(make: Make) -> None:
    site = make("a")
    assert site.take("b") == ""
    assert site.states() == {"b": "trying"}
    assert site.engines.running == "b"
    site.engines.serve(20)
    site.turn()
    assert site.states() == {"b": "good"}
    assert site.report("b").figures.requests == 20
    assert site.kept().former.version == "a"
    assert site.kept().trial is None
    assert site.shelf.steps == ["lead b"]
    assert site.changes == 3  # it waits, it is on trial, it is good


def test_without_terms_there_is_no_trial_and_the_first_version_of_all_is_used(make: Make) -> None:
    site = make()
    site.take("a", None)
    assert site.states() == {"a": "good"}
    assert site.kept().former is None


def test_what_nothing_runs_is_used_at_once(make: Make) -> None:
    site = make()
    site.shelf.here.add("a")
    labels = trials.Wish(name="words", version="a", kind="labels", sha256=digest("a"), terms=PATIENT)
    site.trying.take(labels)
    site.turn()
    assert site.states() == {"a": "good"}
    assert site.shelf.led == {"words": "a"}


def test_a_version_that_fails_many_requests_is_gone_back_from_and_not_tried_again(make: Make) -> None:
    site = make("a")
    site.engines.serve(200)
    site.turn()
    site.take("b", PATIENT)
    assert site.kept().former.figures is None or site.kept().former.figures.requests >= 0
    site.engines.serve(60, errors=50)
    site.turn()
    assert site.states() == {"a": "good", "b": "failed"}
    assert site.report("b").why == "errors"
    assert site.engines.running == "a"
    assert site.shelf.steps == ["lead b", "back a"]
    assert site.trying.refuses(wish("b")) == "failed"
    assert site.trying.refuses(wish("b", attempt=1)) == ""
    assert "hub:small: b failed here (errors)" in site.trying.troubles()
    site.take("b", PATIENT)
    assert site.engines.running == "a"
    site.take("b", attempt=1)
    assert site.states()["b"] == "trying"
    site.engines.serve(20)
    site.turn()
    assert site.states() == {"b": "good"}
    assert site.trying.troubles() == []


def test_answers_that_are_clearly_worse_than_before_fail_it(make: Make) -> None:
    site = make("a")
    site.take("b", None)
    site.engines.serve(2000, quality=0.95)
    site.turn()
    site.take("c", PATIENT)
    site.engines.serve(2000, quality=0.2)
    site.turn()
    assert (site.report("c").state, site.report("c").why) == ("failed", "parity")
    assert site.report("c").figures.parity == 0.2
    assert site.kept().lost.figures.pairs == 2000
    assert site.report("c").before.parity == 0.95


def test_a_version_that_is_clearly_slower_fails(make: Make) -> None:
    site = make("a")
    site.take("b", None)
    site.engines.serve(500, ms=100)
    site.turn()
    site.take("c", PATIENT)
    site.engines.serve(500, ms=900)
    site.turn()
    assert (site.report("c").state, site.report("c").why) == ("failed", "latency")


def test_crashes_fail_it(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    site.engines.serve(3, crashes=3)
    site.turn()
    assert (site.report("b").state, site.report("b").why) == ("failed", "crashes")


def test_a_version_that_does_not_load_is_gone_back_from_at_once(make: Make) -> None:
    site = make("a")
    site.engines.broken["b"] = "engine_start"
    site.take("b")
    assert (site.report("b").state, site.report("b").why) == ("failed", "load")
    assert site.engines.running == "a"
    assert site.shelf.led == {"small": "a"}


def test_where_there_was_nothing_before_a_version_that_fails_leads_nowhere(make: Make) -> None:
    site = make()
    site.engines.broken["b"] = "engine_start"
    site.take("b")
    assert site.states() == {"b": "failed"}
    assert site.shelf.led == {"small": ""}
    site.take("c")
    site.engines.serve(9)
    site.turn()
    assert site.states() == {"b": "failed", "c": "good"}


def test_memory_that_is_short_now_puts_it_off(make: Make) -> None:
    site = make("a")
    site.engines.broken["b"] = "busy"
    assert "b does not start" in site.take("b")
    assert site.states() == {"a": "good", "b": "ready"}
    assert site.engines.running == "a"
    del site.engines.broken["b"]
    site.turn(14)
    assert site.engines.running == "a", "not before half a minute"
    site.turn(3)
    assert site.states() == {"b": "trying"}


def test_a_disk_that_is_full_puts_it_off(make: Make) -> None:
    site = make("a")
    site.shelf.refuses = 1
    assert "the disk is full" in site.take("b")
    assert site.states() == {"a": "good", "b": "ready"}
    assert site.engines.running == "a"
    assert not site.trying.refuses(wish("b"))
    site.turn(16)
    assert site.states() == {"b": "trying"}


def test_a_file_that_cannot_be_written_changes_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make("a")

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as refused:
        refused.setattr(trials, "replaced", full)
        assert "No space left" in site.take("b")
        site.turn(3)
        assert site.engines.running == "a"
        assert site.shelf.steps == []
    site.turn()
    assert site.states() == {"b": "trying"}


def test_a_variant_that_writes_too_slowly_is_refused_with_what_it_reached(make: Make) -> None:
    site = make("a")
    site.engines.tok_s["b"] = [4.0, 5.0, 6.0, 6.0]
    site.take("b", decode_tok_s_min=10.0)
    assert (site.report("b").state, site.report("b").why) == ("refused", "speed")
    assert site.trying.tok_s() == {digest("b"): 6.0}
    assert site.engines.running == "a"
    site.engines.tok_s["c"] = [4.0, 12.0]
    site.take("c", decode_tok_s_min=10.0)
    assert site.states()["c"] == "trying"
    assert site.trying.tok_s()[digest("c")] == 12.0


def test_a_newer_wish_ends_the_trial_of_an_older_one_and_goes_back_to_the_last_good_one(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    site.take("c", PATIENT)
    assert site.states() == {"c": "trying"}
    assert site.kept().former.version == "a"
    site.engines.broken["d"] = "engine_start"
    site.take("d", PATIENT)
    assert site.states() == {"a": "good", "d": "failed"}
    assert site.engines.running == "a"


def test_a_wish_for_what_is_used_changes_only_its_attempt(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    steps = list(site.shelf.steps)
    site.take("b", PATIENT, attempt=4)
    assert site.shelf.steps == steps
    assert site.report("b").attempt == 4
    assert site.report("b").state == "trying"


def test_a_version_that_vanished_is_not_used(make: Make) -> None:
    site = make("a")
    site.trying.take(wish("b"))
    site.turn()
    assert site.states() == {"a": "good"}


def test_what_is_measured_here_is_told(make: Make) -> None:
    site = make("a")
    site.engines.rate = 7e9
    site.turn()
    assert site.trying.read_bytes_s() == 7e9


def test_a_way_back_that_does_not_work_at_once_is_tried_at_each_look(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    site.engines.broken["a"] = "engine_start"
    site.engines.serve(9, crashes=5)
    assert "a does not start" in site.turn()
    assert site.engines.running == "b"
    assert site.shelf.led == {"small": "a"}
    del site.engines.broken["a"]
    assert site.turn() == ""
    assert site.engines.running == "a"


def test_one_that_does_not_run_after_a_start_is_gone_back_from(make: Make) -> None:
    site = make("a")
    site.take("b", PATIENT)
    site.start()
    site.engines.sick.add("b")
    site.turn(2)
    assert site.states() == {"b": "trying"}
    site.turn()
    assert (site.report("b").state, site.report("b").why) == ("failed", "load")


def test_it_lives_and_looks_when_something_comes(make: Make) -> None:
    site = make("a")

    async def lives() -> None:
        task = asyncio.ensure_future(site.trying.live(site.engines))
        await asyncio.sleep(0)
        site.shelf.here.add("b")
        site.trying.take(wish("b"))
        async with asyncio.timeout(5):
            while site.states().get("b") != "trying":
                await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(lives())


def test_terms_that_ask_for_hours_are_counted_by_use(make: Make) -> None:
    site = make("a")
    site.take("b", Terms(hours_min=0.01, requests_min=2))
    site.engines.serve(9)
    site.turn(10)
    assert site.states() == {"b": "trying"}
    site.trying.close()
    site.monotonic_s += 5e6  # it was off for months, or the clock of the machine jumped
    site.start()
    site.turn(2)
    assert site.states() == {"b": "trying"}
    site.turn(10)
    assert site.states() == {"b": "good"}


def test_nothing_is_written_where_there_is_no_hub(make: Make, tmp_path: Path) -> None:
    site = make("a")
    site.turn(3)
    site.trying.close()
    assert list(tmp_path.iterdir()) == []
    assert isinstance(site.start(), Trying)
