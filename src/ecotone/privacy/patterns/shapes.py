"""How numbers are written, without their digits: `000-00-0000`. Which families a shape may be is remembered.

A run of digits is cut at its separators; each stretch from one cut to another that has the shape of a family is a
candidate. So a card beside a year, or a phone beside an id, is tried alone and together.
"""

from __future__ import annotations

import re

import re2

from ecotone.privacy.patterns.families import FAMILIES

_DIGITS, _LETTERS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TABLE = bytes.maketrans((_DIGITS + _LETTERS).encode(), b"0" * 10 + b"A" * 52)
"""Turns the bytes of a text into those of its shape."""

REACH = 44
"""No family is longer, bytes."""

_GROUPS_MAX = 9
_SINGLES_MAX = 19
_SIGNS_MIN = 6
_REMEMBERED_MAX = 8192

Candidate = tuple[int, int, int]
"""A family's place in `FAMILIES`, and from where to where in the shape."""


def shape_of(form: str) -> str:
    """A family's form over shapes: every digit and class of digits is `0`, of letters `A`."""

    def blurred(m: re.Match[str]) -> str:
        part = m.group()
        if part[0] in "\\{(":
            return part
        if part[0] != "[":
            return "0" if part.isdigit() else "A"
        if any(sign in part for sign in " ./()+"):
            return part
        digits = any(c.isdigit() for c in part)
        letters = any(c.isalpha() for c in part)
        return "[0A]" if digits and letters else "0" if digits else "A" if letters else part

    return re.sub(r"\\.|\{[0-9,]+\}|\(\?:|\[[^\]]*\]|[0-9A-Za-z]", blurred, form)


class Shapes:
    """Tells the candidates of a shape. Built once; remembers what it was asked."""

    def __init__(self, options: re2.Options) -> None:
        self._which = re2.Set.FullMatchSet(options)
        for family in FAMILIES:
            self._which.Add(shape_of(family.form).encode("latin-1"))
        self._which.Compile()
        self._extended = re.compile(rb"(0{2,})A0{1,6}$")
        self._known: dict[tuple[bytes, bool], tuple[Candidate, ...]] = {}

    def candidates(self, shape: bytes, *, is_piece: bool = False) -> tuple[Candidate, ...]:
        """What may stand in a run of this shape; or, of a piece of a run longer than `REACH`, what may begin it."""
        known = self._known.get((shape, is_piece))
        if known is None:
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            known = self._known[shape, is_piece] = tuple(self._tried(shape, 1 if is_piece else len(shape)))
        return known

    def _tried(self, shape: bytes, starts_max: int) -> list[Candidate]:
        groups = [m.span() for m in re.finditer(rb"[0A]+", shape)]
        found: list[Candidate] = []
        singles = len(groups) <= _SINGLES_MAX
        for first, (start, _) in enumerate(groups[:starts_max]):
            fronts = [start]
            while fronts[-1] and shape[fronts[-1] - 1] in b"(+":
                fronts.append(fronts[-1] - 1)
            single = singles and all(end - start == 1 for start, end in groups[first : first + _GROUPS_MAX])
            for group, end in groups[first : first + (_SINGLES_MAX if single else _GROUPS_MAX)]:
                if end - start < _SIGNS_MIN:
                    continue
                ends = [end, end + 1] if shape[end : end + 1] == b")" else [end]
                extended = self._extended.match(shape, group, end)
                if extended is not None:
                    ends.append(extended.end(1))
                found += [
                    (index, front, back)
                    for front in fronts
                    for back in ends
                    for index in sorted(self._which.Match(shape[front:back]) or ())
                ]
        return found
