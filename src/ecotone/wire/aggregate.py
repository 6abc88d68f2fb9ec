"""Puts the events of a stream together to the answer in one piece that a caller without `stream` gets. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecotone.values import Endpoint, TargetError
from ecotone.wire.answer import UNREADABLE

_read = msgspec.json.Decoder(dict[str, Any]).decode
_OBJECT: Final = {Endpoint.CHAT: "chat.completion", Endpoint.COMPLETIONS: "text_completion"}
_WHOLE: Final = frozenset({"id", "type", "role"})
"""Strings that never come in pieces; some servers repeat them."""

TOOL_CALLS_MAX: Final = 128
"""Most tool calls of one message. Precedent: OpenAI's limit on tools of a request."""


class Aggregate:
    """Collects events; `whole` gives the answer.

    Deltas join by choice index: strings and lists by concatenation, objects key by key, tool calls by their own
    index; of any other value the last one stands.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, payload: bytes) -> None:
        """Takes the payload of one event.

        Raises:
            TargetError: not JSON of the promised form (`bad_answer`), or an error event (`error_event`).
        """
        try:
            event = _read(payload)
            if event.get("error") is not None:
                raise TargetError("error_event", "the stream carried an error")
            for choice in event.get("choices") or ():
                self._join(choice)
        except (*UNREADABLE, AttributeError, TypeError, ValueError) as error:
            raise TargetError("bad_answer", "an event is not JSON of the API's form") from error
        for key, value in event.items():
            if key not in ("choices", "object", "error") and value is not None:
                self._top[key] = value

    def whole(self) -> bytes:
        """The answer as one JSON body.

        Raises:
            TargetError: no choice came (`empty_stream`).
        """
        if not self._choices:
            raise TargetError("empty_stream", "the stream ended without content")
        usage = self._top.pop("usage", None)
        answer = {
            "id": self._top.pop("id", ""),
            "object": _OBJECT[self._endpoint],
            **self._top,
            "choices": [self._choices[index] for index in sorted(self._choices)],
        }
        if usage is not None:
            answer["usage"] = usage
        return msgspec.json.encode(answer)

    def _join(self, choice: dict[str, Any]) -> None:
        index = int(choice.get("index") or 0)
        kept = self._choices.get(index)
        if kept is None:
            kept = self._choices[index] = self._empty(index)
        for key, value in choice.items():
            if value is None or key == "index":
                continue
            if key == "delta" and "message" in kept:
                _join_delta(kept["message"], value)
            elif key == "text" and "text" in kept:
                kept["text"] += value
            elif key == "logprobs":
                kept["logprobs"] = _merged(kept["logprobs"], value)
            else:
                kept[key] = value

    def _empty(self, index: int) -> dict[str, Any]:
        if self._endpoint is Endpoint.CHAT:
            message: dict[str, Any] = {"role": "assistant", "content": None}
            return {"index": index, "message": message, "logprobs": None, "finish_reason": None}
        return {"index": index, "text": "", "logprobs": None, "finish_reason": None}


def _join_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    pieces = delta.pop("tool_calls", None)
    for piece in pieces or ():
        _join_call(message.setdefault("tool_calls", []), piece)
    _merged(message, delta)


def _join_call(calls: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    """A piece without an index begins a call where it has an id; else it belongs to the last one."""
    index = piece.pop("index", None)
    if index is None:
        index = len(calls) if piece.get("id") or not calls else len(calls) - 1
    if not 0 <= index < TOOL_CALLS_MAX:
        raise ValueError(index)
    while len(calls) <= index:
        calls.append({"id": "", "type": "function"})
    if "function" in piece:
        calls[index].setdefault("function", {"name": "", "arguments": ""})
    _merged(calls[index], piece)


def _merged(kept: dict[str, Any] | None, piece: dict[str, Any]) -> dict[str, Any]:
    """`kept` with a further piece; null says nothing, nor does an empty string where a whole one stands."""
    kept = {} if kept is None else kept
    for key, value in piece.items():
        old = kept.get(key)
        if value is None or (key in _WHOLE and not value):
            continue
        if isinstance(value, str) and isinstance(old, str) and key not in _WHOLE:
            kept[key] = old + value
        elif isinstance(value, dict) and isinstance(old, dict):
            _merged(old, value)
        elif isinstance(value, list) and isinstance(old, list):
            kept[key] = old + value
        else:
            kept[key] = value
    return kept
