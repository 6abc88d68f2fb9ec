"""The queue of jobs, as those need it who accept work and those who do it.

One queue is one transaction manager: what belongs together goes in one call and is durable together, and a call returns
when it is. Instants are Unix milliseconds and always the caller's; a clock that jumps changes when something happens,
never whether. All calls come from one event loop.

Every call may raise `RefusalError`:
    `refused.store_full` (507): the disk, or the part of it that the queue may use, is full; nothing was changed.
    `refused.store` (503): the disk failed, the queue is closed, or too many calls wait; the change may or may not have
    been kept, and repeating the same call is safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from ecotone.values.job import Batch, Ending, Job, JobEvent, JobFilter, JobPage, JobState, Leased, StoredFile

__all__ = ["Batches", "Files", "Jobs", "Queue", "QueueStatus"]


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the queue is, without asking the disk.

    Attributes:
        states: Jobs by state; ended ones as long as they are kept.
        waiting_bytes: Of the bodies of jobs that have not ended.
        disk_bytes: What the queue takes on the disk.
        events: Number of the last event.
        failure: Why nothing can be written now, in words; `''` while all is well.
        groups, commands: Transactions that were committed, and how many calls were in them.
    """

    states: Mapping[JobState, int]
    waiting_bytes: int
    disk_bytes: int
    events: int
    failure: str = ""
    groups: int = 0
    commands: int = 0


class Jobs(Protocol):
    """Jobs: accepted once, ended once."""

    async def put(self, jobs: Sequence[tuple[Job, bytes]], batch: Batch | None = None) -> tuple[str, ...]:
        """Accepts jobs with their bodies, all or none, and with them the state of their batch; their ids, in order.

        A job whose (key, idempotency) or id is already there is not taken again: its place in the answer has the id of
        the first one, also when nothing new is taken.

        Raises:
            RefusalError: `refused.queue_full` (429, with `Retry-After`): too many jobs or bytes wait.
            RequestError: `request.too_large` (413): one body is longer than the queue takes.
        """

    async def due(self, n: int, *, now_ms: int, deadline_before_ms: int | None = None) -> tuple[Job, ...]:
        """The first waiting jobs that may be looked at now, in their order (`jobs.rank_ms`).

        Args:
            deadline_before_ms: Only those whose deadline is earlier, the nearest first.
        """

    async def defer(self, ids: Sequence[str], *, not_before_ms: int, reason: str) -> int:
        """Waiting jobs are not due before an instant; how many there were of them. No event is written."""

    async def hasten(self, reason: str) -> int:
        """Waiting jobs that were put off for this reason are due now: the link is back, the edge is idle."""

    async def lease(
        self, n: int, *, now_ms: int, lease_ms: int, ids: Sequence[str] | None = None
    ) -> tuple[Leased, ...]:
        """Takes up to n due jobs for work, in their order; each counts as begun once more.

        A job whose body cannot be read any more ends here, as failed with reason `store.damaged`.

        Args:
            ids: Only these, due or not, as far as they wait.
        """

    async def extend(self, token: str, *, now_ms: int, lease_ms: int) -> bool:
        """The lease is longer. False: it is over, the job was cancelled or given to somebody else; stop working."""

    async def settle(self, token: str, ending: Ending, *, now_ms: int) -> bool:
        """The job has ended. False: it was not this holder's to end any more, and nothing changed."""

    async def release(
        self, token: str, *, now_ms: int, not_before_ms: int, reason: str, is_attempt: bool = True
    ) -> bool:
        """The job waits again. False as for `settle`.

        Args:
            is_attempt: False where nothing was sent anywhere, so that this lease does not count.
        """

    async def label(self, job: str, labels: Sequence[str]) -> bool:
        """The job has these labels too; none ever goes. False: there is no such job, or it cannot be read any more."""

    async def cancel(self, job: str, *, now_ms: int) -> JobState | None:
        """The job ends as cancelled unless it has ended; the state that it has then, None if there is none."""

    async def expire_due(self, *, now_ms: int) -> tuple[str, ...]:
        """Ends waiting jobs whose deadline has passed, and lets lapsed leases go; ids of those that it ended."""

    async def get(self, job: str) -> Job | None:
        """What is known of a job."""

    async def body(self, job: str) -> bytes | None:
        """What a job asks. None: there is no such job, or it cannot be read any more."""

    async def answer(self, job: str) -> bytes | None:
        """How a job was answered. None: not yet, or it was cancelled or expired, or it cannot be read any more."""

    async def page(self, which: JobFilter, *, limit: int) -> JobPage:
        """Some jobs, in order of acceptance."""

    async def counts(self, batch: str | None = None) -> Mapping[JobState, int]:
        """Jobs by state; of a batch, or of all."""

    async def next_due_ms(self, *, now_ms: int) -> int | None:
        """The next instant at which something is due: a waiting job, a deadline, the end of a lease. None: nothing."""

    async def next_end_ms(self) -> int | None:
        """The next instant at which `expire_due` has something to do: a deadline of a job that waits, or the end of a
        lease. None: nothing."""

    async def events(self, since: int, *, limit: int, key: str | None = None) -> tuple[JobEvent, ...]:
        """Changes of state after number `since`, in their order. The oldest are forgotten in the course of time."""

    async def changed(self, since: int) -> int:
        """Waits until there is an event after number `since`; the number of the last one. Has no limit of its own."""

    async def delete(self, job: str) -> bool:
        """Removes a job that has ended: what it asked, how it was answered, its events, and its idempotency key.
        False: there is none, or it has not ended, and nothing changed."""

    async def delete_ended(self, before_ms: int, *, now_ms: int) -> int:
        """Removes jobs that ended before an instant, their events, ended batches without jobs, files that have expired;
        how many jobs. Works in small steps."""


