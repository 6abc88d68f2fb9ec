"""Texts made comparable: case, and the signs that people and models use for one another between words. Pure.

`_`, `-`, a blank and their kin all fold to `_`, character by character, so that a place in the folded text is one in
the text. Only where a sign is dropped (the backslash of `\\_`, characters without width) or written as an escape of
JSON is there a way back by lists.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Final

_BETWEEN: Final = " \t\n\r\x0b\x0c_-\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_BETWEEN_TOO: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2028\u2029\u202f\u205f\u2212\u3000\ufe58\ufe63\uff0d\uff3f"
_ASCII: Final = str.maketrans(dict.fromkeys(" \t\n\r\x0b\x0c-", "_"))
_ALL: Final = str.maketrans({**dict.fromkeys(_BETWEEN + _BETWEEN_TOO, "_"), "ς": "σ"})
_WIDTHLESS: Final = "\u00ad\u200b\u200c\u200d\u2060\ufeff"

# Scripts that set no blanks between words, and those that hang endings on a foreign word: no boundary is asked there.
_WORDLESS: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\uff66-\uffdc\U0001b000-\U0003ffff]"
)

_ODD: Final = re.compile(r"\\(?=[_\-*`~ ])|[" + _WIDTHLESS + "]")
_ESCAPE: Final = re.compile(r"\\{1,16}(?:u([0-9a-fA-F]{4})|([nrtbf])|(?=[_\-*`~ ]))|[" + _WIDTHLESS + "]")
_OPEN_ESCAPE: Final = re.compile(r"\\{1,16}(?:u[0-9a-fA-F]{0,3})?\Z")
ENDING: Final = "s"
"""The ending that a name may take: plural, German and Scandinavian genitive. Others begin with an apostrophe."""

OPEN_CHARS_MAX: Final = 20
"""An escape that may go on: backslashes, `u`, three digits."""


def fold(text: str) -> str:
    """The text folded; as long as the text."""
    lower = text.lower()
    if text.isascii():
        return lower.translate(_ASCII)
    if len(lower) != len(text):
        lower = "".join(low if len(low := char.lower()) == 1 else char for char in text)
    return lower.translate(_ALL)


class Squeezed:
    """A folded text whose dropped signs are gone, and the way back.

    Attributes:
        text: What is compared.
    """

    __slots__ = ("_marks", "_shifts", "_wide", "text")

    def __init__(
        self, text: str, marks: Sequence[int] = (), shifts: Sequence[int] = (), wide: Mapping[int, int] | None = None
    ) -> None:
        """Args:
        text: Folded.
        marks, shifts: From each of these places on, characters stand so much later in the text as written.
        wide: Where each character ends there that is written as an escape.
        """
        self.text = text
        self._marks = marks
        self._shifts = shifts
        self._wide = wide or {}

    def begin(self, at: int) -> int:
        """Where the character at this place begins as written."""
        mark = bisect_right(self._marks, at)
        return at + self._shifts[mark - 1] if mark else at

    def end(self, at: int) -> int:
        """Where the character before this place ends as written."""
        return self._wide.get(at - 1) or self.begin(at - 1) + 1


def squeeze(text: str, *, is_json: bool = False) -> Squeezed:
    """Folds and drops. `is_json`: the text is JSON's own, with escapes, as in the arguments of a tool call."""
    if "\\" not in text and (text.isascii() or not any(sign in text for sign in _WIDTHLESS)):
        return Squeezed(fold(text))
    pieces: list[str] = []
    marks: list[int] = []
    shifts: list[int] = []
    wide: dict[int, int] = {}
    at = size = 0
    for found in (_ESCAPE if is_json else _ODD).finditer(text):
        begin, end = found.span()
        pieces.append(text[at:begin])
        size += begin - at
        at = end
        if found.lastindex is not None:
            pieces.append(chr(int(found[1], 16)) if found.lastindex == 1 else " ")
            wide[size] = end
            size += 1
        marks.append(size)
        shifts.append(end - size)
    return Squeezed(fold("".join((*pieces, text[at:]))), marks, shifts, wide)


def form(value: str) -> str:
    """What a value looks like in a text that was squeezed."""
    return squeeze(value).text


def open_end(text: str, *, is_json: bool) -> int:
    """Where an escape begins that the next characters may complete; the text's length where there is none."""
    if "\\" not in text[-OPEN_CHARS_MAX:]:
        return len(text)
    if not is_json:
        return len(text) - text.endswith("\\")
    found = _OPEN_ESCAPE.search(text, max(0, len(text) - OPEN_CHARS_MAX))
    return found.start() if found else len(text)


def is_wordy(char: str) -> bool:
    """Whether a word may not begin or end beside this character."""
    return char.isalnum() and (char < "\u0e00" or _WORDLESS.match(char) is None)


def is_apart(text: str, start: int, end: int) -> bool:
    """Whether a piece of a folded text stands there as words of its own; what is percent-encoded before it is none."""
    if start and is_wordy(text[start]) and is_wordy(text[start - 1]) and text[max(0, start - 3)] != "%":
        return False
    return not (end < len(text) and is_wordy(text[end - 1]) and is_wordy(text[end]))
