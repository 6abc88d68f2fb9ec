"""OpenAI's files and batches."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecotone.values import Batch, Endpoint, Job, JobState, RequestError, StoredFile
from ecotone.wire.batches import (
    BatchAsk,
    batch_object,
    encode_list,
    encode_result,
    file_object,
    read_batch,
    read_line,
    read_purpose,
)

ASK: dict[str, Any] = {"input_file_id": "file-1", "endpoint": "/v1/embeddings", "completion_window": "24h"}
LINE: dict[str, Any] = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m"}}


def test_what_a_batch_asks() -> None:
    assert read_batch(json.dumps(ASK).encode()) == BatchAsk("file-1", Endpoint.EMBEDDINGS, "24h", 86_400_000, {})
    found = read_batch(json.dumps(ASK | {"completion_window": "7d", "metadata": {"a": "b"}, "more": 1}).encode())
    assert (found.window_ms, found.metadata) == (7 * 86_400_000, {"a": "b"})
    assert read_batch(json.dumps(ASK | {"metadata": None}).encode()).metadata == {}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"endpoint": "/v1/responses"}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"completion_window": "31d"}, "completion_window"),
        ({"completion_window": "0h"}, "completion_window"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "b" * 513}}, "metadata"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
        ({"input_file_id": 1}, None),
    ],
)
def test_what_is_wrong_with_a_batch(changes: dict[str, Any], param: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        read_batch(json.dumps(ASK | changes).encode())
    assert caught.value.param == param


def test_a_body_that_is_no_batch() -> None:
    for body in (b"", b"no", b"\xff", b"[" * 100_000):
        with pytest.raises(RequestError):
            read_batch(body)


def test_lines() -> None:
    line = read_line(b'{"custom_id":"a","method":"POST","url":"/v1/embeddings","body": {"model" : "m"}}', "embeddings")
    assert (line.custom_id, line.body) == ("a", b'{"model" : "m"}')


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"custom_id": ""}, "invalid_custom_id"),
        ({"custom_id": "x" * 257}, "invalid_custom_id"),
        ({"method": "GET"}, "invalid_method"),
        ({"url": "/v1/completions"}, "mismatched_url"),
        ({"body": "text"}, "invalid_body"),
        ({"custom_id": 1}, "invalid_json_line"),
    ],
)
def test_lines_that_are_wrong(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_line(json.dumps(LINE | changes).encode(), "embeddings")
    assert caught.value.code == code
    for broken in (b"no json", b"\xff", b"{}"):
        with pytest.raises(RequestError) as caught:
            read_line(broken, "embeddings")
        assert caught.value.code == "invalid_json_line"


def test_purposes() -> None:
    assert read_purpose("batch") == "batch"
    for value in ("", "no such", "x" * 65):
        with pytest.raises(RequestError):
            read_purpose(value)


def test_a_file() -> None:
    file = StoredFile(id="file-1", name="in.jsonl", purpose="batch", created_at_ms=5_000, key="ann", size=7)
    assert file_object(file) == {
        "id": "file-1", "object": "file", "bytes": 7, "created_at": 5, "expires_at": None, "filename": "in.jsonl",
        "purpose": "batch", "status": "processed",
    }  # fmt: skip
    assert (
        file_object(StoredFile(id="f", name="n", purpose="p", created_at_ms=0, expires_at_ms=9_000))["expires_at"] == 9
    )


def batch(**changes: Any) -> Batch:
    base: dict[str, Any] = {
        "id": "batch-1", "endpoint": "embeddings", "input_file": "file-1", "created_at_ms": 1_000,
        "expires_at_ms": 9_000, "key": "ann",
    }  # fmt: skip
    return Batch(**base | changes)


def test_a_batch_under_way_and_over() -> None:
    counts = {JobState.ANSWERED: 2, JobState.FAILED: 1, JobState.EXPIRED: 1, JobState.CANCELLED: 5}
    told = batch_object(batch(state="in_progress", total=9, times={"in_progress": 2_000}), counts)
    assert (told["status"], told["endpoint"], told["in_progress_at"]) == ("in_progress", "/v1/embeddings", 2)
    assert told["request_counts"] == {"total": 9, "completed": 2, "failed": 2}
    assert (told["errors"], told["output_file_id"], told["metadata"]) == (None, None, None)
    assert "ann" not in str(told)
    told = batch_object(batch(state="failed", completed=3, failed=4, errors=(("c", "m", 7), ("d", "n", 0))), None)
    assert told["request_counts"] == {"total": 0, "completed": 3, "failed": 4}
    assert [(one["code"], one["line"]) for one in told["errors"]["data"]] == [("c", 7), ("d", None)]
    assert json.loads(encode_list([told], has_more=True))["first_id"] == "batch-1"
    assert json.loads(encode_list([], has_more=False))["last_id"] is None


@pytest.mark.parametrize(
    ("state", "answer", "is_good", "code"),
    [
        (JobState.ANSWERED, b'{\n "a": 1\n}', True, None),
        (JobState.ANSWERED, None, False, "store.damaged"),
        (JobState.FAILED, b'{"error": {}}', False, None),
        (JobState.REFUSED, b"no json\n", False, None),
        (JobState.EXPIRED, None, False, "batch_expired"),
        (JobState.CANCELLED, None, False, "batch_cancelled"),
    ],
)
def test_results(state: JobState, answer: bytes | None, is_good: bool, code: str | None) -> None:
    job = Job(
        id="job-1", endpoint=Endpoint.CHAT, model="m", created_at_ms=0, deadline_at_ms=0, state=state, custom_id="a",
        status=200,
    )  # fmt: skip
    found, line = encode_result(job, answer)
    assert found is is_good
    assert line.count(b"\n") == 1
    told = json.loads(line)
    assert told["custom_id"] == "a"
    assert (told["error"] or {}).get("code") == code
    if answer is not None:
        assert told["response"]["status_code"] == 200
