"""From a predicted gap to the probability that the answer is good enough: a logistic curve, learned label by label.

Two numbers, a Gaussian belief about them, one Newton step per label. It is fed predictions that were made before
their label was known, so it says what such predictions were worth, not what the learner thinks of itself.
Source: Platt 1999 (logistic calibration); Spiegelhalter & Lauritzen 1990 (sequential updating of a logistic).
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

_PRIOR_PRECISION_OFFSET: Final = 0.25
_PRIOR_PRECISION_SLOPE: Final = 0.04
_SLOPE_FIRST: Final = 4.0
_OFFSET_FIRST: Final = 1.5
_SLOPE_MIN: Final = 0.0


class Curve(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """P(good) = 1 / (1 + exp(-(offset - slope * gap))), with the precision of (offset, slope).

    Attributes:
        offset, slope: The curve; the slope is used at no less than 0: a greater gap is never likelier to be good.
        aa, ab, bb: Precision matrix of (offset, slope).
    """

    offset: float = _OFFSET_FIRST
    slope: float = _SLOPE_FIRST
    aa: float = _PRIOR_PRECISION_OFFSET
    ab: float = 0.0
    bb: float = _PRIOR_PRECISION_SLOPE

    def at(self, gap: float) -> float:
        """Probability that an answer with this predicted gap is good enough."""
        return _logistic(self.offset - max(_SLOPE_MIN, self.slope) * gap)

    def learn(self, gap: float, *, is_good: bool) -> Curve:
        """The curve after one more prediction and what came of it."""
        chance = _logistic(self.offset - self.slope * gap)
        weight = max(chance * (1.0 - chance), 1e-4)
        aa = self.aa + weight
        ab = self.ab - weight * gap
        bb = self.bb + weight * gap * gap
        error = float(is_good) - chance
        # The gradient is (error, -error * gap); the step is the posterior covariance times it.
        area = aa * bb - ab * ab
        offset = self.offset + (bb * error + ab * error * gap) / area
        slope = self.slope + (-ab * error - aa * error * gap) / area
        return Curve(offset, slope, aa, ab, bb)


def _logistic(value: float) -> float:
    value = min(30.0, max(-30.0, value))
    return 1.0 / (1.0 + math.exp(-value))
