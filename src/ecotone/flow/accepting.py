"""Takes a request as a job: looked at and refused now if it never could be served, else durable and done later."""

from __future__ import annotations

from typing import Final

import msgspec

from ecotone import privacy
from ecotone.flow.planning import plan, refusal
from ecotone.flow.site import Site
from ecotone.jobs.dispatch import ASKED, OFFLINE
from ecotone.values import Place, Request
from ecotone.values.job import Job

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
        RequestError: unknown model name, or no target could ever take it.
        RefusalError: policy lets it go nowhere.
    """
    findings = privacy.inspect(request, site.look)
    decided = plan(site, request, findings)
    lost = decided.placement.lost
    if not decided.placement.order and all(loss.obstacle in FINAL for loss in lost):
        raise refusal(site, decided)
    wanted = decided.candidates[0] if decided.candidates else None
    is_offline = wanted is not None and wanted.at is Place.CLOUD and wanted.condition.breaker == "open"
    job = Job(
        id=terms.id,
        endpoint=request.endpoint,
        model=request.model,
        created_at_ms=int(site.clock.wall_s() * 1e3),
        deadline_at_ms=terms.deadline_at_ms,
        key=request.key,
        labels=findings.labels,
        wish=request.wish,
        priority=terms.priority,
        idempotency=terms.idempotency,
        batch=terms.batch,
        line=terms.line,
        custom_id=terms.custom_id,
        webhook=terms.webhook,
        reason=OFFLINE if is_offline else ASKED,
    )
    return job, request.body if findings.body is None else findings.body
