"""Requests with findings, and answers in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ecotone.privacy.segments import segments
from ecotone.pseudonyms import Masked, Restorer, Scope, mask
from ecotone.values import Endpoint, Features, Finding, Request, Segment, Surrogates

SECRET = b"0123456789abcdef0123456789abcdef"
TAGGED, NATURAL = Surrogates.TAGGED, Surrogates.NATURAL

MARIA = {"Maria Gonzalez": ("person", "person")}
PHONE = {"+1 212-555-0187": ("contact", "phone")}


def request(body: Any, endpoint: Endpoint = Endpoint.CHAT) -> Request:
    return Request(
        id="req-1",
        endpoint=endpoint,
        model="m",
        body=body if isinstance(body, bytes) else msgspec.json.encode(body),
        is_stream=False,
        is_usage_asked=False,
        features=Features(1),
        received_at_s=0.0,
    )


def spots(parts: Iterable[Segment], values: Mapping[str, tuple[str, str]]) -> list[tuple[int, Finding]]:
    """Each value where it stands first."""
    found = []
    for value, (label, kind) in values.items():
        at, start = next((at, part.text.find(value)) for at, part in enumerate(parts) if value in part.text)
        found.append((at, Finding(label, kind, start, start + len(value), 1.0, "test")))
    return found


def masked(
    body: Any,
    values: Mapping[str, tuple[str, str]],
    style: Surrogates = TAGGED,
    *,
    endpoint: Endpoint = Endpoint.CHAT,
    owner: str = "ward",
) -> Masked:
    """The body with these values found and all their labels to be replaced."""
    asked = request(body, endpoint)
    parts = segments(asked.body).segments
    labels = frozenset(label for label, _ in values.values())
    return mask(asked, parts, spots(parts, values), labels, Scope(SECRET, owner, style))


def chat(*texts: str, **more: Any) -> dict[str, Any]:
    """Turns of the user and the assistant."""
    roles = ("user", "assistant")
    return {
        "model": "m",
        "messages": [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)],
        **more,
    }


def body(made: Masked) -> Any:
    return json.loads(made.request.body)


def said(made: Masked) -> str:
    """The last message's text as it goes out."""
    text = body(made)["messages"][-1]["content"]
    assert isinstance(text, str)
    return text


def event(text: str = "", *, index: int = 0, end: str | None = None, **delta: Any) -> bytes:
    if text:
        delta["content"] = text
    choice = {"index": index, "delta": delta, "finish_reason": end}
    return msgspec.json.encode({"id": "c", "object": "chat.completion.chunk", "model": "big", "choices": [choice]})


def answer(content: Any, *, end: str = "stop", **message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": end}
    return msgspec.json.encode({"id": "c", "choices": [choice]})


def restored(made: Masked, text: str, *, end: str = "stop") -> str:
    """A whole answer, restored."""
    read = json.loads(made.restorer(Endpoint.CHAT).whole(answer(text, end=end)))
    content = read["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


def streamed(restorer: Restorer, pieces: Iterable[str], *, end: str | None = "stop") -> list[str]:
    """What each event after the other adds, the end's tail included."""
    events = [made for piece in pieces for made in restorer.feed(event(piece))]
    if end is not None:
        events += restorer.feed(event(end=end))
    events += restorer.finish()
    return [json.loads(made)["choices"][0]["delta"].get("content", "") for made in events]


def cuts(text: str) -> Iterable[tuple[str, str]]:
    """All ways to cut a text in two."""
    return ((text[:at], text[at:]) for at in range(1, len(text)))
