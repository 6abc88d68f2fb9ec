"""The labelled prompts, as the routing tables read them: text, task, and the quality of both answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from ecotone.learning import Signals, Traits
from ecotone.values.quality import Question
from ecotone.values.request import Endpoint

Floats = NDArray[np.float64]
SECRET = b"the secret of the benchmark"
GPT_4O = "gpt-4o-2024-08-06"
SMALL = {"gsm": "gemma-2-2b-it", "crux": "Qwen2.5-3B-Instruct"}


class Labelled(NamedTuple):
    """Prompts with the quality of the edge's and of the cloud's answer, (n,) each."""

    name: str
    prompts: list[str]
    tasks: list[str]
    edge: Floats
    cloud: Floats

    @property
    def gaps(self) -> Floats:
        """Quality of the cloud less that of the edge."""
        return self.cloud - self.edge

    def questions(self, *, has_keys: bool = False) -> list[Question]:
        """What a gateway would see; with keys, the task stands in for the system prompt of its application."""
        return [
            question(prompt, task if has_keys else "") for prompt, task in zip(self.prompts, self.tasks, strict=True)
        ]

    def traits(self, *, has_keys: bool = False) -> list[Traits]:
        """The product's signals of each prompt."""
        signals = Signals(SECRET)
        return [signals.of(one) for one in self.questions(has_keys=has_keys)]


def question(prompt: str, system: str = "") -> Question:
    """A chat request with one message, and a system prompt where there is one."""
    chars = len(prompt) + len(system)
    return Question(endpoint=Endpoint.CHAT, model="assistant", asked=prompt, system=system, chars=chars)


def table(data: Path, name: str) -> dict[str, list[Any]]:
    """A file's columns.

    Raises:
        SystemExit: It is not there.
    """
    path = data / f"{name}.parquet"
    if not path.is_file():
        raise SystemExit(f"{path} is missing. Mend: --data FOLDER, the folder with the labelled prompts")
    columns: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    return columns


def mmlu(data: Path) -> Labelled:
    """RouteLLM's MMLU, contaminated rows out: Mixtral-8x7B and GPT-4."""
    rows = table(data, "routellm_mmlu")
    kept = [row for row, is_bad in enumerate(rows["contaminated"]) if not is_bad]
    edge, cloud = (np.array([float(rows[side][row]) for row in kept]) for side in ("weak", "strong"))
    return Labelled("mmlu", [rows["prompt"][row] for row in kept], [rows["domain"][row] for row in kept], edge, cloud)


def mixture(data: Path) -> Labelled:
    """LLMRouter's 14 tasks: mistral-7b and nemotron-51b."""
    rows = table(data, "llmrouter_9models")
    edge, cloud = (
        np.array(rows[model], float) for model in ("mistral-7b-instruct-v0.3", "llama-3.1-nemotron-51b-instruct")
    )
    return Labelled("mixture", rows["prompt"], rows["task"], edge, cloud)


def zeroeval(data: Path, name: str) -> Labelled:
    """ZeroEval `gsm` or `crux`: a 2 to 3 billion model and GPT-4o."""
    rows = table(data, f"zeroeval_{name}")
    edge, cloud = (np.array(rows[model], float) for model in (SMALL[name], GPT_4O))
    return Labelled(name, rows["prompt"], [name] * len(edge), edge, cloud)


def mtbench(data: Path) -> Labelled:
    """RouteLLM's MT-Bench, contaminated rows out: mean scores of 1 to 10 brought to [0, 1]."""
    rows = table(data, "routellm_mtbench")
    kept = [row for row, is_bad in enumerate(rows["contaminated"]) if not is_bad]
    edge, cloud = (np.array([float(rows[side][row]) / 10.0 for row in kept]) for side in ("weak", "strong"))
    prompts = [rows["turn1"][row] for row in kept]
    return Labelled("mtbench", prompts, [rows["category"][row] for row in kept], edge, cloud)
