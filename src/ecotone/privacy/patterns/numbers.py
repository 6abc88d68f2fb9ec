"""What is mostly digits: cards, identity numbers, accounts, phones, addresses of the net."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import re2

from ecotone.privacy.patterns import checks
from ecotone.privacy.patterns.context import HARMLESS, Words, linked
from ecotone.privacy.patterns.families import ASKING, FAMILIES, Family
from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit
from ecotone.privacy.patterns.shapes import REACH, TABLE, Candidate, Shapes

# Any run with four digits that letters and separators do not tear apart. Every family has one: a test holds that.
GATE = rb"[0-9](?:[A-Za-z]?[ ().\n\r/+-]{0,3}[0-9]){3,}"

_SIGNS_MIN = 6

_DECIMAL_MAX = 7
"""A run this short with one point in it is a measure or a price, bytes."""

_CALLED = 30
"""How far the word may stand from a number that is nothing without it, code points."""

_LETTERS_FRONT = Form(r"[A-Za-z]{1,6}\Z")
_SERIES_FRONT = Form(r"(?<![A-Za-z0-9])(?:[A-Z]{2} |[A-Z]{3} [A-Z]{3} )\Z")
_BEHIND = Form(r"[A-Za-z][A-Za-z0-9]{0,10}|[ -][A-Za-z](?: ?[0-9]{3})?(?![A-Za-z0-9])|\([0-9A]\)|\)")
_IBAN_FRONT = Form(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]|\r?\n)?[A-Za-z0-9]{4}")
_IBAN_BACK = 12

_DATE = Form(
    r"\(?(?:(?:19|20)[0-9]{2}([-/. ])[01]?[0-9]\1[0-3]?[0-9]|[0-3]?[0-9]([-/.])[0-3]?[0-9]\2(?:19|20)[0-9]{2})(?![0-9])"
)
_EXTENSION = Form(r" ?(?:x|ext\.?|extension|#|转|分机) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE)
_SAID_AFTER = Form(r"[ (,:/-]{0,3}(?:office|fax|home|cell|mobile|work|tel|phone|mobil|privat|电话|手机)", re.IGNORECASE)


def options() -> Any:
    """RE2 over bytes of Latin-1, one to a code point; quiet, with room for every gate."""
    chosen = re2.Options()
    chosen.encoding = re2.Options.Encoding.LATIN1
    chosen.log_errors = False
    chosen.max_mem = 64 << 20
    return chosen


class Numbers:
    """Finds numbers that mean someone. Built once."""

    def __init__(self, words: Words) -> None:
        chosen = options()
        self._words = words
        self._gate = re2.compile(GATE, chosen)
        self._shapes = Shapes(chosen)
        self._exact = [re.compile(family.form).fullmatch for family in FAMILIES]
        self._groups = re.compile(rb"[(+]{0,2}[0A]+")

    def find(self, text: str, raw: bytes) -> tuple[list[Hit], list[Row]]:
        """The hits, and the rows of digits that are none (for whoever knows a value by its word alone).

        Args:
            text: The folded text.
            raw: The same as Latin-1, `?` for what it lacks.
        """
        hits: list[Hit] = []
        rest: list[Row] = []
        for m in self._gate.finditer(raw):
            start, end = m.span()
            if end - start <= _DECIMAL_MAX and raw[start:end].translate(TABLE).strip(b"0") == b".":
                continue
            first, last = _extended(text, raw, start, end)
            row = Row(text, start, first, last, *self._words.before(text, start))
            before = len(hits)
            if last - first >= _SIGNS_MIN:
                self._row(row, raw, hits)
            if len(hits) == before:
                rest.append(row)
        return hits, rest

    def _row(self, row: Row, raw: bytes, hits: list[Hit]) -> None:
        first, last = row.first, row.last
        shape = raw[first:last].translate(TABLE)
        if b"AA00" in shape[:4] or b"AA00" in raw[max(0, first - _IBAN_BACK) : first + 4].translate(TABLE):
            iban = _iban(row)
            if iban is not None:
                hits.append(iban)
        if last - first <= REACH:
            self._try(row, self._shapes.candidates(shape), first, hits)
            return
        for group in self._groups.finditer(shape):
            at = group.start()
            self._try(row, self._shapes.candidates(shape[at : at + REACH], is_piece=True), first + at, hits)

    def _try(self, row: Row, candidates: Iterable[Candidate], at: int, hits: list[Hit]) -> None:
        """Judges candidates counted from `at`, until one is all of the row."""
        text, meaning, exact = row.text, row.meaning, self._exact
        for index, start, end in candidates:
            if meaning not in ASKING[index] or exact[index](text, at + start, at + end) is None:
                continue
            hit = _judged(row, FAMILIES[index], at + start, at + end)
            if hit is not None:
                hits.append(hit)
                if hit.start <= row.first and hit.end >= row.last:
                    return


class Row:
    """A row of digits, and the word in front of it.

    Attributes:
        digits: Where its first digit stands.
        first, last: From where to where it goes, with the letters and brackets at its edges.
        meaning, gap: What the word says, and how far in front of `digits` it ends.
    """

    __slots__ = ("digits", "first", "gap", "last", "meaning", "text")

    def __init__(self, text: str, digits: int, first: int, last: int, meaning: str, gap: int) -> None:
        self.text, self.digits, self.first, self.last = text, digits, first, last
        self.meaning, self.gap = meaning, gap

    def says(self, family: Family, end: int) -> bool:
        """A word says that the number is of this family."""
        if self.meaning in family.names and self.gap <= _CALLED:
            return True
        return family.check is None and family.kind == "phone" and _SAID_AFTER.match(self.text, end) is not None

    def speaks_against(self, family: Family, start: int, end: int) -> bool:
        """A word says that it is harmless, or a weak form is only part of a longer row."""
        if self.meaning == HARMLESS and linked(self.text, self.digits - self.gap, start):
            return True
        if not family.whole:
            return False
        if self.meaning not in ("", "phone") and linked(self.text, self.digits - self.gap, start):
            return True
        text = self.text
        if start and text[start - 1] in "/=&?#%_":
            return True
        return (start > self.first and text[start - 1] != "\n") or (end < self.last and text[end] != "\n")


def _judged(row: Row, family: Family, start: int, end: int) -> Hit | None:
    """What has the form of the family, if a word or a check makes it one."""
    text = row.text
    said = row.says(family, end)
    if not said and (family.check is None or row.speaks_against(family, start, end)):
        return None
    number = text[start:end]
    phone = family.kind == "phone"
    if phone:
        more = _EXTENSION.match(text, end)
        end = more.end() if more is not None else end
    if not _stands_alone(text, start, end):
        return None
    if not said and family.check is not None and not family.check(number):
        return None
    if (phone or family.check is None) and (number.count("(") != number.count(")") or _DATE.match(number) is not None):
        return None
    if said:
        # Of phones that a word makes one, the longest is meant, whatever each would be alone.
        return Hit(start, end, family.kind, 0.87 if phone else family.sure + 0.02)
    return Hit(start, end, family.kind, family.sure)


def _extended(text: str, raw: bytes, start: int, end: int) -> tuple[int, int]:
    """The run with the letters and brackets that may belong to its number."""
    if start:
        left = raw[start - 1 : start]
        if left.isalpha():
            front = _LETTERS_FRONT.search(text, max(0, start - 6), start)
            start = front.start() if front is not None else start
        elif left == b" " and raw[start - 2 : start - 1].isupper():
            front = _SERIES_FRONT.search(text, max(0, start - 9), start)
            start = front.start() if front is not None else start
        while start and raw[start - 1] in b"(+":
            start -= 1
    right = raw[end : end + 3]
    if right[:1].isalpha() or (right[:1] in (b" ", b"-", b"(", b")") and not right[2:].isalpha()):
        back = _BEHIND.match(text, end, end + 12)
        end = back.end() if back is not None else end
    return start, end


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Nothing goes on where the number begins and ends: no letter, no digit, no decimal, no thousands."""
    if start:
        left = text[start - 1]
        if (left.isalnum() and left < "\u2e80") or left == "_":
            return False
        if left in ".,-/" and start > 1 and text[start - 2].isdigit() and (left != "," or _thousand(text, start)):
            return False
    if end < len(text):
        right = text[end]
        if (right.isalnum() and right < "\u2e80") or right == "_":
            return False
        if right in ".,-/" and text[end + 1 : end + 2].isdigit() and (right != "," or _thousand(text, end + 1)):
            return False
    return True


