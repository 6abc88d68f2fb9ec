"""Measures `topics`: recall against alarms, by language and label, and its time. `--misses` lists what went wrong.

    .venv/bin/python benchmarks/privacy/topics.py [--data DIR] [--misses] [--set test|eval]

Two sets of our own. `eval` was there while the training text grew: its misses were looked at, and some training lines
are near to lines of it, so it flatters. `test` was written after the last line of training text and no setting was
changed after it was measured; after any change of the training text that looks at it, write a new one. Ordinary prompts
are theirs and, from `--data`, MT-bench and HumanEval (negatives_en) and Presidio's carrier sentences (en_presidio_dev).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecotone.detectors.topics_embedding import load_embedding
from ecotone.detectors.topics_heads import BUILT_IN, load_heads
from ecotone.detectors.topics_windows import windows

HERE = Path(__file__).parent
LANGUAGES = ("en", "de", "fr", "es", "zh")
SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; none where there is no such file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def time_ms(work: Callable[[], object], rounds: int = 60) -> float:
    """Median CPU time of one call, milliseconds."""
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append((time.process_time() - began) * 1000)
    return statistics.median(spent)


class Measured:
    """The clearest logit of each evaluation text and each ordinary prompt."""

    def __init__(self, data: Path, texts: str) -> None:
        self.embedding, self.heads = load_embedding(), load_heads()
        self.rows = lines(HERE / f"topics_{texts}.jsonl")
        self.logits = np.array([self.clearest(row["text"]) for row in self.rows])
        self.is_topic = np.array([bool(row["labels"]) for row in self.rows])
        self.language = np.array([row["lang"] for row in self.rows])
        negatives = lines(data / "negatives_en.jsonl")
        self.ordinary = {
            "mt-bench": [row["text"] for row in negatives if row["src"].startswith("mt-bench")],
            "humaneval": [row["text"] for row in negatives if "humaneval" in row["src"]],
            "presidio": [row["text"] for row in lines(data / "en_presidio_dev.jsonl")],
        }
        self.alarms = {
            name: np.array([self.clearest(text)[0] for text in texts]) for name, texts in self.ordinary.items()
        }

    def clearest(self, text: str) -> NDArray[np.float32]:
        """Logits of the text's clearest window."""
        logits = self.heads.logits(windows(self.embedding.tokens(text), self.embedding.table))
        return logits[logits[:, 0].argmax()]

    def curve(self) -> None:
        """Recall and alarms by language at thresholds that let so many ordinary English prompts through."""
        ours = self.logits[(self.language == "en") & ~self.is_topic, 0]
        reference = np.concatenate([ours, self.alarms["mt-bench"], self.alarms["humaneval"]])
        print(
            f"{len(self.rows)} texts: found / alarms on ordinary ones. The reference: {len(reference)} English prompts"
        )
        print(f"{'alarms':>8} {'logit':>7}  " + "  ".join(f"{name:^11}" for name in (*LANGUAGES, *self.alarms)))
        points = [(f"{share:.1%}", float(np.quantile(reference, 1 - share))) for share in SHARES]
        for name, least in [*points, ("as set", self.heads.threshold)]:
            cells = []
            for language in LANGUAGES:
                mine = self.language == language
                found = (self.logits[mine & self.is_topic, 0] >= least).mean()
                alarm = (self.logits[mine & ~self.is_topic, 0] >= least).mean()
                cells.append(f"{found:.2f} / {alarm:.2f}")
            cells += [f"{(logits >= least).mean() if len(logits) else 0:.3f}" for logits in self.alarms.values()]
            print(f"{name:>8} {least:7.2f}  " + "  ".join(f"{cell:^11}" for cell in cells))

    def labels(self) -> None:
        """For each label: seen as any topic, and under its own name, at the set threshold."""
        for at, label in enumerate(BUILT_IN, 1):
            mine = np.array([label in row["labels"] for row in self.rows])
            seen = self.logits[mine, 0] >= self.heads.threshold
            own = (self.logits[mine, at] >= 0) | (self.logits[mine, 1:].argmax(axis=1) == at - 1)
            print(f"{label:13} of {mine.sum():3}: any topic {seen.mean():.2f}, its own name {(seen & own).mean():.2f}")

    def misses(self) -> None:
        """What was wrongly passed or stopped, our own texts and the ordinary prompts."""
        for row, logits, is_topic in zip(self.rows, self.logits, self.is_topic, strict=True):
            if is_topic != (logits[0] >= self.heads.threshold):
                print(
                    "MISS" if is_topic else "ALARM",
                    f"{logits[0]:6.2f}",
                    row["id"],
                    row["labels"],
                    repr(row["text"][:140]),
                )
        for name in ("mt-bench", "humaneval"):
            for text, logit in zip(self.ordinary[name], self.alarms[name], strict=True):
                if logit >= self.heads.threshold:
                    print("ALARM", f"{logit:6.2f}", name, repr(text[:140]))

    def times(self) -> None:
        """CPU time of a whole look."""
        text = "\n".join(self.ordinary["mt-bench"]) or "\n".join(row["text"] for row in self.rows)
        chinese = "".join(row["text"] for row in self.rows if row["lang"] == "zh") * 4
        for name, piece in (("2 KB", text[:2048]), ("16 KB", text[:16384]), ("690 Chinese characters", chinese[:690])):
            print(f"{name}: {time_ms(lambda piece=piece: self.clearest(piece)):.2f} ms CPU, median")
        print(f"load: {time_ms(lambda: (load_embedding(), load_heads()), 5):.0f} ms CPU")


def main() -> None:
    """Prints all of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=HERE.parents[2] / "shared/data/privacy")
    options.add_argument("--set", choices=("test", "eval"), default="test")
    options.add_argument("--misses", action="store_true")
    chosen = options.parse_args()
    measured = Measured(chosen.data, chosen.set)
    measured.curve()
    measured.labels()
    measured.times()
    if chosen.misses:
        measured.misses()


if __name__ == "__main__":
    main()
