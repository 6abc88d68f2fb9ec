"""The durable queue: `ports.Queue` over one SQLite file, `jobs.db` in the store."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from ecotone.ports.queue import QueueStatus
from ecotone.store.budget import Budget, free_bytes
from ecotone.store.database import Connect, Database, closed, connect
from ecotone.store.disk import Disk, Lock
from ecotone.store.opening import FILE, QUEUE_LOCK, Recovered, opened
from ecotone.store.queue_files import FileRows
from ecotone.store.queue_jobs import STEP, JobRows
from ecotone.store.queue_limits import QueueLimits
from ecotone.store.queue_reading import JobReads
from ecotone.store.queue_retention import delete_step
from ecotone.store.queue_tally import QueueTally
from ecotone.store.sealing import Sealer
from ecotone.values import (
    Batch,
    ConfigError,
    Ending,
    Job,
    JobEvent,
    JobFilter,
    JobPage,
    JobState,
    Leased,
    RefusalError,
    StoredFile,
)

__all__ = ["Queue"]

T = TypeVar("T")


class Queue:
    """The queue of one site; implements `ports.Queue`. Belongs to one event loop.

    Attributes:
        recovered: What the start found.
    """

    def __init__(
        self, lock: Lock, database: Database, parts: tuple[JobRows, FileRows, Budget], found: Recovered
    ) -> None:
        """See `open`."""
        self.recovered = found
        self._lock, self._database = lock, database
        self._jobs, self._files, self._budget = parts
        self._reads = JobReads(self._jobs)
        self._watchers: set[asyncio.Future[None]] = set()
        self._told = 0
        self._is_closed = False
        database.on_commit = self._committed

    @classmethod
    def open(
        cls,
        store: Path,
        key: bytes,
        *,
        limits: QueueLimits | None = None,
        now_ms: int | None = None,
        connect: Connect = connect,
        free: Callable[[Path], int] = free_bytes,
    ) -> Queue:
        """The queue in a store's folder, made where there is none. Blocks.

        Args:
            key: See `sealing.key`.
            now_ms: Unix milliseconds, for the events of jobs that wait again; None: by the machine's clock.

        Raises:
            ConfigError: `store.locked`: another process has it; `store.key`: another key made it; `store.version`: a
                newer Ecotone did; `store.path`: the folder cannot be used.
        """
        limits, disk, lock = limits or QueueLimits(), Disk(), None
        now_ms = round(time.time() * 1000) if now_ms is None else now_ms
        sealer = Sealer(key)
        try:
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = Lock(store / QUEUE_LOCK)
            connection, found = opened(store, sealer, limits, disk, connect)
            tally = QueueTally(connection)
            jobs, files = JobRows(sealer, tally, limits), FileRows(sealer, limits)
            connection.execute("BEGIN IMMEDIATE")
            found = msgspec.structs.replace(
                found, released=jobs.lapse_all(connection, now_ms), unfinished=files.drop_unfinished(connection)
            )
            connection.execute("COMMIT")
        except (OSError, sqlite3.Error, ConfigError) as error:
            if lock is not None:
                lock.release()
            if isinstance(error, ConfigError):
                raise
            raise ConfigError("store.path", f"{store / FILE}: {error}; check owner, rights and free space") from error
        database = Database(store / FILE, tally, limits, opened=connection, connect=connect)
        return cls(lock, database, (jobs, files, Budget(store, limits, free)), found)

    async def put(self, jobs: Sequence[tuple[Job, bytes]], batch: Batch | None = None) -> tuple[str, ...]:
        """See `ports.Jobs.put`."""

        def work(connection: sqlite3.Connection) -> tuple[str, ...]:
            try:
                self._budget.check(connection, sum(len(body) for _, body in jobs))
            except RefusalError:
                known = self._jobs.known(connection, jobs)
                if not known:
                    raise
                return known
            if batch is not None:
                self._files.put_batch(connection, batch)
            return self._jobs.put(connection, jobs)

        return await self._database.write(work)

    async def due(self, n: int, *, now_ms: int, deadline_before_ms: int | None = None) -> tuple[Job, ...]:
        """See `ports.Jobs.due`."""
        return await self._database.read(lambda c: self._jobs.due(c, n, now_ms, deadline_before_ms))

    async def defer(self, ids: Sequence[str], *, not_before_ms: int, reason: str) -> int:
        """See `ports.Jobs.defer`."""
        return await self._database.write(lambda c: self._jobs.defer(c, ids, not_before_ms, reason))

    async def hasten(self, reason: str) -> int:
        """See `ports.Jobs.hasten`."""
        hastened = 0
        while True:
            some = await self._database.write(lambda c: self._jobs.hasten(c, reason, STEP))
            hastened += some
            if some < STEP:
                return hastened

    async def lease(
        self, n: int, *, now_ms: int, lease_ms: int, ids: Sequence[str] | None = None
    ) -> tuple[Leased, ...]:
        """See `ports.Jobs.lease`."""
        return await self._database.write(lambda c: self._jobs.lease(c, n, now_ms, lease_ms, ids))

    async def extend(self, token: str, *, now_ms: int, lease_ms: int) -> bool:
        """See `ports.Jobs.extend`."""
        return await self._database.write(lambda c: self._jobs.extend(c, token, now_ms, lease_ms))

    async def settle(self, token: str, ending: Ending, *, now_ms: int) -> bool:
        """See `ports.Jobs.settle`."""
        return await self._database.write(lambda c: self._jobs.settle(c, token, ending, now_ms))

    async def release(
        self, token: str, *, now_ms: int, not_before_ms: int, reason: str, is_attempt: bool = True
    ) -> bool:
        """See `ports.Jobs.release`."""
        later = (not_before_ms, reason)
        return await self._database.write(
            lambda c: self._jobs.release(c, token, now_ms, later=later, is_attempt=is_attempt)
        )

    async def label(self, job: str, labels: Sequence[str]) -> bool:
        """See `ports.Jobs.label`."""
        return await self._database.write(lambda c: self._jobs.label(c, job, labels))

    async def cancel(self, job: str, *, now_ms: int) -> JobState | None:
        """See `ports.Jobs.cancel`."""
        return await self._database.write(lambda c: self._jobs.cancel(c, job, now_ms))

    async def expire_due(self, *, now_ms: int) -> tuple[str, ...]:
        """See `ports.Jobs.expire_due`."""
        ended: tuple[str, ...] = ()
        while True:
            some = await self._database.write(lambda c: self._jobs.expire(c, now_ms, STEP))
            ended += some
            if len(some) < STEP:
                return ended

    async def get(self, job: str) -> Job | None:
        """See `ports.Jobs.get`."""
        return await self._database.read(lambda c: self._reads.get(c, job))

    async def body(self, job: str) -> bytes | None:
        """See `ports.Jobs.body`."""
        return await self._database.read(lambda c: self._reads.part(c, job, "ask"))

    async def answer(self, job: str) -> bytes | None:
        """See `ports.Jobs.answer`."""
        return await self._database.read(lambda c: self._reads.part(c, job, "answer"))

    async def page(self, which: JobFilter, *, limit: int) -> JobPage:
        """See `ports.Jobs.page`."""
        return await self._database.read(lambda c: self._reads.page(c, which, limit))

    async def counts(self, batch: str | None = None) -> Mapping[JobState, int]:
        """See `ports.Jobs.counts`."""
        if batch is None:
            return dict(self._database.seen.states)
        return await self._database.read(lambda c: self._reads.counts(c, batch))

    async def next_due_ms(self, *, now_ms: int) -> int | None:
        """See `ports.Jobs.next_due_ms`."""
        return await self._database.read(lambda c: self._reads.next_due_ms(c, now_ms))

    async def next_end_ms(self) -> int | None:
        """See `ports.Jobs.next_end_ms`."""
        return await self._database.read(self._reads.next_end_ms)

    async def events(self, since: int, *, limit: int, key: str | None = None) -> tuple[JobEvent, ...]:
        """See `ports.Jobs.events`."""
        return await self._database.read(lambda c: self._reads.events(c, since, limit, key))

    async def changed(self, since: int) -> int:
        """See `ports.Jobs.changed`."""
        while self._database.seen.events <= since:
            if self._is_closed:
                raise closed("it is closed")
            watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._watchers.add(watcher)
            try:
                await watcher
            finally:
                self._watchers.discard(watcher)
        return self._database.seen.events

    async def delete(self, job: str) -> bool:
        """See `ports.Jobs.delete`."""
        return await self._database.write(lambda c: self._jobs.drop(c, job))

    async def delete_ended(self, before_ms: int, *, now_ms: int) -> int:
        """See `ports.Jobs.delete_ended`."""
        removed = 0
        while True:
            some, is_done = await self._database.write(
                lambda c: delete_step(c, self._jobs, self._files, before_ms=before_ms, now_ms=now_ms)
            )
            removed += some
            if is_done:
                return removed

    async def begin_file(self, file: StoredFile) -> None:
        """See `ports.Files.begin_file`."""
        await self._growing(0, lambda c: self._files.begin(c, file))

    async def append_file(self, file: str, content: bytes) -> int:
        """See `ports.Files.append_file`."""
        return await self._growing(len(content), lambda c: self._files.append(c, file, content))

    async def finish_file(self, file: str) -> StoredFile:
        """See `ports.Files.finish_file`."""
        return await self._database.write(lambda c: self._files.finish(c, file))

    async def put_file(self, file: StoredFile, content: bytes) -> StoredFile:
        """See `ports.Files.put_file`."""

        def work(connection: sqlite3.Connection) -> StoredFile:
            self._files.begin(connection, file)
            self._files.append(connection, file.id, content)
            return self._files.finish(connection, file.id)

        return await self._growing(len(content), work)

    async def file(self, file: str) -> StoredFile | None:
        """See `ports.Files.file`."""
        return await self._database.read(lambda c: self._files.file(c, file))

    async def read_file(self, file: str, start: int, limit: int) -> bytes | None:
        """See `ports.Files.read_file`."""
        return await self._database.read(lambda c: self._files.read(c, file, start, limit))

    async def files(self, *, key: str | None = None, after: str = "", limit: int) -> tuple[StoredFile, ...]:
        """See `ports.Files.files`."""
        return await self._database.read(lambda c: self._files.files(c, key, after, limit))

    async def delete_file(self, file: str) -> bool:
        """See `ports.Files.delete_file`."""
        return await self._database.write(lambda c: self._files.delete(c, file))

    async def put_batch(self, batch: Batch) -> None:
        """See `ports.Batches.put_batch`."""
        await self._database.write(lambda c: self._files.put_batch(c, batch))

    async def batch(self, batch: str) -> Batch | None:
        """See `ports.Batches.batch`."""
        return await self._database.read(lambda c: self._files.batch(c, batch))

    async def batches(self, *, key: str | None = None, after: str = "", limit: int) -> tuple[Batch, ...]:
        """See `ports.Batches.batches`."""
        return await self._database.read(lambda c: self._files.batches(c, key, after, limit))

    async def cancel_batch(self, batch: Batch, *, now_ms: int) -> int:
        """See `ports.Batches.cancel_batch`."""

        def work(connection: sqlite3.Connection) -> int:
            self._files.put_batch(connection, batch)
            return self._jobs.cancel_batch(connection, batch.id, now_ms)

        return await self._database.write(work)

    def status(self) -> QueueStatus:
        """See `ports.Queue.status`."""
        database = self._database
        seen = database.seen
        return QueueStatus(
            states=dict(seen.states), waiting_bytes=seen.waiting_bytes, disk_bytes=database.disk_bytes(),
            events=seen.events, failure=database.failure, groups=database.groups, commands=database.commands,
        )  # fmt: skip

    async def close(self) -> None:
        """See `ports.Queue.close`."""
        if not self._is_closed:
            self._is_closed = True
            await self._database.close()
            self._wake()
            self._lock.release()

    async def _growing(self, size: int, work: Callable[[sqlite3.Connection], T]) -> T:
        """Does something that needs room for so many bytes more."""

        def bounded(connection: sqlite3.Connection) -> T:
            self._budget.check(connection, size)
            return work(connection)

        return await self._database.write(bounded)

    def _committed(self) -> None:
        """In the loop, after each group."""
        if self._database.seen.events != self._told:
            self._told = self._database.seen.events
            self._wake()

    def _wake(self) -> None:
        for watcher in self._watchers:
            if not watcher.done():
                watcher.set_result(None)
