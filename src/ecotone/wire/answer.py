"""What must be looked at in an answer: content, usage, errors, and the way it ended. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecotone.values import Endpoint, TargetError


class Usage(msgspec.Struct, gc=False):
    """Token counts as the target gives them; a target that sends null counts as silent."""

    prompt_tokens: int | float | None = 0
    completion_tokens: int | float | None = 0


class Glimpse(msgspec.Struct, gc=False):
    """One event of a stream, as far as the corridor reads it.

    Attributes:
        has_content: Something for the caller: text, a tool call, reasoning, a refusal, an audio part.
        is_finish: A choice says why it ended.
        is_usage_only: Carries usage and no choices: the event that `stream_options.include_usage` adds.
    """

    has_content: bool
    is_finish: bool
    is_usage_only: bool
    usage: Usage | None
    error: dict[str, Any] | str | None


class _Choice(msgspec.Struct):
    delta: dict[str, Any] | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Usage | None = None
    error: dict[str, Any] | str | None = None
    object: Any = None


class _Answer(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    data: list[msgspec.Raw] | None = None
    usage: Usage | None = None
    error: dict[str, Any] | str | None = None
    object: Any = None


_read_event = msgspec.json.Decoder(_Event).decode
_read_answer = msgspec.json.Decoder(_Answer).decode
_read_any = msgspec.json.Decoder(dict[str, Any]).decode

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are not JSON of the form asked for: the last two for bad UTF-8 inside a string
and for nesting without end."""

ERROR_MESSAGE_CHARS_MAX: Final = 300


def glimpse(payload: bytes) -> Glimpse:
    """Reads one event.

    Raises:
        TargetError: it is not JSON of the promised form (`bad_answer`).
    """
    try:
        read = _read_event(payload)
    except UNREADABLE as error:
        raise TargetError("bad_answer", "an event is not JSON of the API's form") from error
    choices = read.choices or ()
    return Glimpse(
        has_content=any(_has_content(choice) for choice in choices),
        is_finish=any(choice.finish_reason is not None for choice in choices),
        is_usage_only=read.usage is not None and not choices,
        usage=read.usage,
        # vLLM's older form has no `error`: {"object": "error", "message": ...}
        error="error" if read.error is None and read.object == "error" else read.error,
    )


def words(payload: bytes) -> str | None:
    """The text that one event adds to the only choice; None where it adds something else, which no text can hold.

    Takes only what `glimpse` took.
    """
    read = _read_event(payload)
    said = ""
    for choice in read.choices or ():
        delta = choice.delta or {}
        if choice.text or any(value for key, value in delta.items() if key not in ("role", "content")):
            return None
        said += delta.get("content") or ""
    return said


def _has_content(choice: _Choice) -> bool:
    if choice.text:
        return True
    return choice.delta is not None and any(value for key, value in choice.delta.items() if key != "role")


def check_whole(endpoint: Endpoint, body: bytes) -> Usage | None:
    """Checks that a JSON answer is one, and gives its usage.

    Raises:
        TargetError: not JSON, or without what the API promises (`bad_answer`).
    """
    try:
        read = _read_answer(body)
    except UNREADABLE as error:
        raise TargetError("bad_answer", "the answer is not JSON of the API's form") from error
    if read.error is not None or read.object == "error":
        raise TargetError("bad_answer", "HTTP 200 with an error object")
    if not (read.data if endpoint is Endpoint.EMBEDDINGS else read.choices):
        raise TargetError("bad_answer", f"HTTP 200 without {'data' if endpoint is Endpoint.EMBEDDINGS else 'choices'}")
    return read.usage


_CONTEXT_CODES: Final = frozenset({"context_length_exceeded", "exceed_context_size_error", "context_exceeded"})


def is_context_error(body: bytes) -> bool:
    """Whether a 4xx body says that the prompt is longer than the context (OpenAI, llama.cpp, vLLM forms)."""
    try:
        error = _read_any(body).get("error", {})
    except UNREADABLE:
        return False
    if not isinstance(error, dict):
        return False
    if _CONTEXT_CODES & {str(error.get("code")), str(error.get("type"))}:
        return True
    message = str(error.get("message", ""))
    return "maximum context length" in message or "exceeds the available context size" in message


def error_object(body: bytes) -> bytes | None:
    """A rejection's body as OpenAI's error object; None where it holds no words for the caller.

    Words in another form are wrapped: `{"error": "..."}` (Ollama), `{"object": "error", "message": "..."}` (vLLM),
    `{"detail": "..."}` (FastAPI).
    """
    try:
        read = _read_any(body)
    except UNREADABLE:
        return None
    if isinstance(read.get("error"), dict):
        return body
    words = next((read[key] for key in ("error", "message", "detail") if isinstance(read.get(key), str)), "")
    if not words:
        return None
    told = {"message": words[:ERROR_MESSAGE_CHARS_MAX], "type": "invalid_request_error", "param": None}
    return msgspec.json.encode({"error": told | {"code": "rejected"}})
