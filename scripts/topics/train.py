"""Trains the heads of `topics` on our own text and writes them into the package; the same text gives the same file.

.venv/bin/python scripts/topics/train.py         # write src/ecotone/detectors/topics.{npz,json}
.venv/bin/python scripts/topics/train.py --dry   # folds only: families that were not trained on
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import random
import sys
import zipfile
from pathlib import Path

import msgspec
import numpy as np
from corpus import LABELS, Sample, read, vary
from numpy.typing import NDArray

from ecotone.detectors.topics_embedding import Embedding, load_embedding
from ecotone.detectors.topics_heads import Card, Heads
from ecotone.detectors.topics_windows import windows

OUT = Path(__file__).parents[2] / "src/ecotone/detectors"
SEED = 7
MEMBERS, HIDDEN = 3, 32
"""Networks that are trained apart and then stand side by side as one: their mean errs less than each."""

EPOCHS, BATCH, RATE, DECAY, DROP = 30, 200, 1e-3, 5e-3, 0.2
INPUT_SCALE = 16.0
BACKGROUND = 700
THRESHOLD = 1.2
"""Set on the curve that benchmarks/privacy/topics.py draws of the set `eval`."""

Array = NDArray[np.float32]


def rows_of(samples: list[Sample], embedding: Embedding) -> tuple[Array, Array]:
    """Each sample's first window (a training text is one paragraph) and its marks: any topic, then each label."""
    rows = np.stack([windows(embedding.tokens(one.text), embedding.table)[0] for one in samples])
    marks = [[bool(one.labels), *(label in one.labels for label in LABELS)] for one in samples]
    return rows, np.array(marks, np.float32)


