"""What a target may say: values that nobody at the site wrote are taken out of an answer, however it is cut. Pure.

A target in the cloud may say an address or a number that was never in the conversation: from its training, or because
somebody else's text told it to. Where the site asks for it, `Screen` looks at the answer as it passes and puts
`[contact withheld]` in place of what it sees. What stands in the request itself is no news, and passes.

It looks at blocks of fixed length, each with what stands before and after it, so that the same text has the same result
in one piece and in any row of pieces. A block is held back until what follows it is there: `BLOCK_CHARS + AHEAD_CHARS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from ecotone.values import Finding

BLOCK_CHARS: Final = 64
AHEAD_CHARS: Final = 96
"""A value that is longer than this may be seen too late for its beginning."""
BEHIND_CHARS: Final = 96

_SETTLED: Final = frozenset({"role", "id", "type", "name", "object", "finish_reason"})
"""Keys of an event whose values are the API's own words."""

Find = Callable[[str], Sequence[Finding]]
Way = tuple[str | int, ...]


class Inner(Protocol):
    """The reply form before this one (`ports.Reply`)."""

    def feed(self, event: bytes) -> Sequence[bytes]:
        """JSON of one event in, JSON of zero or more events out."""

    def finish(self) -> Sequence[bytes]:
        """What is still held back."""

    def whole(self, body: bytes) -> bytes:
        """The same for a body in one piece."""


class Strainer:
    """One text on its way: takes pieces, gives pieces without what is withheld."""

    def __init__(self, find: Find, labels: frozenset[str], is_known: Callable[[str], bool]) -> None:
        """`is_known` says of a value that it is no news."""
        self._find = find
        self._labels = labels
        self._is_known = is_known
        self._text = ""
        self._first = 0  # where `_text` begins in the whole text
        self._done = 0  # up to here it was given on
        self._skip = 0  # up to here it was withheld

    def feed(self, piece: str) -> str:
        """What may be given on now."""
        self._text += piece
        given = []
        while self._first + len(self._text) >= self._done + BLOCK_CHARS + AHEAD_CHARS:
            given.append(self._block(BLOCK_CHARS))
        return "".join(given)

    def finish(self) -> str:
        """The rest."""
        given = []
        while self._done < self._first + len(self._text):
            given.append(self._block(min(BLOCK_CHARS, self._first + len(self._text) - self._done)))
        return "".join(given)

    def _block(self, size: int) -> str:
        begin, end = self._done, self._done + size
        start = max(self._first, begin - BEHIND_CHARS)
        window = self._text[start - self._first : end + AHEAD_CHARS - self._first]
        given, at = [], max(begin, self._skip)
        for one in sorted(self._find(window), key=lambda one: one.start):
            value_at, value_end = start + one.start, start + one.end
            is_ours = max(at, begin) <= value_at < end and one.label in self._labels
            if is_ours and not self._is_known(window[one.start : one.end]):
                given += [self._between(at, value_at), f"[{one.label} withheld]"]
                at = self._skip = value_end
        given.append(self._between(at, end))
        self._done = end
        keep = max(self._first, end - BEHIND_CHARS)
        self._text, self._first = self._text[keep - self._first :], keep
        return "".join(given)

    def _between(self, begin: int, end: int) -> str:
        return self._text[max(0, begin - self._first) : max(0, end - self._first)]


