"""Work that may wait, as the gateway sees it: what it opens onto, and how one request becomes a job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ecotone.flow.accepting import Terms
from ecotone.flow.batching import Batching
from ecotone.flow.news import News
from ecotone.gateway.caller import CallerSide
from ecotone.ports import Queue
from ecotone.values import ENDED, Job, Request, RequestError
from ecotone.wire.jobs import encode_job, without_answer
from ecotone.wire.prefer import Deferral, applied

JSON: Final = ("content-type", "application/json")
RETRY_AFTER: Final = ("retry-after", "1")
LISTENERS_MAX: Final = 64


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The rooms behind the routes of jobs, files and batches; all of it is injected by `runtime`.

    Attributes:
        accept: Looks at a request and makes a job of it; may raise EcotoneError.
        accepted: Told of each job that was taken and is durable.
        check_webhook: Raises RequestError where a URL can never be called.
        stir: There is something new in the queue.
        file_bytes_max: Largest file of a caller.
        listeners_max: Callers that may follow `/v1/jobs/events` at a time.
    """

    queue: Queue
    news: News
    batching: Batching
    accept: Callable[[Request, Terms], tuple[Job, bytes]]
    accepted: Callable[[Job], object]
    check_webhook: Callable[[str], None]
    stir: Callable[[], None]
    file_bytes_max: int = 200 << 20
    listeners_max: int = LISTENERS_MAX


async def defer(work: Work, request: Request, deferral: Deferral, caller: CallerSide, now_ms: int) -> None:
    """Takes a request as a job, durable before the caller hears of it; then waits for its end as long as asked.

    Raises:
        EcotoneError: it can never be served, there is no room, or its idempotency key belongs to another request.
    """
    if deferral.webhook:
        work.check_webhook(deferral.webhook)
    terms = Terms(
        id=caller.request,
        deadline_at_ms=now_ms + deferral.deadline_ms,
        priority=deferral.priority,
        idempotency=deferral.idempotency,
        webhook=deferral.webhook,
    )
    job, body = work.accept(request, terms)
    taken = (await work.queue.put([(job, body)]))[0]
    caller.request = taken
    if taken == job.id:
        work.accepted(job)
    else:
        await _check_same(work, taken, job, body)
    work.stir()
    found: Job | None = job if taken == job.id else None
    if deferral.wait_s or found is None:
        found = await work.news.ended(taken, deferral.wait_s or 0)
    if found is None:
        raise no_such_job()
    said = ("Preference-Applied", applied(deferral))
    if deferral.wait_s is not None and found.state in ENDED:
        await answer(work, found, caller, [said])
        return
    tell(caller, 202, encode_job(found), [*_deferred(found), said])


async def answer(work: Work, job: Job, caller: CallerSide, extra: Sequence[tuple[str, str]] = ()) -> None:
    """Tells a caller how a job was answered, as if it had been answered at once.

    Raises:
        RequestError: it ended without an answer.
    """
    body = await work.queue.answer(job.id)
    if body is None:
        raise without_answer(job)
    headers = [("Ecotone-Id", job.id), ("Ecotone-Reason", job.reason), *extra]
    if job.target:
        headers += [("Ecotone-Placed", job.at), ("Ecotone-Target", job.target)]
    tell(caller, job.status, body, headers)


def not_yet(job: Job, caller: CallerSide) -> None:
    """Tells a caller that a job has not ended."""
    tell(caller, 202, encode_job(job), [*_deferred(job), RETRY_AFTER])


def tell(caller: CallerSide, status: int, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
    """An answer in one piece, JSON."""
    caller.begin(status, [JSON, *headers], is_stream=False, length=len(body))
    caller.write(body)
    caller.finish()


def no_such_job() -> RequestError:
    """Not there, or not this caller's: which one is nobody's business."""
    return RequestError("request.job", "There is no job of this id here.", status=404, param="id")


def _deferred(job: Job) -> list[tuple[str, str]]:
    return [
        ("Location", f"/v1/jobs/{job.id}"),
        ("Ecotone-Id", job.id),
        ("Ecotone-Placed", "deferred"),
        ("Ecotone-Reason", job.reason or "deferred.asked"),
    ]


async def _check_same(work: Work, taken: str, job: Job, body: bytes) -> None:
    """An idempotency key stands for one request.

    Raises:
        RequestError: it was used for another one.
    """
    known, kept = await asyncio.gather(work.queue.get(taken), work.queue.body(taken))
    if known is None or known.endpoint is not job.endpoint or (kept is not None and kept != body):
        words = "This Idempotency-Key was used for another request; use a new one."
        raise RequestError("request.idempotency", words, status=422, param="Idempotency-Key")
