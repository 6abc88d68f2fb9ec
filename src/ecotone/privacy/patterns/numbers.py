"""What is mostly digits: cards, identity numbers, accounts, phones, addresses of the net."""

from __future__ import annotations

import re
from typing import Any

import re2

from ecotone.privacy.patterns import checks
from ecotone.privacy.patterns.context import HARMLESS, Words
from ecotone.privacy.patterns.families import FAMILIES, Family
from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit

# Any run with four digits that letters and separators do not tear apart. Every family has such a run: a test holds that.
GATE = rb"[0-9](?:[A-Za-z]?[ ().\n\r/+-]{0,3}[0-9]){3,}"
_MARGIN = 14
"""What a family may have in front of and behind its run, bytes."""

_WINDOW_MAX = 1024
"""A longer run is looked at in pieces, bytes, that overlap by `_OVERLAP`: no family is longer."""

_OVERLAP = 64

_CALLED = 30
"""How far the word may stand from a number that is nothing without it, code points."""

_DATE = Form(
    r"\(?(?:[0-9]{4}([-/. ])[01]?[0-9]\1[0-3]?[0-9]|[0-3]?[0-9]([-/.])[0-3]?[0-9]\2(?:19|20)[0-9]{2})(?![0-9])"
)
_EXTENSION = Form(r"(?: ?(?:x|ext\.?|extension|#|转|分机) ?[0-9]{1,6})(?![0-9A-Za-z])", re.IGNORECASE)
# Digits of a number with its country code. Source: the national plans; others may have fifteen (ITU E.164).
_NATIONAL = {
    "1": 11,
    "7": 11,
    "31": 11,
    "33": 11,
    "34": 11,
    "44": 12,
    "32": 11,
    "41": 11,
    "45": 10,
    "47": 10,
    "48": 11,
    "55": 13,
    "86": 13,
    "91": 12,
    "81": 12,
    "82": 12,
    "39": 13,
    "49": 14,
    "43": 14,
    "46": 12,
    "351": 12,
    "852": 11,
}


def options() -> Any:
    """RE2 over bytes of Latin-1, one to a code point; quiet."""
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
        self._which = re2.Set.SearchSet(chosen)
        self._forms = []
        for family in FAMILIES:
            form = family.form.encode("latin-1")
            self._which.Add(form)
            self._forms.append(re2.compile(form, chosen))
        self._which.Compile()

    def find(self, text: str, raw: bytes) -> tuple[list[Hit], list[tuple[int, int]]]:
        """The hits, and the runs of digits (for whoever knows a value by its word alone).

        Args:
            text: The folded text.
            raw: The same as Latin-1, `?` for what it lacks.
        """
        runs = [m.span() for m in self._gate.finditer(raw)]
        hits: list[Hit] = []
        at = 0
        size = len(raw)
        count = len(runs)
        while at < count:
            start, end = runs[at]
            at += 1
            if end - start == 4 and (raw[start : start + 2] in (b"19", b"20")):
                continue
            while at < count and runs[at][0] - end < _MARGIN and end - start < 512:
                end = runs[at][1]
                at += 1
            start, end = max(0, start - _MARGIN), min(size, end + _MARGIN)
            for piece in range(start, end, _WINDOW_MAX):
                self._window(text, raw, piece, min(end, piece + _WINDOW_MAX + _OVERLAP), hits)
        return hits, runs

    def _window(self, text: str, raw: bytes, start: int, end: int, hits: list[Hit]) -> None:
        window = raw[start:end]
        for index in self._which.Match(window) or ():
            family = FAMILIES[index]
            for m in self._forms[index].finditer(window):
                hit = self._judge(family, text, start + m.start(), start + m.end())
                if hit is not None:
                    hits.append(hit)

    def _judge(self, family: Family, text: str, start: int, end: int) -> Hit | None:
        if family.kind == "iban":
            end = _walk(text, start)
        elif family.kind == "phone":
            start, end = _phone(text, start, end)
        if not end or not _stands_alone(text, start, end):
            return None
        number = text[start:end]
        if family.kind == "phone" and not _callable(number):
            return None
        meaning, gap = self._words.before(text, start)
        if meaning in family.names and gap <= _CALLED:
            if family.proof_only and not (family.check is not None and family.check(number)):
                return Hit(start, end, family.kind, 0.9) if meaning == "iban" else None
            return Hit(start, end, family.kind, min(0.99, family.sure + 0.04))
        if family.check is None or not family.check(number):
            return None
        if meaning == HARMLESS and gap <= _CALLED and not family.proof_only:
            return None
        return Hit(start, end, family.kind, family.sure)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Nothing goes on where the number begins and ends: no letter, no digit, no decimal."""
    if start:
        left = text[start - 1]
        if (left.isalnum() and left < "\u2e80") or left == "_":
            return False
        if left in ".,-/" and start > 1 and text[start - 2].isdigit():
            return False
    if end < len(text):
        right = text[end]
        if (right.isalnum() and right < "\u2e80") or right == "_":
            return False
        if right in ".,-/" and end + 1 < len(text) and text[end + 1].isdigit():
            return False
    return True


def _walk(text: str, start: int) -> int:
    """Where an IBAN that starts here ends, by the length of its country; 0 where there is none."""
    length = checks.iban_length(text[start : start + 2])
    taken = 0
    at = start
    limit = min(len(text), start + 48)
    while at < limit and taken < length:
        sign = text[at]
        if sign.isascii() and sign.isalnum():
            taken += 1
        elif sign not in " -\n\r" or (text[at - 1] in " -" and sign in " -"):
            return 0
        at += 1
    return at if taken == length and length else 0


def _phone(text: str, start: int, end: int) -> tuple[int, int]:
    """The span of a phone number: no more digits than its country has, with its plus sign and extension."""
    if (start and text[start - 1] == "+") or (start and text[start - 1] == "(" and ")" in text[start:end]):
        start -= 1
    digits = checks.digits_of(text[start:end])
    if text[start] == "+" or digits.startswith("00"):
        local = digits if text[start] == "+" else digits[2:]
        most = next((_NATIONAL[local[:n]] for n in (1, 2, 3) if local[:n] in _NATIONAL), 15) + len(digits) - len(local)
        if "(0)" in text[start:end]:
            most += 1
        while len(checks.digits_of(text[start:end])) > most:
            cut = max(text.rfind(sign, start, end) for sign in " -./\n")
            if cut <= start:
                return start, 0
            end = cut
    more = _EXTENSION.match(text, end)
    return start, more.end() if more is not None else end


def _callable(number: str) -> bool:
    """Not a date, not a decimal, not a row of the same digit, brackets closed."""
    if _DATE.match(number) is not None or number.count("(") != number.count(")"):
        return False
    digits = checks.digits_of(number)
    return (len(set(digits)) > 2 and not digits.startswith("000")) or number[0] in "(+"
