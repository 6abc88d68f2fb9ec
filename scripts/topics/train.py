"""Trains the heads of `topics` on our own text and writes them into the package. The same text and seed give the same file.

.venv/bin/python scripts/topics/train.py            # write src/ecotone/detectors/topics.{npz,json}
.venv/bin/python scripts/topics/train.py --dry      # train, say how the training text itself is told apart, write nothing
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import zipfile
from pathlib import Path

import msgspec
import numpy as np
from corpus import LABELS, Sample, read, vary
from numpy.typing import NDArray

from ecotone.detectors.topics_embedding import DIMENSIONS, Embedding, load_embedding
from ecotone.detectors.topics_heads import Card
from ecotone.detectors.topics_windows import BUCKETS, windows

OUT = Path(__file__).parents[2] / "src/ecotone/detectors"
SEED = 7
STEPS = 300
DECAY_DENSE, DECAY_HASHED = 3e-5, 3e-4
BACKGROUND = 700
ALARMS = 0.005
"""Share of the training's ordinary texts that may lie above a threshold; text that was not trained on lies higher."""


class Rows:
    """All windows of all samples, for training: means, and the buckets of each window one after the other."""

    def __init__(self, samples: list[Sample], embedding: Embedding) -> None:
        means, buckets, sizes, marks = [], [], [], []
        for one in samples:
            seen = windows(embedding.tokens(one.text), embedding.table)
            # A training text is one paragraph: its first window is all of it, or nearly.
            count = int(seen.sizes[0])
            means.append(seen.means[0])
            buckets.append(seen.buckets[:, :count].ravel())
            sizes.append(count)
            marks.append([label in one.labels for label in LABELS])
        self.means = np.array(means, np.float32)
        self.buckets = np.concatenate(buckets)
        self.starts = np.cumsum([0] + [3 * size for size in sizes[:-1]])
        self.scale = np.repeat(1 / np.sqrt(np.array(sizes, np.float32)), [3 * size for size in sizes])
        self.roots = np.sqrt(np.array(sizes, np.float32))[:, None]
        self.rows = np.repeat(np.arange(len(sizes)), [3 * size for size in sizes])
        self.marks = np.array(marks, np.float32)

    def logits(self, dense: NDArray, hashed: NDArray, bias: NDArray) -> NDArray:
        return self.means @ dense + np.add.reduceat(hashed[self.buckets], self.starts, axis=0) / self.roots + bias

    def slopes(self, error: NDArray) -> NDArray:
        spread = error[self.rows] * self.scale[:, None]
        columns = [np.bincount(self.buckets, weights=spread[:, at], minlength=BUCKETS) for at in range(error.shape[1])]
        return np.stack(columns, axis=1).astype(np.float32)


def fit(rows: Rows) -> tuple[NDArray, NDArray, NDArray]:
    """Weights of the vectors, of the buckets, and the biases: logistic regressions, by Adam over all rows."""
    count = len(LABELS)
    weights = [
        np.zeros((DIMENSIONS, count), np.float32),
        np.zeros((BUCKETS, count), np.float32),
        np.zeros(count, np.float32),
    ]
    first, second = [np.zeros_like(one) for one in weights], [np.zeros_like(one) for one in weights]
    # A positive weighs as much more as it is rarer, by half.
    share = rows.marks.mean(axis=0)
    emphasis = np.where(rows.marks > 0, np.sqrt((1 - share) / share), 1).astype(np.float32)
    for step in range(1, STEPS + 1):
        rate = 0.05 * min(1, step / 20) * (1 if step < STEPS * 0.7 else 0.2)
        error = (1 / (1 + np.exp(-rows.logits(*weights))) - rows.marks) * emphasis / len(rows.marks)
        slopes = [
            rows.means.T @ error + DECAY_DENSE * weights[0],
            rows.slopes(error) + DECAY_HASHED * weights[1],
            error.sum(axis=0),
        ]
        for at, slope in enumerate(slopes):
            first[at] = 0.9 * first[at] + 0.1 * slope
            second[at] = 0.99 * second[at] + 0.01 * slope * slope
            mean, spread = first[at] / (1 - 0.9**step), second[at] / (1 - 0.99**step)
            weights[at] = weights[at] - rate * mean / (np.sqrt(spread) + 1e-7)
    return weights[0], weights[1], weights[2]


def background(samples: list[Sample], embedding: Embedding) -> dict[str, NDArray]:
    """Texts that a site's own topics are told from: half of them ordinary, each of another family as far as it goes."""
    dice = random.Random(SEED)
    shuffled = dice.sample(samples, len(samples))
    seen: set[tuple[str, int]] = set()
    fresh = [one for one in shuffled if (one.file, one.family) not in seen and not seen.add((one.file, one.family))]
    ordinary = [one for one in fresh if not one.labels][: BACKGROUND * 2 // 3]
    chosen = ordinary + [one for one in fresh if one.labels][: BACKGROUND - len(ordinary)]
    tokens = [embedding.tokens(one.text)[:96] for one in chosen]
    return {
        "background": np.concatenate(tokens).astype(np.uint16),
        "ends": np.cumsum([len(one) for one in tokens]).astype(np.int32),
        "marks": np.array([[label in one.labels for label in LABELS] for one in chosen]),
    }


def write(arrays: dict[str, NDArray], thresholds: dict[str, float], count: int) -> None:
    """Writes the file without a date in it, so that the same weights are the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            one = io.BytesIO()
            np.save(one, arrays[name], allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), one.getvalue(), zipfile.ZIP_DEFLATED, 9)
    (OUT / "topics.npz").write_bytes(packed.getvalue())
    card = Card(hashlib.sha256(packed.getvalue()).hexdigest(), thresholds, SEED, count)
    (OUT / "topics.json").write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dry", action="store_true")
    chosen = options.parse_args()
    embedding = load_embedding()
    samples = read(seed=SEED)
    rows = Rows(vary(samples, seed=SEED), embedding)
    dense, hashed, bias = fit(rows)
    scale = np.abs(hashed).max(axis=0) / 127
    small = np.round(hashed / scale).astype(np.int8)
    logits = rows.logits(dense, small * scale, bias)
    ordinary = rows.marks.sum(axis=1) == 0
    thresholds = {}
    for at, label in enumerate(LABELS):
        least = float(np.quantile(logits[ordinary, at], 1 - ALARMS / len(LABELS)))
        thresholds[label] = round(max(least, 0.0), 3)
        found = (logits[rows.marks[:, at] > 0, at] >= thresholds[label]).mean()
        print(f"{label:13} threshold {thresholds[label]:6.3f}  found in training {found:.3f}")
    if not chosen.dry:
        arrays = {"dense": dense, "hashed": small, "scale": scale.astype(np.float32), "bias": bias}
        write(arrays | background(samples, embedding), thresholds, len(rows.marks))


if __name__ == "__main__":
    main()
