"""How surely figures speak against a version: the same for one site's trial and for all sites of a wave.

A version is not failed by chance: a share is compared by the exact binomial tail, a p95 by the spread that the figures
themselves show, a mean by the largest spread that a share can have. All three add up over sites.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ecotone.values.fleet import Figures, Terms

__all__ = [
    "CLEARLY",
    "Compared",
    "Doubt",
    "added",
    "at_site",
    "binomial_tail",
    "compared",
    "in_all",
    "poisson_tail",
    "pooled",
    "worst",
]


class Doubt(enum.IntEnum):
    """How surely something is beyond what its terms allow.

    At the edge of its terms a version is `SLIGHT` or worse in one of six looks, `LIKELY` in one of twenty, `CLEAR` in
    one of a thousand: only the last may end a trial at any of its many looks.
    """

    NONE = 0
    SLIGHT = 1
    LIKELY = 2
    CLEAR = 3


CLEARLY: Final = 0.001
TAILS: Final = ((CLEARLY, Doubt.CLEAR), (0.05, Doubt.LIKELY), (0.16, Doubt.SLIGHT))
"""(Chance that a version within its terms looks so bad, what that is)."""

_STEADY: Final = 1e4
"""Variance of a count from which on the normal curve is exact enough."""

_P95_Z: Final = 1.645
_P95_ERROR: Final = 2.11
"""Standard error of the logarithm of a p95 of n values, as a multiple of their spread / sqrt(n): for a log-normal time,
sqrt(.95 * .05) / density of the normal curve there. Source: David & Nagaraja, Order Statistics, 10.2."""

_SPREAD_MIN: Final = 0.3
_TTFT_FLOOR_MS: Final = 20.0
"""Nobody feels a difference below it: a shorter p95 counts as so long."""

_WEIGHT_MAX: Final = 2000
"""Requests of one site that count among those of others."""

_NOTHING: Final = 1e-6
_LATENCY_REQUESTS_MIN: Final = 20
_PAIRS_MIN: Final = 20
_PARITY_SPREAD: Final = 0.5


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A version beside the one before it, in sums that can be added.

    Attributes:
        errors, expected: Failed requests, and how many its terms allow.
        latency, latency_weight: Sum over sites of the logarithm of p95 over what is allowed, each times its weight
            (1 / its variance); and of the weights.
        parity, parity_weight: The same of the mean quality that is missing.
        crashes, crashes_expected: Of engines.
    """

    sites: int = 0
    hours: float = 0.0
    requests: int = 0
    errors: int = 0
    expected: float = 0.0
    latency: float = 0.0
    latency_weight: float = 0.0
    parity: float = 0.0
    parity_weight: float = 0.0
    crashes: int = 0
    crashes_expected: float = 0.0


def compared(figures: Figures, before: Figures | None, terms: Terms) -> Compared:
    """What one site's figures come to, beside those of the version before (None: there was none)."""
    latency, latency_weight = _latency(figures, before, terms.latency_times)
    parity, parity_weight = _parity(figures, before, terms.parity_under)
    return Compared(
        sites=1,
        hours=figures.hours,
        requests=figures.requests,
        errors=figures.errors,
        expected=figures.requests * min(1.0, _share_max(before) + terms.errors_over),
        latency=latency * latency_weight,
        latency_weight=latency_weight,
        parity=parity * parity_weight,
        parity_weight=parity_weight,
        crashes=figures.crashes,
        crashes_expected=_crashed(figures, before) + terms.crashes_max / 4,
    )


def added(parts: Sequence[Compared]) -> Compared:
    """The sum over sites."""
    columns = zip(*(msgspec.structs.astuple(part) for part in parts), strict=True)
    return Compared(**{name: sum(column) for name, column in zip(Compared.__struct_fields__, columns, strict=False)})


def pooled(parts: Sequence[Compared], loudest: int) -> Compared:
    """The sum over sites, as far as it is evidence.

    None weighs more than `_WEIGHT_MAX` requests, and of each code the sites that speak loudest against the version are
    left out: what fewer sites than it takes say, be it true or a lie, decides nothing.

    Args:
        loudest: So many are left out.
    """
    parts = [_capped(part) for part in parts]
    total = added(parts)
    changes: dict[str, float] = {}
    for loud, fields in _LOUD:
        left_out = heapq.nlargest(loudest, parts, key=loud)
        for field in fields:
            changes[field] = getattr(total, field) - sum(getattr(part, field) for part in left_out)
    return msgspec.structs.replace(total, **changes)


def _capped(part: Compared) -> Compared:
    if part.requests <= _WEIGHT_MAX and part.parity_weight <= _WEIGHT_MAX:
        return part
    share, pairs = min(1.0, _WEIGHT_MAX / max(1, part.requests)), min(1.0, _WEIGHT_MAX / max(1.0, part.parity_weight))
    return msgspec.structs.replace(
        part,
        requests=round(part.requests * share),
        errors=round(part.errors * share),
        expected=part.expected * share,
        latency=part.latency * share,
        latency_weight=part.latency_weight * share,
        parity=part.parity * pairs,
        parity_weight=part.parity_weight * pairs,
    )


_LOUD: Final[tuple[tuple[Callable[[Compared], float], tuple[str, ...]], ...]] = (
    (lambda part: part.errors - part.expected, ("requests", "errors", "expected")),
    (lambda part: part.latency, ("latency", "latency_weight")),
    (lambda part: part.parity, ("parity", "parity_weight")),
    (lambda part: part.crashes - part.crashes_expected, ("crashes", "crashes_expected")),
)
"""(How loudly a site speaks against a version, what of it that is), for each code."""


