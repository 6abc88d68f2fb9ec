"""The queue, whatever happens to it: what was accepted is there, and ends once."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ecotone.jobs import STARVATION_MS_MAX, rank_ms
from ecotone.ports import Queue
from ecotone.sim.queue import MemoryQueue
from ecotone.store import Queue as DurableQueue
from ecotone.store import QueueLimits
from ecotone.values import ENDED, Ending, Endpoint, Job, JobFilter, JobState

T = TypeVar("T")
KEY = b"k" * 32
LIMITS = QueueLimits(check_s=20.0, free_bytes_min=0)
HOUR_MS = 3_600_000
START_MS = 1_800_000_000_000
ENDINGS = st.sampled_from([JobState.ANSWERED, JobState.FAILED, JobState.REFUSED, JobState.EXPIRED])


class Life(RuleBasedStateMachine):
    """A queue beside what its callers were told.

    Attributes:
        bodies: Of every job that was accepted.
        ended: How those ended that a caller saw end.
        tokens: Of every lease that was ever given.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now_ms = START_MS
        self.bodies: dict[str, bytes] = {}
        self.known: dict[str, str] = {}
        self.ended: dict[str, JobState] = {}
        self.tokens: list[tuple[str, str]] = []
        self.settled: set[str] = set()
        self.queue = self.begin()

    def begin(self) -> Queue:
        raise NotImplementedError

    def run(self, call: Awaitable[T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(call, 20))

    def job(self, name: str, priority: int, hours: int, idempotency: str) -> Job:
        return Job(
            id=name, endpoint=Endpoint.CHAT, model="auto", created_at_ms=self.now_ms, priority=priority,
            deadline_at_ms=self.now_ms + hours * HOUR_MS, idempotency=idempotency,
        )  # fmt: skip

    @rule(
        count=st.integers(1, 4),
        priority=st.integers(0, 9),
        hours=st.integers(1, 6),
        idempotency=st.sampled_from(["", "", "x", "y"]),
    )
    def put(self, count: int, priority: int, hours: int, idempotency: str) -> None:
        names = [f"job-{len(self.bodies) + index:05d}" for index in range(count)]
        jobs = [(self.job(name, priority, hours, idempotency), name.encode()) for name in names]
        told = self.run(self.queue.put(jobs))
        for name, got in zip(names, told, strict=True):
            if idempotency:
                assert got == self.known.setdefault(idempotency, got)
            else:
                assert got == name
        self.bodies |= {name: name.encode() for name in told if name not in self.bodies}

    @rule(n=st.integers(1, 4), lease_ms=st.sampled_from([1, 60_000, HOUR_MS]))
    def lease(self, n: int, lease_ms: int) -> None:
        due = self.run(self.queue.due(n, now_ms=self.now_ms))
        for one, after in itertools.pairwise(due):
            assert rank_ms(one) <= rank_ms(after)
            assert after.created_at_ms > one.created_at_ms - STARVATION_MS_MAX - 1
        for leased in self.run(self.queue.lease(n, now_ms=self.now_ms, lease_ms=lease_ms)):
            assert leased.job.id not in self.ended
            assert leased.body == self.bodies[leased.job.id]
            assert leased.job.deadline_at_ms > self.now_ms
            assert leased.token not in {token for token, _ in self.tokens}
            self.tokens.append((leased.token, leased.job.id))

    @rule(which=st.integers(0, 30), state=ENDINGS)
    def settle(self, which: int, state: JobState) -> None:
        if self.tokens:
            token, name = self.tokens[which % len(self.tokens)]
            ending = Ending(state=state, status=200, reason="made", body=token.encode())
            if self.run(self.queue.settle(token, ending, now_ms=self.now_ms)):
                assert name not in self.ended, "it ended twice"
                self.ended[name] = state
                assert self.run(self.queue.answer(name)) == token.encode()

    @rule(which=st.integers(0, 30), pause_ms=st.sampled_from([0, 1000, HOUR_MS]), is_attempt=st.booleans())
    def release(self, which: int, pause_ms: int, is_attempt: bool) -> None:
        if self.tokens:
            token, name = self.tokens[which % len(self.tokens)]
            until_ms = self.now_ms + pause_ms
            call = self.queue.release(
                token, now_ms=self.now_ms, not_before_ms=until_ms, reason="deferred.asked", is_attempt=is_attempt
            )
            assert not (self.run(call) and name in self.ended)

    @rule(which=st.integers(0, 30))
    def extend(self, which: int) -> None:
        if self.tokens:
            token, name = self.tokens[which % len(self.tokens)]
            assert not (self.run(self.queue.extend(token, now_ms=self.now_ms, lease_ms=1000)) and name in self.ended)

    @rule(which=st.integers(0, 30))
    def cancel(self, which: int) -> None:
        if self.bodies:
            name = sorted(self.bodies)[which % len(self.bodies)]
            state = self.run(self.queue.cancel(name, now_ms=self.now_ms))
            assert state is self.ended.setdefault(name, JobState.CANCELLED)

    @rule()
    def expire(self) -> None:
        for name in self.run(self.queue.expire_due(now_ms=self.now_ms)):
            assert name not in self.ended
            self.ended[name] = JobState.EXPIRED

    @rule(which=st.integers(0, 30), pause_ms=st.sampled_from([1000, 9 * HOUR_MS]))
    def defer(self, which: int, pause_ms: int) -> None:
        names = sorted(self.bodies)[which : which + 3]
        self.run(self.queue.defer(names, not_before_ms=self.now_ms + pause_ms, reason="deferred.offline"))

    @rule()
    def hasten(self) -> None:
        self.run(self.queue.hasten("deferred.offline"))

    @rule(by_ms=st.sampled_from([1, 1000, 60_000, HOUR_MS, 5 * HOUR_MS, -1000, -HOUR_MS, -5 * HOUR_MS]))
    def clock(self, by_ms: int) -> None:
        self.now_ms += by_ms

    @rule(is_clean=st.booleans())
    def restart(self, is_clean: bool) -> None:
        self.queue = self.begin_again(is_clean)
        for token, _ in self.tokens:
            assert not self.run(self.queue.extend(token, now_ms=self.now_ms, lease_ms=1000))

    def begin_again(self, is_clean: bool) -> Queue:
        raise NotImplementedError

    @invariant()
    def all_is_there_and_as_it_was_told(self) -> None:
        page = self.run(self.queue.page(JobFilter(), limit=10_000))
        states = {one.id: one.state for one in page.jobs}
        assert set(states) == set(self.bodies)
        assert {name: state for name, state in states.items() if state in ENDED} == self.ended
        counts = self.run(self.queue.counts())
        assert {state: list(states.values()).count(state) for state in JobState} == dict(counts)
        size = sum(len(self.bodies[name]) for name, state in states.items() if state not in ENDED)
        assert self.queue.status().waiting_bytes == size

    @invariant()
    def something_is_due_as_long_as_something_waits(self) -> None:
        due_ms = self.run(self.queue.next_due_ms(now_ms=self.now_ms))
        assert (due_ms is None) == (len(self.ended) == len(self.bodies))

    def teardown(self) -> None:
        """In the end every job can be ended, and each is once."""
        for _ in range(len(self.bodies) + 1):
            self.now_ms += 7 * HOUR_MS
            self.expire()
        assert set(self.ended) == set(self.bodies)
        events = self.run(self.queue.events(0, limit=100_000))
        ends = [event.job for event in events if event.state in ENDED]
        assert sorted(ends) == sorted(self.bodies)
        assert {event.job: event.state for event in events if event.state in ENDED} == self.ended
        self.run(self.queue.close())
        self.loop.close()


class DurableLife(Life):
    """On a disk; a crash leaves the files as they are at that instant."""

    def begin(self) -> Queue:
        self.folder = Path(tempfile.mkdtemp(prefix="ecotone-queue-"))
        self.number = 0
        return DurableQueue.open(self.folder / "0", KEY, limits=LIMITS, now_ms=self.now_ms)

    def begin_again(self, is_clean: bool) -> Queue:
        store = self.folder / str(self.number)
        if not is_clean:
            self.number += 1
            crashed = self.folder / str(self.number)
            crashed.mkdir()
            for path in store.glob("jobs.db*"):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, crashed / path.name)
        self.run(self.queue.close())
        queue = DurableQueue.open(self.folder / str(self.number), KEY, limits=LIMITS, now_ms=self.now_ms)
        assert queue.recovered.loss is None
        return queue

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


class SimulatedLife(Life):
    """In memory."""

    def begin(self) -> Queue:
        return MemoryQueue()

    def begin_again(self, is_clean: bool) -> Queue:
        assert isinstance(self.queue, MemoryQueue)
        self.queue.restart(now_ms=self.now_ms)
        return self.queue


TestEveryAcknowledgedJobEndsOnceOnADisk = DurableLife.TestCase
TestEveryAcknowledgedJobEndsOnceOnADisk.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestEveryAcknowledgedJobEndsOnceInMemory = SimulatedLife.TestCase
TestEveryAcknowledgedJobEndsOnceInMemory.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
