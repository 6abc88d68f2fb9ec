"""Does the promise hold, and how much traffic does it set free? 500 resamples of labelled pairs from finite pools.

The learner is fitted to rows apart. The pairs to certify with are drawn with replacement from the rest, whose mean loss
under any threshold is known exactly: so is, for each resample, whether the promise is kept. Beside the product's test
stand three that others use: a threshold tuned on the pairs without any bound, a normal approximation, and Hoeffding's
inequality; and the betting bound with one strategy for all rounds (WSR), which the study before this started from.

    python benchmarks/routing/promise.py [--quick] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecotone.learning import bounds, certificate
from ecotone.learning.learner import Learner

sys.path.insert(0, str(Path(__file__).resolve().parent))

import pools
from pools import Floats, Pool

LEVELS = (0.02, 0.05)
DELTA = 0.05
SIZES = (300, 1_000, 3_000)
CHUNK = 50

Test = Callable[[NDArray[Any], float, Floats], NDArray[np.bool_]]
"""(losses (n, R, T), loss_max, spread (T,)) -> (R, T) refused that the loss is larger."""


def tuned(losses: NDArray[Any], loss_max: float, spread: Floats) -> NDArray[np.bool_]:
    """No bound at all: the mean of the pairs is taken for the truth."""
    passed: NDArray[np.bool_] = losses.mean(axis=0) <= loss_max
    return passed


def normal(losses: NDArray[Any], loss_max: float, spread: Floats) -> NDArray[np.bool_]:
    """A one-sided normal approximation."""
    width = NormalDist().inv_cdf(1 - DELTA) / math.sqrt(len(losses))
    passed: NDArray[np.bool_] = losses.mean(axis=0) + width * losses.std(axis=0) <= loss_max
    return passed


def hoeffding(losses: NDArray[Any], loss_max: float, spread: Floats) -> NDArray[np.bool_]:
    """Hoeffding's inequality for values in [-1, 1]."""
    passed: NDArray[np.bool_] = losses.mean(axis=0) + math.sqrt(2 * math.log(1 / DELTA) / len(losses)) <= loss_max
    return passed


def one_strategy(losses: NDArray[Any], loss_max: float, spread: Floats) -> NDArray[np.bool_]:
    """Betting with the predictable plug-in. Source: Waudby-Smith and Ramdas (2024), theorem 3 and section 4."""
    count = len(losses)
    values = (1 + losses.astype(np.float64)) / 2
    mean = (1 + loss_max) / 2
    order = np.arange(1, count + 1).reshape(-1, *([1] * (losses.ndim - 1)))
    means = (0.5 + np.cumsum(values, axis=0)) / (order + 1)
    spreads = (0.25 + np.cumsum((values - means) ** 2, axis=0)) / (order + 1)
    before = np.concatenate([np.full((1, *losses.shape[1:]), 0.25), spreads[:-1]])
    bet = np.minimum(np.sqrt(2 * math.log(1 / DELTA) / (count * before)), 0.75 / (1 - mean))
    wealth = np.cumsum(np.log1p(-bet * (values - mean)), axis=0)
    passed: NDArray[np.bool_] = wealth.max(axis=0) >= math.log(1 / DELTA)
    return passed


def product(losses: NDArray[Any], loss_max: float, spread: Floats) -> NDArray[np.bool_]:
    """What the product does."""
    return bounds.is_below(losses, loss_max, DELTA, spread=np.broadcast_to(spread, losses.shape[1:]))


TESTS: dict[str, Test] = {
    "product": product,
    "WSR, one strategy": one_strategy,
    "tuned, no bound": tuned,
    "normal": normal,
    "Hoeffding": hoeffding,
}


def chosen(passed: NDArray[np.bool_], is_sequence: bool) -> NDArray[np.int_]:
    """Index of the threshold that is taken in each resample, -1: none.

    Args:
        passed: (R, T)
        is_sequence: The largest below which all pass; else the largest that passes.
    """
    if is_sequence:
        return np.where(passed.all(axis=1), passed.shape[1], np.argmin(passed, axis=1)) - 1
    return np.where(passed.any(axis=1), passed.shape[1] - 1 - np.argmax(passed[:, ::-1], axis=1), -1)


