"""What another configuration would have given, without bias, out of what was recorded under one.

Each request gives a model's word m on its outcome, and where it was drawn, by its seed and with a known probability h,
to have both answers compared, also the truth y. Then m + (1/h) (y - m) has the right mean whatever the model is worth:
the draw looks at nothing else. How good the model is decides only how wide the band is.

Source: Dudík, Langford & Li, Doubly robust policy evaluation and learning (ICML 2011); Robins, Rotnitzky & Zhao 1994.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from ecotone.weighing.spread import BUCKETS, Band, Floats, bucket, t_quantile, value_of

__all__ = ["Estimator", "Lift", "Median"]


class Lift(msgspec.Struct, frozen=True, gc=False):
    """One request's part of an estimate.

    Attributes:
        model: What is known without its pair: what was observed, or what a model says.
        truth: What its pair shows; None where it was not drawn, or the pair is missing.
        share: Probability of the draw.
    """

    model: float
    truth: float | None = None
    share: float = 1.0

    @property
    def correction(self) -> float:
        """What the pair adds to the model's word."""
        return 0.0 if self.truth is None else (self.truth - self.model) / self.share


class Estimator:
    """Mean of any number of requests' outcomes, in constant memory."""

    __slots__ = ("_both", "_corrections", "_models", "_squares", "count", "pairs")

    def __init__(self) -> None:
        self.count = 0
        self.pairs = 0
        self._models = self._corrections = 0.0
        self._squares = [0.0, 0.0]
        self._both = 0.0

    def add(self, lift: Lift) -> None:
        """Takes one request."""
        self.put(lift.model, lift.correction, has_pair=lift.truth is not None)

    def put(self, model: float, correction: float, *, has_pair: bool) -> None:
        """Takes one request as its two parts, such as the differences of two estimates' parts."""
        self.count += 1
        self.pairs += has_pair
        self._models += model
        self._corrections += correction
        self._squares[0] += model * model
        self._squares[1] += correction * correction
        self._both += model * correction

    def band(self, confidence: float, present: float = 1.0) -> Band:
        """The estimate with its asymptotic interval (Student's t, by the number of pairs that correct).

        Args:
            present: Share of the pairs that were drawn and are there; those that are missing are taken to be missing
                at random.
        """
        n = self.count
        if n < 2:
            return Band(self._models if n else 0.0, -math.inf, math.inf, n, "none")
        lift = 1 / present
        mean = (self._models + lift * self._corrections) / n
        square = self._squares[0] + 2 * lift * self._both + lift * lift * self._squares[1]
        error = math.sqrt(max(0.0, square / n - mean * mean) / (n - 1))
        half = t_quantile(confidence, max(3.0, self.pairs - 1.0) if self.pairs else math.inf) * error
        return Band(mean, mean - half, mean + half, n, "doubly robust" if self.pairs else "model alone")


class Median:
    """Quantiles of outcomes such as seconds: the same correction, made to the distribution function."""

    __slots__ = ("_mass", "_spread", "count")

    def __init__(self) -> None:
        self.count = 0
        self._mass = np.zeros((2, BUCKETS))
        self._spread = np.zeros(BUCKETS + 1)

    def add(self, lift: Lift) -> None:
        """Takes one request, in seconds."""
        self.count += 1
        at = bucket(lift.model)
        self._mass[0, at] += 1
        if lift.truth is not None:
            there, weight = bucket(lift.truth), 1 / lift.share
            self._mass[1, there] += weight
            self._mass[1, at] -= weight
            # Between the two the corrected step function differs from the model's by the weight.
            self._spread[min(at, there)] += weight**2
            self._spread[max(at, there)] -= weight**2

    def quantile(self, share: float, confidence: float, present: float = 1.0) -> Band | None:
        """The value that this share does not exceed, with Woodruff's interval; None without any.

        Source: Woodruff, Confidence intervals for medians and other position measures (JASA 1952).
        """
        if not self.count:
            return None
        n = self.count
        below: Floats = np.maximum.accumulate(np.cumsum(self._mass[0] + self._mass[1] / present)) / n
        error = np.sqrt((below.clip(0, 1) * (1 - below.clip(0, 1)) + np.cumsum(self._spread[:-1]) / present**2 / n) / n)
        half = t_quantile(confidence, math.inf) * error
        return Band(
            value_of(_first(below >= share)),
            value_of(_first(below + half >= share)),
            value_of(_first(below - half >= share)),
            n,
            "doubly robust",
        )


def _first(reached: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """Index of the first True; the last index where there is none."""
    return int(reached.argmax()) if bool(reached.any()) else BUCKETS - 1
