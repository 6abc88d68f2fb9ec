"""Cascade: the edge has answered, and its own answer joins the prompt. 50 labels in 100, random halves.

The signs are made here from the data's columns, for the data has no text of answers: parsed or not, a number or not,
length of the answer and of what led to it, and agreement with one or two other small models. What the product reads off
one answer is `ecotone.learning.signs`; the learner is the product's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import metrics
import numpy as np
import sets
from numpy.typing import NDArray

from ecotone.learning import Learner

Floats = NDArray[np.float64]
SPLITS = 5
OTHERS = {
    "gsm": ("Phi-3.5-mini-instruct", "Qwen2-7B-Instruct"),
    "crux": ("Phi-3-mini-4k-instruct", "Qwen2.5-7B-Instruct"),
}
FORM = 4
"""Signs that need no second model."""


def plain(answer: Any) -> str:
    """An answer without case, spaces, quotes' kind and a number's way of being written."""
    text = str(answer if answer is not None else "").strip().lower().replace(" ", "").replace('"', "'").strip("'$.")
    try:
        return repr(round(float(text.replace(",", "")), 6))
    except ValueError:
        return text


def signs(data: Path, name: str, others: tuple[str, ...]) -> Floats:
    """Signs of the edge's answers in the order of the prompts, (n, S)."""
    prompts = sets.table(data, f"zeroeval_{name}")["id"]
    answers, lengths = (sets.table(data, f"zeroeval_{name}_{kind}") for kind in ("answers", "outlen"))
    answered, measured = ({row: place for place, row in enumerate(found["id"])} for found in (answers, lengths))
    edge = sets.SMALL[name]
    rows = []
    for row in prompts:
        place = answered[row]
        said = plain(answers[edge][place])
        is_none = said in ("", "none", "n/a")
        agreed = [float(said == plain(answers[other][place]) and not is_none) for other in others]
        one = [
            float(is_none),
            float(said.replace(".", "", 1).lstrip("-").isdigit()),
            math.log1p(float(lengths[edge][measured[row]] or 0)),
            math.log1p(len(str(answers[edge][place] or ""))),
            *agreed,
        ]
        if len(others) == 2:
            one += [agreed[0] * agreed[1], float(plain(answers[others[0]][place]) == plain(answers[others[1]][place]))]
        rows.append(one)
    return np.array(rows)


def measure(data: Path, name: str, *, is_quick: bool) -> dict[str, dict[str, float]]:
    """Prompt alone, with form and length, with one other model, with two; and the oracle."""
    rows = sets.zeroeval(data, name)
    traits, gaps = rows.traits(), rows.gaps
    first, second = OTHERS[name]
    one, two = signs(data, name, (first,)), signs(data, name, (first, second))
    kinds: dict[str, Floats | None] = {
        "prompt only": None,
        "prompt + form, length of the answer": two[:, :FORM],
        f"+ agreement with {first}": one,
        f"+ agreement with {second} too": two,
    }
    found: dict[str, list[metrics.Worth]] = {}
    for seed in range(2 if is_quick else SPLITS):
        order = np.random.default_rng(seed).permutation(len(gaps))
        seen, asked = order[: len(order) // 2], order[len(order) // 2 :]
        for kind, given in kinds.items():
            labelled = [(traits[at], float(gaps[at]), None if given is None else given[at]) for at in seen]
            learner = Learner.fit(labelled, signs=0 if given is None else given.shape[1])
            score = learner.scores([traits[at] for at in asked], None if given is None else given[asked])
            found.setdefault(kind, []).append(metrics.worth(score, rows.edge[asked], rows.cloud[asked]))
        found.setdefault("oracle", []).append(metrics.worth(gaps[asked], rows.edge[asked], rows.cloud[asked]))
    return {
        kind: {
            **dict(zip(metrics.Worth._fields, np.mean(worths, axis=0).tolist(), strict=True)),
            "apgr_sd": float(np.std([worth.apgr for worth in worths], ddof=1)),
        }
        for kind, worths in found.items()
    }


def run(data: Path, *, is_quick: bool) -> tuple[list[str], dict[str, Any]]:
    """Both sets: markdown lines and figures."""
    lines: list[str] = []
    figures: dict[str, Any] = {}
    for name in ("gsm", "crux"):
        figures[name] = measure(data, name, is_quick=is_quick)
        lines += ["", f"#### {name}: {sets.SMALL[name]} → {sets.GPT_4O}", ""]
        lines += ["| signals | APGR | ± sd | CPT50 | CPT80 | c95 | c99 |", "|---|---|---|---|---|---|---|"]
        for kind, one in figures[name].items():
            lines.append(
                f"| {kind} | {one['apgr']:.3f} | {one['apgr_sd']:.3f} | {one['cpt50']:.1f} | {one['cpt80']:.1f} "
                f"| {one['c95']:.1f} | {one['c99']:.1f} |"
            )
    return lines, figures
