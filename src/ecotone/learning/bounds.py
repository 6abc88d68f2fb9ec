"""Bounds on a mean that hold at any size of sample: by betting, and, for what either happens or not, exactly.

A null hypothesis says: the mean loss is at least `mean`. Someone who bets against it, a part of the wealth on each
observation before seeing it, gains nothing on average while it is true; so the wealth reaches `1/delta` with
probability `delta` at most (Ville), and when it does the hypothesis is refused. How much to bet is free to choose and
decides the power. Here the goal and the number of observations are both known, so the bet is the one that replicates an
option which pays `1/delta` or nothing at the end: in the limit that is the most powerful test there is, as narrow as a
normal approximation would be, and still valid for each n.

Source: Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, JRSS-B 86 (2024): the test by
wealth. Kulldorff, Optimal control of favorable games with a time limit, SIAM J. Control Optim. 31 (1993), and Browne,
Reaching goals by a deadline, Adv. Appl. Probab. 31 (1999): the bet. Clopper and Pearson, Biometrika 26 (1934).
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PSEUDO: Final = 20.0
"""Observations that the spread expected beforehand counts for: enough to bet sensibly on the first ones."""

SPREAD: Final = 0.1
"""Second moment expected where nothing is known. Precedent: RESEARCH-routing.md, shadow budget, v = 0.1."""

_WIDTH: Final = 8.0
_STEPS: Final = 3201
_LOST: Final = 1e-12
_ROUNDS: Final = 60
_LEVELS: Final = 60


@cache
def _normal() -> tuple[Floats, Floats, Floats]:
    """(z, its distribution function, the logarithm of that): read by interpolation, monotone by construction.

    The tables only steer the bets. An error in them costs power, never validity.
    """
    z = np.linspace(-_WIDTH, _WIDTH, _STEPS)
    below = np.array([NormalDist().cdf(float(one)) for one in z])
    return z, below, np.log(below)


def is_below(
    losses: NDArray[Any], mean: Floats | float, delta: float, *, spread: Floats | float = SPREAD
) -> NDArray[np.bool_]:
    """For each column: refuses, at level `delta`, that its mean is at least `mean`.

    Each column's answer is wrong with probability `delta` at most, if its rows are exchangeable draws (it is enough
    that each has conditional mean >= `mean` given the earlier ones under the hypothesis). The answer may depend on the
    order of the rows; its validity does not.

    Args:
        losses: (n, ...) in [-1, 1], oldest first.
        mean: (...) or a number, in (-1, 1).
        spread: (...) or a number: the second moment of `loss - mean` that is expected before looking. It steers the
            bets only; a wrong one costs power.

    Returns:
        (...) booleans.
    """
    count = len(losses)
    shape = losses.shape[1:]
    z, below, below_log = _normal()
    goal = math.log(1.0 / delta)
    wealth = np.zeros(shape)
    reached = np.zeros(shape, dtype=np.bool_)
    moment = np.broadcast_to(np.maximum(np.asarray(spread, dtype=np.float64), 1e-6) * PSEUDO, shape).copy()
    harm = 1.0 - mean
    for row in range(count):
        # Where the option stands, in standard deviations of what is still to come, and where one whole harm leaves it.
        at = np.interp(np.minimum(wealth - goal, -_LOST), below_log, z)
        step = harm / np.sqrt(moment / (PSEUDO + row) * (count - row))
        kept = np.interp(at - step, z, below) / np.interp(at, z, below)
        bet = np.where(reached, 0.0, (1.0 - kept) / harm)
        excess = np.asarray(losses[row], dtype=np.float64) - mean
        wealth += np.log1p(-np.minimum(bet, 0.999 / harm) * excess)
        reached |= wealth >= goal
        moment += excess * excess
        if reached.all():
            break
    return reached


def upper_bound(losses: Floats, delta: float, *, start: float, spread: float = SPREAD) -> float:
    """An upper bound on the mean of `losses` that is wrong with probability `delta` at most; `start` where none is.

    Hypotheses are refused in a fixed order, from `start` downwards, until one stands: no correction is needed for
    looking at many (Bauer, Testing in clinical trials, Stat. Med. 10 (1991)).

    Args:
        losses: (n,) in [-1, 1].
        start: Where to begin, in (-1, 1).
    """
    lowest = max(float(losses.mean()) if len(losses) else start, -0.999)
    if lowest >= start:
        return start
    levels = np.linspace(start, lowest, _LEVELS, endpoint=False)
    refused = is_below(np.broadcast_to(losses[:, None], (len(losses), _LEVELS)), levels, delta, spread=spread)
    standing = _LEVELS if refused.all() else int(np.argmin(refused))
    return float(levels[standing - 1]) if standing else start


def _choose_log(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def binomial_at_most(k: int, n: int, p: float) -> float:
    """P(at most k of n happen), each with probability p in (0, 1), independently."""
    if k >= n:
        return 1.0
    hit, miss = math.log(p), math.log1p(-p)
    terms = (_choose_log(n, i) + i * hit + (n - i) * miss for i in range(k + 1))
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def binomial_upper(k: int, n: int, delta: float) -> float:
    """The exact upper bound on a probability of which k of n draws happened; wrong with probability `delta` at most.

    Source: Clopper and Pearson, Biometrika 26 (1934), one-sided.
    """
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(_ROUNDS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if binomial_at_most(k, n, middle) > delta else (low, middle)
    return high


def pairs_wanted(mean: float, moment: float, loss_max: float, delta: float) -> float:
    """How many pairs it takes, four times of five, to show that a loss like this one is within `loss_max`; may be inf.

    Args:
        mean, moment: Mean of the losses, and mean square of their distance to `loss_max`.

    Source: the normal approximation to the test above, and, for losses that never happen, `(1 - loss_max)^n <= delta`.
    """
    if mean >= loss_max:
        return math.inf
    sure = NormalDist().inv_cdf(1.0 - delta) + NormalDist().inv_cdf(0.8)
    return max(math.log(1.0 / delta) / loss_max, sure * sure * moment / (loss_max - mean) ** 2)
