"""The reply of a model that answers in the envelope: tool calls, or text as it comes. Without I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ecotone.shaping.envelope import Envelope, EnvelopeError
from ecotone.shaping.reply import ChunkReply
from ecotone.values.json_schema import violation

CALL_ID_CHARS: Final = 24


def call_id(request_id: str, index: int) -> str:
    """`call_…`: the same for the same request and choice, so that a run can be replayed."""
    digest = hashlib.sha256(f"{request_id}/{index}".encode()).hexdigest()
    return f"call_{digest[:CALL_ID_CHARS]}"


class StopCutter:
    """Applies stop strings to text that comes in pieces; what may yet become one is held back.

    Attributes:
        is_cut: A stop string was found; it and all after it are dropped.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.is_cut = False

    def feed(self, piece: str) -> str:
        """The text that is certain."""
        if self.is_cut:
            return ""
        if not self._stops:
            return piece
        text = self._held + piece
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.is_cut = True
            return text[: min(found)]
        kept = max((self._overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def rest(self) -> str:
        """What is held back, at the end."""
        return "" if self.is_cut else self._held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Length of the longest end of `text` with which `stop` begins."""
        longest = min(len(text), len(stop) - 1)
        return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)


class ToolReply(ChunkReply):
    """Calls whole, replies as they come.

    A call is given in one chunk when it is whole and its arguments keep the tool's schema. Until then nothing is
    sent, so that a call that does not hold can still go to the next target: it ends as an error event
    (`tool_arguments`). A call cut by `max_tokens` is given as far as it came, with `finish_reason: length`.
    """

    def __init__(
        self,
        model: str,
        tools: Mapping[str, Any],
        request_id: str,
        *,
        is_reply_json: bool = False,
        stops: Sequence[str] = (),
        choices_per_prompt: int = 1,
    ) -> None:
        """`tools`: the caller's parameter schemas by name. `stops`: applied to replies, never to the JSON."""
        super().__init__(model, choices_per_prompt=choices_per_prompt)
        self._tools = tools
        self._request_id = request_id
        self._is_reply_json = is_reply_json
        self._stops = stops
        self._open: dict[int, tuple[Envelope, StopCutter]] = {}

    def choice(self, index: int, choice: dict[str, Any]) -> list[bytes]:
        """See `ChunkReply.choice`."""
        if index not in self._open:
            self._open[index] = (Envelope(is_reply_json=self._is_reply_json), StopCutter(self._stops))
        envelope, cutter = self._open[index]
        reason = choice.get("finish_reason")
        try:
            text = cutter.feed(envelope.feed((choice.get("delta") or {}).get("content") or ""))
            made = [self.delta(index, {"content": text})] if text else []
            return made + (self._conclude(index, envelope, cutter, reason) if reason else [])
        except EnvelopeError as error:
            return self.broken("bad_answer", f"the model did not keep the schema: {error}")

    def _conclude(self, index: int, envelope: Envelope, cutter: StopCutter, reason: str) -> list[bytes]:
        if envelope.is_call:
            return self._conclude_call(index, envelope, reason)
        rest = cutter.rest()
        made = [self.delta(index, {"content": rest})] if rest else []
        if envelope.is_whole or cutter.is_cut:
            return made + self.end(index, "stop")
        if reason != "length":
            raise EnvelopeError("it ended inside the answer")
        return made + self.end(index, "length")

    def _conclude_call(self, index: int, envelope: Envelope, reason: str) -> list[bytes]:
        try:
            call = envelope.call()
        except EnvelopeError:
            if reason != "length":
                raise
            cut = envelope.call_so_far()
            made = [self._call(index, *cut)] if cut is not None and cut[0] in self._tools else []
            return made + self.end(index, "length")
        if call.tool not in self._tools:
            raise EnvelopeError("a tool that was not offered")
        wrong = violation(self._tools[call.tool], msgspec.json.decode(call.arguments))
        if wrong is not None:
            return self.broken("tool_arguments", f"the model's arguments for {call.tool} break its schema: {wrong}")
        arguments = msgspec.json.format(bytes(call.arguments), indent=-1).decode()
        return [self._call(index, call.tool, arguments), *self.end(index, "tool_calls")]

    def _call(self, index: int, name: str, arguments: str) -> bytes:
        function = {"name": name, "arguments": arguments}
        call = {"index": 0, "id": call_id(self._request_id, index), "type": "function", "function": function}
        return self.delta(index, {"tool_calls": [call]})