def _thousand(text: str, start: int) -> bool:
    """Three digits and no more: the part of an amount behind a comma."""
    return text[start : start + 3].isdigit() and not text[start + 3 : start + 4].isdigit()


def _iban(row: Row) -> Hit | None:
    """The account that begins here or shortly in front, by the length of its country."""
    text, first = row.text, row.first
    front = _IBAN_FRONT.search(text, max(0, first - _IBAN_BACK), first + 12)
    if front is None:
        return None
    start = front.start()
    length = checks.iban_length(text[start : start + 2])
    end = _walked(text, start, length)
    if not end or not _stands_alone(text, start, end):
        return None
    if checks.iban(text[start:end]):
        return Hit(start, end, "iban", 0.98)
    return Hit(start, end, "iban", 0.9) if row.meaning in ("iban", "account") else None


def _walked(text: str, start: int, length: int) -> int:
    """Where so many letters and digits end, apart by single separators; 0 where they do not."""
    taken = 0
    at = start
    limit = min(len(text), start + 2 * length)
    while at < limit and taken < length:
        sign = text[at]
        if sign.isascii() and sign.isalnum():
            taken += 1
        elif sign not in " -\n\r" or not (text[at - 1].isalnum() or text[at - 1] == "\r"):
            return 0
        at += 1
    return at if length and taken == length else 0
