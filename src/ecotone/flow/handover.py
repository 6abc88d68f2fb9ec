"""An answer that broke off in the cloud goes on at the edge, where the model name allows it (`handover: continue`).

The edge model is given the conversation and the answer so far as its own beginning, by its own template, and writes on
from there: no character that the caller has is sent again, and none is left out. Only plain text can be continued: no
tools, no JSON, no log probabilities, one choice. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ecotone.ports import Reply
from ecotone.values import Endpoint, Request
from ecotone.wire.request import text_tokens

CAPABILITY: Final = "continue"
"""A target with this capability goes on from an answer that has begun, if the last message is the assistant's."""

ALLOWED: Final = frozenset({"stream"})
CONTINUED: Final = frozenset({"reset", "idle_timeout", "error_event", "bad_answer"})
"""Failures of an answer that had begun after which another target may go on."""

_LIMITS: Final = ("max_completion_tokens", "max_tokens")


def is_continuable(request: Request) -> bool:
    """Whether an answer to this could be continued by another model at all."""
    return request.endpoint is Endpoint.CHAT and request.is_stream and set(request.features.needs) <= ALLOWED


def continued(request: Request, text: str) -> Request:
    """The request to write on from this text, with what is left of its limit on tokens.

    Raises:
        msgspec.DecodeError: the body is not a JSON object.
    """
    body = msgspec.json.decode(request.body, type=dict[str, Any])
    body["messages"] = [*body["messages"], {"role": "assistant", "content": text}]
    spent = text_tokens(text)
    for name in _LIMITS:
        if isinstance(body.get(name), int):
            body[name] = max(1, body[name] - spent)
    limit = request.features.output_tokens_max
    features = msgspec.structs.replace(
        request.features,
        prompt_tokens=request.features.prompt_tokens + spent,
        output_tokens_max=None if limit is None else max(1, limit - spent),
        turns=request.features.turns + 1,
    )
    return msgspec.structs.replace(request, body=msgspec.json.encode(body), features=features)


class Continuation:
    """The events of an answer that goes on (`ports.Reply`): no second beginning, and the last one says who ended it."""

    def __init__(self, reply: Reply | None, told: dict[str, Any]) -> None:
        """`told` is what the event with the finish reason says under `ecotone`."""
        self._reply = reply
        self._told = told

    def feed(self, event: bytes) -> Sequence[bytes]:
        """See `ports.Reply.feed`."""
        made = (event,) if self._reply is None else self._reply.feed(event)
        return [one for one in map(self._joined, made) if one is not None]

    def finish(self) -> Sequence[bytes]:
        """See `ports.Reply.finish`."""
        made = () if self._reply is None else self._reply.finish()
        return [one for one in map(self._joined, made) if one is not None]

    def whole(self, body: bytes) -> bytes:
        """See `ports.Reply.whole`: an error object, for an answer that goes on is a stream."""
        return body

    def _joined(self, event: bytes) -> bytes | None:
        """The event as a part of the answer that began elsewhere; None where it would only begin it again."""
        try:
            read = msgspec.json.decode(event, type=dict[str, Any])
        except msgspec.DecodeError:
            return event  # the relay says what is wrong with it
        choices = read.get("choices") or []
        for choice in choices:
            delta = choice.get("delta") or {}
            delta.pop("role", None)
            if choice.get("finish_reason"):
                read["ecotone"] = {"handover": self._told}
        is_empty = choices and not any(choice.get("delta") or choice.get("finish_reason") for choice in choices)
        return None if is_empty else msgspec.json.encode(read)
