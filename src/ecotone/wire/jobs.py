"""Jobs as callers see them: the object, a list of them, the event, the notice of a webhook. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ecotone.values import ENDED, Job, JobEvent, JobPage, JobState, RequestError

__all__ = [
    "encode_deleted",
    "encode_event",
    "encode_job",
    "encode_notice",
    "encode_page",
    "job_object",
    "read_filter",
    "read_limit",
    "without_answer",
]

LIMIT_MAX: Final = 100
_DEFAULT_LIMIT: Final = 20


def without_answer(job: Job) -> RequestError:
    """Why a job that has ended has no answer."""
    if job.state is JobState.CANCELLED:
        return RequestError("job.cancelled", "The job was cancelled before it was answered.", status=409)
    if job.state is JobState.EXPIRED:
        return RequestError("job.expired", "The job's deadline passed before it was answered.", status=504)
    return RequestError("job.lost", "The answer of the job can no longer be read.", status=410)


def job_object(job: Job) -> dict[str, Any]:
    """The object, in OpenAI's manner: times are Unix seconds, what is not known is null."""
    return {
        "id": job.id,
        "object": "job",
        "state": job.state.value,
        "reason": job.reason or None,
        "endpoint": f"/v1/{job.endpoint.value}",
        "model": job.model,
        "created_at": job.created_at_ms // 1000,
        "deadline_at": job.deadline_at_ms // 1000,
        "ended_at": job.ended_at_ms // 1000 if job.ended_at_ms else None,
        "priority": job.priority,
        "attempts": job.attempts,
        "labels": job.labels,
        "status": job.status or None,
        "target": job.target or None,
        "at": job.at or None,
        "batch": job.batch or None,
        "custom_id": job.custom_id or None,
        "webhook": job.webhook or None,
        "answer_url": f"/v1/jobs/{job.id}/answer",
    }


def encode_job(job: Job, answer: bytes | None = None) -> bytes:
    """The object as JSON; once there is an answer, `response` holds it with its status."""
    told = job_object(job)
    if job.state in ENDED:
        told["response"] = None if answer is None else {"status_code": job.status, "body": _as_json(answer)}
    return msgspec.json.encode(told)


def encode_deleted(job: Job) -> bytes:
    """What is left of a job that was removed, in OpenAI's form."""
    return msgspec.json.encode({"id": job.id, "object": "job", "deleted": True})


def encode_page(page: JobPage) -> bytes:
    """A list in OpenAI's form."""
    jobs = [job_object(job) for job in page.jobs]
    told = {
        "object": "list",
        "data": jobs,
        "first_id": jobs[0]["id"] if jobs else None,
        "last_id": jobs[-1]["id"] if jobs else None,
        "has_more": page.has_more,
    }
    return msgspec.json.encode(told)


def encode_event(event: JobEvent) -> bytes:
    """A change of a job's state as a server-sent event; its `id` is what `Last-Event-ID` says."""
    told = {
        "seq": event.seq,
        "job": event.job,
        "state": event.state.value,
        "reason": event.reason or None,
        "at": event.at_ms / 1e3,
        "batch": event.batch or None,
    }
    return b"id: %d\nevent: job\ndata: %b\n\n" % (event.seq, msgspec.json.encode(told))


def encode_notice(job: Job) -> bytes:
    """What a webhook is told: how a job ended, no content."""
    told = {
        "id": job.id,
        "state": job.state.value,
        "status": job.status,
        "reason": job.reason,
        "ended_at": job.ended_at_ms // 1000,
    }
    return msgspec.json.encode(told)


def read_filter(query: Mapping[str, str]) -> tuple[JobState | None, int]:
    """(state, limit) that the query of a list asks for.

    Raises:
        RequestError: a value that is not allowed; `param` names it.
    """
    state = query.get("state", "")
    if state and state not in set(JobState):
        words = ", ".join(JobState)
        raise RequestError("request.query", f"state: one of {words} is needed", param="state")
    return (JobState(state) if state else None), read_limit(query)


def read_limit(query: Mapping[str, str], *, most: int = LIMIT_MAX) -> int:
    """How many the query of a list asks for.

    Raises:
        RequestError: not a whole number from 1 to the most.
    """
    value = query.get("limit", "")
    if not value:
        return _DEFAULT_LIMIT
    if not (value.isascii() and value.isdigit() and len(value) <= 6 and 1 <= int(value) <= most):
        raise RequestError("request.query", f"limit: a whole number from 1 to {most} is needed", param="limit")
    return int(value)


def _as_json(answer: bytes) -> Any:
    """A body that is JSON as it is; another one as text."""
    try:
        return msgspec.json.decode(answer, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return answer.decode("utf-8", "replace")
