"""The bounded form of `make sim`: 800 histories, every ending reached, and proof that the checks can fail."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from ecotone.flow import breaker, serving
from ecotone.flow.relay import Relay
from ecotone.sim import backlog_checks, classroom_checks
from ecotone.sim.history import BrokenError, jobs_reached, lessons_reached, run
from ecotone.sim.time import StuckError, VirtualLoop
from ecotone.values import Egress, Limit
from ecotone.values import reasons as why

HISTORIES = 800


def test_invariants_hold_in_every_history_and_every_ending_is_reached() -> None:
    endings: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    jobs: Counter[str] = Counter()
    lessons: Counter[str] = Counter()
    for seed in range(HISTORIES):
        history = run(seed)
        for outcome in history.telemetry.outcomes:
            endings[outcome.ending] += 1
            reasons[outcome.reason] += 1
        jobs += jobs_reached(history)
        lessons += lessons_reached(history)
    assert set(endings) == set(why.ENDINGS) - {"internal"}
    assert set(why.REASONS) <= set(reasons)
    assert set(jobs) == backlog_checks.MUST_REACH
    assert set(lessons) == classroom_checks.MUST_REACH


def test_the_same_seed_is_the_same_history() -> None:
    first, second = run(7), run(7)
    assert first.journal.entries == second.journal.entries
    assert [story.caller.body for story in first.stories] == [story.caller.body for story in second.stories]


def _breaks(seeds: range) -> str:
    for seed in seeds:
        try:
            run(seed)
        except BrokenError as error:
            return str(error)
    return ""


def test_letting_labelled_data_out_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.flow.planning.constrain", lambda *a, **k: Limit(Egress.FREE, "mutant"))
    assert "sent to" in _breaks(range(200))


def test_sending_before_the_entry_is_durable_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*args: object, **kwargs: object) -> tuple[None, None]:
        return None, None

    monkeypatch.setattr(serving._Run, "allowed", nothing)
    assert "before a durable entry" in _breaks(range(200))


def test_passing_a_cut_stream_off_as_whole_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relay, "_conclude", Relay._finish_events)
    found = _breaks(range(300))
    assert "clean end" in found or "not the answer of" in found


def test_restarting_an_answer_that_had_begun_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving._Run, "judged", lambda self, one, relay, failure: failure)
    assert _breaks(range(300))


def test_a_breaker_that_never_closes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker.Breaker, "admit", lambda self, now_s: False)
    assert "could have answered" in _breaks(range(200))


def test_waiting_without_a_limit_is_an_error_not_a_hang() -> None:
    loop = VirtualLoop()
    with pytest.raises(StuckError):
        loop.run_until_complete(asyncio.Event().wait())
    loop.close()
