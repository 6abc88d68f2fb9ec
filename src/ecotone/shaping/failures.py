"""The engine's own errors in Ecotone's words. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_BY_TYPE: Final = {
    "exceed_context_size_error": "context_exceeded",
    "invalid_request_error": "bad_request",
    "authentication_error": "unauthorised",
    "not_found_error": "no_model",
    "not_supported_error": "capability",
    "unavailable_error": "http_503",
}
_BY_STATUS: Final = {400: "bad_request", 401: "unauthorised", 404: "no_model", 501: "capability", 503: "http_503"}
_NOT_ABLE: Final = "input is not supported"
"""llama-server answers 500 to an image or audio part where the model has no projector."""
_BOTH: Final = "Cannot use both json_schema and grammar"
_MESSAGE_CHARS_MAX: Final = 300


class _Failure(msgspec.Struct):
    message: str = ""
    type: str = ""


class _Body(msgspec.Struct):
    error: _Failure


_read: Final = msgspec.json.Decoder(_Body).decode


def classify_error(status: int, body: bytes) -> tuple[str, str]:
    """Code and message of what the engine said, as a status with a body or as an error event (status 200).

    The code is one of `context_exceeded` (offload), `bad_request` (the caller's fault), `capability` (another
    target may be able), `unauthorised`, `no_model`, `http_503` (still loading) and `engine` (anything else).
    """
    try:
        failure = _read(body).error
    except msgspec.DecodeError:
        return _BY_STATUS.get(status, "engine"), f"the engine answered HTTP {status} without an error object"
    code = _BY_TYPE.get(failure.type) or _BY_STATUS.get(status, "engine")
    if _NOT_ABLE in failure.message:
        code = "capability"
    elif _BOTH in failure.message:
        code = "bad_request"
    return code, failure.message[:_MESSAGE_CHARS_MAX]


def error_event(code: str, message: str) -> bytes:
    """OpenAI's error object as the payload of a final event."""
    error: dict[str, Any] = {"message": message, "type": "server_error", "param": None, "code": code}
    return msgspec.json.encode({"error": error})
