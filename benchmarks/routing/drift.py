"""Whole `Lessons` on streams: is the bound ever broken, how soon is drift found, what does it cost, and how often is it
seen where there is none.

Pairs that certify are drawn from one half of the data with replacement, all others from the other: so the true loss
of each certificate is known exactly, and learner and certificate share no row.

    python benchmarks/routing/drift.py [--quick] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecotone.learning.learner import Learner
from ecotone.learning.lessons import Lessons
from ecotone.learning.traits import Traits
from ecotone.values.quality import Comparison, Pair, QualityTerms, Role
from ecotone.values.request import Mode

sys.path.insert(0, str(Path(__file__).resolve().parent))

import pools
from pools import Floats, Pool

EDGE, CLOUD, NAME = "edge", "cloud", "m"
Draw = Callable[[int, bool, np.random.Generator], tuple[int, float]]
"""(request, certifies, dice) -> (row, its gap)."""


class World:
    """A stream of requests: which row comes, and how its two answers compare.

    Attributes:
        taught, tested: Rows that learn, and rows that certify.
    """

    def __init__(self, pool: Pool, traits: list[Traits], seed: int) -> None:
        self.pool = pool
        self.traits = traits
        order = np.random.default_rng(seed).permutation(len(pool.gaps))
        self.taught, self.tested = order[: len(order) // 2], order[len(order) // 2 :]

    def draw(self, rows: NDArray[np.int_], dice: np.random.Generator) -> int:
        """One of these rows."""
        return int(rows[int(dice.integers(len(rows)))])


def stream(
    world: World, draw: Draw, requests: int, terms: QualityTerms, seed: int, *, is_watched: bool = True
) -> dict[str, Any]:
    """What became of one stream. The edge answers where the promise lets it; every other pair is free."""
    dice = np.random.default_rng(seed)
    lessons = Lessons(b"benchmark-secret" * 2)
    lessons.settle({NAME: (terms, {EDGE: "1"}, "1")})
    out: dict[str, Any] = {"certificates": [], "suspended": [], "paid": 0, "first": None}
    is_edge_at, loss_at = np.zeros(requests, dtype=np.bool_), np.zeros(requests)
    gaps, rows = np.zeros(requests), np.zeros(requests, dtype=np.int_)
    for now in range(requests):
        role, share = lessons.role(NAME, int(dice.integers(1 << 62)), Mode.AUTO)
        row, gap = draw(now, role is Role.CERTIFY, dice)
        read = world.traits[row]
        guess = lessons.guess(NAME, EDGE, read)
        is_edge = guess.gap <= guess.gap_max
        rows[now], gaps[now], is_edge_at[now], loss_at[now] = row, gap, is_edge, gap if is_edge else 0.0
        steps = []
        if is_watched:
            lessons.placed(NAME, EDGE, guess, is_cloud=not is_edge, read=read)
        if role is Role.CERTIFY or not is_edge:
            out["paid"] += is_edge
            pair = Pair(
                request=str(now),
                model=NAME,
                target=EDGE,
                reference=CLOUD,
                comparison=Comparison(gap=gap, checker="match"),
                role=role,
                share=share,
                guess=guess,
            )
            steps += lessons.add(pair, read) if is_watched or guess.certificate == 0 else []
        for due in lessons.due():
            if is_watched or guess.certificate == 0:
                steps += lessons.recalibrate(*due, now)
        for step in steps:
            if step.what == "certified":
                out["first"] = now if out["first"] is None else out["first"]
                out["certificates"].append((now, step.figures["edge_share"], _truth(world, lessons)))
            elif step.what == "suspended":
                out["suspended"].append((now, step.why))
    return {**out, "edge": is_edge_at, "loss": loss_at, "gaps": gaps, "rows": rows}


def _truth(world: World, lessons: Lessons) -> tuple[float, float]:
    """(true loss, true edge share) of the certificate that stands, over the rows that certify."""
    standing = lessons._names[NAME].courses[EDGE].standing
    assert standing is not None
    scores = standing.frozen.prompt.scores([world.traits[row] for row in world.tested])
    passes = scores <= standing.certificate.gap_max
    return float(np.where(passes, world.pool.gaps[world.tested], 0.0).mean()), float(passes.mean())


def steady(pool: Pool, *, has_keys: bool, loss_max: float, streams: int, requests: int) -> dict[str, Any]:
    """Streams in which nothing changes."""
    traits = pool.traits(has_keys=has_keys)
    broken = alarms = 0
    firsts, shares, losses, paid = [], [], [], []
    for seed in range(streams):
        world = World(pool, traits, seed)

        def draw(now: int, certifies: bool, dice: np.random.Generator, world: World = world) -> tuple[int, float]:
            row = world.draw(world.tested if certifies else world.taught, dice)
            return row, float(world.pool.gaps[row])

        out = stream(world, draw, requests, QualityTerms(loss_max=loss_max), 1_000 + seed)
        broken += any(truth > loss_max for _, _, (truth, _) in out["certificates"])
        alarms += bool(out["suspended"])
        firsts.append(requests if out["first"] is None else out["first"])
        half = slice(requests // 2, None)
        shares.append(float(out["edge"][half].mean()))
        losses.append(float(out["loss"][half].mean()))
        paid.append(out["paid"] / max(1, int(out["edge"].sum())))
    return {
        "set": pool.name + (" + keys" if has_keys else ""),
        "loss_max": loss_max,
        "streams": streams,
        "requests": requests,
        "broken": broken / streams,
        "alarms": alarms / streams,
        "first_certificate": float(np.median(firsts)),
        "edge_share": float(np.mean(shares)),
        "loss": float(np.mean(losses)),
        "paid_share": float(np.mean(paid)),
    }


def changes(data: Path) -> dict[str, tuple[Pool, Callable[[World, int], Draw]]]:
    """Name -> (pool, what draws): each changes in mid-stream, at the request that is given."""
    pool = pools.mixture(data)
    table = pools._table(data, "llmrouter_9models.parquet")
    strong = np.array(table["llama-3.1-nemotron-51b-instruct"], float)
    worse = strong - np.array(table["codegemma-7b"], float)
    groups = np.array(pool.groups)
    names = sorted(set(pool.groups))
    by_gap = sorted(names, key=lambda name: float(pool.gaps[groups == name].mean()))
    easy = np.isin(groups, by_gap[:3])
    early = np.isin(groups, names[::2])

    def switching(before: Floats, after: Floats) -> Callable[[World, int], Draw]:
        def make(world: World, change: int) -> Draw:
            def draw(now: int, certifies: bool, dice: np.random.Generator) -> tuple[int, float]:
                row = world.draw(world.tested if certifies else world.taught, dice)
                return row, float((before if now < change else after)[row])

            return draw

        return make

    def moving(world: World, change: int) -> Draw:
        parts = {
            (certifies, is_early): rows[early[rows] == is_early]
            for certifies, rows in ((True, world.tested), (False, world.taught))
            for is_early in (True, False)
        }

        def draw(now: int, certifies: bool, dice: np.random.Generator) -> tuple[int, float]:
            row = world.draw(parts[certifies, now < change], dice)
            return row, float(world.pool.gaps[row])

        return draw

    return {
        "none": (pool, switching(pool.gaps, pool.gaps)),
        "labels: the edge fails at the three tasks that it did best": (
            pool,
            switching(pool.gaps, np.where(easy, strong, pool.gaps)),
        ),
        "traffic: only tasks that never came before": (pool, moving),
        "edge model: replaced unannounced by a worse one": (pool, switching(pool.gaps, worse)),
    }


def regret(out: dict[str, Any], world: World, rows: slice) -> float:
    """Mean loss above that of the best fixed threshold with the same edge share, on a score that knows all labels but
    each row's own half."""
    taken, gaps, is_edge = out["rows"][rows], out["gaps"][rows], out["edge"][rows]
    if not is_edge.any():
        return 0.0
    half = len(taken) // 2
    traits = [world.traits[row] for row in taken]
    scores = np.zeros(len(taken))
    for mine, theirs in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
        taught = [(one, float(gap), None) for one, gap in zip(traits[theirs], gaps[theirs], strict=True)]
        scores[mine] = Learner.fit(taught[-2_000:]).freeze().scores(traits[mine])
    best = np.argsort(scores, kind="stable")[: int(is_edge.sum())]
    return float(out["loss"][rows].mean() - gaps[best].sum() / len(taken))


