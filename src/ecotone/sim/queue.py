"""The queue in memory: the same promises as the durable one (`tests/contract/test_queue.py`), for made worlds."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ecotone.jobs import is_due, rank_ms, step
from ecotone.jobs.lifecycle import EVENT_OF, Event
from ecotone.ports.queue import QueueStatus
from ecotone.sim.files import MemoryFiles
from ecotone.values import (
    ENDED,
    Batch,
    Ending,
    Job,
    JobEvent,
    JobFilter,
    JobPage,
    JobState,
    Leased,
    RefusalError,
    RequestError,
)

__all__ = ["MemoryQueue"]


class _Kept(msgspec.Struct):
    """A job with what lies beside it."""

    seq: int
    job: Job
    body: bytes
    answer: bytes | None = None
    token: str = ""
    until_ms: int = 0
    lease_ms: int = 0


class MemoryQueue(MemoryFiles):
    """Implements `ports.Queue`.

    Attributes:
        is_full: Where a history says so, nothing is accepted (`refused.store_full`).
    """

    def __init__(
        self,
        *,
        waiting_max: int = 100_000,
        waiting_bytes_max: int = 1 << 30,
        body_bytes_max: int = 32 << 20,
        files_max: int = 10_000,
        file_bytes_max: int = 200 << 20,
    ) -> None:
        super().__init__(files_max=files_max, file_bytes_max=file_bytes_max)
        self._bounds = (waiting_max, waiting_bytes_max, body_bytes_max)
        self._kept: dict[str, _Kept] = {}
        self._known: dict[tuple[str, str], str] = {}
        self._events: list[JobEvent] = []
        self._watchers: set[asyncio.Future[None]] = set()
        self._seqs, self._tokens, self._numbers = itertools.count(1), itertools.count(1), itertools.count(1)
        self._last = 0

    def restart(self, *, now_ms: int) -> int:
        """The site's process ended and came back: leases and unfinished files are gone; how many jobs wait again."""
        self.drop_unfinished()
        return sum(self._move(kept, Event.LAPSED, now_ms, "") for kept in self._in(JobState.RUNNING))

    async def put(self, jobs: Sequence[tuple[Job, bytes]], batch: Batch | None = None) -> tuple[str, ...]:
        """See `ports.Jobs.put`."""
        new: dict[str, tuple[Job, bytes]] = {}
        known: dict[tuple[str, str], str] = {}
        names = []
        for job, body in jobs:
            of = (job.key, job.idempotency)
            if len(body) > self._bounds[2]:
                raise RequestError("request.too_large", "The request is longer than a job may be.", status=413)
            first = (known.get(of) or self._known.get(of)) if job.idempotency else None
            if first is None and job.id not in new and job.id not in self._kept:
                new[job.id] = (job, body)
                known |= {of: job.id} if job.idempotency else {}
            names.append(first or job.id)
        if new or not jobs:
            self.check_room()
        waiting = [kept.body for kept in self._kept.values() if kept.job.state not in ENDED]
        size = sum(map(len, waiting)) + sum(len(body) for _, body in new.values())
        if new and (len(waiting) + len(new) > self._bounds[0] or size > self._bounds[1]):
            raise RefusalError("refused.queue_full", "Too many jobs wait.", status=429, retry_after_s=30.0)
        if batch is not None:
            await self.put_batch(batch)
        for job, body in new.values():
            self._kept[job.id] = _Kept(next(self._seqs), msgspec.structs.replace(job, state=JobState.WAITING), body)
            self._tell(job, job.created_at_ms)
        self._known |= known
        return tuple(names)

    async def due(self, n: int, *, now_ms: int, deadline_before_ms: int | None = None) -> tuple[Job, ...]:
        """See `ports.Jobs.due`."""
        found = [kept.job for kept in self._due(now_ms)]
        if deadline_before_ms is not None:
            found = [job for job in found if job.deadline_at_ms < deadline_before_ms]
            found.sort(key=lambda job: job.deadline_at_ms)
        return tuple(found[:n])

    async def defer(self, ids: Sequence[str], *, not_before_ms: int, reason: str) -> int:
        """See `ports.Jobs.defer`."""
        found = [kept for kept in self._named(ids) if kept.job.state is JobState.WAITING]
        for kept in found:
            _change(kept, not_before_ms=not_before_ms, reason=reason)
        return len(found)

    async def hasten(self, reason: str) -> int:
        """See `ports.Jobs.hasten`."""
        found = [
            kept for kept in self._in(JobState.WAITING) if kept.job.reason == reason and kept.job.not_before_ms > 0
        ]
        for kept in found:
            _change(kept, not_before_ms=0)
        return len(found)

    async def lease(
        self, n: int, *, now_ms: int, lease_ms: int, ids: Sequence[str] | None = None
    ) -> tuple[Leased, ...]:
        """See `ports.Jobs.lease`."""
        self._lapse(now_ms)
        named = (kept for kept in self._named(ids or ()) if kept.job.state is JobState.WAITING)
        found = list(itertools.islice(self._due(now_ms) if ids is None else named, n))
        return tuple(self._lease(kept, now_ms, lease_ms) for kept in found)

    async def extend(self, token: str, *, now_ms: int, lease_ms: int) -> bool:
        """See `ports.Jobs.extend`."""
        kept = self._held(token)
        if kept is not None:
            kept.until_ms, kept.lease_ms = now_ms + lease_ms, lease_ms
        return kept is not None

    async def settle(self, token: str, ending: Ending, *, now_ms: int) -> bool:
        """See `ports.Jobs.settle`."""
        kept = self._held(token)
        if kept is None:
            return False
        self._move(kept, EVENT_OF[ending.state], now_ms, ending.reason)
        _change(kept, status=ending.status, target=ending.target, at=ending.at)
        kept.answer = ending.body
        return True

    async def release(
        self, token: str, *, now_ms: int, not_before_ms: int, reason: str, is_attempt: bool = True
    ) -> bool:
        """See `ports.Jobs.release`."""
        kept = self._held(token)
        if kept is None:
            return False
        self._move(kept, Event.RELEASED, now_ms, reason)
        _change(kept, not_before_ms=not_before_ms, attempts=kept.job.attempts - (not is_attempt))
        return True

    async def label(self, job: str, labels: Sequence[str]) -> bool:
        """See `ports.Jobs.label`."""
        for kept in self._named([job]):
            _change(kept, labels=tuple(dict.fromkeys((*kept.job.labels, *labels))))
            return True
        return False

    async def cancel(self, job: str, *, now_ms: int) -> JobState | None:
        """See `ports.Jobs.cancel`."""
        for kept in self._named([job]):
            self._move(kept, Event.CANCELLED, now_ms, "")
            return kept.job.state
        return None

    async def expire_due(self, *, now_ms: int) -> tuple[str, ...]:
        """See `ports.Jobs.expire_due`."""
        self._lapse(now_ms)
        late = [kept for kept in self._in(JobState.WAITING) if kept.job.deadline_at_ms <= now_ms]
        late.sort(key=lambda kept: kept.job.deadline_at_ms)
        for kept in late:
            self._move(kept, Event.EXPIRED, now_ms, "refused.deadline")
        return tuple(kept.job.id for kept in late)

    async def get(self, job: str) -> Job | None:
        """See `ports.Jobs.get`."""
        return next((kept.job for kept in self._named([job])), None)

    async def body(self, job: str) -> bytes | None:
        """See `ports.Jobs.body`."""
        return next((kept.body for kept in self._named([job])), None)

    async def answer(self, job: str) -> bytes | None:
        """See `ports.Jobs.answer`."""
        return next((kept.answer for kept in self._named([job])), None)

    async def page(self, which: JobFilter, *, limit: int) -> JobPage:
        """See `ports.Jobs.page`."""
        start = self._kept[which.after].seq if which.after in self._kept else None
        found = [kept for kept in self._kept.values() if _fits(kept.job, which)]
        if which.after:
            found = [kept for kept in found if start is not None and _is_behind(kept.seq, start, which)]
        found.sort(key=lambda kept: kept.seq, reverse=not which.is_oldest_first)
        return JobPage(tuple(kept.job for kept in found[:limit]), len(found) > limit)

    async def counts(self, batch: str | None = None) -> Mapping[JobState, int]:
        """See `ports.Jobs.counts`."""
        jobs = (kept.job for kept in self._kept.values())
        return _counted(job for job in jobs if batch is None or (job.batch == batch != ""))

    async def next_due_ms(self, *, now_ms: int) -> int | None:
        """See `ports.Jobs.next_due_ms`."""
        waiting = [kept.job for kept in self._in(JobState.WAITING)]
        found = [
            min(job.not_before_ms, now_ms) if is_due(job.not_before_ms, now_ms) else job.not_before_ms
            for job in waiting
        ]
        found += [job.deadline_at_ms for job in waiting]
        return min([*found, *(kept.until_ms for kept in self._in(JobState.RUNNING))], default=None)

    async def next_end_ms(self) -> int | None:
        """See `ports.Jobs.next_end_ms`."""
        waiting = [kept.job.deadline_at_ms for kept in self._in(JobState.WAITING)]
        return min([*waiting, *(kept.until_ms for kept in self._in(JobState.RUNNING))], default=None)

    async def events(self, since: int, *, limit: int, key: str | None = None) -> tuple[JobEvent, ...]:
        """See `ports.Jobs.events`."""
        found = (event for event in self._events if event.seq > since and (key is None or event.key == key))
        return tuple(itertools.islice(found, limit))

    async def changed(self, since: int) -> int:
        """See `ports.Jobs.changed`."""
        while self._last <= since:
            watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.add(watcher)
            try:
                await watcher
            finally:
                self._watchers.discard(watcher)
        return self._last

    async def delete(self, job: str) -> bool:
        """See `ports.Jobs.delete`."""
        gone = {kept.job.id for kept in self._named([job]) if kept.job.state in ENDED}
        self._forget(gone)
        return bool(gone)

    async def delete_ended(self, before_ms: int, *, now_ms: int) -> int:
        """See `ports.Jobs.delete_ended`."""
        gone = {kept.job.id for kept in self._kept.values() if 0 < kept.job.ended_at_ms < before_ms}
        self._forget(gone)
        self.drop_expired(now_ms)
        self.drop_batches(before_ms, {kept.job.batch for kept in self._kept.values()})
        return len(gone)

    async def cancel_batch(self, batch: Batch, *, now_ms: int) -> int:
        """See `ports.Batches.cancel_batch`."""
        await self.put_batch(batch)
        found = [kept for kept in self._kept.values() if kept.job.batch == batch.id != ""]
        return sum(self._move(kept, Event.CANCELLED, now_ms, "") for kept in found)

    def status(self) -> QueueStatus:
        """See `ports.Queue.status`."""
        jobs = [kept.job for kept in self._kept.values()]
        size = sum(len(kept.body) for kept in self._kept.values() if kept.job.state not in ENDED)
        return QueueStatus(states=_counted(jobs), waiting_bytes=size, disk_bytes=size, events=self._last)

    async def close(self) -> None:
        """See `ports.Queue.close`."""

    def _forget(self, gone: set[str]) -> None:
        self._kept = {name: kept for name, kept in self._kept.items() if name not in gone}
        self._known = {of: name for of, name in self._known.items() if name not in gone}
        self._events = [event for event in self._events if event.job not in gone]

    def _lease(self, kept: _Kept, now_ms: int, lease_ms: int) -> Leased:
        self._move(kept, Event.LEASED, now_ms, "")
        _change(kept, attempts=kept.job.attempts + 1, not_before_ms=0)
        kept.token, kept.until_ms, kept.lease_ms = f"lease-{next(self._tokens)}", now_ms + lease_ms, lease_ms
        return Leased(kept.job, kept.token, kept.until_ms, kept.body)

    def _lapse(self, now_ms: int) -> None:
        for kept in self._in(JobState.RUNNING):
            if not now_ms < kept.until_ms <= now_ms + 2 * kept.lease_ms:
                self._move(kept, Event.LAPSED, now_ms, "")

    def _move(self, kept: _Kept, event: Event, now_ms: int, reason: str) -> bool:
        after = step(kept.job.state, event)
        if after is None:
            return False
        _change(kept, state=after, reason=reason, ended_at_ms=now_ms if after in ENDED else 0)
        kept.token = ""
        self._tell(kept.job, now_ms)
        return True

    def _tell(self, job: Job, at_ms: int) -> None:
        self._last = next(self._numbers)
        self._events.append(
            JobEvent(
                seq=self._last,
                job=job.id,
                state=job.state,
                at_ms=at_ms,
                key=job.key,
                batch=job.batch,
                reason=job.reason,
            )
        )
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)

    def _in(self, state: JobState) -> list[_Kept]:
        return [kept for kept in self._kept.values() if kept.job.state is state]

    def _named(self, ids: Iterable[str]) -> Iterator[_Kept]:
        return (self._kept[name] for name in ids if name in self._kept)

    def _held(self, token: str) -> _Kept | None:
        return next((kept for kept in self._in(JobState.RUNNING) if kept.token == token), None)

    def _due(self, now_ms: int) -> Iterator[_Kept]:
        found = [
            kept
            for kept in self._in(JobState.WAITING)
            if is_due(kept.job.not_before_ms, now_ms) and kept.job.deadline_at_ms > now_ms
        ]
        return iter(sorted(found, key=lambda kept: (rank_ms(kept.job), kept.seq)))


def _change(kept: _Kept, **changes: Any) -> None:
    kept.job = msgspec.structs.replace(kept.job, **changes)


def _fits(job: Job, which: JobFilter) -> bool:
    is_state = which.state in (None, job.state)
    return is_state and which.key in (None, job.key) and (which.batch is None or job.batch == which.batch != "")


def _is_behind(seq: int, start: int, which: JobFilter) -> bool:
    return seq > start if which.is_oldest_first else seq < start


def _counted(jobs: Iterable[Job]) -> dict[JobState, int]:
    counts = dict.fromkeys(JobState, 0)
    for job in jobs:
        counts[job.state] += 1
    return counts
