"""What a request asks, for signals and checkers. Pure, and never raises: `request.decode` has taken the body before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ecotone.values import Endpoint
from ecotone.values.quality import Question
from ecotone.wire.answer import UNREADABLE

TEXT_CHARS_MAX: Final = 65_536
"""Of `system` and `asked` each. Precedent: the longest text that signals read is far below (learning reads 2,000)."""

TAIL_CHARS: Final = 16_384
"""Of a longer text its end is kept too: what is wanted of a long document often stands below it."""

SCHEMA_BYTES_MAX: Final = 65_536
TOOLS_MAX: Final = 128
"""Precedent: OpenAI's limit."""

# `Raw | None` would mean None alone to msgspec.
_ABSENT: Final = msgspec.Raw(b"null")


class _Part(msgspec.Struct, gc=False):
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None


class _Format(msgspec.Struct, gc=False):
    type: str
    json_schema: msgspec.Raw = _ABSENT


class _Schema(msgspec.Struct, gc=False):
    schema: msgspec.Raw = _ABSENT


class _Chat(msgspec.Struct, gc=False):
    messages: list[_Message]
    response_format: _Format | None = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = _ABSENT


class _Completion(msgspec.Struct, gc=False):
    prompt: str | list[Any]
    response_format: _Format | None = None


class _Embedding(msgspec.Struct, gc=False):
    input: str | list[Any]


class _Function(msgspec.Struct, gc=False):
    name: str = ""


class _Tool(msgspec.Struct, gc=False):
    name: str = ""
    function: _Function | None = None


_read_chat = msgspec.json.Decoder(_Chat).decode
_read_completion = msgspec.json.Decoder(_Completion).decode
_read_embedding = msgspec.json.Decoder(_Embedding).decode
_read_tool = msgspec.json.Decoder(_Tool).decode
_read_schema = msgspec.json.Decoder(_Schema).decode


def question(endpoint: Endpoint, body: bytes, *, model: str, key: str) -> Question:
    """What these bytes ask; of a body that cannot be read, nothing but the model's name and the key's.

    Args:
        body: As `request.decode` took it.
        model: The name that was asked for.
        key: Name of the API key, or `''`.
    """
    try:
        if endpoint is Endpoint.CHAT:
            return _chat(body, model, key)
        if endpoint is Endpoint.COMPLETIONS:
            read = _read_completion(body)
            form, schema = _form(read.response_format)
            asked = _texts(read.prompt)
        else:
            form, schema, asked = "", b"", _texts(_read_embedding(body).input)
    except UNREADABLE:
        return Question(endpoint=endpoint, model=model, key=key, turns=0)
    return Question(
        endpoint=endpoint, model=model, key=key, asked=_cut(asked), form=form, schema=schema, chars=len(asked)
    )


def _chat(body: bytes, model: str, key: str) -> Question:
    read = _read_chat(body)
    system: list[str] = []
    asked, chars = "", 0
    for message in read.messages:
        content = message.content
        text = content if isinstance(content, str) else _joined(content) if content else ""
        chars += len(text)
        if message.role == "user":
            asked = text
        elif message.role in ("system", "developer"):
            system.append(text)
    form, schema = _form(read.response_format)
    return Question(
        endpoint=Endpoint.CHAT,
        model=model,
        key=key,
        system=_cut("\n".join(system)),
        asked=_cut(asked),
        tools=_names(read),
        form=form,
        schema=schema,
        turns=len(read.messages),
        chars=chars,
    )


def _joined(parts: Iterable[_Part]) -> str:
    return "\n".join(part.text for part in parts if part.text)


def _texts(given: str | list[Any]) -> str:
    """One text of a prompt in any of its forms; tokens are no text."""
    return given if isinstance(given, str) else "\n".join(text for text in given if isinstance(text, str))


def _cut(text: str) -> str:
    if len(text) <= TEXT_CHARS_MAX:
        return text
    return text[: TEXT_CHARS_MAX - TAIL_CHARS] + text[-TAIL_CHARS:]


def _names(read: _Chat) -> tuple[str, ...]:
    """Names of the tools that may be called; none where the caller forbids them."""
    given = read.tools or read.functions
    if not given or bytes(read.tool_choice) == b'"none"':
        return ()
    names = []
    for raw in given[:TOOLS_MAX]:
        try:
            tool = _read_tool(raw)
        except UNREADABLE:
            continue
        names.append(tool.function.name if tool.function is not None else tool.name)
    return tuple(sorted(name for name in names if name))


def _form(given: _Format | None) -> tuple[str, bytes]:
    """(form, schema). A schema that is too long to be checked counts as none."""
    if given is None or given.type not in ("json_object", "json_schema"):
        return "", b""
    if given.json_schema is _ABSENT:
        return given.type, b""
    try:
        schema = bytes(_read_schema(given.json_schema).schema)
    except UNREADABLE:
        return given.type, b""
    return given.type, schema if schema != b"null" and len(schema) <= SCHEMA_BYTES_MAX else b""
