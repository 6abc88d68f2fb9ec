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

STEPS: Final = (0.1, 0.3, 3.0, 10.0)
"""Factors of a precision that `choose` tries, twice at most."""

STEP_SPREAD: Final = 1.5
"""Standard deviation of the logarithm of a precision around where it starts: a few hundred labels say little of it,
and where they say nothing a bound of the grid must not win."""

SWEEPS: Final = 2
_WORTHWHILE: Final = 0.05
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
    """The precision of each block of features that is likeliest, given these labels and where it starts.

    Args:
        features: (n, d).
        gaps: (n,).
        blocks: Block of each feature, (d,); -1 = not to be chosen (the intercept).
        first: Precision expected of each block: the mode of a log-normal prior.
    """
    # Features that never move say nothing, and weights of theirs cancel out: most groups have no place yet.
    moving = np.flatnonzero(features.any(axis=0))
    of = np.asarray(blocks)[moving]
    both = np.column_stack((features[:, moving], gaps))
    squares = both.T @ both
    squares[-1, -1] += _NOISE_LABELS * _NOISE_FIRST
    labels = len(gaps) + _NOISE_LABELS

    def value(strengths: Sequence[float]) -> float:
        precisions = np.append(np.asarray(strengths, np.float64), INTERCEPT_PRECISION)[of]
        # The last pivot of the joint matrix is what the features leave of the gaps: one factorisation for both terms.
        pivots = np.diag(np.linalg.cholesky(squares + np.diag(np.append(precisions, 1e-9))))
        bend = 2.0 * float(np.log(pivots[:-1]).sum()) - float(np.log(precisions).sum())
        rest = 2.0 * math.log(float(pivots[-1]))
        odd = sum((math.log(one / at) / STEP_SPREAD) ** 2 for one, at in zip(strengths, first, strict=True))
        return -0.5 * (bend + labels * rest + odd)

    best = list(first)
    top = value(best)
    for _ in range(SWEEPS):
        before = top
        for block in sorted(set(of[of >= 0].tolist())):
            for step in STEPS:
                tried = [*best[:block], best[block] * step, *best[block + 1 :]]
                found = value(tried)
                if found > top + 1e-9:
                    best, top = tried, found
        if top - before < _WORTHWHILE:
            break
    return best
