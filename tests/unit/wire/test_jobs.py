"""Jobs as callers see them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecotone.values import Endpoint, Job, JobEvent, JobPage, JobState, RequestError
from ecotone.wire import jobs
from ecotone.wire.jobs import (
    encode_deleted,
    encode_event,
    encode_job,
    encode_notice,
    encode_page,
    read_filter,
    without_answer,
)


def job(**changes: Any) -> Job:
    base: dict[str, Any] = {
        "id": "job-1", "endpoint": Endpoint.CHAT, "model": "m", "created_at_ms": 5_900, "deadline_at_ms": 9_000,
        "key": "ann", "idempotency": "secret",
    }  # fmt: skip
    return Job(**base | changes)


def test_the_object_holds_no_key_and_no_idempotency_key() -> None:
    told = json.loads(encode_job(job(reason="deferred.asked", labels=("medical",))))
    assert (told["id"], told["object"], told["state"], told["created_at"]) == ("job-1", "job", "waiting", 5)
    assert told["endpoint"] == "/v1/chat/completions"
    assert told["answer_url"] == "/v1/jobs/job-1/answer"
    assert told["ended_at"] is None
    assert told["labels"] == ["medical"]
    assert "ann" not in str(told)
    assert "secret" not in str(told)
    assert "response" not in told


def test_an_ended_job_holds_its_answer() -> None:
    done = job(state=JobState.ANSWERED, status=200, ended_at_ms=8_000, target="t", at="edge")
    assert json.loads(encode_job(done, b'{"a": 1}'))["response"] == {"status_code": 200, "body": {"a": 1}}
    assert json.loads(encode_job(done, b"no json"))["response"]["body"] == "no json"
    assert json.loads(encode_job(done, b"\xff"))["response"]["body"] == "\ufffd"
    assert json.loads(encode_job(done))["response"] is None


def test_lists_events_and_notices() -> None:
    page = json.loads(encode_page(JobPage((job(), job(id="job-2")), True)))
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("job-1", "job-2", True)
    assert json.loads(encode_page(JobPage((), False)))["first_id"] is None
    assert json.loads(encode_deleted(job())) == {"id": job().id, "object": "job", "deleted": True}
    event = JobEvent(seq=7, job="job-1", state=JobState.RUNNING, at_ms=1_500, key="ann", batch="batch-1")
    first, second, third, *_ = encode_event(event).split(b"\n")
    assert (first, second) == (b"id: 7", b"event: job")
    assert json.loads(third.removeprefix(b"data: ")) == {
        "seq": 7, "job": "job-1", "state": "running", "reason": None, "at": 1.5, "batch": "batch-1",
    }  # fmt: skip
    notice = json.loads(encode_notice(job(state=JobState.FAILED, status=502, reason="r", ended_at_ms=8_000)))
    assert notice == {"id": "job-1", "state": "failed", "status": 502, "reason": "r", "ended_at": 8}


def test_queries() -> None:
    assert read_filter({}) == (None, 20)
    assert read_filter({"state": "waiting", "limit": "100"}) == (JobState.WAITING, 100)
    for query in ({"state": "x"}, {"limit": "0"}, {"limit": "101"}, {"limit": "many"}):
        with pytest.raises(RequestError):
            read_filter(query)
    assert jobs.read_limit({"limit": "500"}, most=1000) == 500


@pytest.mark.parametrize(
    ("state", "code", "status"),
    [
        (JobState.CANCELLED, "job.cancelled", 409),
        (JobState.EXPIRED, "job.expired", 504),
        (JobState.ANSWERED, "job.lost", 410),
    ],
)
def test_why_there_is_no_answer(state: JobState, code: str, status: int) -> None:
    error = without_answer(job(state=state))
    assert (error.code, error.status) == (code, status)
