"""Offline: the learner sees some labelled prompts of a set and ranks all others.

Random splits; everything is fitted on the labelled rows alone. RouteLLM's printed figures stand beside ours as they
were published (labels of the same benchmark too); they are not re-run here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import baselines
import metrics
import numpy as np
import sets
from baselines import Rows
from numpy.typing import NDArray
from sets import Labelled

from ecotone.learning import Learner, Traits

Floats = NDArray[np.float64]
OURS = "Ecotone"
KEYED = "Ecotone, group keys"
ORACLE = "oracle"
SPLITS = 5

PUBLISHED = {
    "mmlu": ("RouteLLM, best of each column (gold labels, about 1,500)", 0.603, 35.4, 70.3),
    "mtbench": ("RouteLLM MF (arena + judge)", 0.802, 13.4, 31.31),
}
"""Ong et al., RouteLLM (2024), tables 1 and 2, as quoted in RESEARCH-routing.md 2."""


class Task(NamedTuple):
    """One table: a set, how many labels, and whether tasks have keys."""

    rows: Labelled
    labels: int
    has_keys: bool = False


def scores(traits: list[Traits], gaps: Floats, seen: NDArray[np.int64], asked: NDArray[np.int64]) -> Floats:
    """The product's own learner, fitted on `seen`: what it predicts of `asked`."""
    learner = Learner.fit([(traits[place], float(gaps[place]), None) for place in seen])
    return learner.freeze().scores([traits[place] for place in asked])