def measure(
    pool: Pool, *, has_signs: bool, resamples: int, levels: tuple[float, ...], seed: int = 5
) -> list[dict[str, Any]]:
    """One row for each loss level, size and test."""
    generator = np.random.default_rng(seed)
    count = len(pool.gaps)
    learned = min(1_500, int(0.4 * count))
    order = generator.permutation(count)
    traits = pool.traits()
    signs = pool.signs if has_signs else None
    size = 0 if signs is None else signs.shape[1]
    rows = [(traits[row], float(pool.gaps[row]), None if signs is None else signs[row]) for row in order[:learned]]
    scorer = Learner.fit(rows, signs=size).freeze()

    def scores(of: NDArray[np.int_]) -> Floats:
        return scorer.scores([traits[row] for row in of], None if signs is None else signs[of])

    first, rest = order[:learned], order[learned:]
    before = scores(first)
    all_scores, gaps = scores(rest), pool.gaps[rest]
    ordered = np.argsort(all_scores, kind="stable")
    ever = np.cumsum(gaps[ordered]) / len(rest)
    out = []
    for loss_max in levels:
        limits = certificate.thresholds(before, pool.gaps[first], loss_max)
        passing = all_scores[:, None] <= limits
        shares = passing.mean(axis=0)
        risks = np.where(passing, gaps[:, None], 0.0).mean(axis=0)
        spread = certificate.spreads(before, pool.gaps[first], limits, loss_max)
        ever_best = float((np.flatnonzero(ever <= loss_max).max(initial=-1) + 1) / len(rest))
        even = all_scores[:, None] <= np.quantile(all_scores, np.arange(1, 51) / 50)
        even_risks = np.where(even, gaps[:, None], 0.0).mean(axis=0)
        oracle = float(even.mean(axis=0)[even_risks <= loss_max].max(initial=0.0))
        for pairs in SIZES:
            passed: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in TESTS}
            for _ in range(0, resamples, CHUNK):
                drawn = generator.integers(0, len(rest), (pairs, CHUNK))
                losses = np.where(passing[drawn], gaps[drawn][..., None].astype(np.float32), np.float32(0))
                for name, test in TESTS.items():
                    passed[name].append(test(losses, loss_max, spread))
            for name, parts in passed.items():
                taken = chosen(np.concatenate(parts), name != "tuned, no bound")
                risk = np.where(taken >= 0, risks[taken], 0.0)
                share = np.where(taken >= 0, shares[taken], 0.0)
                out.append(
                    {
                        "set": pool.name + (" + signs" if has_signs else ""),
                        "loss_max": loss_max,
                        "pairs": pairs,
                        "test": name,
                        "resamples": len(taken),
                        "holds": float((risk <= loss_max + 1e-12).mean()),
                        "edge_share": float(share.mean()),
                        "oracle": oracle,
                        "oracle_any": ever_best,
                        "of_oracle": float(share.mean() / oracle) if oracle else None,
                    }
                )
    return out


def run(data: Path, *, is_quick: bool) -> tuple[list[str], dict[str, Any]]:
    """(markdown lines, figures) of the whole."""
    resamples = 100 if is_quick else 500
    rows: list[dict[str, Any]] = []
    for name, make in pools.POOLS.items():
        pool = make(data)
        for has_signs in (False, True) if pool.signs is not None else (False,):
            started = time.process_time()
            rows += measure(pool, has_signs=has_signs, resamples=resamples, levels=LEVELS)
            print(f"promise: {name} signs={has_signs} {time.process_time() - started:.0f} s CPU", file=sys.stderr)
    lines = [
        "## Promise",
        "",
        f"{resamples} resamples, confidence {1 - DELTA:.2f}; holds % · edge share % (of the oracle's %).",
        "The oracle knows the pool and takes the best of 50 even thresholds (in brackets: of all thresholds).",
        "",
    ]
    lines += ["| set, loss | oracle % (any) | test | 300 pairs | 1,000 | 3,000 |", "|---|---|---|---|---|---|"]
    keys = dict.fromkeys((row["set"], row["loss_max"], row["test"]) for row in rows)
    for key in keys:
        cells = [row for row in rows if (row["set"], row["loss_max"], row["test"]) == key]
        texts = [
            f"{100 * row['holds']:.1f} · {100 * row['edge_share']:.1f}"
            + (f" ({100 * row['of_oracle']:.0f})" if row["of_oracle"] is not None else "")
            for row in cells
        ]
        what = f"{key[0]}, {100 * key[1]:.0f} pt"
        lines.append(
            f"| {what} | {100 * cells[0]['oracle']:.1f} ({100 * cells[0]['oracle_any']:.1f}) | {key[2]} | "
            + " | ".join(texts)
            + " |"
        )
    return [*lines, ""], {"promise": rows}


def main() -> None:
    """Prints the table; with `--json FILE` writes the figures."""
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
