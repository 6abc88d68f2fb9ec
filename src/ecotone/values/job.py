"""Work that may wait: accepted once, ended once (invariant 5)."""

from __future__ import annotations

import enum

import msgspec

from ecotone.values.request import Endpoint, Wish

PRIORITY_MAX = 9
"""Priorities are 0 (whenever there is time) to 9 (before all others); 5 where nobody says."""


class JobState(enum.StrEnum):
    """Where a job stands; the table of moves is `jobs.lifecycle`."""

    WAITING = "waiting"
    RUNNING = "running"
    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a job besides what it asks and what was answered, which are encrypted at rest.

    Attributes:
        id: `job-...`; sorts by the time of acceptance.
        key: Name of the API key that it came with, or `''`: who may see it.
        labels: Of the caller, and what detectors found; they travel with the job and are only ever added to.
        deadline_at_ms: Unix milliseconds by which it must have ended; then it is `expired`.
        not_before_ms: Unix milliseconds before which it is not tried (again).
        priority: 0 to `PRIORITY_MAX`; grows in effect with the time that it has waited.
        idempotency: The caller's `Idempotency-Key`, or `''`: a second one of the same key is the same job.
        batch: Id of its batch, or `''`; `line` is its place in it and `custom_id` the caller's name for it.
        webhook: URL inside the site that is told of the end, or `''`.
        attempts: How often it was begun.
        reason: A reason code, while it waits (`deferred.offline`, `deferred.asked`) and at its end.
        status: HTTP status of the answer, once it has ended; else 0.
        target, at: Who answered.
    """

    id: str
    endpoint: Endpoint
    model: str
    created_at_ms: int
    deadline_at_ms: int
    key: str = ""
    labels: tuple[str, ...] = ()
    wish: Wish = Wish.AUTO
    priority: int = 5
    idempotency: str = ""
    batch: str = ""
    line: int = 0
    custom_id: str = ""
    webhook: str = ""
    state: JobState = JobState.WAITING
    not_before_ms: int = 0
    attempts: int = 0
    reason: str = ""
    status: int = 0
    target: str = ""
    at: str = ""
    ended_at_ms: int = 0


class Leased(msgspec.Struct, frozen=True):
    """A job that its holder may work on until the lease ends, and what it asks.

    Attributes:
        token: Proves the lease; a job that was leased anew meanwhile does not take the older holder's word.
        until_ms: Unix milliseconds.
        body: The request's body as the caller sent it.
    """

    job: Job
    token: str
    until_ms: int
    body: bytes


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended: exactly once.

    Attributes:
        body: The answer in one piece, or an error object; JSON.
    """

    state: JobState
    status: int
    reason: str
    body: bytes
    target: str = ""
    at: str = ""


ENDED = frozenset({JobState.ANSWERED, JobState.FAILED, JobState.REFUSED, JobState.EXPIRED, JobState.CANCELLED})
"""States that nothing leaves."""


class JobEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of a job's state.

    Attributes:
        seq: Grows by one with each event; what a reader has seen last.
        at_ms: Unix milliseconds, as the queue was told.
    """

    seq: int
    job: str
    state: JobState
    at_ms: int
    key: str = ""
    batch: str = ""
    reason: str = ""


class JobPage(msgspec.Struct, frozen=True):
    """Some jobs, and whether there are more behind the last one."""

    jobs: tuple[Job, ...]
    has_more: bool


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs; what is None is not asked for.

    Attributes:
        after: Only jobs that come behind this one in the list; `''` from the start.
        is_oldest_first: Order of acceptance; else the newest come first.
    """

    state: JobState | None = None
    key: str | None = None
    batch: str | None = None
    after: str = ""
    is_oldest_first: bool = False


class StoredFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A caller's file, in OpenAI's sense; its content is encrypted at rest.

    Attributes:
        id: `file-...`.
        key: Name of the API key that it came with, or `''`: who may see it.
        size: Bytes; of a file that is still being written, those written so far.
        is_whole: Whether all of it is there.
        labels: Of the caller; they travel with the file.
        expires_at_ms: Unix milliseconds after which it is removed; 0 = when its owner asks.
    """

    id: str
    name: str
    purpose: str
    created_at_ms: int
    key: str = ""
    size: int = 0
    is_whole: bool = False
    labels: tuple[str, ...] = ()
    expires_at_ms: int = 0


class Batch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Many jobs that came as one file, in OpenAI's sense. How many of them ended how is `Queue.counts`.

    Attributes:
        state: OpenAI's word: `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`,
            `cancelling`, `cancelled`.
        input_file, output_file, error_file: Ids of files, or `''`.
        window: The completion window as the caller wrote it, such as `24h`.
        times: Unix milliseconds at which each state was reached.
        errors: (code, message, line or 0) of what was wrong with the input.
        total: Lines of the input.
        completed, failed: Lines that were answered, and that failed, were refused or expired; kept at the batch's end,
            when its jobs may be forgotten.
        labels, wish, priority: Of the caller, for each of its jobs.
    """

    id: str
    endpoint: str
    input_file: str
    created_at_ms: int
    expires_at_ms: int
    key: str = ""
    state: str = "validating"
    output_file: str = ""
    error_file: str = ""
    window: str = "24h"
    metadata: dict[str, str] = {}
    times: dict[str, int] = {}
    errors: tuple[tuple[str, str, int], ...] = ()
    total: int = 0
    completed: int = 0
    failed: int = 0
    labels: tuple[str, ...] = ()
    wish: Wish = Wish.AUTO
    priority: int = 5
