"""How far the checkers tell right from wrong, on answers whose truth is known.

    .venv/bin/python benchmarks/routing/checkers.py

ZeroEval's parsed answers of small models beside GPT-4o's, where GPT-4o is right: there the edge's answer is right just
where the two agree. What is printed stands in docs/reference/checkers.md.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from ecotone.checking import auto
from ecotone.values import Endpoint
from ecotone.values.quality import Question, Reply

DATA: Final = Path("/work/shared/data/routing")
STRONG: Final = "gpt-4o-2024-08-06"
WEAK: Final = {
    "gsm": ("gemma-2-2b-it", "Meta-Llama-3.1-8B-Instruct", "Qwen2-7B-Instruct"),
    "crux": ("Qwen2.5-3B-Instruct", "Meta-Llama-3.1-8B-Instruct", "gemma-2-2b-it"),
}


def rows(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(answers, prompt with the truth of each answer) of each question."""
    answers = pq.read_table(DATA / f"zeroeval_{name}_answers.parquet").to_pylist()
    truths = pq.read_table(DATA / f"zeroeval_{name}.parquet").to_pylist()
    assert [row["id"] for row in answers] == [row["id"] for row in truths]
    return list(zip(answers, truths, strict=True))


def measure(name: str, weak: str) -> dict[str, float]:
    """Pairs, errors of both kinds among those where the cloud is right, and the mean gap beside the true one."""
    counted: Counter[str] = Counter()
    gap = true_gap = 0.0
    pairs = rows(name)
    for answers, truth in pairs:
        asked = Question(endpoint=Endpoint.CHAT, model="m", asked=truth["prompt"])
        edge, cloud = (Reply(text=str(answers[model] or ""), finish="stop") for model in (weak, STRONG))
        found = auto(asked, edge, cloud)
        if found is None:
            counted["unjudged"] += 1
            continue
        counted[found.checker] += 1
        gap += found.gap
        true_gap += truth[STRONG] - truth[weak]
        if truth[STRONG] == 1:
            counted["known"] += 1
            counted["wrong_called_same"] += truth[weak] == 0 and found.gap < 0.5
            counted["right_told_apart"] += truth[weak] == 1 and found.gap > 0.5
    return {**counted, "gap": round(gap / len(pairs), 4), "true_gap": round(true_gap / len(pairs), 4)}


if __name__ == "__main__":
    for dataset, models in WEAK.items():
        for model in models:
            print(dataset, model, measure(dataset, model))
