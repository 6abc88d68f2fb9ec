"""On which rung of the ladder a model name would have stood at each request, as far as a ledger tells."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

from ecotone.learning.ladder import TABLE, Proof
from ecotone.values import Mode
from ecotone.values.quality import Step
from ecotone.weighing.cases import Case

__all__ = ["NOTHING", "Ladder", "Moment"]

NOTHING: Final = -1.7976931348623157e308
"""The threshold that lets nothing pass."""
_LADDER: Final = ("advanced", "fell_back")
_GONE: Final = ("suspended", "voided")


class Moment(msgspec.Struct, frozen=True, gc=False):
    """A step, and when it was taken, ms since the Unix epoch."""

    at_ms: int
    step: Step


class Ladder:
    """The rungs of one name with `advance: auto`.

    Attributes:
        note: By what they are known.
    """

    def __init__(self, name: str, written: Mode, moments: Sequence[Moment], *, is_promised: bool) -> None:
        """Looks at what there is.

        Args:
            written: The rung that the configuration says; the ladder begins there.
            moments: The ledger's steps of this name, oldest first.
            is_promised: The configuration promises what was promised when the ledger was written.
        """
        self._is_promised = is_promised
        self._first = TABLE[written, Proof.NONE]
        climbed = [one for one in moments if one.step.what in _LADDER]
        # Who begins on the rung where the site began, under the same promise, stands where the site stood.
        self._is_recorded = bool(climbed) and climbed[0].step.mode_from == self._first
        self._walk = _walked(self._first, moments)
        self.note = f"{name}: `advance: auto`: {self._words(len(climbed))}"

    def rung(self, case: Case) -> Mode:
        """Where the name stands at a request."""
        if not self._is_promised:
            # The threshold is that of the whole ledger: where there is none, nothing passes on this rung either.
            return Mode.AUTO
        if self._is_recorded:
            return case.placed.ask.mode
        if self._walk:
            at = bisect_right([at_ms for at_ms, _ in self._walk], case.at_ms)
            return self._walk[at - 1][1]
        return TABLE[self._first, Proof.SOME] if _is_certified(case) else self._first

    def _words(self, climbed: int) -> str:
        if not self._is_promised:
            return "the promise is another than the recorded one, so `auto` throughout, on the threshold of its own"
        if self._is_recorded:
            return f"on the rungs where the site stood; it moved {climbed} times"
        if self._walk:
            return f"from `{self._first}` on the rungs to which the recorded certificates lead"
        return f"`{TABLE[self._first, Proof.SOME]}` where a certificate stood at the request, else `{self._first}`"


def _walked(first: Mode, moments: Sequence[Moment]) -> list[tuple[float, Mode]]:
    """From when on which rung, by what certificates say; empty where none is told of."""
    rung = first
    walk: list[tuple[float, Mode]] = []
    standing: dict[str, float] = {}
    lost: set[str] = set()
    for one in moments:
        step = one.step
        if step.what == "certified":
            standing[step.target] = step.figures.get("edge_share", 0.0)
            lost.discard(step.target)
        elif step.what in _GONE:
            if not walk:  # what is lost first had been won before these entries begin
                rung = TABLE[first, Proof.SOME]
            standing.pop(step.target, None)
            lost.add(step.target)
        else:
            continue
        if not walk:
            walk.append((-math.inf, rung))
        rung = TABLE[rung, _proof(standing, lost)]
        walk.append((one.at_ms, rung))
    return walk


def _proof(standing: dict[str, float], lost: set[str]) -> Proof:
    """As `learning` has it."""
    if any(share >= 1.0 for share in standing.values()):
        return Proof.ALL
    if standing:
        return Proof.SOME
    return Proof.LOST if lost else Proof.NONE


def _is_certified(case: Case) -> bool:
    """Whether a certificate stood when a request was decided: something might be risked then."""
    said = [one.estimate.gap_max for one in case.placed.candidates]
    return any(gap_max is not None and gap_max > NOTHING for gap_max in said)
