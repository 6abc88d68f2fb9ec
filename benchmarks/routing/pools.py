"""Labelled prompts as finite pools, of which the true risk of any rule is known, for `promise.py` and `drift.py`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ecotone.learning.signals import Signals
from ecotone.learning.traits import Traits
from ecotone.values.quality import Question
from ecotone.values.request import Endpoint

Floats = NDArray[np.float64]
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "routing"


class Pool(NamedTuple):
    """Prompts of one data set with the gap between two models.

    Attributes:
        groups: A task per prompt, '' where there is only one.
        signs: (n, S) of the edge's answer, built from the data's columns; None where there are none.
    """

    name: str
    prompts: list[str]
    groups: list[str]
    gaps: Floats
    signs: Floats | None = None

    def traits(self, *, has_keys: bool = False) -> list[Traits]:
        """Signals of each prompt; the task as its system prompt where `has_keys`."""
        signals = Signals(b"benchmark-secret")
        return [
            signals.of(
                Question(
                    endpoint=Endpoint.CHAT,
                    model="m",
                    asked=prompt,
                    system=group if has_keys else "",
                    chars=len(prompt),
                )
            )
            for prompt, group in zip(self.prompts, self.groups, strict=True)
        ]


def _table(data: Path, name: str) -> Mapping[str, list[Any]]:
    path = data / name
    if not path.exists():
        raise SystemExit(f"{path} is missing: give the folder of the data with --data")
    columns: Mapping[str, list[Any]] = pq.read_table(path).to_pydict()
    return columns


def mmlu(data: Path) -> Pool:
    """RouteLLM's MMLU: Mixtral-8x7B at the edge, GPT-4 in the cloud."""
    table = _table(data, "routellm_mmlu.parquet")
    kept = [row for row, bad in enumerate(table["contaminated"]) if not bad]
    gaps = np.array([float(table["strong"][row]) - float(table["weak"][row]) for row in kept])
    return Pool("mmlu", [table["prompt"][row] for row in kept], [table["domain"][row] for row in kept], gaps)


def mixture(data: Path) -> Pool:
    """LLMRouter's 14 tasks: mistral-7b at the edge, nemotron-51b in the cloud."""
    table = _table(data, "llmrouter_9models.parquet")
    gaps = np.array(table["llama-3.1-nemotron-51b-instruct"], float) - np.array(
        table["mistral-7b-instruct-v0.3"], float
    )
    return Pool("mixture", list(table["prompt"]), list(table["task"]), gaps)


def gsm(data: Path) -> Pool:
    """ZeroEval GSM8K: gemma-2-2b at the edge, GPT-4o in the cloud."""
    return _zeroeval(data, "gsm", "gemma-2-2b-it", ("Phi-3.5-mini-instruct", "Qwen2-7B-Instruct"), _is_number)


def crux(data: Path) -> Pool:
    """ZeroEval CRUX: Qwen2.5-3B at the edge, GPT-4o in the cloud."""
    others = ("Phi-3-mini-4k-instruct", "Qwen2.5-7B-Instruct")
    return _zeroeval(data, "crux", "Qwen2.5-3B-Instruct", others, lambda answer: bool(answer.strip()))


POOLS: Mapping[str, Callable[[Path], Pool]] = {"mmlu": mmlu, "mixture": mixture, "gsm": gsm, "crux": crux}


def _is_number(answer: str) -> bool:
    return re.fullmatch(r"-?[\d,]+(\.\d+)?", answer.strip()) is not None


def _zeroeval(data: Path, name: str, edge: str, others: tuple[str, str], has_form: Callable[[str], bool]) -> Pool:
    table = _table(data, f"zeroeval_{name}.parquet")
    answers = _table(data, f"zeroeval_{name}_answers.parquet")
    lengths = _table(data, f"zeroeval_{name}_outlen.parquet")
    at = {row: place for place, row in enumerate(answers["id"])}
    places = [at[row] for row in table["id"]]
    gaps = np.array(table["gpt-4o-2024-08-06"], float) - np.array(table[edge], float)
    said = [str(answers[edge][place] or "") for place in places]
    columns = [[float(has_form(answer)) for answer in said]]
    columns.append([math.log1p(float(lengths[edge][place] or 0)) for place in places])
    columns.append([math.log1p(len(answer)) for answer in said])
    for other in others:
        theirs = [str(answers[other][place] or "") for place in places]
        columns.append([float(_same(one, two)) for one, two in zip(said, theirs, strict=True)])
    columns.append([one * two for one, two in zip(columns[-1], columns[-2], strict=True)])
    return Pool(name, list(table["prompt"]), [""] * len(gaps), gaps, np.array(columns).T)


def _same(one: str, two: str) -> bool:
    left, right = one.strip().lower().replace(" ", ""), two.strip().lower().replace(" ", "")
    if left and left == right:
        return True
    try:
        return abs(float(left.replace(",", "")) - float(right.replace(",", ""))) < 1e-6
    except ValueError:
        return False