def drifting(data: Path, *, loss_max: float, streams: int, requests: int) -> list[dict[str, Any]]:
    """One row for each kind of change, with the watches and without."""
    change = requests // 2
    rows = []
    for name, (pool, make) in changes(data).items():
        traits = pool.traits(has_keys=True)
        for is_watched in (True, False):
            delays: list[int] = []
            whys: dict[str, int] = {}
            found = standing = 0
            after: list[tuple[float, float, float, float]] = []
            for seed in range(streams):
                world = World(pool, traits, seed)
                out = stream(
                    world, make(world, change), requests, QualityTerms(loss_max=loss_max), seed, is_watched=is_watched
                )
                has_promise = bool(out["edge"][change - 200 : change].any())
                standing += has_promise
                alarms = [(now, why) for now, why in out["suspended"] if now >= change]
                if alarms and has_promise:
                    found += 1
                    delays.append(alarms[0][0] - change)
                    whys[alarms[0][1]] = whys.get(alarms[0][1], 0) + 1
                soon = slice(change, change + 1_000)
                after.append(
                    (
                        float(out["loss"][soon].mean()),
                        float(out["loss"][change:].mean()),
                        float(out["edge"][change:].mean()),
                        regret(out, world, slice(change, None)),
                    )
                )
            means = np.mean(after, axis=0)
            rows.append(
                {
                    "change": name,
                    "watched": is_watched,
                    "streams": streams,
                    "promised": standing,
                    "found": found,
                    "delay": float(np.median(delays)) if delays else None,
                    "why": whys,
                    "loss_1000": float(means[0]),
                    "loss_after": float(means[1]),
                    "edge_after": float(means[2]),
                    "regret": float(means[3]),
                }
            )
        print(f"drift: {name} {time.process_time():.0f} s CPU", file=sys.stderr)
    return rows


