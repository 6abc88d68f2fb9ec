"""What a ranking of prompts is worth, as data/routing/README.md and RouteLLM define it.

A *score* says how much a prompt needs the cloud: the highest go there first. `edge` and `cloud` are the qualities of
the two answers. Share and CPT figures are per cent of the calls, as RouteLLM prints them.
Source: Ong et al., RouteLLM (2024), section 4: PGR, APGR, CPT.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 200


class Worth(NamedTuple):
    """Figures of one ranking.

    Attributes:
        apgr: Area under PGR over the share of cloud calls; random has 0.5.
        cpt50, cpt80: Least per cent of cloud calls that recovers half, four fifths of the gap.
        c95, c99: Per cent of cloud calls for 95, 99 % of the cloud's own quality.
        auc: Chance that a prompt that needs the cloud (gap > 0) is ranked above one that does not.
    """

    apgr: float
    cpt50: float
    cpt80: float
    c95: float
    c99: float
    auc: float


def recovered(score: Floats, edge: Floats, cloud: Floats) -> Floats:
    """Mean quality won over the edge by sending the k highest scores to the cloud, k = 0..n. Shape (n + 1,).

    Equal scores are taken as a random order of them would be on average.
    """
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    gaps = (cloud - edge)[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    sizes = np.diff(np.append(starts, len(ranked)))
    means = np.add.reduceat(gaps, starts) / sizes
    return np.concatenate(([0.0], np.cumsum(np.repeat(means, sizes)))) / len(gaps)


def worth(score: Floats, edge: Floats, cloud: Floats) -> Worth:
    """All figures of one ranking. Arrays of one length; the cloud must be better on the whole."""
    won = recovered(score, edge, cloud)
    share = np.linspace(0.0, 1.0, len(won))
    total = won[-1]
    quality = edge.mean() + won

    def least(reached: NDArray[np.bool_]) -> float:
        return 100.0 * float(share[int(np.argmax(reached))])

    goal = float(cloud.mean())
    return Worth(
        apgr=float(np.trapezoid(won / total, share)),
        cpt50=least(won >= 0.5 * total),
        cpt80=least(won >= 0.8 * total),
        c95=least(quality >= 0.95 * goal - 1e-12),
        c99=least(quality >= 0.99 * goal - 1e-12),
        auc=auc(score, cloud - edge > 0.0),
    )


def auc(score: Floats, needs: NDArray[np.bool_]) -> float:
    """Chance that a positive outranks a negative, ties counting half; nan where there is only one kind."""
    positives = int(needs.sum())
    negatives = len(needs) - positives
    if not positives or not negatives:
        return float("nan")
    _, places, sizes = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - 0.5 * (sizes - 1.0))[places]
    return float((ranks[needs].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def interval(score: Floats, edge: Floats, cloud: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> list[float]:
    """95 % bootstrap interval of APGR over the prompts."""
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = dice.integers(0, len(score), len(score))
        if cloud[drawn].mean() > edge[drawn].mean():
            found.append(worth(score[drawn], edge[drawn], cloud[drawn]).apgr)
    return [float(bound) for bound in np.percentile(found, (2.5, 97.5))]


def ece(chances: Floats, outcomes: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error over bins of equal counts."""
    order = np.argsort(chances, kind="stable")
    parts = np.array_split(order, bins)
    gaps = [abs(float(chances[part].mean()) - float(outcomes[part].mean())) * len(part) for part in parts if len(part)]
    return sum(gaps) / len(chances)
