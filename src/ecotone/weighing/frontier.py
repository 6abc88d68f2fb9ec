"""Quality against cost and latency: what each threshold on the predicted gap gives, and what the promise allows."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from ecotone.weighing.pairs import Table
from ecotone.weighing.spread import Band, Floats, highest, is_even, mean_band, normal_band, unevenness

__all__ = ["LEAST", "Allowed", "Point", "allowed", "frontier", "pairs_needed", "thresholds"]

POINTS: Final = 20
THRESHOLDS: Final = 50
LEAST: Final = 20
"""With fewer pairs nothing is said."""


class Point(msgspec.Struct, frozen=True):
    """What sending all with a predicted gap of at most `gap_max` to the edge would give.

    Attributes:
        edge_share: Of the requests that the promise is about.
        loss: Mean loss of quality over all of them, against the cloud.
        cost_usd, latency_s: Mean of one request.
    """

    gap_max: float
    edge_share: float
    loss: Band
    cost_usd: Band
    latency_s: Band


class Allowed(msgspec.Struct, frozen=True):
    """What the pairs on record would support: no certificate (`learning` makes those), but the same test.

    Attributes:
        edge_share: 0 where they support nothing.
        gap_max: The threshold; None where they support nothing.
        loss: Observed mean loss at that threshold.
    """

    edge_share: float = 0.0
    gap_max: float | None = None
    loss: float = 0.0


def thresholds(score: Floats, count: int) -> Floats:
    """At most so many, from low to high: quantiles of the scores, the last one lets all pass."""
    return np.unique(np.quantile(score, np.arange(1, count + 1) / count, method="higher"))


def frontier(table: Table, confidence: float) -> tuple[Point, ...]:
    """The curve, from nothing at the edge to everything; empty with too few pairs."""
    if len(table) < LEAST:
        return ()
    steps = [-math.inf, *thresholds(table.score, POINTS)]
    return tuple(_point(table, gap_max, confidence) for gap_max in steps)


def _point(table: Table, gap_max: float, confidence: float) -> Point:
    stays = table.score <= gap_max
    cost_usd = np.where(stays, table.edge_usd, table.cloud_usd)
    # Seconds are 0 where nobody measured them: such a pair says nothing of them.
    is_timed = (table.edge_s > 0) & (table.cloud_s > 0)
    latency_s = np.where(stays, table.edge_s, table.cloud_s)[is_timed]
    # Where nothing is at the edge nothing is lost: that needs no pairs.
    nothing = Band(0.0, 0.0, 0.0, len(table), "known")
    return Point(
        gap_max=max(float(gap_max), -1.0),
        edge_share=float(table.weight[stays].sum() / table.weight.sum()),
        loss=mean_band(stays * table.gap, table.weight, confidence) if stays.any() else nothing,
        cost_usd=normal_band(cost_usd, table.weight, confidence),
        latency_s=_mean(latency_s, table.weight[is_timed], confidence),
    )


def _mean(values: Floats, weights: Floats, confidence: float) -> Band:
    return normal_band(values, weights, confidence) if len(values) > 1 else Band(0.0, 0.0, 0.0, 0, "none")


def allowed(table: Table, loss_max: float, confidence: float) -> Allowed:
    """The most that can go to the edge so that the loss is surely within `loss_max`.

    Fixed-sequence testing from nothing upwards: the first threshold that fails ends it.

    Source: Angelopoulos, Bates, Candès, Jordan & Lei, Learn then Test (2021), 2.
    """
    found = Allowed()
    if len(table) < LEAST:
        return found
    for gap_max in thresholds(table.score, THRESHOLDS):
        stays = table.score <= gap_max
        if not _is_within(stays * table.gap, table.weight, loss_max, confidence):
            break
        weight = float(table.weight.sum())
        found = Allowed(
            float(table.weight[stays].sum()) / weight,
            float(gap_max),
            float((table.weight * stays * table.gap).sum()) / weight,
        )
    return found


def _is_within(losses: Floats, weights: Floats, loss_max: float, confidence: float) -> bool:
    up = highest((losses + 1) / 2, confidence) * 2 - 1 - float(losses.mean())
    if is_even(weights):
        return float(losses.mean()) + up <= loss_max
    # As `mean_band`; one-sided: the upper end of a two-sided band that leaves as much on either side.
    other = normal_band(losses, weights, 2 * confidence - 1)
    return max(other.high, other.mean + math.sqrt(unevenness(weights)) * up) <= loss_max


def pairs_needed(table: Table, loss_max: float, confidence: float, share_min: float = 0.05) -> int | None:
    """About how many more pairs to certify with are needed until `share_min` of the traffic can move.

    0 where they are there; None where no number will do, as far as can be seen: the loss is not below `loss_max`.

    Source: Bernstein's inequality at the observed mean and variance, which the betting bound attains to first order
    (Waudby-Smith & Ramdas 2024, 4.3).
    """
    if len(table) < LEAST:
        return LEAST - len(table)
    level, best = math.log(1 / (1 - confidence)), None
    total = float(table.weight.sum())
    for gap_max in thresholds(table.score, THRESHOLDS):
        stays = table.score <= gap_max
        if float(table.weight[stays].sum()) < share_min * total:
            continue
        losses = stays * table.gap
        mean = float((table.weight * losses).sum()) / total
        if mean < loss_max:
            spread, slack = _spread(losses, table.weight, mean), loss_max - mean
            count = level * (2 * spread / slack**2 + 2 / (3 * slack))
            best = count if best is None else min(best, count)
    return None if best is None else max(0, math.ceil(best) - len(table))


def _spread(values: Floats, weights: Floats, mean: float) -> float:
    """Variance that one observation has, with what unequal weights add."""
    parts = weights / weights.mean() * (values - mean)
    return float((parts**2).mean())
