"""OpenAI's error object, as a body and as the last event of a stream. Pure."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from ecotone.values import EcotoneError

TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}
"""OpenAI's error types where the status says more than the error's own class."""

_JSON: Final = ("content-type", "application/json")


def encode_error(error: EcotoneError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}` as JSON."""
    kind = TYPES.get(error.status, error.openai_type)
    told = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": told})


def encode_error_event(error: EcotoneError) -> bytes:
    """The same as a server-sent event; nothing follows it, not even [DONE]."""
    return b"data: " + encode_error(error) + b"\n\n"


def error_headers(error: EcotoneError) -> list[tuple[str, str]]:
    """The headers of an error: media type, when to try again, how to authenticate (RFC 9110, 10.2.3 and 11.6.1)."""
    headers = [_JSON]
    if error.retry_after_s is not None:
        headers.append(("retry-after", retry_after_header(error.retry_after_s)))
    if error.status == 401:
        headers.append(("www-authenticate", "Bearer"))
    return headers


def retry_after_header(seconds: float) -> str:
    """Value of `Retry-After`: whole seconds, rounded up, at least 1 (RFC 9110, 10.2.3)."""
    return str(max(1, math.ceil(seconds)))
