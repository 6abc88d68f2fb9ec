"""Online: 6,000 requests of the 14-task mixture, 40 % to the cloud, learned from free shadows alone.

What goes to the cloud the edge answers too, and that pair teaches; what the edge answers teaches nothing. PGR of a
stream is the share of all gaps that its cloud calls recovered; a random rule has its share of cloud calls, and *lift*
is what is above that. `rate` holds the share by a quantile of the newest scores, `price` by the product's controller.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import sets
from numpy.typing import NDArray
from sets import Labelled

from ecotone.learning import Learner, Row, Traits
from ecotone.learning.price import Price

REQUESTS = 6_000
SHARE = 0.4
ORDERS = 3
RECENT = 400
EVERY = 25
PAYBACK = 500.0
"""Requests over which `rate` makes good what it has spent too much."""

LEARNED_FIRST = 500


class Stream(NamedTuple):
    """What came of one stream, whole and in its second half."""

    pgr: float
    share: float
    pgr_late: float
    share_late: float
    labels: int


def order(rows: Labelled, seed: int, *, in_blocks: bool) -> NDArray[np.int64]:
    """6,000 of the prompts at random, or task after task."""
    dice = np.random.default_rng(seed)
    drawn = dice.permutation(len(rows.prompts))[:REQUESTS]
    if not in_blocks:
        return drawn
    tasks = sorted(set(rows.tasks))
    dice.shuffle(tasks)
    place = {task: at for at, task in enumerate(tasks)}
    return np.array(sorted(drawn.tolist(), key=lambda row: place[rows.tasks[row]]))


class Rate:
    """The highest scores of the newest `RECENT` requests, as many as the share allows."""

    def __init__(self) -> None:
        self.recent: list[Any] = []
        self.cut = 0.0
        self.spent = self.seen = 0

    def is_cloud(self, guess: float, traits: Any, rescore: Callable[[list[Any]], NDArray[np.float64]]) -> bool:
        """Decides one request."""
        self.recent = [*self.recent[-RECENT + 1 :], traits]
        if self.seen % EVERY == 0:
            share = SHARE + (SHARE * self.seen - self.spent) / PAYBACK
            self.cut = float(np.quantile(rescore(self.recent), 1.0 - min(1.0, max(0.0, share))))
        chosen = guess > self.cut
        self.seen += 1
        self.spent += chosen
        return chosen


class Priced:
    """The product's price."""

    def __init__(self, eta: float) -> None:
        self.price = Price(0.2)
        self.eta = eta

    def is_cloud(self, guess: float, traits: Any, rescore: Callable[[list[Any]], NDArray[np.float64]]) -> bool:
        """Decides one request."""
        chosen = guess > self.price.value
        self.price.move(is_cloud=chosen, cloud_share=SHARE, ceiling=1.0, eta=self.eta)
        return chosen


def _summary(gaps: NDArray[np.float64], cloud: NDArray[np.bool_], labels: int) -> Stream:
    late = slice(len(gaps) // 2, None)
    return Stream(
        float(gaps[cloud].sum() / gaps.sum()),
        float(cloud.mean()),
        float(gaps[late][cloud[late]].sum() / gaps[late].sum()),
        float(cloud[late].mean()),
        labels,
    )


def learned(traits: list[Traits], gaps: NDArray[np.float64], rule: Rate | Priced, *, teaches: str = "cloud") -> Stream:
    """One stream through the product's learner.

    Args:
        teaches: Which pairs are labelled: `cloud`, `all`, or `first` (the first 500, then nothing more is learned).
    """
    learner = Learner()
    rows: list[Row] = []
    cloud = np.zeros(len(traits), bool)
    for at, (one, gap) in enumerate(zip(traits, gaps.tolist(), strict=True)):
        cloud[at] = rule.is_cloud(learner.guess(one)[0], one, learner.scores)
        if teaches == "all" or (teaches == "cloud" and cloud[at]) or (teaches == "first" and at < LEARNED_FIRST):
            rows.append((one, gap, None))
            learner.learn(one, gap)
            if learner.is_due:
                learner = Learner.fit(rows)
    return _summary(gaps, cloud, len(rows))


def by_length(lengths: NDArray[np.float64], gaps: NDArray[np.float64]) -> Stream:
    """The longest prompts to the cloud."""
    rule = Rate()
    cloud = np.array([rule.is_cloud(float(one), float(one), np.array) for one in lengths])
    return _summary(gaps, cloud, 0)


def _measure(rows: Labelled, *, in_blocks: bool, is_quick: bool) -> dict[str, list[Stream]]:
    plain = rows.traits()
    keyed = rows.traits(has_keys=True)
    found: dict[str, list[Stream]] = {}
    for seed in range(1 if is_quick else ORDERS):
        drawn = order(rows, seed, in_blocks=in_blocks)
        gaps = rows.gaps[drawn]
        lengths = np.array([float(len(rows.prompts[row])) for row in drawn])
        dice = np.random.default_rng(seed + 100)
        streams = {
            "random": _summary(gaps, dice.random(len(gaps)) < SHARE, 0),
            "length, rate": by_length(lengths, gaps),
        }
        ours, with_keys = ([traits[row] for row in drawn] for traits in (plain, keyed))
        if not in_blocks:
            streams["first 500 labelled, then frozen, rate"] = learned(ours, gaps, Rate(), teaches="first")
            streams["all labelled (bound), rate"] = learned(ours, gaps, Rate(), teaches="all")
        streams["Ecotone, rate"] = learned(ours, gaps, Rate())
        streams["Ecotone, group keys, rate"] = learned(with_keys, gaps, Rate())
        for eta in (3e-4, 1e-3) if in_blocks else (5e-4,):
            streams[f"Ecotone, price {eta:g}"] = learned(ours, gaps, Priced(eta))
            streams[f"Ecotone, group keys, price {eta:g}"] = learned(with_keys, gaps, Priced(eta))
        for name, stream in streams.items():
            found.setdefault(name, []).append(stream)
    return found


def run(data: Path, *, is_quick: bool) -> tuple[list[str], dict[str, Any]]:
    """Both kinds of stream: markdown lines and figures."""
    rows = sets.mixture(data)
    lines: list[str] = []
    figures: dict[str, Any] = {}
    for kind, in_blocks in (("iid", False), ("in task blocks", True)):
        lines += ["", f"#### mixture, {REQUESTS:,} requests, {kind}", ""]
        lines += [
            "| rule | PGR | cloud calls | lift | PGR, 2nd half | cloud calls, 2nd half | labels |",
            "|---|---|---|---|---|---|---|",
        ]
        figures[kind] = {}
        for name, streams in _measure(rows, in_blocks=in_blocks, is_quick=is_quick).items():
            mean = Stream(*np.mean(np.array(streams, float), axis=0).tolist())
            figures[kind][name] = {**mean._asdict(), "lift": mean.pgr - mean.share, "orders": len(streams)}
            lines.append(
                f"| {name} | {mean.pgr:.3f} | {mean.share:.1%} | {mean.pgr - mean.share:.3f} | {mean.pgr_late:.3f} "
                f"| {mean.share_late:.1%} | {mean.labels:,.0f} |"
            )
    return lines, figures
