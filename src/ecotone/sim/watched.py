"""The queue, the lines before targets and the ledger of a made site, as they are, with a record of what happened there.

The checks of a history read the record: what its corridor believes of itself is not asked.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from random import Random
from typing import Any, Final

import msgspec

from ecotone.flow.admission import Load, Seat, Stand
from ecotone.jobs import AGEING_MS
from ecotone.jobs.lifecycle import Event
from ecotone.sim.queue import MemoryQueue, _Kept
from ecotone.sim.time import VirtualClock
from ecotone.sim.world import Link, MadeJournal
from ecotone.values import ENDED, Job, JobState, Leased, RefusalError, TargetSpec

WHO: ContextVar[tuple[str, str]] = ContextVar("who", default=("", ""))
"""(the job that this task works on or '', the request's id)."""

ASIDE: Final = "aside"
"""Stands for the ids of all requests of the site's own."""

SETTLED_S: Final = 1.0
"""What is due for so long has been looked at by whoever begins another job now."""

INSISTED_S: Final = SETTLED_S + 2.0
"""So long after a disk works again the last call that it refused has been repeated."""

FAR_MS: Final = 100_000
"""No job is urgent so long before its deadline: made answers take less."""

READS: Final = frozenset({"changed", "close", "status"})
"""What takes no time at a made door."""


LEARNED: Final = frozenset({"compared", "step"})
"""Kinds of entries of what is learned."""


class Move(msgspec.Struct, frozen=True):
    """A job's state changed, or why it waits.

    Attributes:
        at_s: Virtual instant.
        event: None where it was accepted or put off.
    """

    at_s: float
    job: Job
    event: Event | None
    wall_ms: int


class WatchedQueue(MemoryQueue):
    """Implements `ports.Queue`.

    Attributes:
        moves: Everything that happened to any job.
        disk: When it fails; what was to be written then may be tried again for a while, and others go first.
        problems: What was wrong at the instant when it happened.
        ends: For each job: the ends that listeners were told.
        aged: How often a job went before another one of higher priority, because of its age.
    """

    def __init__(self, clock: VirtualClock, waiting_max: int) -> None:
        super().__init__(waiting_max=waiting_max)
        self._clock = clock
        self._waiting_max = waiting_max
        self.moves: list[Move] = []
        self.problems: list[str] = []
        self.ends: dict[str, list[JobState]] = defaultdict(list)
        self.aged = 0
        self.disk = Link()
        self._since_s: dict[str, float] = {}

    def body_of(self, job: str) -> bytes | None:
        """What came in the end."""
        return self._kept[job].answer

    def open_jobs(self) -> list[Job]:
        """What has not ended."""
        return [kept.job for kept in self._kept.values() if kept.job.state not in ENDED]

    def all_jobs(self) -> list[Job]:
        """What was ever accepted."""
        return [kept.job for kept in self._kept.values()]

    async def defer(self, ids: Any, *, not_before_ms: int, reason: str) -> int:
        """See `ports.Jobs.defer`."""
        for name in ids:
            job = self._kept[name].job
            if job.state is JobState.WAITING:
                self._note(msgspec.structs.replace(job, reason=reason, not_before_ms=not_before_ms), None)
        return await super().defer(ids, not_before_ms=not_before_ms, reason=reason)

    async def hasten(self, reason: str) -> int:
        """See `ports.Jobs.hasten`."""
        for job in self.open_jobs():
            if job.reason == reason:
                self._since_s[job.id] = self._clock.now_s()
        return await super().hasten(reason)

    def _tell(self, job: Job, at_ms: int) -> None:
        super()._tell(job, at_ms)
        if job.state in ENDED:
            self.ends[job.id].append(job.state)
        if not job.attempts and job.id not in self._since_s:
            self._note(job, None)
            if len(self.open_jobs()) > self._waiting_max:
                self.problems.append(f"{len(self.open_jobs())} jobs wait, {self._waiting_max} may")

    def _move(self, kept: _Kept, event: Event, now_ms: int, reason: str) -> bool:
        is_moved = super()._move(kept, event, now_ms, reason)
        if is_moved:
            self._note(kept.job, event)
        return is_moved

    def _lease(self, kept: _Kept, now_ms: int, lease_ms: int) -> Leased:
        self.problems += [
            f"{kept.job.id} of priority {kept.job.priority} goes before {other.id} of {other.priority}"
            for other in self._passed_over(kept.job, now_ms)
        ]
        self.aged += any(
            kept.job.priority < other.job.priority
            for other in self._due(now_ms)
            if _kind(other.job) == _kind(kept.job) and _worth(kept.job, now_ms) > _worth(other.job, now_ms)
        )
        return super()._lease(kept, now_ms, lease_ms)

    def _passed_over(self, job: Job, now_ms: int) -> list[Job]:
        """Jobs of the same kind that were due and first by priority and age, and have to wait."""
        settled_s = self._clock.now_s() - SETTLED_S
        is_restless = any(begin <= self._clock.now_s() < end + INSISTED_S for begin, end in self.disk.cuts)
        if is_restless or job.deadline_at_ms < now_ms + FAR_MS or self._clock.shifts[-1][0] > settled_s:
            return []
        return [
            kept.job
            for kept in self._due(now_ms - round(SETTLED_S * 1e3))
            if kept.job.not_before_ms <= now_ms
            and kept.job.deadline_at_ms > now_ms + FAR_MS
            and _kind(kept.job) == _kind(job)
            and _worth(kept.job, now_ms) > _worth(job, now_ms)
            and self._since_s[kept.job.id] <= settled_s
        ]

    def _note(self, job: Job, event: Event | None) -> None:
        now_s = self._clock.now_s()
        self._since_s[job.id] = now_s
        self.moves.append(Move(now_s, job, event, round(self._clock.wall_s() * 1e3)))


def _kind(job: Job) -> tuple[Any, ...]:
    return job.model, job.wish, job.labels, job.key


def _worth(job: Job, now_ms: int) -> float:
    """Priority and age, as the documents promise them: one step for each ten minutes."""
    return job.priority + (now_ms - job.created_at_ms) / AGEING_MS


class Door:
    """The queue as one process of the site sees it: calls take time, are refused while the disk is in trouble, and
    come to nothing once the process is dead.
    """

    def __init__(self, queue: WatchedQueue, disk: Link, rng: Random, latency_s: float) -> None:
        self._queue = queue
        self._disk = disk
        self._rng = rng
        self._latency_s = latency_s
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        """The queue's own, or what stands before it."""
        found = getattr(self._queue, name)
        return found if name in READS else self._guarded(found)

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def ask(*given: Any, **more: Any) -> Any:
            await self._wait()
            if not self._disk.is_up(asyncio.get_running_loop().time()):
                if self._rng.random() < 0.3:
                    # "May or may not have been kept": here it was.
                    await call(*given, **more)
                raise RefusalError("refused.store", "the made disk fails", status=503)
            result = await call(*given, **more)
            await self._wait()
            return result

        return ask

    async def _wait(self) -> None:
        if self._latency_s:
            await asyncio.sleep(self._rng.expovariate(1 / self._latency_s))
        if self.is_dead:
            raise RefusalError("refused.store", "this process is gone", status=503)


class Sitting(msgspec.Struct):
    """One request's time before and in a target's slot.

    Attributes:
        who: See `WHO`.
        held_s: When it got the slot; None where it got none.
    """

    target: str
    who: tuple[str, str]
    asked_s: float
    held_s: float | None = None
    left_s: float | None = None


class WatchedLoad(Load):
    """Implements what the corridor asks of `flow.admission.Load`.

    Attributes:
        sittings: Everybody who ever asked for a slot.
    """

    __slots__ = ("_clock", "_open", "sittings")

    def __init__(self, clock: VirtualClock, wait_s_max: float, sittings: list[Sitting]) -> None:
        super().__init__(wait_s_max)
        self._clock = clock
        self._open: dict[int, Sitting] = {}
        self.sittings = sittings

    def ask(self, spec: TargetSpec, key: str, now_s: float) -> Seat:
        """See `Load.ask`."""
        seat = super().ask(spec, key, now_s)
        sitting = Sitting(spec.name, WHO.get(), now_s, now_s if seat.stand is Stand.HELD else None)
        self._open[id(seat)] = sitting
        self.sittings.append(sitting)
        return seat

    def withdraw(self, seat: Seat) -> None:
        """See `Load.withdraw`."""
        super().withdraw(seat)
        sitting = self._open.pop(id(seat), None)
        if sitting is not None:
            sitting.left_s = self._clock.now_s()

    def leave(self, seat: Seat, now_s: float, *, is_served: bool) -> None:
        """See `Load.leave`."""
        sitting = self._open.pop(id(seat), None)
        if sitting is not None:
            sitting.held_s, sitting.left_s = seat.since_s, now_s
        super().leave(seat, now_s, is_served=is_served)


class WatchedJournal(MadeJournal):
    """A made ledger; whoever notes that it works on a job is known by it from then on.

    While its disk is full it also refuses what is learned; what it would refuse of a request is let pass, so that
    nothing is unseen.
    """

    def note(self, kind: str, entry: Mapping[str, Any] | msgspec.Struct) -> int:
        """See `ports.Journal.note`."""
        if kind == "job":
            assert isinstance(entry, Mapping)
            WHO.set((entry["job"], entry["request"]))
        if kind in LEARNED and not self._full.is_up(asyncio.get_running_loop().time()):
            raise RefusalError("refused.ledger", "the made disk is full", status=503)
        return super().note(kind, entry)
