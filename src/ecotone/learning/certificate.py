"""A certificate: the highest threshold on a frozen score whose loss is shown to be within what was promised.

Source: Angelopoulos, Bates, Candes, Jordan and Lei, Learn then Test, Ann. Appl. Stat. 19 (2025): testing thresholds in
a fixed sequence controls the risk of the one that is chosen. The test itself is `bounds.is_below`.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from ecotone.learning import bounds
from ecotone.learning.bounds import Floats

LOWEST: Final = -1.7976931348623157e308
HIGHEST: Final = 1.7976931348623157e308
"""The largest finite float stands for infinity, which JSON does not have."""

STEPS: Final = 50
"""Thresholds that are tried. More would find slightly more, and cost time only."""

_REACH: Final = 2.0
_SHARE_MIN: Final = 0.02

MISSING_MAX: Final = 0.1
"""Where more of the pairs that were drawn never came, each of them counts as the worst that it could have been."""


class Terms(msgspec.Struct, frozen=True):
    """What one gate must keep.

    Attributes:
        loss_max: Loss over all requests, in (0, 1).
        delta: Probability with which the certificate may be wrong.
    """

    loss_max: float
    delta: float


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What was shown of a threshold on a frozen score.

    Attributes:
        number: Counts from 1 for each target under a name.
        gap_max: The edge may answer where the score is at most this; the largest float: everywhere.
        loss, loss_bound: Mean loss over all requests in the pairs, and its bound at this level, taken by itself. What
            is promised is the terms' `loss_max`: only that holds for the threshold as it was chosen.
        harm, harm_bound: Share of requests where the edge would have answered worse, and its exact bound.
        selective: Mean gap among what the edge answers.
        edge_share: Share of requests that the edge answers.
        pairs, missing: Pairs it rests on, and pairs that were drawn and never came.
        delta, loss_max: The terms under which it was tested.
        at_ms: When, Unix time.
    """

    number: int
    gap_max: float
    loss: float
    loss_bound: float
    harm: float
    harm_bound: float
    selective: float
    edge_share: float
    pairs: int
    missing: int
    delta: float
    loss_max: float
    at_ms: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What a look at the pairs came to.

    Attributes:
        certificate: None where nothing can be certified.
        pairs_needed: Then: about how many more pairs it would take; None where the loss that is seen is too large.
    """

    certificate: Certificate | None
    pairs_needed: int | None = None


def thresholds(scores: Floats, gaps: Floats, loss_max: float) -> Floats:
    """The thresholds to try, rising, and at last one that lets everything pass.

    They lie where it matters: up to where twice the loss would be risked, by what these rows say.

    Args:
        scores, gaps: (n,) of rows that the certificate will not be tested on.
    """
    ordered = np.argsort(scores, kind="stable")
    passing = np.flatnonzero(np.cumsum(gaps[ordered]) <= _REACH * loss_max * len(scores))
    highest = min(1.0, max(_SHARE_MIN, (passing[-1] + 1) / len(scores) if len(passing) else 0.0))
    levels = np.linspace(min(_SHARE_MIN, highest), highest, STEPS - 1)
    return np.append(np.unique(np.quantile(scores, levels, method="lower")), HIGHEST)


def spreads(scores: Floats, gaps: Floats, limits: Floats, loss_max: float) -> Floats:
    """(T,) second moment of `loss - loss_max` at each threshold, from other rows: only to bet well.

    Args:
        scores, gaps: (n,)
    """
    losses = _losses(scores, gaps, limits)
    mean: Floats = np.mean((losses - loss_max) ** 2, axis=0)
    return np.maximum(mean, loss_max * loss_max + loss_max * 0.5)


def certify(
    scores: Floats, gaps: Floats, limits: Floats, terms: Terms, *, spread: Floats | None = None, missing: int = 0
) -> Verdict:
    """The highest of `limits` such that it and all below it are shown to keep the terms.

    The verdict is wrong with probability `terms.delta` at most, when the pairs are exchangeable draws of the traffic
    and neither scores nor limits were made with them. It may depend on the order of the pairs; its validity does not.

    Args:
        scores: (n,) frozen scores of the pairs, oldest first.
        gaps: (n,) their gaps in [-1, 1].
        limits: (T,) rising.
        spread: (T,) as `spreads` gives them.
        missing: Pairs that were drawn and never came.
    """
    drawn = len(gaps) + missing
    losses = _losses(scores, gaps, limits)
    if missing > MISSING_MAX * drawn:
        losses = np.concatenate([np.ones((missing, len(limits))), losses])
    if not len(losses):
        return Verdict(None, math.ceil(bounds.pairs_wanted(0.0, 0.0, terms.loss_max, terms.delta)))
    passed = bounds.is_below(losses, terms.loss_max, terms.delta, spread=bounds.SPREAD if spread is None else spread)
    count = len(limits) if passed.all() else int(np.argmin(passed))
    if count == 0:
        return Verdict(None, _needed(losses, terms))
    return Verdict(_certificate(scores, gaps, float(limits[count - 1]), terms, missing))


def _losses(scores: Floats, gaps: Floats, limits: Floats) -> Floats:
    """(n, T)"""
    losses: Floats = np.where(scores[:, None] <= limits[None, :], gaps[:, None], 0.0)
    return losses


def _certificate(scores: Floats, gaps: Floats, gap_max: float, terms: Terms, missing: int) -> Certificate:
    is_edge = scores <= gap_max
    losses = np.where(is_edge, gaps, 0.0)
    count = len(gaps)
    harms = int(np.count_nonzero(losses > 0))
    moment = float(np.mean((losses - terms.loss_max) ** 2))
    return Certificate(
        number=0,
        gap_max=gap_max,
        loss=float(losses.mean()),
        loss_bound=bounds.upper_bound(losses, terms.delta, start=terms.loss_max, spread=moment),
        harm=harms / count,
        harm_bound=bounds.binomial_upper(harms, count, terms.delta),
        selective=float(gaps[is_edge].mean()) if is_edge.any() else 0.0,
        edge_share=float(is_edge.mean()),
        pairs=count,
        missing=missing,
        delta=terms.delta,
        loss_max=terms.loss_max,
    )


def _needed(losses: Floats, terms: Terms) -> int | None:
    """How many more pairs the best threshold would need, if it goes on as it went; None where it would never do."""
    count = len(losses)
    wanted = wanted_by_threshold(losses, terms)
    best = float(wanted.min())
    # It failed with as many as this: luck, or the steps below it. Another look of the same size is the least.
    return None if math.isinf(best) else max(math.ceil(best) - count, count // 2, 1)


def wanted_by_threshold(losses: Floats, terms: Terms) -> Floats:
    """(T,) pairs that it takes to show each threshold within the terms, if the losses are what they seem; inf: never.

    Args:
        losses: (n, T)
    """
    means = losses.mean(axis=0)
    moments = np.mean((losses - terms.loss_max) ** 2, axis=0)
    pairs = zip(means.tolist(), moments.tolist(), strict=True)
    return np.array([bounds.pairs_wanted(mean, moment, terms.loss_max, terms.delta) for mean, moment in pairs])
