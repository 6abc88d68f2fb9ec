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
