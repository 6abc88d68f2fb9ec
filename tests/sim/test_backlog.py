"""Proof that the checks of jobs in made histories can fail: each test breaks one thing, and a history says so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ecotone.flow import draining
from ecotone.flow.prospects import facts
from ecotone.jobs import Wait, lifecycle
from ecotone.sim import queue
from ecotone.sim.backlog import Backlog
from ecotone.sim.history import BrokenError, run
from ecotone.values import ENDED, Ending, Job, JobState, Wish
from ecotone.wire.request import decode

SEEDS = 400


@pytest.fixture(autouse=True)
def _jobs_in_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.sim.history.JOBS_SHARE", 1.0)
    monkeypatch.setattr("ecotone.sim.history.LEARNING_SHARE", 0.0)


def breaks(*words: str, first: int = 0) -> bool:
    """Whether a history is found to be broken, in these words.

    Args:
        first: The seed to begin with: where it takes a rare history, one that is near.
    """
    for seed in range(first, first + SEEDS):
        try:
            run(seed)
        except BrokenError as error:
            if all(word in str(error) for word in words):
                return True
    return False


def test_the_same_seed_is_the_same_afternoon_of_jobs() -> None:
    moves = 0
    for seed in range(5):
        first, second = run(seed).backlog, run(seed).backlog
        assert isinstance(first, Backlog)
        assert isinstance(second, Backlog)
        assert first.queue.moves == second.queue.moves
        moves += len(first.queue.moves)
    assert moves > 10


def test_ending_a_job_twice_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(state: JobState, event: lifecycle.Event) -> JobState | None:
        return lifecycle.step(JobState.RUNNING if state in ENDED else state, event)

    monkeypatch.setattr(queue, "step", step)
    assert breaks("changed after its end")


def test_forgetting_a_lease_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue.MemoryQueue, "_lapse", lambda self, now_ms: None)
    assert breaks("is running, was told to have ended as []")


def test_forgetting_what_a_dead_process_held_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue.MemoryQueue, "_lapse", lambda self, now_ms: None)
    monkeypatch.setattr(queue.MemoryQueue, "restart", lambda self, *, now_ms: 0)
    assert breaks("is running, was told to have ended as []")


@pytest.mark.parametrize(
    ("lost", "said", "first"),
    [
        ({"labels": ()}, "sent to cloud", 0),
        ({"wish": Wish.AUTO}, "left the site", 0),
        ({"key": ""}, "key research sent to cloud", 117),
    ],
)
def test_losing_what_keeps_a_job_at_the_site_is_caught(
    monkeypatch: pytest.MonkeyPatch, lost: dict[str, Any], said: str, first: int
) -> None:
    def forget(endpoint: Any, body: bytes, head: Any) -> Any:
        return decode(endpoint, body, msgspec.structs.replace(head, **lost))

    def forgetful(site: Any, job: Job, **more: Any) -> Any:
        return facts(site, msgspec.structs.replace(job, **lost), **more)

    monkeypatch.setattr(draining, "decode", forget)
    monkeypatch.setattr(draining, "facts", forgetful)
    assert breaks("-e", said, first=first)


def test_a_job_that_never_gives_way_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining.Drain, "_is_in_the_way", lambda self, work: False)
    assert breaks("waits", "for job-")


def test_deadlines_that_nobody_watches_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Any, *, now_ms: int) -> tuple[str, ...]:
        return ()

    monkeypatch.setattr(queue.MemoryQueue, "expire_due", nothing)
    assert breaks("its deadline was at")


def test_the_newest_first_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "rank_ms", lambda job: -job.created_at_ms)
    assert breaks("goes before")


def test_priority_without_ageing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "rank_ms", lambda job: -job.priority)
    assert breaks("goes before", first=123)


def test_too_many_at_a_time_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    consider = draining.Drain._consider

    async def endless(self: Any, *given: Any, **more: Any) -> int:
        await consider(self, *given, **more)
        return 0

    monkeypatch.setattr(draining.Drain, "_consider", endless)
    assert breaks("jobs at a time")


def test_more_than_the_queue_may_hold_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = property(lambda self: (10**9, 10**9, 10**9), lambda self, value: None)
    monkeypatch.setattr(queue.MemoryQueue, "_bounds", bounds, raising=False)
    assert breaks("jobs wait, 3 may")


def test_a_second_job_for_the_same_ask_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    known = property(lambda self: {}, lambda self, value: None)
    monkeypatch.setattr(queue.MemoryQueue, "_known", known, raising=False)
    assert breaks("asked for once")


def test_somebody_elses_answer_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    settle, kept = queue.MemoryQueue.settle, [b""]

    async def mixed(self: Any, token: str, ending: Ending, *, now_ms: int) -> bool:
        if ending.state is not JobState.ANSWERED:
            return await settle(self, token, ending, now_ms=now_ms)
        mine = msgspec.json.decode(ending.body)["model"].split(".")[0]
        is_theirs = mine.encode() in kept[0]
        body, kept[0] = kept[0] if is_theirs else ending.body, ending.body
        return await settle(self, token, msgspec.structs.replace(ending, body=body), now_ms=now_ms)

    monkeypatch.setattr(queue.MemoryQueue, "settle", mixed)
    assert breaks("the answer to")


def test_going_on_after_the_end_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def deaf(self: Any, *given: Any, **more: Any) -> bool:
        return True

    monkeypatch.setattr(draining.Drain, "told", lambda self, event: None)
    monkeypatch.setattr(queue.MemoryQueue, "extend", deaf)
    assert breaks("still at work")


def test_beginning_anew_beside_the_work_under_way_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unseen(dict[str, Any]):
        def __contains__(self, key: object) -> bool:
            return False

    begin = draining.Drain.__init__

    def blind(self: Any, *given: Any, **more: Any) -> None:
        begin(self, *given, **more)
        self._running = Unseen()

    monkeypatch.setattr(draining.Drain, "__init__", blind)
    assert breaks("worked on twice at a time")


def test_a_job_that_rests_for_good_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Any, reason: str) -> int:
        return 0

    monkeypatch.setattr(queue.MemoryQueue, "hasten", never)
    monkeypatch.setattr(
        "ecotone.jobs.dispatch._wait",
        lambda facts, patience, last_ms: Wait(facts.deadline_at_ms, "deferred.asked"),
    )
    assert breaks("could have answered", first=256)
