"""OpenAI's files and batches: what is asked, the objects, the lines in and out. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ecotone.values import Batch, Endpoint, Job, JobState, RequestError, StoredFile

__all__ = [
    "OVER",
    "STATES",
    "BatchAsk",
    "Line",
    "batch_object",
    "encode_list",
    "encode_result",
    "file_object",
    "read_batch",
    "read_line",
    "read_purpose",
    "tally",
]

OVER: Final = frozenset({"completed", "failed", "expired", "cancelled"})
"""States of a batch that nothing leaves."""

STATES: Final = ("validating", "in_progress", "finalizing", "cancelling", *sorted(OVER))
WINDOW_MS_MAX: Final = 30 * 24 * 3600 * 1000
METADATA_MAX: Final = 16
"""Precedent: OpenAI's limits; a key has up to 64 characters, a value up to 512."""
CUSTOM_ID_CHARS_MAX: Final = 256

_WINDOW: Final = re.compile(r"([1-9][0-9]{0,3})([hd])")
_PURPOSE: Final = re.compile(r"[a-z0-9_-]{1,64}")
_HOUR_MS: Final = 3600 * 1000
_BY_PATH: Final = {f"/v1/{endpoint.value}": endpoint for endpoint in Endpoint}


class _Ask(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


class BatchAsk(msgspec.Struct, frozen=True):
    """What a caller asks of a batch."""

    input_file: str
    endpoint: Endpoint
    window: str
    window_ms: int
    metadata: dict[str, str]


class Line(msgspec.Struct, frozen=True):
    """One line of a batch's input; `body` is the request as the caller wrote it."""

    custom_id: str
    body: bytes


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


_read_ask: Final = msgspec.json.Decoder(_Ask).decode
_read_line: Final = msgspec.json.Decoder(_Line).decode


def read_batch(body: bytes) -> BatchAsk:
    """What the body of `POST /v1/batches` asks.

    Raises:
        RequestError: it is not JSON, or a field is missing or wrong.
    """
    try:
        read = _read_ask(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        words = "The body must be JSON with input_file_id, endpoint and completion_window."
        raise RequestError("request.batch", words) from None
    endpoint = _BY_PATH.get(read.endpoint)
    if endpoint is None:
        words = f"endpoint: one of {', '.join(_BY_PATH)} is needed"
        raise RequestError("request.endpoint", words, param="endpoint")
    window = _WINDOW.fullmatch(read.completion_window)
    window_ms = int(window[1]) * (_HOUR_MS if window[2] == "h" else 24 * _HOUR_MS) if window else 0
    if not 0 < window_ms <= WINDOW_MS_MAX:
        words = "completion_window: such as `24h` or `7d`, at most `30d`, is needed"
        raise RequestError("request.completion_window", words, param="completion_window")
    metadata = read.metadata or {}
    if len(metadata) > METADATA_MAX or any(len(key) > 64 or len(value) > 512 for key, value in metadata.items()):
        words = f"metadata: at most {METADATA_MAX} pairs of up to 64 and 512 characters are needed"
        raise RequestError("request.metadata", words, param="metadata")
    return BatchAsk(read.input_file_id, endpoint, read.completion_window, window_ms, metadata)


def read_line(line: bytes, endpoint: str) -> Line:
    """One line of the input of a batch for this endpoint (the path below `/v1/`).

    Raises:
        RequestError: it is not JSON, or a field is missing or wrong; never with content of the line.
    """
    try:
        read = _read_line(line)
        body = bytes(read.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        words = "The line is not a JSON object with custom_id, method, url and body."
        raise RequestError("invalid_json_line", words) from None
    if not read.custom_id or len(read.custom_id) > CUSTOM_ID_CHARS_MAX:
        words = f"custom_id: 1 to {CUSTOM_ID_CHARS_MAX} characters are needed"
        raise RequestError("invalid_custom_id", words, param="custom_id")
    if read.method != "POST":
        raise RequestError("invalid_method", "method: POST is needed", param="method")
    if read.url != f"/v1/{endpoint}":
        raise RequestError("mismatched_url", f"url: /v1/{endpoint} is needed, as the batch says", param="url")
    if not body.startswith(b"{"):
        raise RequestError("invalid_body", "body: an object is needed", param="body")
    return Line(read.custom_id, body)


def read_purpose(value: str) -> str:
    """The purpose of a file.

    Raises:
        RequestError: it is missing or no word.
    """
    if not _PURPOSE.fullmatch(value):
        raise RequestError("request.purpose", "purpose: a word such as `batch` is needed", param="purpose")
    return value


def file_object(file: StoredFile) -> dict[str, Any]:
    """A file as OpenAI's clients expect it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": file.created_at_ms // 1000,
        "expires_at": file.expires_at_ms // 1000 if file.expires_at_ms else None,
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }


def batch_object(batch: Batch, counts: Mapping[JobState, int] | None) -> dict[str, Any]:
    """A batch as OpenAI's clients expect it.

    Args:
        counts: Of its jobs by state, while it is under way; None: what the batch itself says at its end.
    """
    done, failed = (batch.completed, batch.failed) if counts is None else tally(counts)
    errors = [
        {"code": code, "message": message, "line": line or None, "param": None} for code, message, line in batch.errors
    ]
    moments = {
        f"{state}_at": batch.times[state] // 1000 if state in batch.times else None
        for state in STATES
        if state != "validating"
    }
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": f"/v1/{batch.endpoint}",
        "status": batch.state,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": batch.input_file,
        "output_file_id": batch.output_file or None,
        "error_file_id": batch.error_file or None,
        "completion_window": batch.window,
        "created_at": batch.created_at_ms // 1000,
        "expires_at": batch.expires_at_ms // 1000,
        **moments,
        "request_counts": {"total": batch.total, "completed": done, "failed": failed},
        "metadata": batch.metadata or None,
    }


def tally(counts: Mapping[JobState, int]) -> tuple[int, int]:
    """(answered, ended otherwise than by being cancelled) of a batch's jobs."""
    failed = sum(counts.get(state, 0) for state in (JobState.FAILED, JobState.REFUSED, JobState.EXPIRED))
    return counts.get(JobState.ANSWERED, 0), failed


def encode_list(objects: list[dict[str, Any]], *, has_more: bool) -> bytes:
    """A list in OpenAI's form."""
    told = {
        "object": "list",
        "data": objects,
        "first_id": objects[0]["id"] if objects else None,
        "last_id": objects[-1]["id"] if objects else None,
        "has_more": has_more,
    }
    return msgspec.json.encode(told)


def encode_result(job: Job, answer: bytes | None) -> tuple[bool, bytes]:
    """(whether it belongs to the output and not to the errors, the line with its end) of a job that has ended."""
    is_good = job.state is JobState.ANSWERED
    response: dict[str, Any] | None = None
    error: dict[str, str] | None = None
    if job.state is JobState.CANCELLED:
        error = {"code": "batch_cancelled", "message": "The batch was cancelled before this line was answered."}
    elif job.state is JobState.EXPIRED:
        error = {"code": "batch_expired", "message": "The completion window ended before this line was answered."}
    else:
        response = {"status_code": job.status, "request_id": job.id, "body": _on_one_line(answer)}
        if answer is None:
            is_good, error = False, {"code": "store.damaged", "message": "The answer can no longer be read."}
    told = {"id": f"batch_req_{job.id}", "custom_id": job.custom_id, "response": response, "error": error}
    return is_good, msgspec.json.encode(told) + b"\n"


def _on_one_line(answer: bytes | None) -> Any:
    if answer is None:
        return None
    try:
        return msgspec.Raw(msgspec.json.format(answer, indent=-1))
    except msgspec.DecodeError:
        return answer.decode("utf-8", "replace")
