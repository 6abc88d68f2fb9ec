"""Means, shares and quantiles with their bands, from values that pass by once or lie in an array."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = [
    "BUCKETS",
    "Band",
    "Floats",
    "Histogram",
    "betting_band",
    "betting_half",
    "bucket",
    "highest",
    "is_even",
    "mean_band",
    "normal_band",
    "share_band",
    "t_quantile",
    "unevenness",
    "value_of",
]

Floats = npt.NDArray[np.float64]

_STEP: Final = math.log(1.02)
"""Buckets of a histogram are so wide: a quantile is off by 1 % at most."""
_LOW: Final = 1e-6
BUCKETS: Final = 1400
"""From a millionth to about a million."""
_HALVINGS: Final = 14
"""A band's ends are exact to 2^-14, and rounded outwards."""
_BET_MAX: Final = 0.75
"""Largest part of its capital that a bettor risks. Source: Waudby-Smith & Ramdas 2024, 4.3 (c = 3/4)."""


class Band(msgspec.Struct, frozen=True, omit_defaults=True):
    """A figure, and between which values the true one lies at some confidence.

    Attributes:
        n: Observations behind it.
        method: `betting` (holds at any sample size), `normal` (asymptotic: weights are not equal), `wilson`, `known`;
            `none` where there are too few observations for a band.
    """

    mean: float
    low: float
    high: float
    n: int
    method: str


class Histogram:
    """Counts of positive values in buckets 2 % wide: quantiles of any number of values in little memory."""

    __slots__ = ("_counts", "count", "total")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0

    def add(self, value: float) -> None:
        """Takes one value; what is not above a millionth counts as that."""
        index = bucket(value)
        self._counts[index] = self._counts.get(index, 0) + 1
        self.count += 1
        self.total += value

    def quantile(self, share: float) -> float | None:
        """The value that this share of all do not exceed; None without any."""
        if not self.count:
            return None
        left = share * self.count
        at = 0
        for at in sorted(self._counts):
            left -= self._counts[at]
            if left <= 0:
                break
        return value_of(at)

    @property
    def mean(self) -> float | None:
        """None without any."""
        return self.total / self.count if self.count else None


def bucket(value: float) -> int:
    """Index of a value's bucket."""
    return 0 if value <= _LOW else min(BUCKETS - 1, 1 + int(math.log(value / _LOW) / _STEP))


def value_of(index: int) -> float:
    """The middle of a bucket, on the logarithmic scale."""
    return 0.0 if index == 0 else _LOW * math.exp((index - 0.5) * _STEP)


def t_quantile(confidence: float, freedom: float) -> float:
    """Two-sided quantile of Student's t.

    Source: Abramowitz & Stegun, 26.7.5 (Cornish-Fisher expansion; below 0.5 % off from 4 degrees of freedom on).
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    if freedom == math.inf:
        return z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def share_band(hits: int, n: int, confidence: float) -> Band:
    """A share of `n` with Wilson's interval.

    Source: Wilson 1927; Brown, Cai & DasGupta 2001, 3.1.1.
    """
    if not n:
        return Band(0.0, 0.0, 1.0, 0, "none")
    z, p = NormalDist().inv_cdf(0.5 + confidence / 2), hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Band(p, min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half)), n, "wilson")


def mean_band(values: Floats, weights: Floats, confidence: float) -> Band:
    """The mean of values in [-1, 1] that were drawn with probabilities in inverse proportion to `weights`.

    The band holds at any sample size, and counts with failures so rare that none was seen yet. With unequal weights it
    is asymptotic: the wider of that of fewer values (Kish's effective sample size) and of `normal_band`.
    """
    if len(values) < 2:
        mean = float(values[0]) if len(values) else 0.0
        return Band(mean, -1.0, 1.0, len(values), "none")
    lift = 2 * math.sqrt(unevenness(weights))
    down, up = (lift * half for half in betting_half((values + 1) / 2, confidence))
    if is_even(weights):
        mean, method = float(values.mean()), "betting"
    else:
        other = normal_band(values, weights, confidence)
        mean, method = other.mean, "betting and normal, weighted"
        down, up = max(down, mean - other.low), max(up, other.high - mean)
    return Band(mean, max(-1.0, mean - down), min(1.0, mean + up), len(values), method)


def unevenness(weights: Floats) -> float:
    """By how much unequal weights raise a mean's variance; 1 where all are equal.

    Source: Kish, Survey Sampling, 11.7.
    """
    return float(len(weights) * (weights**2).sum() / weights.sum() ** 2)


def is_even(weights: Floats) -> bool:
    """Whether all weights are the same."""
    return bool(np.ptp(weights) <= 1e-9 * weights.max())


def normal_band(values: Floats, weights: Floats, confidence: float) -> Band:
    """The self-normalised weighted mean of any values, two at least, with its asymptotic interval.

    Source: Owen, Monte Carlo theory, methods and examples, 9.2 (Hájek's estimator, delta method).
    """
    total = float(weights.sum())
    mean = float((weights * values).sum()) / total
    parts = weights * (values - mean) / total
    n = len(values)
    freedom = max(1.0, total**2 / float((weights**2).sum()) - 1)
    half = t_quantile(confidence, freedom) * math.sqrt(float((parts**2).sum()) * n / (n - 1))
    return Band(mean, mean - half, mean + half, n, "normal")


def betting_half(values: Floats, confidence: float) -> tuple[float, float]:
    """How far below and above their own mean the true one of independent values in [0, 1] may lie."""
    low, high = betting_band(values, confidence)
    mean = float(values.mean())
    return max(0.0, mean - low), max(0.0, high - mean)


def betting_band(values: Floats, confidence: float) -> tuple[float, float]:
    """Between which values the mean of independent values in [0, 1] lies; valid at any sample size.

    Args:
        values: (n,), in the order in which they came: bets depend on what came before.

    Source: Waudby-Smith & Ramdas, Estimating means of bounded random variables by betting (JRSS-B 2024), theorem 3:
    capital processes with predictable plug-in bets, one in each direction; a mean is out as soon as one exceeds
    2/alpha.
    """
    odds = 2 / (1 - confidence)
    bets = _bets(values, odds)
    return _lowest(values, bets, odds), 1 - _lowest(1 - values, bets, odds)


def highest(values: Floats, confidence: float) -> float:
    """The mean of independent values in [0, 1] is at most this: `betting_band`, one-sided."""
    odds = 1 / (1 - confidence)
    return 1 - _lowest(1 - values, _bets(values, odds), odds)


def _lowest(values: Floats, bets: Floats, odds: float) -> float:
    """The largest mean that is out because values were too large for it. The capital falls in the supposed mean."""
    out, within = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (out + within) / 2
        if _peak(values, bets, middle) >= math.log(odds):
            out = middle
        else:
            within = middle
    return out


def _bets(values: Floats, odds: float) -> Floats:
    """The bet before each value, from those before it. Source: as `betting_band`, equation (26)."""
    n = len(values)
    count = np.arange(1, n + 1)
    means = (0.5 + np.cumsum(values)) / (count + 1)
    spreads = (0.25 + np.cumsum((values - means) ** 2)) / (count + 1)
    before = np.concatenate(([0.25], spreads[:-1]))
    bets: Floats = np.sqrt(2 * math.log(odds) / (n * before))
    return bets


def _peak(values: Floats, bets: Floats, mean: float) -> float:
    """The highest log capital, ever, of who bets that values are larger than a supposed mean."""
    stakes = np.minimum(bets, _BET_MAX / mean)
    return float(np.cumsum(np.log1p(stakes * (values - mean))).max())
