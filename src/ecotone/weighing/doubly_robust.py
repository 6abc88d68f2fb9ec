"""What another configuration would have given, without bias, out of what was recorded under one.

Each request gives a model's word m on its outcome; some were drawn, by their seed and with a known probability h, to
have both answers compared, and show the truth y. The mean of m over all, plus the mean of y - m over those that were
drawn (weighted by 1/h), has the right expectation whatever the model is worth: the draw looks at nothing else. How good
the model is decides only how wide the band is.

Source: Dudík, Langford & Li, Doubly robust policy evaluation and learning (ICML 2011); Robins, Rotnitzky & Zhao 1994.
"""

from __future__ import annotations

import math
from array import array
from typing import Final

import numpy as np

from ecotone.weighing.spread import BUCKETS, Band, Floats, betting_half, bucket, t_quantile, value_of

__all__ = ["Estimator", "Quantiles"]

KEPT_MAX: Final = 200_000
"""So many pairs are kept for a bounded band; of more, the asymptotic one is as good."""
_MODEL_PART: Final = 0.1
"""Part of the risk that is left to the model's mean, whose band is narrow."""


class Estimator:
    """Mean of any number of requests' outcomes, one value after the other.

    Attributes:
        count: Requests.
        pairs: Of those, with the truth known.
    """

    def __init__(self, *, is_bounded: bool = False) -> None:
        """Begins.

        Args:
            is_bounded: How far truth and model can lie apart is known of each request (`reach`). Rare failures are
                then accounted for: the band holds however few pairs there are. Else it is asymptotic.
        """
        self.count = 0
        self.pairs = 0
        self._is_bounded = is_bounded
        self._drawable = 0
        self._reach = (-1e-9, 1e-9)
        self._model = [0.0, 0.0]
        self._weight = [0.0, 0.0]
        self._gained = [0.0, 0.0, 0.0]
        self._both = [0.0, 0.0]
        self._kept = array("d")

    def add(
        self,
        model: float,
        gained: float | None = None,
        share: float | None = 1.0,
        reach: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Takes one request.

        Args:
            model: What is known without its pair: what was observed, or what a model says.
            gained: Truth less model; None where the request was not drawn, or its pair is missing. Where it was drawn,
                and the model is sure, 0.
            share: Probability of the draw; None where it could not be drawn at all: then the model alone counts.
            reach: Between which values `gained` would lie; known without the draw.
        """
        self.count += 1
        self._reach = min(self._reach[0], reach[0]), max(self._reach[1], reach[1])
        self._model[0] += model
        self._model[1] += model * model
        self._drawable += share is not None
        if gained is None or share is None:
            return
        weight = 1 / share
        self.pairs += 1
        self._weight[0] += weight
        self._weight[1] += weight**2
        self._gained[0] += weight * gained
        self._gained[1] += weight**2 * gained
        self._gained[2] += (weight * gained) ** 2
        self._both[0] += weight * model * gained
        self._both[1] += weight * model
        if self._is_bounded and len(self._kept) < KEPT_MAX:
            self._kept.append(gained)

    def band(self, confidence: float) -> Band | None:
        """The estimate with its band; None with fewer than two requests. Missing pairs are taken to miss at random."""
        if self.count < 2:
            return None
        n = self.count
        mean = self._model[0] / n
        spread = max(0.0, self._model[1] / n - mean * mean)
        if self.pairs < 2:
            return Band(mean, -math.inf, math.inf, n, "model alone")
        mean += self._drawable / n * self._gained[0] / self._weight[0]
        down = up = self._normal_half(confidence, spread / n)
        method = "doubly robust, normal"
        if self._is_bounded and self.pairs <= KEPT_MAX:
            method = "doubly robust, betting"
            # Weights that go with the outcome make the asymptotic band the wider one.
            down, up = (max(down, half) for half in self._bounded(confidence, spread / n))
        return Band(mean, mean - down, mean + up, n, method)

    def _normal_half(self, confidence: float, error: float) -> float:
        """Half of the asymptotic band; `error` is the squared one of the model's mean."""
        total, part = self._weight[0], self._drawable / self.count
        gained = self._gained[0] / total
        scatter = self._gained[2] - 2 * gained * self._gained[1] + gained**2 * self._weight[1]
        error += part**2 * scatter / total**2 * self.pairs / (self.pairs - 1)
        along = self._both[0] / total - self._both[1] / total * gained
        error += 2 * part * along / self.count
        return t_quantile(confidence, max(3.0, self.pairs - 1.0)) * math.sqrt(max(0.0, error))

    def _bounded(self, confidence: float, error: float) -> tuple[float, float]:
        """How far the true mean may lie below and above: the model's mean, and what the pairs add, together."""
        risk = 1 - confidence
        low, high = self._reach
        gained = np.frombuffer(self._kept, dtype=np.float64)
        width = high - low
        down, up = betting_half((gained.clip(low, high) - low) / width, 1 - risk * (1 - _MODEL_PART))
        # Unequal weights: as if there were fewer pairs.
        lift = self._drawable / self.count * width * math.sqrt(self.pairs * self._weight[1]) / self._weight[0]
        half = t_quantile(1 - risk * _MODEL_PART, math.inf) * math.sqrt(error)
        return down * lift + half, up * lift + half


class Quantiles:
    """Quantiles of positive outcomes, such as seconds: the same correction, made to the distribution function."""

    def __init__(self) -> None:
        self.count = 0
        self._drawable = 0
        self._weight = 0.0
        self._model = np.zeros(BUCKETS)
        self._gained = np.zeros(BUCKETS)
        self._spread = np.zeros(BUCKETS + 1)

    def add(self, model: float, truth: float | None = None, share: float | None = 1.0) -> None:
        """Takes one request; see `Estimator.add`, but for the truth, which is told itself."""
        self.count += 1
        self._drawable += share is not None
        at = bucket(model)
        self._model[at] += 1
        if truth is not None and share is not None:
            there, weight = bucket(truth), 1 / share
            self._weight += weight
            self._gained[there] += weight
            self._gained[at] -= weight
            # Between the two, and only there, the truth's step function is not the model's.
            self._spread[min(at, there)] += weight**2
            self._spread[max(at, there)] -= weight**2

    def quantile(self, share: float, confidence: float) -> Band | None:
        """The value that this share does not exceed, with Woodruff's interval; None without any request.

        Source: Woodruff, Confidence intervals for medians and other position measures (JASA 1952).
        """
        if not self.count:
            return None
        lift = self._drawable / self.count / (self._weight or 1.0)
        below: Floats = np.cumsum(self._model) / self.count + np.cumsum(self._gained) * lift
        below = np.maximum.accumulate(below).clip(0, 1)
        spread = below * (1 - below) / self.count + np.cumsum(self._spread[:-1]).clip(0) * lift**2
        half = t_quantile(confidence, math.inf) * np.sqrt(spread)
        values = [value_of(_first(reached >= share)) for reached in (below, below + half, below - half)]
        return Band(values[0], values[1], values[2], self.count, "doubly robust")


def _first(reached: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    """Index of the first True; the last index where there is none."""
    return int(reached.argmax()) if bool(reached.any()) else BUCKETS - 1