def fit(rows: Array, marks: Array, seed: int) -> list[Array]:
    """One member's weights: inner, inner bias, outer, outer bias. Adam over mini-batches, with dropout and decay."""
    dice = np.random.default_rng(seed)
    width, outputs = rows.shape[1], marks.shape[1]
    weights = [
        dice.uniform(-1, 1, (width, HIDDEN)).astype(np.float32) * np.sqrt(6 / (width + HIDDEN), dtype=np.float32),
        np.zeros(HIDDEN, np.float32),
        dice.uniform(-1, 1, (HIDDEN, outputs)).astype(np.float32) * np.sqrt(6 / (HIDDEN + outputs), dtype=np.float32),
        np.zeros(outputs, np.float32),
    ]
    first, second = [np.zeros_like(one) for one in weights], [np.zeros_like(one) for one in weights]
    step = 0
    for epoch in range(EPOCHS):
        order = dice.permutation(len(rows))
        rate = RATE * (1 if epoch < EPOCHS * 2 // 3 else 0.2)
        for at in range(0, len(rows), BATCH):
            chosen = order[at : at + BATCH]
            step += 1
            slopes = _slopes(weights, rows[chosen] * np.float32(INPUT_SCALE), marks[chosen], dice)
            for i, slope in enumerate(slopes):
                first[i] = 0.9 * first[i] + 0.1 * slope
                second[i] = 0.999 * second[i] + 0.001 * slope * slope
                mean, spread = first[i] / (1 - 0.9**step), second[i] / (1 - 0.999**step)
                weights[i] = weights[i] - rate * mean / (np.sqrt(spread) + 1e-8)
    weights[0] = weights[0] * np.float32(INPUT_SCALE)
    return weights


def _slopes(weights: list[Array], rows: Array, marks: Array, dice: np.random.Generator) -> list[Array]:
    inner, inner_bias, outer, outer_bias = weights
    before = rows @ inner + inner_bias
    kept = (before > 0) * (dice.random(before.shape, np.float32) > DROP) / np.float32(1 - DROP)
    hidden = before * kept
    error = (1 / (1 + np.exp(-(hidden @ outer + outer_bias))) - marks) / len(rows)
    back = (error @ outer.T) * kept
    return [rows.T @ back + DECAY * inner, back.sum(axis=0), hidden.T @ error + DECAY * outer, error.sum(axis=0)]


def train(rows: Array, marks: Array) -> Heads:
    """All members side by side."""
    members = [fit(rows, marks, SEED + at) for at in range(MEMBERS)]
    inner, inner_bias, outer = (
        np.concatenate([one[at] for one in members], axis=axis) for at, axis in ((0, 1), (1, 0), (2, 0))
    )
    nothing = np.zeros(0, np.int64)
    return Heads(
        inner=inner,
        inner_bias=inner_bias,
        outer=outer / MEMBERS,
        outer_bias=np.mean([one[3] for one in members], axis=0),
        threshold=THRESHOLD,
        version="",
        background=nothing,
        ends=nothing,
        marks=np.zeros((0, len(LABELS)), bool),
    )


def background(samples: list[Sample], embedding: Embedding) -> dict[str, NDArray]:
    """Texts that a site's own topics are told from: two thirds ordinary, each of another family."""
    dice = random.Random(SEED)
    families: dict[tuple[str, int], Sample] = {}
    for one in dice.sample(samples, len(samples)):
        families.setdefault((one.file, one.family), one)
    ordinary = [one for one in families.values() if not one.labels][: BACKGROUND * 2 // 3]
    chosen = ordinary + [one for one in families.values() if one.labels][: BACKGROUND - len(ordinary)]
    tokens = [embedding.tokens(one.text)[:96] for one in chosen]
    return {
        "background": np.concatenate(tokens).astype(np.uint16),
        "ends": np.cumsum([len(one) for one in tokens]).astype(np.int32),
        "marks": np.array([[label in one.labels for label in LABELS] for one in chosen]),
    }


def write(heads: Heads, texts: dict[str, NDArray], count: int) -> None:
    """Writes the files, with no date in them: the same weights are the same bytes."""
    assert np.isfinite(heads.inner).all()
    scale = (np.abs(heads.inner).max(axis=0) / 127).astype(np.float32)
    arrays = texts | {
        "inner": np.round(heads.inner / scale).astype(np.int8),
        "scale": scale,
        "inner_bias": heads.inner_bias.astype(np.float32),
        "outer": heads.outer.astype(np.float32),
        "outer_bias": heads.outer_bias.astype(np.float32),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(arrays):
            one = io.BytesIO()
            np.save(one, arrays[name], allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), one.getvalue(), zipfile.ZIP_DEFLATED, 9)
    (OUT / "topics.npz").write_bytes(packed.getvalue())
    card = Card(hashlib.sha256(packed.getvalue()).hexdigest(), heads.threshold, SEED, count)
    (OUT / "topics.json").write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")


def folds(samples: list[Sample], embedding: Embedding, count: int = 4) -> None:
    """Prints what is found and what alarms in families (lines of the files) that were not trained on."""
    fold = np.array([hash_of(one) % count for one in samples])
    logits = np.zeros(len(samples), np.float32)
    rows, marks = rows_of(samples, embedding)
    for at in range(count):
        changed = vary([one for one, its in zip(samples, fold, strict=True) if its != at], seed=SEED)
        heads = train(*rows_of(changed, embedding))
        logits[fold == at] = heads.logits(rows[fold == at])[:, 0]
    language = np.array([one.language for one in samples])
    for name in sorted(set(language)):
        mine = language == name
        found = logits[mine & (marks[:, 0] > 0)] >= THRESHOLD
        alarm = logits[mine & (marks[:, 0] == 0)] >= THRESHOLD
        print(f"{name}: found {found.mean():.3f} of {len(found)}, alarms {alarm.mean():.3f} of {len(alarm)}")


def hash_of(one: Sample) -> int:
    """A number for the sample's family, the same everywhere."""
    return int.from_bytes(hashlib.sha256(f"{one.file}:{one.family}".encode()).digest()[:4])


def main() -> None:
    """Trains, and writes if asked to."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dry", action="store_true")
    chosen = options.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        # Several threads add up in another order, and the file would differ.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_NUM_THREADS": "1"})
    embedding = load_embedding()
    samples = read(seed=SEED)
    if chosen.dry:
        folds(samples, embedding)
        return
    changed = vary(samples, seed=SEED)
    heads = train(*rows_of(changed, embedding))
    write(heads, background(samples, embedding), len(changed))
    families = {(one.file, one.family) for one in samples}
    print(f"{len(samples)} texts of {len(families)} families, {len(changed)} with changes")


if __name__ == "__main__":
    main()