def _split(task: Task, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.random.default_rng(seed).permutation(len(task.rows.prompts))
    return order[: task.labels], order[task.labels :]


def _summary(found: list[metrics.Worth]) -> dict[str, float]:
    table = np.array(found)
    means = dict(zip(metrics.Worth._fields, table.mean(axis=0).tolist(), strict=True))
    return {**means, "apgr_sd": float(table[:, 0].std(ddof=1)) if len(found) > 1 else 0.0}


def measure(task: Task, *, is_quick: bool) -> dict[str, dict[str, Any]]:
    """Every router on every split of one table."""
    rows, gaps = task.rows, task.rows.gaps
    plain = rows.traits()
    keyed = rows.traits(has_keys=True) if task.has_keys else plain
    everything = Rows.of(rows.prompts, rows.tasks, plain)
    found: dict[str, list[metrics.Worth]] = {}
    bounds: dict[str, list[float]] = {}
    for seed in range(2 if is_quick else SPLITS):
        seen, asked = _split(task, seed)
        edge, cloud = rows.edge[asked], rows.cloud[asked]
        ranked = baselines.ranked(everything.take(seen), gaps[seen], everything.take(asked))
        ranked[OURS] = scores(plain, gaps, seen, asked)
        if task.has_keys:
            ranked[KEYED] = scores(keyed, gaps, seen, asked)
        ranked[ORACLE] = gaps[asked]
        for name, score in ranked.items():
            found.setdefault(name, []).append(metrics.worth(score, edge, cloud))
            if not seed and name in (OURS, KEYED, "length"):
                bounds[name] = metrics.interval(score, edge, cloud)
    return {name: {**_summary(worths), "interval": bounds.get(name)} for name, worths in found.items()}


def leave_one_out(rows: Labelled) -> dict[str, dict[str, Any]]:
    """MT-Bench: 72 prompts, each ranked by what was learned of the other 71. Its interval is the message."""
    traits, gaps = rows.traits(), rows.gaps
    guesses = []
    for place in range(len(gaps)):
        seen = np.delete(np.arange(len(gaps)), place)
        guesses.append(float(scores(traits, gaps, seen, np.array([place]))[0]))
    ranked = {
        OURS: np.array(guesses),
        "length": np.array([float(len(prompt)) for prompt in rows.prompts]),
        ORACLE: gaps,
    }
    return {
        name: {
            **_summary([metrics.worth(score, rows.edge, rows.cloud)]),
            "interval": metrics.interval(score, rows.edge, rows.cloud),
        }
        for name, score in ranked.items()
    }


def calibration(rows: Labelled, labels: int) -> dict[str, float]:
    """Of `good`, the predicted probability that the edge's answer is good enough: error, Brier score, base rate."""
    traits, gaps = rows.traits(), rows.gaps
    seen, asked = _split(Task(rows, labels), 0)
    scorer = Learner.fit([(traits[at], float(gaps[at]), None) for at in seen]).freeze()
    chances = np.array([scorer.guess(traits[at])[2] for at in asked])
    is_good = gaps[asked] <= 0.0
    brier = float(np.mean((chances - is_good) ** 2))
    return {"ece": metrics.ece(chances, is_good), "brier": brier, "base_rate": float(is_good.mean())}


def _lines(
    title: str, found: dict[str, dict[str, Any]], published: tuple[str, float, float, float] | None
) -> list[str]:
    lines = ["", f"#### {title}", ""]
    lines += [
        "| router | APGR | ± sd | 95 % of one split | CPT50 | CPT80 | c95 | c99 | AUC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    if published:
        name, apgr, cpt50, cpt80 = published
        lines.append(f"| *{name}* | *{apgr:.3f}* | | | *{cpt50:.1f}* | *{cpt80:.1f}* | | | |")
    for name, one in found.items():
        bounds = one["interval"]
        spread = f"{bounds[0]:.3f}–{bounds[1]:.3f}" if bounds else ""
        mark = "**" if name in (OURS, KEYED) else ""
        lines.append(
            f"| {mark}{name}{mark} | {mark}{one['apgr']:.3f}{mark} | {one['apgr_sd']:.3f} | {spread} "
            f"| {one['cpt50']:.1f} | {one['cpt80']:.1f} | {one['c95']:.1f} | {one['c99']:.1f} | {one['auc']:.3f} |"
        )
    return lines


def run(data: Path, *, is_quick: bool) -> tuple[list[str], dict[str, Any]]:
    """All offline tables: markdown lines, and figures by table and router."""
    mmlu, mixture = sets.mmlu(data), sets.mixture(data)
    tasks = {
        "mmlu, 1,500 labels": Task(mmlu, 1_500),
        "mmlu, 500 labels": Task(mmlu, 500),
        "mixture, 200 labels": Task(mixture, 200, has_keys=True),
        "mixture, 1,000 labels": Task(mixture, 1_000, has_keys=True),
        "mixture, 4,886 labels": Task(mixture, 4_886, has_keys=True),
    }
    for name in ("gsm", "crux"):
        rows = sets.zeroeval(data, name)
        tasks[f"{name}, half, prompt only"] = Task(rows, len(rows.prompts) // 2)
    if is_quick:
        tasks = {name: task for name, task in tasks.items() if name in ("mmlu, 1,500 labels", "mixture, 1,000 labels")}
    lines: list[str] = []
    figures: dict[str, Any] = {}
    for name, task in tasks.items():
        figures[name] = measure(task, is_quick=is_quick)
        lines += _lines(name, figures[name], PUBLISHED.get(task.rows.name))
    figures["mtbench, leave one out"] = leave_one_out(sets.mtbench(data))
    lines += _lines("mtbench, leave one out (72 prompts)", figures["mtbench, leave one out"], PUBLISHED["mtbench"])
    lines += ["", "#### The probability that an answer is good enough, held against what came", ""]
    lines += ["| set | calibration error (10 bins) | Brier | base rate |", "|---|---|---|---|"]
    for name, rows, labels in (("mmlu", mmlu, 1_500), ("mixture", mixture, 1_000)):
        found = figures[f"{name}, calibration"] = calibration(rows, labels)
        lines.append(
            f"| {name}, {labels:,} labels | {found['ece']:.3f} | {found['brier']:.3f} | {found['base_rate']:.3f} |"
        )
    return lines, figures
