"""Puts the events of a stream together to the answer in one piece that a caller without `stream` gets. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from ecotone.values import Endpoint, TargetError

_read = msgspec.json.Decoder(dict[str, Any]).decode
_OBJECT = {Endpoint.CHAT: "chat.completion", Endpoint.COMPLETIONS: "text_completion"}


class Aggregate:
    """Collects events; `whole` gives the answer.

    Deltas join by choice index: strings by concatenation, tool calls by their own index, logprobs by list; any
    other value of a delta: the last one stands.
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
            if "error" in event:
                raise TargetError("error_event", "the stream carried an error")
            for choice in event.get("choices") or ():
                self._join(choice)
        except (msgspec.DecodeError, AttributeError, TypeError, KeyError) as error:
            raise TargetError("bad_answer", "an event is not JSON of the API's form") from error
        for key, value in event.items():
            if key not in ("choices", "object") and value is not None:
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
        if self._endpoint is Endpoint.CHAT:
            _join_delta(kept["message"], choice.get("delta") or {})
        else:
            kept["text"] += choice.get("text") or ""
        if choice.get("logprobs"):
            kept["logprobs"] = _join_logprobs(kept.get("logprobs"), choice["logprobs"])
        if choice.get("finish_reason") is not None:
            kept["finish_reason"] = choice["finish_reason"]

    def _empty(self, index: int) -> dict[str, Any]:
        if self._endpoint is Endpoint.CHAT:
            message: dict[str, Any] = {"role": "assistant", "content": None}
            return {"index": index, "message": message, "logprobs": None, "finish_reason": None}
        return {"index": index, "text": "", "logprobs": None, "finish_reason": None}


def _join_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for key, value in delta.items():
        if key == "role" or value is None:
            continue
        if key == "tool_calls":
            calls = message.setdefault("tool_calls", [])
            for call in value:
                _join_call(calls, call)
        elif isinstance(value, str) and isinstance(message.get(key), str):
            message[key] += value
        else:
            message[key] = value


def _join_call(calls: list[dict[str, Any]], piece: dict[str, Any]) -> None:
    index = int(piece.get("index", 0))
    while len(calls) <= index and len(calls) < 128:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[index]
    call["id"] = piece.get("id") or call["id"]
    call["type"] = piece.get("type") or call["type"]
    function = piece.get("function") or {}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def _join_logprobs(kept: dict[str, Any] | None, piece: dict[str, Any]) -> dict[str, Any]:
    joined = dict(kept or {})
    for key, value in piece.items():
        if isinstance(value, list) and isinstance(joined.get(key), list):
            joined[key] = joined[key] + value
        elif value is not None or key not in joined:
            joined[key] = value
    return joined
