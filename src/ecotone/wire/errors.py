"""OpenAI's error object, as a body and as the last event of a stream. Pure."""

from __future__ import annotations

import math

import msgspec

from ecotone.values import EcotoneError


def encode_error(error: EcotoneError) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}` as JSON."""
    told = {"message": error.message, "type": error.openai_type, "param": error.param, "code": error.code}
    return msgspec.json.encode({"error": told})


def encode_error_event(error: EcotoneError) -> bytes:
    """The same as a server-sent event; nothing follows it, not even [DONE]."""
    return b"data: " + encode_error(error) + b"\n\n"


def retry_after_header(seconds: float) -> str:
    """Value of `Retry-After`: whole seconds, rounded up, at least 1 (RFC 9110, 10.2.3)."""
    return str(max(1, math.ceil(seconds)))
