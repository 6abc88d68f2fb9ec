"""What a checker is, and what of its answers is believed.

The plug-in contract, told for authors in docs/reference/checkers.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from ecotone.values.quality import Comparison, Question, Reply

GROUP: Final = "ecotone.checkers"
"""The entry point group: a checker's name -> `make`."""

NAME_CHARS_MAX: Final = 64


class Checker(Protocol):
    """Compares two answers to one question."""

    def compare(self, question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
        """How far the edge's answer falls behind the cloud's; None where this checker cannot judge these.

        The gap is the cloud's quality less the edge's, in [-1, 1]. A checker that knows only how far the two agree
        counts the cloud's as 1.
        """


Make = Callable[[Mapping[str, Any]], Checker]
"""What a plug-in's entry point names: settings in, a checker out."""


class Compare(Protocol):
    """A built-in checker: a function."""

    def __call__(self, question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
        """See `Checker.compare`."""


class Guarded:
    """A plug-in's checker whose failures are counted, and cost a comparison and nothing else.

    Attributes:
        name: Under which its comparisons go into the ledger, whatever it says itself.
        compared, passed, failed, refused: Calls that gave a comparison, gave None, raised, and gave what no checker
            gives.
        cause: Class of what was raised last; never its message, which may hold what a caller wrote.
    """

    def __init__(self, name: str, checker: Checker) -> None:
        """Wraps the checker; `name` is that of its entry point.

        Raises:
            ValueError: the name is not a short printable word.
        """
        if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable() or " " in name:
            raise ValueError("a checker's name is a word of at most 64 characters")
        self.name = name
        self._checker = checker
        self.compared = self.passed = self.failed = self.refused = 0
        self.cause = ""

    def compare(self, question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
        """As `Checker.compare`; never raises, and what it gives is within bounds."""
        try:
            found: object = self._checker.compare(question, edge, cloud)
        except Exception as error:  # noqa: BLE001  # code of others may raise anything, and a pair is not worth a crash
            self.failed += 1
            self.cause = type(error).__name__
            return None
        if found is None:
            self.passed += 1
            return None
        if not isinstance(found, Comparison) or not is_sound(found):
            self.refused += 1
            return None
        self.compared += 1
        return msgspec.structs.replace(found, checker=self.name)


def is_sound(comparison: Comparison) -> bool:
    """Whether gap and qualities are numbers within their bounds."""
    qualities = [quality for quality in (comparison.edge, comparison.cloud) if quality is not None]
    return _is_within(comparison.gap, -1.0) and all(_is_within(quality, 0.0) for quality in qualities)


def _is_within(value: object, least: float) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and least <= value <= 1.0
