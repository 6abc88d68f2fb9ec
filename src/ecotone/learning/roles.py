"""Which pairs certify and which teach: drawn by a request's seed before anything is decided, and by nothing else."""

from __future__ import annotations

from typing import Final

from ecotone.values.quality import Role

SHARE_FREE: Final = 0.5
"""Share of the pairs kept for certifying while no certificate stands and every pair is free."""

SHARE_MIN: Final = 0.005
"""Once the edge answers, pairs cost: at least this share of its answers is checked in the cloud; at most what the terms
say (`QualityTerms.paid_share_max`)."""

HORIZON: Final = 10_000
"""Requests within which a certificate should be renewed."""

PAIRS_MANY: Final = 2_000
"""From here on a certificate gains little from more pairs (RESEARCH-routing.md 3.3)."""

_PAIRS_MIN: Final = 100.0
_MASK: Final = (1 << 64) - 1
_SALT: Final = 0x5EEDC0DE0F00D5


def share_standing(edge_share: float, loss_max: float, loss: float, pairs: int, most: float) -> float:
    """Share of requests drawn to certify while a certificate stands: enough to renew it within `HORIZON`.

    While it rests on few pairs, more of them would certify more, and as many are drawn as may be.

    Args:
        edge_share, loss, pairs: Of the certificate.
        most: Largest share that may be paid for.

    Source: RESEARCH-routing.md 4, shadow budget: m = 2.7 v (share / slack)^2 pairs, v = 0.1 the gap's variance.
    """
    if pairs < PAIRS_MANY:
        return most
    slack = max(loss_max - loss, 0.25 * loss_max)
    wanted = max(_PAIRS_MIN, 2.7 * 0.1 * (edge_share / slack) ** 2)
    return min(most, max(SHARE_MIN, wanted / HORIZON))


def draw(seed: int, share: float) -> tuple[Role, float]:
    """The role that this seed draws, and the probability with which it does."""
    if _uniform(seed) < share:
        return Role.CERTIFY, share
    return Role.LEARN, 1.0 - share


def _uniform(seed: int) -> float:
    """A number in [0, 1) that only the seed decides.

    Source: Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014: the finalizer.
    """
    mixed = (seed ^ _SALT) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return (mixed ^ (mixed >> 31)) / 2.0**64
