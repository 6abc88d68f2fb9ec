"""The way back: a target's answer with the caller's own values in the surrogates' places. Pure; is a `ports.Reply`.

Every string of an answer is read: what is said, thought or refused, arguments of tool calls, errors. Strings that come
in pieces are each a channel of their own, by choice, field and tool call. Log probabilities do not pass: their tokens
are pieces of surrogates, and no probability is known of what stands there now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ecotone.pseudonyms.matching import Channel, Counts, Forms
from ecotone.values import Endpoint

_read: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.encode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)

_OURS: Final = frozenset({"id", "object", "model", "created", "system_fingerprint", "service_tier", "usage", "choices"})
"""Fields of an answer that hold no words of the model's."""

_NOT_TEXT: Final = frozenset({"index", "finish_reason", "stop_reason", "logprobs", "id", "type", "role"})
"""Fields of a choice that hold none either."""

_WHOLE: Final = frozenset({"name", "title", "format", "signature", "mime_type"})
"""Fields of a delta that never come in pieces."""

_SOURCE: Final = frozenset({"arguments", "partial_json"})
"""Fields that hold JSON as a text. Any other text is taken for JSON where it begins with a brace."""

_USUAL: Final = frozenset({"index", "delta", "finish_reason", "logprobs"})
_CONTENT: Final = ("delta", "content")

Path = tuple[str | int, ...]
"""Where in a choice a text stands; a number is the own index of a list's item, such as a tool call."""


class Restorer:
    """Puts the originals back into one answer.

    Attributes:
        counts: What became of the surrogates so far.
    """

    def __init__(self, forms: Forms, endpoint: Endpoint) -> None:
        """A new one for each attempt."""
        self.counts = Counts()
        self._forms = forms
        self._is_plain = endpoint is Endpoint.EMBEDDINGS
        self._channels: dict[int, dict[Path, Channel]] = {}
        self._top: dict[str, Any] = {}

    def feed(self, event: bytes) -> Sequence[bytes]:
        """See `ports.Reply`. An event whose text is all held back is not sent."""
        read = self._read(event)
        if read is None:
            return (event,)
        choices = read.get("choices")
        if not isinstance(choices, list):
            return (_encode(self._whole(read)),)
        self._top = read
        if len(choices) == 1 and (quick := self._quick(read, choices[0])) is not None:
            return quick
        made: list[bytes] = []
        kept = []
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            index = _own_index(choice, 0)
            piece = _Piece(self._forms, self.counts, self._channels.setdefault(index, {}))
            piece.walk(choice, ())
            reason = choice.get("finish_reason")
            if reason:
                piece.end(is_cut=reason == "length")
                made += self._tails(index, piece.tails)
            if reason or piece.is_worth or not piece.is_held:
                kept.append(choice)
        if kept or len(kept) == len(choices) or read.get("usage"):
            read["choices"] = kept
            for key in read.keys() - _OURS:
                read[key] = self._all(read[key], key, is_cut=False)
            made.append(_encode(read))
        return made

    def _quick(self, read: dict[str, Any], choice: Any) -> Sequence[bytes] | None:
        """Most events say a few more characters and nothing else; None for all others. The same as the careful way."""
        if type(choice) is not dict or choice.get("finish_reason") or not read.keys() <= _OURS or read.get("usage"):
            return None
        delta = choice.get("delta")
        if type(delta) is not dict or len(delta) != 1 or not choice.keys() <= _USUAL:
            return None
        text = delta.get("content")
        if type(text) is not str or not text:
            return None
        channel = self._channels.setdefault(_own_index(choice, 0), {}).get(_CONTENT)
        if channel is None:
            return None
        delta["content"] = text = channel.feed(text)
        if not text:
            return ()
        if "logprobs" in choice:
            choice["logprobs"] = None
        return (_encode(read),)

    def finish(self) -> Sequence[bytes]:
        """See `ports.Reply`. What no event ended may have been cut off: nothing is guessed."""
        made: list[bytes] = []
        for index, channels in self._channels.items():
            piece = _Piece(self._forms, self.counts, channels)
            piece.end(is_cut=True)
            made += self._tails(index, piece.tails)
        return made

    def whole(self, body: bytes) -> bytes:
        """See `ports.Reply`."""
        read = self._read(body)
        return body if read is None else _encode(self._whole(read))

    def _read(self, body: bytes) -> dict[str, Any] | None:
        """Decodes; None where nothing in it can be restored, which whoever reads it next will find out too."""
        if self._is_plain:
            return None
        try:
            read = _read(body)
        except _UNREADABLE:
            return None
        return read if isinstance(read, dict) else None

    def _whole(self, read: dict[str, Any]) -> dict[str, Any]:
        for key, value in read.items():
            if key == "choices" and isinstance(value, list):
                for choice in value:
                    if isinstance(choice, dict):
                        self._choice(choice)
            elif key not in _OURS:
                read[key] = self._all(value, key, is_cut=False)
        return read

    def _choice(self, choice: dict[str, Any]) -> None:
        is_cut = choice.get("finish_reason") == "length"
        for key, value in choice.items():
            if key == "logprobs":
                choice[key] = None
            elif key not in _NOT_TEXT:
                choice[key] = self._all(value, key, is_cut=is_cut)

    def _all(self, node: Any, key: str, *, is_cut: bool) -> Any:
        """Every text below, each whole."""
        if isinstance(node, str):
            return _restored(self._forms, self.counts, node, key, is_cut=is_cut)
        if isinstance(node, dict):
            return {name: self._all(value, name, is_cut=is_cut) for name, value in node.items()}
        if isinstance(node, list):
            return [self._all(item, key, is_cut=is_cut) for item in node]
        return node

    def _tails(self, index: int, tails: Sequence[tuple[Path, str]]) -> list[bytes]:
        """What was held back, as events of their own before the one that ends the choice."""
        top = {key: value for key, value in self._top.items() if key in _OURS and key not in ("choices", "usage")}
        made = []
        for path, text in tails:
            choice: dict[str, Any] = {"index": index, **_grown(path, text), "finish_reason": None}
            made.append(_encode({**top, "choices": [choice]}))
        return made