def in_all(sums: Compared) -> dict[str, Doubt]:
    """What speaks against a version over all sites together, by its code."""
    share = sums.expected / sums.requests if sums.requests else 0.0
    return {
        "crashes": _of_tail(poisson_tail(sums.crashes, sums.crashes_expected)),
        "errors": _of_tail(binomial_tail(min(sums.errors, sums.requests), sums.requests, min(1.0, share))),
        "latency": _of_mean(sums.latency, sums.latency_weight),
        "parity": _of_mean(sums.parity, sums.parity_weight),
    }


def at_site(figures: Figures, before: Figures | None, terms: Terms) -> dict[str, Doubt]:
    """What speaks against a version at one site, by its code: crashes and memory by what is asked, without a chance.

    Where its engine crashed more often than the one before it, but not too often, the trial is not cut short.
    """
    is_large = before is not None and 0 < before.memory_bytes * terms.memory_times < figures.memory_bytes
    is_more = _of_tail(poisson_tail(figures.crashes, _crashed(figures, before))) > Doubt.NONE
    crashes = Doubt.CLEAR if figures.crashes >= terms.crashes_max else Doubt.SLIGHT if is_more else Doubt.NONE
    return in_all(compared(figures, before, terms)) | {
        "crashes": crashes,
        "memory": Doubt.CLEAR if is_large else Doubt.NONE,
    }


def worst(doubts: dict[str, Doubt]) -> tuple[str, Doubt]:
    """(Code, how surely) of what speaks most surely against it; the first of equals."""
    code = max(doubts, key=lambda code: doubts[code])
    return code, doubts[code]


def binomial_tail(k: int, n: int, share: float) -> float:
    """Chance of k or more of n where each has this share; 1 where k is no more than expected.

    Source: the sum itself, from its largest term on; above a variance of 10,000 the normal curve.
    """
    mean = n * share
    if k <= mean:
        return 1.0
    if share <= 0:
        return 0.0
    spread = mean * (1 - share)
    if spread > _STEADY:
        return _normal_tail((k - 0.5 - mean) / math.sqrt(spread))
    odds = share / (1 - share)
    log_first = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    term = math.exp(log_first + k * math.log(share) + (n - k) * math.log1p(-share))
    total = 0.0
    while term > total * 1e-12:
        total += term
        term *= (n - k) / (k + 1) * odds
        k += 1
    return min(1.0, total)


def poisson_tail(k: int, mean: float) -> float:
    """Chance of k or more where `mean` are expected; 1 where k is no more than that."""
    if k <= mean:
        return 1.0
    if mean <= 0:
        return 0.0
    if mean > _STEADY:
        return _normal_tail((k - 0.5 - mean) / math.sqrt(mean))
    term, total = math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)), 0.0
    while term > total * 1e-12:
        total += term
        k += 1
        term *= mean / k
    return min(1.0, total)


def _crashed(figures: Figures, before: Figures | None) -> float:
    """How often the engine of the version before would have crashed in the same time."""
    return before.crashes / before.hours * figures.hours if before is not None and before.hours >= 1 else 0.0


def _share_max(before: Figures | None) -> float:
    """Share of failed requests that the version before has at most, as far as one standard error can tell (Wilson)."""
    if before is None or before.requests == 0:
        return 0.0
    n, share = before.requests, min(1.0, before.errors / before.requests)
    return min(1.0, (share + 0.5 / n + math.sqrt(share * (1 - share) / n + 0.25 / n**2)) / (1 + 1 / n))


def _latency(figures: Figures, before: Figures | None, times: float) -> tuple[float, float]:
    """(Logarithm of the p95 over what is allowed, 1 / its variance); (0, 0) where too few requests tell it."""
    if before is None or min(figures.requests, before.requests) < _LATENCY_REQUESTS_MIN:
        return 0.0, 0.0
    excess = math.log(max(figures.ttft_p95_ms, _TTFT_FLOOR_MS) / max(before.ttft_p95_ms, _TTFT_FLOOR_MS) / times)
    error = max(_spread(figures), _spread(before)) * _P95_ERROR
    return excess, 1 / (error**2 * (1 / figures.requests + 1 / before.requests))


def _spread(figures: Figures) -> float:
    """Standard deviation of the logarithm of the time to the first token."""
    if not 0 < figures.ttft_p50_ms < figures.ttft_p95_ms:
        return _SPREAD_MIN
    return max(_SPREAD_MIN, math.log(figures.ttft_p95_ms / figures.ttft_p50_ms) / _P95_Z)


def _parity(figures: Figures, before: Figures | None, under: float) -> tuple[float, float]:
    """(Quality that is missing beyond what is allowed, 1 / its variance); (0, 0) where too few pairs tell it."""
    if before is None or before.parity is None or figures.parity is None:
        return 0.0, 0.0
    if min(figures.pairs, before.pairs) < _PAIRS_MIN:
        return 0.0, 0.0
    missing = before.parity - figures.parity - under
    return missing, 1 / (_PARITY_SPREAD**2 * (1 / figures.pairs + 1 / before.pairs))


def _of_mean(weighted: float, weight: float) -> Doubt:
    return _of_tail(_normal_tail(weighted / math.sqrt(weight))) if weight > _NOTHING else Doubt.NONE


def _of_tail(tail: float) -> Doubt:
    for most, doubt in TAILS:
        if tail <= most:
            return doubt
    return Doubt.NONE


def _normal_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))
