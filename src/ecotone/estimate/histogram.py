"""Counts of a quantity in logarithmic buckets: quantiles that can be kept, added and taken apart again. Pure."""

from __future__ import annotations

import math
from typing import Final

import msgspec

__all__ = ["Histogram"]

PER_OCTAVE: Final = 8
"""Buckets for each doubling: a quantile is right to 4.5 %."""

LOWEST: Final = -10 * PER_OCTAVE
HIGHEST: Final = 40 * PER_OCTAVE


class Histogram(msgspec.Struct, frozen=True):
    """How often which value was seen.

    Attributes:
        counts: Times seen, by bucket: `n` holds the values from 2^(n / 8) up to the next.
    """

    counts: dict[int, int] = {}

    @property
    def total(self) -> int:
        """Values that were seen."""
        return sum(self.counts.values())

    def with_(self, value: float) -> Histogram:
        """This, and one more value; one that is not above 0 counts as the least there is."""
        at = bucket(value)
        return Histogram({**self.counts, at: self.counts.get(at, 0) + 1})

    def plus(self, other: Histogram) -> Histogram:
        """Both together."""
        return self._joined(other, 1)

    def minus(self, earlier: Histogram) -> Histogram:
        """What came since `earlier`, of which this is a later state."""
        return self._joined(earlier, -1)

    def quantile(self, share: float) -> float:
        """The value below which `share` of all lie, as the middle of its bucket; 0 where there is none."""
        left = share * self.total
        for at in sorted(self.counts):
            left -= self.counts[at]
            if left <= 0:
                return float(2.0 ** ((at + 0.5) / PER_OCTAVE))
        return 0.0

    def _joined(self, other: Histogram, sign: int) -> Histogram:
        counts = {at: self.counts.get(at, 0) + sign * other.counts.get(at, 0) for at in {*self.counts, *other.counts}}
        return Histogram({at: count for at, count in sorted(counts.items()) if count > 0})


def bucket(value: float) -> int:
    """The number of the bucket that holds the value."""
    if value <= 0 or math.isnan(value):
        return LOWEST
    return min(max(math.floor(math.log2(min(value, 2.0**60)) * PER_OCTAVE), LOWEST), HIGHEST)