class Files(Protocol):
    """Callers' files, and those that batches make."""

    async def begin_file(self, file: StoredFile) -> None:
        """A file that grows by `append_file`. One of this id that is not whole begins anew.

        Raises:
            RefusalError: `refused.queue_full` (429): there are too many files.
        """

    async def append_file(self, file: str, content: bytes) -> int:
        """More of a file; its size now.

        Raises:
            RequestError: `request.too_large` (413): it would be longer than the queue takes. `request.file` (404):
                nobody has begun it, or it is whole.
        """

    async def finish_file(self, file: str) -> StoredFile:
        """The file is whole; what is not when a site starts is removed. Raises `request.file` as `append_file`."""

    async def put_file(self, file: StoredFile, content: bytes) -> StoredFile:
        """All three in one transaction."""

    async def file(self, file: str) -> StoredFile | None:
        """What is known of a file."""

    async def read_file(self, file: str, start: int, limit: int) -> bytes | None:
        """Up to `limit` bytes from `start` on; fewer only at the end. None: no such file, or it cannot be read."""

    async def files(self, *, key: str | None = None, after: str = "", limit: int) -> tuple[StoredFile, ...]:
        """Whole files, the newest first."""

    async def delete_file(self, file: str) -> bool:
        """The file is not there; whether it was."""


class Batches(Protocol):
    """Batches: what holds the jobs of one file together."""

    async def put_batch(self, batch: Batch) -> None:
        """The batch as it is now, in place of what was known of it."""

    async def batch(self, batch: str) -> Batch | None:
        """What is known of a batch."""

    async def batches(self, *, key: str | None = None, after: str = "", limit: int) -> tuple[Batch, ...]:
        """Batches, the newest first."""

    async def cancel_batch(self, batch: Batch, *, now_ms: int) -> int:
        """Keeps the batch as it is given, and cancels all its jobs that have not ended; how many."""


class Queue(Jobs, Files, Batches, Protocol):
    """Jobs, files and batches in one store."""

    def status(self) -> QueueStatus:
        """How it is, at once."""

    async def close(self) -> None:
        """What was accepted is durable, and nothing is accepted any more."""