class _Piece:
    """One choice of one event, its texts being replaced in place.

    Attributes:
        is_held: A text was held back.
        is_worth: There is something to be sent all the same.
        tails: Texts that were held back and have no place in this event, with their paths.
    """

    __slots__ = ("_channels", "_counts", "_forms", "_places", "is_held", "is_worth", "tails")

    def __init__(self, forms: Forms, counts: Counts, channels: dict[Path, Channel]) -> None:
        self._forms = forms
        self._counts = counts
        self._channels = channels
        self._places: dict[Path, tuple[dict[str, Any], str]] = {}
        self.is_held = False
        self.is_worth = False
        self.tails: list[tuple[Path, str]] = []

    def walk(self, node: dict[str, Any], path: Path) -> None:
        """All texts of an object."""
        for key, value in node.items():
            if key in _NOT_TEXT:
                self.is_worth = self.is_worth or (isinstance(value, str) and bool(value))
                if key == "logprobs":
                    node[key] = None
            elif isinstance(value, str):
                if value:
                    node[key] = self._text(node, key, value, path)
            elif isinstance(value, dict):
                self.walk(value, (*path, key))
            elif isinstance(value, list):
                self._list(value, key, path)
            elif value is not None:
                self.is_worth = True

    def _list(self, items: list[Any], key: str, path: Path) -> None:
        for at, item in enumerate(items):
            if isinstance(item, dict):
                self.walk(item, (*path, key, _own_index(item, at)))
            elif isinstance(item, str):
                items[at] = _restored(self._forms, self._counts, item, key, is_cut=False)
                self.is_worth = True

    def end(self, *, is_cut: bool) -> None:
        """The choice ends: what is held back goes to its text in this event, or to the tails."""
        for path, channel in self._channels.items():
            rest = channel.finish(is_cut=is_cut)
            place = self._places.get(path)
            if rest and place is not None:
                place[0][place[1]] += rest
            elif rest:
                self.tails.append((path, rest))
        self._channels.clear()

    def _text(self, node: dict[str, Any], key: str, value: str, path: Path) -> str:
        if key in _WHOLE:
            self.is_worth = True
            return _restored(self._forms, self._counts, value, key, is_cut=False)
        path = (*path, key)
        channel = self._channels.get(path)
        if channel is None:
            is_json = True if key in _SOURCE else None
            channel = self._channels[path] = Channel(self._forms, self._counts, is_json=is_json)
        made = channel.feed(value)
        self._places[path] = (node, key)
        if made:
            self.is_worth = True
        else:
            self.is_held = True
        return made


def _restored(forms: Forms, counts: Counts, text: str, key: str, *, is_cut: bool) -> str:
    channel = Channel(forms, counts, is_json=True if key in _SOURCE else None)
    return channel.feed(text) + channel.finish(is_cut=is_cut)


def _own_index(node: dict[str, Any], position: int) -> int:
    """The index that an item of a list gives itself, or its position."""
    index = node.get("index")
    return index if isinstance(index, int) else position


def _grown(path: Path, text: str) -> dict[str, Any]:
    """An object that holds nothing but this text at this path."""
    node: Any = text
    for step in reversed(path):
        node = {step: node} if isinstance(step, str) else [{"index": step, **node}]
    return dict(node)
