"""A line through the gap, learned label by label: Bayesian linear regression with one prior per block of features.

`choose` picks the priors' strengths by marginal likelihood on what is there; `Line` then learns on, by recursive least
squares, exactly as if it had seen all labels at once.
Source: Bishop, Pattern Recognition and Machine Learning, 3.3 and 3.5; Plackett 1950 (recursive least squares).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

INTERCEPT_PRECISION: Final = 0.01
"""Nearly free: the mean gap is not known beforehand."""

STRENGTHS: Final = (3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
"""Precisions that `choose` tries, in units of the noise: pseudo-labels behind the belief that a weight is 0."""

SWEEPS: Final = 3
_NOISE_LABELS: Final = 4.0
_NOISE_FIRST: Final = 0.2
"""Variance of a gap around its prediction before anything is known, worth `_NOISE_LABELS` labels."""


class Line:
    """Weights, what is still unsure of them, and the noise. Precisions are in units of the noise.

    Attributes:
        weights: Float64 (d,).
        unsure: Float64 (d, d): posterior covariance over the noise variance; symmetric.
        errors, labels: Sum of squared prequential errors, each over 1 + its own uncertainty; and how many.
    """

    __slots__ = ("errors", "labels", "unsure", "weights")

    def __init__(self, weights: Floats, unsure: Floats, errors: float = 0.0, labels: float = 0.0) -> None:
        self.weights = weights
        self.unsure = unsure
        self.errors = errors
        self.labels = labels

    @property
    def noise(self) -> float:
        """Variance of a gap around its prediction."""
        return (self.errors + _NOISE_LABELS * _NOISE_FIRST) / (self.labels + _NOISE_LABELS)

    def guess(self, features: Floats) -> tuple[float, float]:
        """(mean, standard deviation of that mean)."""
        spread = float(features @ (self.unsure @ features))
        return float(features @ self.weights), math.sqrt(max(0.0, spread) * self.noise)

    def learn(self, features: Floats, gap: float) -> float:
        """Takes one label; gives what would have been predicted. O(d^2)."""
        gain = self.unsure @ features
        spread = max(0.0, float(features @ gain))
        mean = float(features @ self.weights)
        error = gap - mean
        self.errors += error * error / (1.0 + spread)
        self.labels += 1.0
        gain /= math.sqrt(1.0 + spread)
        self.weights += gain * (error / math.sqrt(1.0 + spread))
        self.unsure -= np.outer(gain, gain)
        return mean

    def forget(self, index: int, precision: float) -> None:
        """Sets one weight back to its prior, as if its feature were new."""
        self.weights[index] = 0.0
        self.unsure[index, :] = 0.0
        self.unsure[:, index] = 0.0
        self.unsure[index, index] = 1.0 / precision


def fit(features: Floats, gaps: Floats, precisions: Floats) -> tuple[Line, Floats]:
    """The line after all labels at once, and what it predicts of each row without that row's own label.

    Args:
        features: (n, d), n >= 1.
        gaps: (n,).
        precisions: (d,), positive.

    Source: leave-one-out residuals of a linear smoother, e / (1 - h).
    """
    unsure = np.linalg.inv(features.T @ features + np.diag(precisions))
    unsure = 0.5 * (unsure + unsure.T)
    weights = unsure @ (features.T @ gaps)
    leverage = np.minimum(np.einsum("ij,ij->i", features @ unsure, features), 0.999)
    residuals = (gaps - features @ weights) / (1.0 - leverage)
    errors = float(np.sum(residuals**2 * (1.0 - leverage)))
    return Line(weights, unsure, errors, float(len(gaps))), gaps - residuals


def choose(features: Floats, gaps: Floats, blocks: Sequence[int], first: Sequence[float]) -> list[float]:
    """The precision of each block of features that makes these labels likeliest.

    Args:
        features: (n, d).
        blocks: Block of each feature, (d,); -1 = not to be tuned (the intercept).
        first: Precision to start from, for each block.
    """
    squares = features.T @ features
    moments = features.T @ gaps
    total = float(gaps @ gaps)
    of = np.asarray(blocks)
    best = list(first)

    def likelihood(strengths: Sequence[float]) -> float:
        precisions = np.append(np.asarray(strengths, np.float64), INTERCEPT_PRECISION)[of]
        lower = np.linalg.cholesky(squares + np.diag(precisions))
        solved = np.linalg.solve(lower, moments)
        rest = total - float(solved @ solved) + _NOISE_LABELS * _NOISE_FIRST
        bend = 2.0 * float(np.log(np.diag(lower)).sum()) - float(np.log(precisions).sum())
        return -0.5 * (bend + (len(gaps) + _NOISE_LABELS) * math.log(max(rest, 1e-12)))

    top = likelihood(best)
    for _ in range(SWEEPS):
        before = top
        for block in sorted(set(of[of >= 0].tolist())):
            for strength in STRENGTHS:
                tried = [*best[:block], strength, *best[block + 1 :]]
                value = likelihood(tried)
                if value > top + 1e-9:
                    best, top = tried, value
        if top - before < 0.05:
            break
    return best
