"""A text as a reader sees it, without the tricks of writing, and the way back to the text as it was written.

Folded away: full-width, mathematical and other nations' digits and letters; characters without width; soft hyphens;
look-alike letters inside Latin words; odd spaces and hyphens; percent-encoding, HTML's numeric entities and JSON's
`\\u0040`, one level deep. A text without any of it costs one look for each gate.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
import re2

# Letters that look like a Latin one, Cyrillic and Greek. Source: Unicode TR39, confusables, the part in common fonts.
_LOOKS = dict(
    zip(
        "АВЕКМНОРСТУХІЈЅЗаеорсухіјѕһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧορνικ",
        "ABEKMHOPCTYXIJS3aeopcyxijshdqwABEZHIKMNOPTYXopvik",
        strict=True,
    )
)

# Without width, or without meaning for the reader: dropped.
_NOTHING = (
    r"\x{00AD}\x{034F}\x{061C}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{200B}-\x{200F}"
    r"\x{202A}-\x{202E}\x{2060}-\x{206F}\x{3164}\x{FE00}-\x{FE0F}\x{FEFF}\x{FFA0}\x{20E3}\x{E0000}-\x{E01EF}"
)
_SPACES = r"\x{00A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}"
_BREAKS = r"\x{0085}\x{2028}\x{2029}"
_HYPHENS = r"\x{2010}-\x{2015}\x{2043}\x{2212}\x{FE58}\x{FE63}\x{FF0D}"
# Full-width letters and signs that bear on a form (not the comma and colon, which every Chinese text has).
_WIDE = (
    r"\x{FF03}\x{FF0B}\x{FF0E}\x{FF0F}\x{FF20}-\x{FF3A}\x{FF3F}\x{FF41}-\x{FF5A}\x{1D400}-\x{1D7FF}\x{1F100}-\x{1F10A}"
)
_DIGIT = r"[^\P{Nd}0-9]"
_OTHER = r"\x{2460}-\x{2468}\x{24B6}-\x{24EA}\x{FE52}\x{FE6B}"
_LETTER = r"\x{0370}-\x{03FF}\x{0400}-\x{052F}"

_ODD = rf"[{_NOTHING}{_SPACES}{_BREAKS}{_HYPHENS}{_WIDE}{_OTHER}]|{_DIGIT}"
_ODD_ROW = rf"(?:{_ODD})+"
# A mark on a digit or sign (a struck-out number) is a trick; on a letter it is spelling.
_MARKED = r"[ -@\[-`{-~][\x{0300}-\x{036F}]+"
_MIXED = rf"[A-Za-z@_][{_LETTER}]|[{_LETTER}][A-Za-z@_]"
_WORD = rf"[A-Za-z0-9@_.{_LETTER}-]+"
_ESCAPED = (
    r"(?:%[0-9A-Fa-f]{2})+|&#(?:[0-9]{2,6}|[xX][0-9A-Fa-f]{2,5});|&(?:commat|period|colon|hyphen|nbsp|shy);"
    r"|\\u00[2-7][0-9A-Fa-f]"
)
_NAMED = {"&commat;": "@", "&period;": ".", "&colon;": ":", "&hyphen;": "-", "&nbsp;": " ", "&shy;": ""}

# Full-width brackets stand in every Chinese text: those of numbers alone are folded.
_OPENED = r"\x{FF08}[0-9+\x{FF0B}\x{FF10}-\x{FF19}]"
_CLOSED = r"[0-9\x{FF10}-\x{FF19}]\x{FF09}"

_GATE = rf"{_ODD}|{_MARKED}|{_MIXED}|{_OPENED}|{_CLOSED}"

_HEX = frozenset("0123456789abcdefABCDEF")

Change = tuple[int, int, str]
"""Where in the written text, and what stands there when folded."""


class Folded(msgspec.Struct, frozen=True, gc=False):
    """A folded text and the way back.

    Attributes:
        text: What detectors look at.
        starts, ends: For each code point of `text`, where its origin starts and ends as written; `None` where nothing
            moved.
    """

    text: str
    starts: list[int] | None = None
    ends: list[int] | None = None

    def written(self, start: int, end: int) -> tuple[int, int]:
        """The span as it was written, for a non-empty span of the folded text."""
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]


def fold(text: str) -> Folded:
    """The text without tricks. Never raises; linear; `\\x1e` stays where it is."""
    changes: list[Change] = []
    if not text.isascii():
        # Halves of a pair, which JSON lets through, are no text: each becomes a question mark.
        known = text.encode("utf-8", "replace")
        text = known.decode()
        if _compiled(_GATE).search(known) is not None:
            changes += _odd(text)
    if _may_be_escaped(text):
        changes += _escapes(text)
    if not changes:
        return Folded(text)
    changes.sort()
    return _apply(text, changes)


def _may_be_escaped(text: str) -> bool:
    """A look that costs next to nothing, for the many texts with a per cent sign or an ampersand of their own."""
    if "\\u00" in text or ("&" in text and ("&#" in text or any(name in text for name in _NAMED))):
        return True
    at = text.find("%")
    while at >= 0:
        if text[at + 1 : at + 2] in _HEX and text[at + 2 : at + 3] in _HEX:
            return True
        at = text.find("%", at + 1)
    return False


@cache
def _compiled(form: str) -> Any:
    return re2.compile(form)


def _odd(text: str) -> list[Change]:
    changes: list[Change] = []
    for m in _compiled(_ODD_ROW).finditer(text):
        start, signs = m.start(), m.group()
        plain = [_plain(sign) for sign in signs]
        if all(len(sign) == 1 for sign in plain):
            changes.append((start, m.end(), "".join(plain)))
        else:
            changes += [(start + at, start + at + 1, sign) for at, sign in enumerate(plain)]
    changes += [(m.start(), m.end(), m.group()[0]) for m in _compiled(_MARKED).finditer(text)]
    changes += [(m.start(), m.start() + 1, "(") for m in _compiled(_OPENED).finditer(text)]
    changes += [(m.end() - 1, m.end(), ")") for m in _compiled(_CLOSED).finditer(text)]
    # The look-alikes wait for the rest: a wide letter beside a Cyrillic one makes the word mixed.
    if _compiled(_MIXED).search(text) is not None:
        for m in _compiled(_WORD).finditer(text):
            word = m.group()
            if not word.isascii() and any(c.isascii() and (c.isalpha() or c in "@_") for c in word):
                changes += [(m.start() + i, m.start() + i + 1, _LOOKS[c]) for i, c in enumerate(word) if c in _LOOKS]
    return changes


@cache
def _plain(sign: str) -> str:
    """What an odd sign stands for: a sign of ASCII, or nothing."""
    if _compiled(f"[{_NOTHING}]").fullmatch(sign) is not None:
        return ""
    if _compiled(f"[{_SPACES}]").fullmatch(sign) is not None:
        return " "
    if _compiled(f"[{_BREAKS}]").fullmatch(sign) is not None:
        return "\n"
    if _compiled(f"[{_HYPHENS}]").fullmatch(sign) is not None:
        return "-"
    digit = unicodedata.digit(sign, None)
    if digit is not None:
        return str(digit)
    flat = unicodedata.normalize("NFKC", sign)
    return _LOOKS.get(flat, flat)


def _escapes(text: str) -> list[Change]:
    changes = []
    for m in _compiled(_ESCAPED).finditer(text):
        plain = _unescaped(m.group())
        if plain is not None:
            changes.append((m.start(), m.end(), plain))
    return changes


def _unescaped(sign: str) -> str | None:
    """What an escape stands for; `None` for one that makes no readable text (it then stays as it is)."""
    if sign[0] == "%":
        try:
            plain = unquote_to_bytes(sign).decode()
        except UnicodeDecodeError:
            return None
    elif sign[0] == "\\":
        plain = chr(int(sign[2:], 16))
    elif sign in _NAMED:
        return _NAMED[sign]
    else:
        plain = chr(int(sign[3:-1], 16) if sign[2] in "xX" else int(sign[2:-1]))
    return plain if plain.isprintable() or plain in "\n\r\t" else None


def _apply(text: str, changes: list[Change]) -> Folded:
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    moved = False
    at = 0
    for start, end, plain in changes:
        if start < at:
            continue
        pieces += (text[at:start], plain)
        starts += range(at, start)
        ends += range(at + 1, start + 1)
        if len(plain) == end - start:
            starts += range(start, end)
            ends += range(start + 1, end + 1)
        else:
            moved = True
            starts += [start] * len(plain)
            ends += [end] * len(plain)
        at = end
    pieces.append(text[at:])
    if not moved:
        return Folded("".join(pieces))
    starts += range(at, len(text))
    ends += range(at + 1, len(text) + 1)
    return Folded("".join(pieces), starts, ends)
