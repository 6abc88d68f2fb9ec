"""Generated requests: a planted value, somewhere in a conversation that is otherwise about nothing."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ecotone.values import Endpoint
from tests.egress.canaries import Canary, marker, plant
from tests.egress.capture import as_json

TALK: Final = (
    "How do I sort a list in place?", "Write a haiku about rain.", "What is the capital of a country with fjords?",
    "Summarise the plot of a play with three witches.", "Explain recursion to a child.", "Was ist ein Ökoton?",
    "为什么天空是蓝色的？", "Give me three names for a boat.",
)  # fmt: skip


class Conversation(msgspec.Struct, frozen=True):
    """One request, and what is planted in it.

    Attributes:
        canary: None where it may go anywhere.
        place: Where the value stands.
        marker: A word of this conversation alone.
    """

    endpoint: Endpoint
    model: str
    body: bytes
    headers: dict[str, str]
    canary: Canary | None
    place: str
    marker: str
    is_stream: bool

    @property
    def path(self) -> str:
        return f"/v1/{self.endpoint.value}"


Body = dict[str, Any]
Put = Callable[[Body, str], None]


def _message(role: str, at: int | None = None) -> Put:
    def put(body: Body, text: str) -> None:
        messages = body["messages"]
        messages.insert(len(messages) if at is None else at, {"role": role, "content": text})

    return put


def _last(body: Body, text: str) -> None:
    body["messages"][-1]["content"] += f" {text}"


def _tool_result(body: Body, text: str) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    body["messages"][0:0] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": text},
    ]


def _arguments(body: Body, text: str) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"q": text})}}
    body["messages"][0:0] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ]


def _tool(**more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "look_up", "description": "Looks up.", **more}}


def _tool_description(body: Body, text: str) -> None:
    body["tools"] = [_tool(description=text)]


def _tool_enum(body: Body, text: str) -> None:
    schema = {"type": "object", "properties": {"who": {"type": "string", "enum": [text, "nobody"]}}}
    body["tools"] = [_tool(parameters=schema)]


def _tool_key(body: Body, text: str) -> None:
    body["tools"] = [_tool(parameters={"type": "object", "properties": {text: {"type": "string"}}})]


def _schema(body: Body, text: str) -> None:
    schema = {"type": "object", "description": text, "properties": {}}
    body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def _say(body: Body, content: list[dict[str, Any]]) -> None:
    body["messages"].insert(0, {"role": "user", "content": content})


def _parts(body: Body, text: str) -> None:
    _say(body, [{"type": "text", "text": "Look at this."}, {"type": "text", "text": text}])


def _split(body: Body, text: str) -> None:
    middle = len(text) // 2
    parts = [{"type": "text", "text": text[:middle]}, {"type": "text", "text": text[middle:]}]
    _say(body, parts)


def _file(body: Body, text: str) -> None:
    data = base64.b64encode(text.encode() * 9).decode()
    part = {"type": "file", "file": {"filename": "a.txt", "file_data": f"data:text/plain;base64,{data}"}}
    _say(body, [{"type": "text", "text": "Read it."}, part])


def _unknown_part(body: Body, text: str) -> None:
    _say(body, [{"type": "hologram", "hologram": {"text": text}}])


def _deep(body: Body, text: str) -> None:
    value: Any = text
    for number in range(20):
        value = {"more": value} if number % 2 else [value]
    body["x_context"] = value


def _json_text(body: Body, text: str) -> None:
    body["messages"].insert(0, {"role": "user", "content": json.dumps({"row": {"note": text}})})


def _legacy(body: Body, text: str) -> None:
    call = {"name": "f", "arguments": json.dumps({"q": [text]})}
    body["messages"].insert(0, {"role": "assistant", "content": None, "function_call": call})


def _top(name: str, wrap: Callable[[str], Any] = lambda text: text) -> Put:
    def put(body: Body, text: str) -> None:
        body[name] = wrap(text)

    return put


def _name(body: Body, text: str) -> None:
    body["messages"][0]["name"] = text


COMMON: Final[dict[str, Put]] = {
    "user": _top("user"),
    "stop": _top("stop", lambda text: ["###", text]),
    "metadata": _top("metadata", lambda text: {"note": text}),
    "metadata key": _top("metadata", lambda text: {text: "x"}),
    "unknown field": _top("x_note", lambda text: {"a": [text]}),
    "deep": _deep,
}

PLACES: Final[dict[Endpoint, dict[str, Put]]] = {
    Endpoint.CHAT: {
        "system": _message("system", 0),
        "developer": _message("developer", 0),
        "first user": _message("user", 0),
        "assistant": _message("assistant", 1),
        "last user": _last,
        "tool result": _tool_result,
        "tool arguments": _arguments,
        "legacy arguments": _legacy,
        "tool description": _tool_description,
        "tool enum": _tool_enum,
        "tool key": _tool_key,
        "schema": _schema,
        "text part": _parts,
        "split parts": _split,
        "file": _file,
        "unknown part": _unknown_part,
        "name": _name,
        "JSON in text": _json_text,
        "prediction": _top("prediction", lambda text: {"type": "content", "content": text}),
        **COMMON,
    },
    Endpoint.COMPLETIONS: {
        "prompt": lambda body, text: body.update(prompt=f"{body['prompt']} {text}"),
        "prompt list": lambda body, text: body.update(prompt=[body["prompt"], text]),
        "suffix": _top("suffix"),
        **COMMON,
    },
    Endpoint.EMBEDDINGS: {
        "input": lambda body, text: body.update(input=f"{body['input']} {text}"),
        "input list": lambda body, text: body.update(input=[text, body["input"]]),
        "user": COMMON["user"],
        "unknown field": COMMON["unknown field"],
    },
}

IN_WORDS: Final = frozenset({
    "system", "first user", "assistant", "last user", "tool result", "tool arguments", "text part", "JSON in text",
    "prompt", "prompt list", "input", "input list",
})  # fmt: skip
"""Places where a value can be replaced by a surrogate."""

_HOLE: Final = "@@canary@@"


def converse(
    dice: random.Random,
    endpoint: Endpoint,
    *,
    model: str,
    canary: Canary | None = None,
    place: str = "",
    stream: bool | None = None,
    headers: dict[str, str] | None = None,
) -> Conversation:
    """A conversation; what is not given is drawn."""
    word = marker(dice)
    is_stream = endpoint is not Endpoint.EMBEDDINGS and (dice.random() < 0.5 if stream is None else stream)
    body = _about_nothing(dice, endpoint, f"{dice.choice(TALK)} ({word})")
    place = place or dice.choice(list(PLACES[endpoint]))
    is_escaped = canary is not None and place not in ("file", "split parts") and dice.random() < 0.15
    if canary is not None:
        PLACES[endpoint][place](body, _HOLE if is_escaped else canary.written)
    if is_stream:
        body["stream"] = True
    body["model"] = model
    raw = json.dumps(body, ensure_ascii=dice.random() < 0.5)
    if is_escaped and canary is not None:
        whole = f'"{_HOLE}"' in raw
        raw = raw.replace(f'"{_HOLE}"', as_json(canary.written)) if whole else raw.replace(_HOLE, _inside(canary, raw))
    return Conversation(
        endpoint, model, raw.encode("utf-8", "surrogatepass"), headers or {}, canary, place, word, is_stream
    )


def _inside(canary: Canary, raw: str) -> str:
    """The text as it stands within a string of JSON, or of JSON within JSON."""
    once = json.dumps(canary.written)[1:-1]
    return json.dumps(once)[1:-1] if '\\"' in raw else once


def _about_nothing(dice: random.Random, endpoint: Endpoint, ask: str) -> Body:
    if endpoint is Endpoint.COMPLETIONS:
        return {"prompt": ask, "max_tokens": 60}
    if endpoint is Endpoint.EMBEDDINGS:
        return {"input": ask}
    turns: list[dict[str, Any]] = []
    for _ in range(dice.randint(0, 2)):
        turns += [{"role": "user", "content": dice.choice(TALK)}, {"role": "assistant", "content": "Like this."}]
    return {"messages": [*turns, {"role": "user", "content": ask}], "temperature": 0.2}


def protected(dice: random.Random, *, model: str, endpoint: Endpoint | None = None, **more: Any) -> Conversation:
    """A conversation that must stay."""
    endpoint = endpoint or dice.choices(list(Endpoint), (6, 2, 1))[0]
    return converse(dice, endpoint, model=model, canary=more.pop("canary", None) or plant(dice), **more)


def harmless(dice: random.Random, *, model: str, endpoint: Endpoint | None = None, **more: Any) -> Conversation:
    """A conversation that may go: without these, that nothing leaked would prove nothing."""
    endpoint = endpoint or dice.choices(list(Endpoint), (6, 2, 1))[0]
    return converse(dice, endpoint, model=model, **more)
