"""Cost of one decision: CPU time of this thread, prompt by prompt, on the mixture's prompts as they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sets

from ecotone.learning import Learner, Signals

LABELS = 1_500
PROMPTS = 3_000


def measured(call: Callable[[Any], object], given: Sequence[Any], rounds: int = 3) -> list[float]:
    """p50, p95, p99 of the CPU microseconds of a call; of each call the least of a few, for the clock is coarse."""
    best = np.full(len(given), np.inf)
    for _ in range(rounds):
        for place, one in enumerate(given):
            start = time.thread_time_ns()
            call(one)
            best[place] = min(best[place], (time.thread_time_ns() - start) / 1_000.0)
    return [float(value) for value in np.percentile(best, (50, 95, 99))]


def run(data: Path, *, is_quick: bool) -> tuple[list[str], dict[str, Any]]:
    """Signals, guess, both, and learning: markdown lines and figures in microseconds."""
    rows = sets.mixture(data)
    asked = rows.questions(has_keys=True)
    order = np.random.default_rng(0).permutation(len(asked))
    signals = Signals(sets.SECRET)
    traits = [signals.of(one) for one in asked]
    start = time.process_time()
    learner = Learner.fit([(traits[at], float(rows.gaps[at]), None) for at in order[:LABELS]])
    fit_s = time.process_time() - start
    scorer = learner.freeze()
    tested = order[LABELS : LABELS + (500 if is_quick else PROMPTS)]
    questions, looked = [asked[at] for at in tested], [traits[at] for at in tested]
    figures: dict[str, Any] = {
        "signals (Signals.of)": measured(signals.of, questions),
        "prediction (Scorer.guess)": measured(scorer.guess, looked),
        "both": measured(lambda one: scorer.guess(signals.of(one)), questions),
        "a label learned (Learner.learn), off the path": measured(lambda one: learner.learn(one, 0.0), looked, 1),
    }
    lines = ["", "| step | p50 µs | p95 µs | p99 µs |", "|---|---|---|---|"]
    lines += [f"| {name} | {p50:.0f} | {p95:.0f} | {p99:.0f} |" for name, (p50, p95, p99) in figures.items()]
    figures["fit_s"] = fit_s
    figures["dump_bytes"] = len(scorer.dump())
    figures["traits_bytes"] = float(np.median([len(one.dump()) for one in looked]))
    lines.append("")
    lines.append(
        f"A fit to {LABELS:,} labels takes {fit_s:.2f} s of CPU off the path; a scorer is "
        f"{figures['dump_bytes']:,} bytes, the traits of a prompt {figures['traits_bytes']:.0f} (median)."
    )
    return lines, figures