class Screen:
    """A reply form (`ports.Reply`) that withholds; to be put after the one that restores."""

    def __init__(self, find: Find, labels: frozenset[str], said: Sequence[str], inner: Inner | None = None) -> None:
        """Args:
        find: Sees values in a text.
        labels: Which of them are withheld.
        said: The request's own texts.
        inner: What makes the caller's events of the target's; None where they are the same.
        """
        self._find = find
        self._labels = labels
        self._said = said
        self._plain_said = ""
        self._inner = inner
        self._ways: dict[int, dict[Way, Strainer]] = {}

    def feed(self, event: bytes) -> Sequence[bytes]:
        """See `ports.Reply.feed`."""
        made = (event,) if self._inner is None else self._inner.feed(event)
        return [out for one in made for out in self._strained(one)]

    def finish(self) -> Sequence[bytes]:
        """See `ports.Reply.finish`."""
        made = () if self._inner is None else self._inner.finish()
        given = [out for one in made for out in self._strained(one)]
        for index in list(self._ways):
            rest = self._rest({}, index)
            given += [] if rest is None else [rest]
        return given

    def whole(self, body: bytes) -> bytes:
        """See `ports.Reply.whole`."""
        made = body if self._inner is None else self._inner.whole(body)
        try:
            read = msgspec.json.decode(made)
        except msgspec.DecodeError:
            return made  # the relay says what is wrong with it
        return msgspec.json.encode(self._walk(read, (), self._at_once))

    def _strained(self, event: bytes) -> list[bytes]:
        try:
            read = msgspec.json.decode(event)
        except msgspec.DecodeError:
            return [event]  # the relay says what is wrong with it
        choices = read.get("choices") if isinstance(read, dict) else None
        if not isinstance(choices, list):
            return [msgspec.json.encode(self._walk(read, (), self._at_once))]
        rests = [self._choice(choice, read) for choice in choices if isinstance(choice, dict)]
        return [*(rest for rest in rests if rest is not None), msgspec.json.encode(read)]

    def _choice(self, choice: dict[str, Any], event: dict[str, Any]) -> bytes | None:
        """Strains one choice of an event in place; the event that must go before it, if it is the choice's last."""
        index = choice.get("index")
        number = index if isinstance(index, int) else 0
        ways = self._ways.setdefault(number, {})
        choice.pop("logprobs", None)  # they tell the text a second time
        for name in choice.keys() & {"delta", "text"}:
            choice[name] = self._walk(choice[name], (name,), partial(self._pass, ways))
        return self._rest(event, number) if choice.get("finish_reason") else None

    def _rest(self, event: dict[str, Any], index: int) -> bytes | None:
        """An event with what is held back of a choice, or None."""
        choice: dict[str, Any] = {"index": index, "finish_reason": None}
        is_there = False
        for way, strainer in self._ways.pop(index, {}).items():
            text = strainer.finish()
            if text:
                is_there = True
                _put(choice, way, text)
        return msgspec.json.encode({**event, "choices": [choice]}) if is_there else None

    def _walk(self, value: Any, way: Way, strain: Callable[[str, Way], str]) -> Any:
        if isinstance(value, str):
            return value if way and way[-1] in _SETTLED else strain(value, way)
        if isinstance(value, dict):
            return {key: self._walk(item, (*way, key), strain) for key, item in value.items() if key != "logprobs"}
        if isinstance(value, list):
            # Only what has an index goes on in later events, as a tool call does.
            return [
                self._walk(item, (*way, _place(item, at)), strain if isinstance(item, dict) else self._at_once)
                for at, item in enumerate(value)
            ]
        return value

    def _pass(self, ways: dict[Way, Strainer], text: str, way: Way) -> str:
        strainer = ways.get(way)
        if strainer is None:
            strainer = ways[way] = Strainer(self._find, self._labels, self._is_known)
        return strainer.feed(text)

    def _at_once(self, text: str, _way: Way) -> str:
        strainer = Strainer(self._find, self._labels, self._is_known)
        return strainer.feed(text) + strainer.finish()

    def _is_known(self, value: str) -> bool:
        if not self._plain_said:
            self._plain_said = "\n".join(map(_plain, self._said))
        return _plain(value) in self._plain_said


def _plain(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum())


def _place(item: Any, at: int) -> int:
    """A part of a list is known by its own `index`, as tool calls are, or by its place."""
    index = item.get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else at


def _put(choice: dict[str, Any], way: Way, text: str) -> None:
    """Writes a text at its way: `("delta", "tool_calls", 0, "function", "arguments")`."""
    node: Any = choice
    for at, step in enumerate(way[:-1]):
        following: Any = [] if isinstance(way[at + 1], int) else {}
        if isinstance(node, list):
            found = next((one for one in node if one.get("index") == step), None)
            if found is None:
                found = {"index": step}
                node.append(found)
            node = found
        else:
            node = node.setdefault(step, following)
    node[way[-1]] = text
