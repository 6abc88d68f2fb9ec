"""Takes a request as a job: looked at and refused now if it never could be served, else durable and done later."""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from ecotone import privacy
from ecotone.flow.planning import plan, refusal
from ecotone.flow.prospects import held
from ecotone.flow.site import Site
from ecotone.jobs.dispatch import ASKED, OFFLINE
from ecotone.values import Endpoint, Place, RefusalError, Request, RequestError
from ecotone.values.job import Job
from ecotone.wire.request import Head

FINAL: Final = frozenset({"policy", "no_cloud", "wish", "endpoint", "capability", "context", "no_target"})
"""Obstacles that time does not remove."""


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks of a job.

    Attributes:
        id: Of the job.
        deadline_at_ms: Unix milliseconds.
    """

    id: str
    deadline_at_ms: int
    priority: int = 5
    idempotency: str = ""
    batch: str = ""
    line: int = 0
    custom_id: str = ""
    webhook: str = ""


def accept(site: Site, request: Request, terms: Terms) -> tuple[Job, bytes]:
    """The job and its body, ready for the queue; labels of the quick detectors travel with it from here on.

    Raises:
        RequestError: unknown model name, no target could ever take it, or it asks for a stream.
        RefusalError: policy lets it go nowhere.
    """
    if request.is_stream:
        raise no_stream()
    findings = privacy.inspect(request, site.look)
    decided = plan(site, request, findings)
    lost = decided.placement.lost
    if not decided.placement.order and all(loss.obstacle in FINAL for loss in lost):
        raise refusal(site, decided)
    wanted = decided.candidates[0] if decided.candidates else None
    is_for_cloud = wanted is not None and wanted.at is Place.CLOUD
    is_offline = is_for_cloud and decided.candidates[0].condition.breaker == "open"
    shut = held(site) if is_for_cloud else None
    job = msgspec.structs.replace(
        _job(site, request, request.endpoint, terms),
        model=request.model,
        labels=findings.labels,
        reason=OFFLINE if is_offline else shut.reason if shut is not None else ASKED,
    )
    return job, request.body if findings.body is None else findings.body


def unaccepted(site: Site, head: Head, endpoint: Endpoint, terms: Terms) -> Job:
    """The job of a request that `accept` or `decode` refused: it will fail, and say why, in its turn."""
    return msgspec.structs.replace(_job(site, head, endpoint, terms), reason=ASKED)


class Accepted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The ledger's entry of a job's acceptance: from here on the site owes an end. No content, and none of the
    caller's own words for it."""

    job: str
    model: str
    endpoint: str
    deadline_at_ms: int
    key: str = ""
    labels: tuple[str, ...] = ()
    batch: str = ""
    priority: int = 5


def note_accepted(site: Site, job: Job) -> None:
    """Says in the ledger that a job was accepted. Where it cannot be written the job is accepted all the same."""
    entry = Accepted(
        job.id, job.model, job.endpoint.value, job.deadline_at_ms, job.key, job.labels, job.batch, job.priority
    )
    with contextlib.suppress(RefusalError):
        site.journal.note("accepted", entry)


def no_stream() -> RequestError:
    """A job has one answer in one piece."""
    return RequestError("request.stream", "stream: a job is answered in one piece; leave it out", param="stream")


def _job(site: Site, asked: Request | Head, endpoint: Endpoint, terms: Terms) -> Job:
    return Job(
        id=terms.id,
        endpoint=endpoint,
        model="",
        created_at_ms=int(site.clock.wall_s() * 1e3),
        deadline_at_ms=terms.deadline_at_ms,
        key=asked.key,
        labels=asked.labels,
        wish=asked.wish,
        priority=terms.priority,
        idempotency=terms.idempotency,
        batch=terms.batch,
        line=terms.line,
        custom_id=terms.custom_id,
        webhook=terms.webhook,
    )
