"""Labelled rows that are kept: to fit the learner anew, and to certify with. Bounded, without content."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from ecotone.learning.bounds import Floats
from ecotone.learning.traits import Traits

PLAIN_MAX: Final = 1_200
GATED_MAX: Final = 800
CERTIFY_MAX: Final = 5_000
"""Rows kept. Learning from more of them at once gains little (RESEARCH-routing.md 3.1), and costs time in each fit."""


class Labelled(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One pair of answers, as far as it is kept.

    Attributes:
        gap: Cloud's quality less the edge's.
        signs: Float64 (S,) of the edge's answer, as bytes; empty where none were taken.
        number: Counts the rows of one target: the order in which they came.
        foreseen: What the gate would have predicted before this row was learned; of rows to learn from only.
    """

    traits: Traits
    gap: float
    signs: bytes = b""
    number: int = 0
    foreseen: float = 0.0

    @property
    def vector(self) -> Floats | None:
        """Its signs."""
        return np.frombuffer(self.signs) if self.signs else None


class Lessonbook:
    """Rows to learn from, and rows to certify with; none is ever both.

    While a gate lets the edge answer, rows to learn from come only from what it does not let pass. Those may push out
    each other, but never all of the rows from before: a fit must know both sides of the threshold.
    """

    __slots__ = ("_gated", "_plain", "certify", "number")

    def __init__(self) -> None:
        self._plain: deque[Labelled] = deque(maxlen=PLAIN_MAX)
        self._gated: deque[Labelled] = deque(maxlen=GATED_MAX)
        self.certify: deque[Labelled] = deque(maxlen=CERTIFY_MAX)
        self.number = 0

    def learn(self, row: Labelled, *, is_plain: bool) -> None:
        """Keeps a row that was learned from.

        Args:
            is_plain: All traffic went to the cloud when it came.
        """
        (self._plain if is_plain else self._gated).append(row)

    def next_number(self) -> int:
        """The number of the row that comes."""
        self.number += 1
        return self.number

    def rows(self) -> list[Labelled]:
        """Rows to learn from, oldest first."""
        return sorted([*self._plain, *self._gated], key=lambda row: row.number)

    def plain(self) -> list[Labelled]:
        """Of those, the plain sample of the traffic, oldest first."""
        return list(self._plain)

    def forget(self, keep: int) -> None:
        """Keeps only the newest rows to learn from, and none to certify with: the world has changed."""
        rows = self.rows()
        oldest = rows[-keep].number if 0 < keep < len(rows) else 0 if keep else self.number + 1
        for kept in (self._plain, self._gated):
            while kept and kept[0].number < oldest:
                kept.popleft()
        self.certify.clear()

    def dump(self) -> tuple[list[Labelled], list[Labelled], list[Labelled], int]:
        """What `restore` takes."""
        return list(self._plain), list(self._gated), list(self.certify), self.number

    def restore(
        self, plain: Sequence[Labelled], gated: Sequence[Labelled], certify: Sequence[Labelled], number: int
    ) -> None:
        """What `dump` gave."""
        for kept, rows in ((self._plain, plain), (self._gated, gated), (self.certify, certify)):
            kept.extend(rows)
        self.number = number
