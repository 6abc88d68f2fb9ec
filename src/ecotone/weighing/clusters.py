"""Where the edge fails, and what a bigger model there would have to bring."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from ecotone.weighing.frontier import allowed
from ecotone.weighing.pairs import Table
from ecotone.weighing.spread import Band, mean_band

__all__ = ["Bring", "Cluster", "clusters", "would_bring"]

CLUSTERS_MAX: Final = 12
_FACETS_MAX: Final = 40
_PAIRS_MIN: Final = 20
"""A cluster of fewer pairs is not told: its band would say nothing."""
_RIGHT: Final = (0.5, 1.0)

Mask = npt.NDArray[np.bool_]


class Cluster(msgspec.Struct, frozen=True):
    """Requests that have something in common.

    Attributes:
        what: What that is: one or two of `key: …`, `endpoint: …`, `label: …`, `size: …`, `asks for: …`.
        pairs: So many were compared.
        share: Their share of the traffic that the promise is about.
        gap: Mean gap of the edge to the cloud in it. Each band alone holds at its confidence, not all at once.
        worse: Pairs in which the edge was worse.
        moved_share: Share of them that the edge answered.
    """

    what: tuple[str, ...]
    pairs: int
    share: float
    gap: Band
    worse: int
    moved_share: float


class Bring(msgspec.Struct, frozen=True):
    """What would change if the edge were better in one cluster.

    Attributes:
        what: The cluster; empty = all traffic.
        right: If the edge were right on about this share of what it now gets worse than the cloud in it,
        gap: its mean gap there would be this in place of `gap_now`,
        edge_share: and this share of the traffic could go to the edge at the promise, in place of `edge_share_now`.
    """

    what: tuple[str, ...]
    right: float
    gap_now: float
    gap: float
    edge_share_now: float
    edge_share: float


def clusters(table: Table, confidence: float) -> tuple[Cluster, ...]:
    """The worst clusters first: by the least gap that is still likely, so that a few bad answers are no cluster."""
    found = _masks(table)
    ranked = sorted(found, key=lambda what: _rank(table, found[what]), reverse=True)
    told: list[Cluster] = []
    seen: set[bytes] = set()
    for what in ranked:
        mask = found[what]
        if mask.tobytes() in seen:
            continue  # the same requests by another name
        seen.add(mask.tobytes())
        told.append(_cluster(table, what, mask, confidence))
        if len(told) == CLUSTERS_MAX:
            break
    return tuple(told)


def would_bring(table: Table, told: tuple[Cluster, ...], loss_max: float, confidence: float) -> tuple[Bring, ...]:
    """What a bigger edge model would bring, for all traffic and for each cluster where the edge is worse.

    A part of the failures, evenly spread over all kinds of requests, or all of them are taken as mended, and nothing
    else as changed. Two things are allowed for then: that the learner finds it out, so that what it predicts of such
    requests falls in the same proportion; and that it does not, and the order of requests stays what it is. The better
    of the two is told. Whatever can move with some failures mended can also move when more are: the rule that moves it
    then loses less.
    """
    now = allowed(table, loss_max, confidence)
    groups = [((), np.ones(len(table), dtype=bool)), *((one.what, _mask(table, one.what)) for one in told)]
    spread = {right: _mended(table, right) for right in _RIGHT}
    mended = {
        (what, right): spread[right] & mask
        for what, mask in groups
        if bool((table.gap[mask] > 0).any())
        for right in _RIGHT
    }
    masks = dict(groups)
    shares = {key: _share(table, masks[key[0]], mended[key], (loss_max, confidence)) for key in mended}
    brought = []
    for (what, right), rows in mended.items():
        less = [shares[key] for key, other in mended.items() if not bool((other & ~rows).any())]
        weight, gap = table.weight[masks[what]], np.where(rows, 0.0, table.gap)[masks[what]]
        before = float((weight * table.gap[masks[what]]).sum() / weight.sum())
        after = float((weight * gap).sum() / weight.sum())
        brought.append(Bring(what, right, before, after, now.edge_share, max(now.edge_share, *less)))
    return tuple(brought)


def _mended(table: Table, right: float) -> Mask:
    """This part of the failures, the same of each kind of requests: a cluster's are then among those of all traffic."""
    rows = sorted(np.flatnonzero(table.gap > 0).tolist(), key=lambda at: (table.facets[at], at))
    steps = np.floor(np.arange(len(rows) + 1) * right)
    mask = np.zeros(len(table), dtype=bool)
    mask[np.array(rows, dtype=np.intp)[np.diff(steps) > 0]] = True
    return mask


def _share(table: Table, mask: Mask, mended: Mask, terms: tuple[float, float]) -> float:
    """What could move with some rows of a group mended."""
    gap, weight = np.where(mended, 0.0, table.gap), table.weight
    lost = float((weight * np.maximum(table.gap, 0.0))[mask].sum())
    left = float((weight * np.maximum(gap, 0.0))[mask].sum())
    learnt = np.where(mask & (table.score > 0), table.score * (left / lost), table.score)
    return max(
        allowed(msgspec.structs.replace(table, gap=gap, score=score), *terms).edge_share
        for score in (table.score, learnt)
    )


def _masks(table: Table) -> dict[tuple[str, ...], Mask]:
    """Every group with one thing in common, or with two where it is surely worse than with either of them.

    Each is large enough, and not all there is.
    """
    counts = Counter(facet for one in table.facets for facet in one)
    facets = [facet for facet, count in counts.most_common(_FACETS_MAX) if count >= _PAIRS_MIN]
    single = {facet: np.array([facet in one for one in table.facets], dtype=bool) for facet in facets}
    masks: dict[tuple[str, ...], Mask] = {(facet,): mask for facet, mask in single.items()}
    means = {facet: float(table.gap[mask].mean()) for facet, mask in single.items()}
    for one, other in combinations(facets, 2):
        both = single[one] & single[other]
        is_worse = int(both.sum()) >= _PAIRS_MIN and _rank(table, both) > max(means[one], means[other])
        if is_worse:  # else it only splits what one of them says
            masks[one, other] = both
    return {what: mask for what, mask in masks.items() if not mask.all()}


def _mask(table: Table, what: tuple[str, ...]) -> Mask:
    return np.array([all(facet in one for facet in what) for one in table.facets], dtype=bool)


def _rank(table: Table, mask: Mask) -> float:
    """Mean gap less two standard errors; cheap."""
    gap = table.gap[mask]
    # Of two groups with the same gaps the larger one, and nothing without spread before what has more pairs.
    return float(gap.mean() - 2 * (gap.std() + 0.1) / np.sqrt(len(gap)))


def _cluster(table: Table, what: tuple[str, ...], mask: Mask, confidence: float) -> Cluster:
    weight = table.weight[mask]
    return Cluster(
        what=what,
        pairs=int(mask.sum()),
        share=float(weight.sum() / table.weight.sum()),
        gap=mean_band(table.gap[mask], weight, confidence),
        worse=int((table.gap[mask] > 0).sum()),
        moved_share=float((weight * table.is_moved[mask]).sum() / weight.sum()),
    )
