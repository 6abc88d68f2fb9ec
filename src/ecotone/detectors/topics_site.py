"""A site's own topics: told from a few dozen examples, by ridge regressions over the rows of the windows.

A new label (`project_x`) is told from ordinary text and from the built-in topics. Examples of a built-in label are a
second way to find it. Examples of label `none` are ordinary text that must pass: negatives of all the site's labels,
and what is much like them is a built-in topic only if it is seen more clearly than in any of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ecotone.detectors.topics_embedding import DIMENSIONS, Embedding
from ecotone.detectors.topics_heads import BUILT_IN, Heads
from ecotone.detectors.topics_windows import windows
from ecotone.values import ConfigError

__all__ = ["EXAMPLES_MAX", "NONE", "Example", "SiteHeads", "fit", "read_examples", "site_heads"]

NONE: Final = "none"
EXAMPLES_MAX: Final = 1000
_LABEL: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_WINDOWS_MAX: Final = 2
"""Of each example, in the regressions."""

_PASSING_MAX: Final = 4 * EXAMPLES_MAX

_NGRAMS_WEIGHT: Final = 6.0
"""Beside what the built-in heads give them: a project's name is an n-gram that no other text has."""

_RIDGE: Final = 0.3
_ALARMS: Final = 0.004
"""Share of what must pass that may lie above a threshold, each judged as if it had not been there."""

_MARGIN: Final = 0.15
_CLEARER: Final = 0.5
_SAME: Final = 0.9
"""Cosine of two rows that are nearly the same text."""


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One example, as the configuration gives it."""

    label: str
    text: str


class SiteHeads(msgspec.Struct, frozen=True):
    """The site's regressions; they score about 1 for what is like the examples, about -1 for what is not.

    Attributes:
        labels: In the order of the columns.
        weights: Shape (row, labels).
        bias: Shape (labels,).
        thresholds: Scores from which a window is of that label. Shape (labels,).
        ceiling: Where a window scores as `none`, the logit from which a built-in topic counts all the same.
        passing: Rows of the `none` examples, at length 1. Shape (rows, row).
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    ceiling: float
    passing: NDArray[np.float32]

    def digest(self) -> str:
        """Changes with what was learned."""
        return hashlib.sha256(repr(self.labels).encode() + self.weights.tobytes() + self.bias.tobytes()).hexdigest()[
            :12
        ]

    def repeats(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which rows are a `none` example again, or one with a word or two changed. Shape (rows,)."""
        if not len(self.passing):
            return np.zeros(len(rows), np.bool_)
        again: NDArray[np.bool_] = (_unit(_scaled(rows)) @ self.passing.T).max(axis=1) >= _SAME
        return again

    def scores(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of each row, how far above the threshold of each label it is. Shape (rows, labels)."""
        above: NDArray[np.float32] = rows @ self.weights + (self.bias - self.thresholds)
        return above


def read_examples(given: object) -> list[Example]:
    """The examples out of `topics_examples`.

    Raises:
        ConfigError: `topics.examples`, with the place; never with the text.
    """
    try:
        examples = msgspec.convert(given, list[Example])
    except msgspec.ValidationError as error:
        raise ConfigError("topics.examples", f"topics_examples: {error}") from None
    if len(examples) > EXAMPLES_MAX:
        raise ConfigError("topics.examples", f"topics_examples: at most {EXAMPLES_MAX}, here are {len(examples)}")
    for at, one in enumerate(examples):
        if not _LABEL.fullmatch(one.label):
            raise ConfigError("topics.examples", f"topics_examples[{at}].label: lower-case letters, digits and `_`")
        if not one.text.strip():
            raise ConfigError("topics.examples", f"topics_examples[{at}].text: is empty")
    return examples


def fit(examples: Sequence[Example], embedding: Embedding, heads: Heads) -> SiteHeads:
    """Learns the site's labels; the same examples give the same weights. Below a second for 500 examples."""
    seen = [windows(embedding.tokens(one.text), embedding.table) for one in examples]
    cut = [rows[:_WINDOWS_MAX] for rows in seen]
    ours = np.concatenate(cut)
    names = [one.label for one, rows in zip(examples, cut, strict=True) for _ in rows]
    others, marks = _background(embedding, heads)
    labels = tuple(sorted(set(names)))
    targets = np.full((len(ours) + len(others), len(labels)), -1.0, np.float32)
    for at, label in enumerate(labels):
        targets[: len(ours), at] = [1.0 if name == label else -1.0 for name in names]
        # What the background says of a label is neither for nor against the site's examples of it.
        neutral = (
            ~marks.any(axis=1) if label == NONE else marks[:, BUILT_IN.index(label)] if label in BUILT_IN else None
        )
        if neutral is not None:
            targets[len(ours) :, at][neutral] = 0.0
    weights, bias, thresholds = _regress(_scaled(np.concatenate([ours, others])), targets)
    harmless = [rows for one, rows in zip(examples, seen, strict=True) if one.label == NONE]
    passing = np.concatenate([ours[:0], *harmless])[:_PASSING_MAX]
    ceiling = float(heads.logits(passing)[:, 0].max()) + _CLEARER if len(passing) else heads.threshold
    known = _unit(_scaled(passing))
    return SiteHeads(labels, _scaled(weights.T).T, bias, thresholds, max(ceiling, heads.threshold), known)


def _background(embedding: Embedding, heads: Heads) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    texts = np.split(heads.background, heads.ends[:-1])
    return np.concatenate([windows(tokens, embedding.table)[:1] for tokens in texts]), heads.marks


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def _scaled(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows with more weight on their n-grams."""
    scale = np.ones(rows.shape[1], np.float32)
    scale[DIMENSIONS:] = _NGRAMS_WEIGHT
    return rows * scale


def _regress(
    rows: NDArray[np.float32], targets: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Weights, biases and thresholds of one regression for each column of the targets (1, -1, or 0: left out).

    Both sides weigh the same, however many examples they have. The thresholds are set on what each row would score had
    it not been among the examples.

    Source: Rifkin and Lippert, Notes on Regularized Least Squares, 2007: leave one out, from the inverse's diagonal.
    """
    # The constant column is the bias, hardly held back.
    wide = np.hstack([rows, np.full((len(rows), 1), 3.0, np.float32)])
    kernel = (wide @ wide.T).astype(np.float64)
    weights, bias, thresholds = [], [], []
    for column in targets.T:
        used = np.flatnonzero(column)
        wanted = column[used]
        share = np.where(wanted > 0, (wanted < 0).sum() / (wanted > 0).sum(), 1.0)
        inverse = np.linalg.inv(kernel[np.ix_(used, used)] + np.diag(_RIDGE / np.sqrt(share)))
        dual = inverse @ wanted
        unseen = wanted - dual / np.diag(inverse)
        all_weights = wide[used].T @ dual
        weights.append(all_weights[:-1])
        bias.append(all_weights[-1] * 3.0)
        thresholds.append(np.quantile(unseen[wanted < 0], 1 - _ALARMS) + _MARGIN)
    return np.array(weights, np.float32).T, np.array(bias, np.float32), np.array(thresholds, np.float32)


def site_heads(settings: Mapping[str, Any], embedding: Embedding, heads: Heads) -> SiteHeads | None:
    """What `settings["topics_examples"]` asks for; None where it is not there or empty."""
    examples = read_examples(settings.get("topics_examples") or [])
    return fit(examples, embedding, heads) if examples else None
