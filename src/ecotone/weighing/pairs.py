"""Compared answers as columns: the newest few thousand of one model name, with what is known of their requests."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from ecotone.values.quality import Guess, Pair
from ecotone.weighing.cases import Case, Placed
from ecotone.weighing.spread import Floats

__all__ = ["PAIRS_MAX", "Learner", "Pairs", "Row", "Table", "facets", "row", "score"]

PAIRS_MAX: Final = 20_000
"""So many pairs of a name are kept for the figures; older ones only count."""
_SIZES: Final = ((64, "up to 64 tokens"), (256, "65 to 256 tokens"), (1024, "257 to 1,024 tokens"),
                 (4096, "1,025 to 4,096 tokens"))  # fmt: skip
_LARGE: Final = "over 4,096 tokens"


class Learner(msgspec.Struct, frozen=True, gc=False):
    """Whose guess a score is. Scores of different learners cannot be compared with one threshold.

    Attributes:
        era: So many times a new model had voided what was learned.
        is_of_answer: It had looked at the edge's answer.
        certificate: Number of the certificate whose frozen scorer it was; 0: one that was still learning.
    """

    era: int = 0
    is_of_answer: bool = False
    certificate: int = 0


class Row(msgspec.Struct, frozen=True, gc=False):
    """One pair.

    Attributes:
        score: The gap that was predicted; what a threshold is compared with.
        share: Probability with which the request drew its role.
        is_moved: The edge answered the caller, under the promise.
        facets: What the request was like, each as `dimension: value`.
        learner: Who predicted it.
    """

    gap: float
    score: float
    share: float
    is_moved: bool
    edge_s: float
    cloud_s: float
    edge_usd: float
    cloud_usd: float
    facets: tuple[str, ...] = ()
    learner: Learner = Learner()


class Table(msgspec.Struct, frozen=True):
    """Rows as arrays of one length n, oldest first.

    Attributes:
        weight: 1/share.
        facets, learner: Per row.
    """

    gap: Floats
    score: Floats
    weight: Floats
    is_moved: npt.NDArray[np.bool_]
    edge_s: Floats
    cloud_s: Floats
    edge_usd: Floats
    cloud_usd: Floats
    facets: tuple[tuple[str, ...], ...]
    learner: tuple[Learner, ...]

    def of(self, rows: npt.NDArray[np.intp]) -> Table:
        """Only these rows, by index."""
        return Table(
            self.gap[rows],
            self.score[rows],
            self.weight[rows],
            self.is_moved[rows],
            self.edge_s[rows],
            self.cloud_s[rows],
            self.edge_usd[rows],
            self.cloud_usd[rows],
            tuple(self.facets[at] for at in rows),
            tuple(self.learner[at] for at in rows),
        )

    def __len__(self) -> int:
        return len(self.gap)


class Pairs:
    """The newest rows.

    Attributes:
        count: All that were added.
    """

    __slots__ = ("_rows", "count")

    def __init__(self, kept_max: int = PAIRS_MAX) -> None:
        self.count = 0
        self._rows: deque[Row] = deque(maxlen=kept_max)

    def add(self, one: Row) -> None:
        """Takes a row, in place of the oldest where there are too many."""
        self.count += 1
        self._rows.append(one)

    def table(self) -> Table:
        """All of them as arrays."""
        rows = tuple(self._rows)

        def column(name: str) -> Floats:
            return np.array([getattr(one, name) for one in rows], dtype=np.float64)

        return Table(
            gap=column("gap"),
            score=column("score"),
            weight=1 / column("share"),
            is_moved=np.array([one.is_moved for one in rows], dtype=bool),
            edge_s=column("edge_s"),
            cloud_s=column("cloud_s"),
            edge_usd=column("edge_usd"),
            cloud_usd=column("cloud_usd"),
            facets=tuple(one.facets for one in rows),
            learner=tuple(one.learner for one in rows),
        )


def row(pair: Pair, case: Case | None, era: int = 0) -> Row | None:
    """A pair as a row; None where nothing was predicted of it, or it is about another edge target than the decision.

    With several edge targets a pair is for one of them, drawn by chance: those for the one in question are the sample.

    Args:
        case: Its request, where it is known.
        era: How often what was learned had been voided by then.
    """
    guess = _guess(pair)
    if guess is None or (case is not None and case.edge != pair.target):
        return None
    is_moved = pair.placed == "edge" if case is None or case.ended is None else case.is_moved
    return Row(
        pair.comparison.gap,
        guess.gap,
        pair.share,
        is_moved,
        pair.edge_s,
        pair.cloud_s,
        pair.edge_usd,
        pair.cloud_usd,
        () if case is None else facets(case.placed),
        Learner(era, pair.answer is not None, guess.certificate),
    )


def score(pair: Pair) -> float | None:
    """The gap that was predicted last: of the answer where a gate looked at it, else of the prompt."""
    guess = _guess(pair)
    return None if guess is None else guess.gap


def _guess(pair: Pair) -> Guess | None:
    return pair.answer or pair.guess


def facets(placed: Placed) -> tuple[str, ...]:
    """What a request was like, as far as the ledger says."""
    size = next((word for most, word in _SIZES if placed.ask.prompt_tokens <= most), _LARGE)
    return (
        f"key: {placed.key or 'none'}",
        f"endpoint: {placed.endpoint}",
        *(f"label: {label}" for label in placed.labels),
        f"size: {size}",
        *(f"asks for: {need}" for need in placed.needs if need != "stream"),
    )