def run(data: Path, *, is_quick: bool) -> tuple[list[str], dict[str, Any]]:
    """(markdown lines, figures) of the whole."""
    streams, calm_requests, requests = (3, 4_000, 6_000) if is_quick else (20, 6_000, 8_000)
    calm = [
        steady(make(data), has_keys=has_keys, loss_max=loss_max, streams=streams, requests=calm_requests)
        for make, has_keys in ((pools.mixture, True), (pools.mixture, False), (pools.mmlu, False))
        for loss_max in (0.02, 0.05)
    ]
    lines = [
        "## Streams without a change",
        "",
        f"{streams} streams of {calm_requests:,} requests each, all in the cloud at first",
        "",
    ]
    lines.append(
        "| set | loss allowed | ever broken | false alarm | first certificate at | edge share, 2nd half | loss | paid |"
    )
    lines.append("|---|---|---|---|---|---|---|---|")
    lines += [
        f"| {row['set']} | {100 * row['loss_max']:.0f} pt | {100 * row['broken']:.0f} % | {100 * row['alarms']:.0f} % "
        f"| {row['first_certificate']:.0f} | {100 * row['edge_share']:.1f} % | {100 * row['loss']:.2f} pt "
        f"| {100 * row['paid_share']:.1f} % of the edge's |"
        for row in calm
    ]
    moved = drifting(data, loss_max=0.05, streams=streams, requests=requests)
    lines += [
        "",
        "## Streams that change in the middle",
        "",
        f"5 points allowed; mixture with keys, {requests:,} requests",
        "",
    ]
    lines.append(
        "| change | watched | found | median delay | by | loss in the next 1,000 | loss after | edge after | regret |"
    )
    lines.append("|---|---|---|---|---|---|---|---|---|")
    lines += [
        f"| {row['change']} | {'yes' if row['watched'] else 'no'} | {row['found']} of {row['promised']} "
        f"| {'-' if row['delay'] is None else round(row['delay'])} | {', '.join(row['why'])} "
        f"| {100 * row['loss_1000']:.2f} pt | {100 * row['loss_after']:.2f} pt "
        f"| {100 * row['edge_after']:.1f} % | {100 * row['regret']:.2f} pt |"
        for row in moved
    ]
    return [*lines, ""], {"steady": calm, "drift": moved}


def main() -> None:
    """Prints the tables; with `--json FILE` writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=pools.DATA)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    lines, figures = run(asked.data, is_quick=asked.quick)
    print("\n".join(lines))
    if asked.json is not None:
        asked.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
