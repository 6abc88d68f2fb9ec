"""Which pairs were guessed by learners that can be compared: those of the newest one that made enough.

A ledger keeps what was predicted when a request came. Most of it comes from learners that knew less than the present
one: a threshold over all of it says what *they* would have supported. A certificate does not suffer from that, because
the site scores all its pairs again with one frozen learner; nobody can do that with a ledger, which holds no content.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from ecotone.weighing.pairs import Learner, Table

__all__ = ["ENOUGH", "Basis", "comparable", "of_era"]

ENOUGH: Final = 100
"""With fewer pairs of one learner than this, another one's are taken."""
_LAST: Final = 1.0
"""No answer's gap is above this."""


class Basis(msgspec.Struct, frozen=True):
    """Whose guesses figures stand on.

    Attributes:
        what: `frozen` (one certificate's own scorer), `learning` (the newer half of those that were made while it was
            still learning), `mixed` (all there are: no learner made enough of them) or `certificate` (its own pairs, as
            the site scored them again; the figures are those of its step).
        pairs: So many of them.
        certificate: Its number, where there is one.
        is_past: They are of a model that has been replaced since.
    """

    what: str
    pairs: int
    certificate: int = 0
    is_past: bool = False


def comparable(table: Table, era: int) -> tuple[Table, Basis]:
    """The rows to find thresholds on, and whose they are.

    Args:
        era: The present one.
    """
    by: dict[Learner, list[int]] = {}
    for place, learner in enumerate(table.learner):
        by.setdefault(_whole(learner), []).append(place)
    for learner, rows in sorted(by.items(), key=lambda item: -item[1][-1]):
        if len(rows) < ENOUGH:
            continue
        is_past = learner.era < era
        if learner.certificate:
            return _asked_first(_of(table, rows)), Basis("frozen", len(rows), learner.certificate, is_past)
        # It has learnt while these were made: at the newer half of them it knew half at least of what it knows now.
        rows = rows[-max(ENOUGH, len(rows) // 2) :]
        return _of(table, rows), Basis("learning", len(rows), 0, is_past)
    rest = of_era(table, era)
    return rest, Basis("mixed", len(rest))


def of_era(table: Table, era: int) -> Table:
    """The rows since what was learned was voided last."""
    return _of(table, [place for place, learner in enumerate(table.learner) if learner.era == era])


def _whole(learner: Learner) -> Learner:
    """A certificate of answers is one learner, also where it let the edge not even be asked."""
    return msgspec.structs.replace(learner, is_of_answer=False) if learner.certificate else learner


def _asked_first(table: Table) -> Table:
    """Where a certificate is about answers, what the edge was not even asked comes after all that it answered."""
    is_of_answer = np.array([learner.is_of_answer for learner in table.learner], dtype=bool)
    if not is_of_answer.any():
        return table
    last = _LAST + np.maximum(table.score, 0.0)
    return msgspec.structs.replace(table, score=np.where(is_of_answer, table.score, last))


def _of(table: Table, rows: list[int]) -> Table:
    return table.of(np.array(rows, dtype=np.intp))
