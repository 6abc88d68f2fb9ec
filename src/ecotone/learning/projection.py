"""What traits become before a line is fitted through them: centred figures, topics, and nearness to landmarks.

Fitted without labels, on a few hundred prompts or more; immutable afterwards. Topics are latent semantic analysis of
the hashed words; landmarks (centres of clusters) give the line a way to bend.
Source: Deerwester et al. 1990 (LSA); Williams & Seeger 2001 (Nystroem features of a Gaussian kernel).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ecotone.learning.grams import BUCKETS
from ecotone.learning.hand import HAND
from ecotone.learning.packing import Array, shaped
from ecotone.learning.traits import Traits

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

TOPICS: Final = 64
LANDMARKS: Final = 96
SAMPLE_MAX: Final = 2_000
"""Prompts that a fit looks at, spread evenly over those given: its cost grows with their square."""

CLIP: Final = 4.0
"""Beyond this a figure says no more: a prompt unlike all others must not swing the line."""

_SEEN_MIN: Final = 2
"""Prompts of the sample in which a word must be: one alone says nothing about another prompt."""

_LLOYD: Final = 8
_WIDTH: Final = 0.7
"""Of the Gaussian kernel, where typical prompts are sqrt(2) apart."""

_JITTER: Final = 1e-3
_PER_DIRECTION: Final = 4
"""Prompts behind each topic and each landmark at least."""


class Projection:
    """A fitted projection; immutable. `apply` gives hand figures, topics and landmarks, in this order.

    Hand figures keep their own scale: a cue that hardly ever comes has little to say, and brought to one standard
    deviation it would be as loud as length (RouteLLM's MMLU, 1,500 labels: .009 APGR less).
    """

    __slots__ = ("_arrays", "_hand", "_landmarks", "_metric", "_row", "_topics", "blocks", "size")

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        """Takes what `arrays` gives, checked; other arrays are left alone.

        Raises:
            ValueError: One is missing, or shapes do not fit together.
        """
        hand = shaped(arrays, "hand", np.float32, (HAND,))
        known = shaped(arrays, "known", np.uint16, (-1,))
        rarity = shaped(arrays, "rarity", np.float32, (len(known),))
        topics = shaped(arrays, "topics", np.float16, (len(known), -1))
        near = HAND + topics.shape[1]
        landmarks = shaped(arrays, "landmarks", np.float32, (-1, near))
        mixing = shaped(arrays, "mixing", np.float32, (len(landmarks), len(landmarks)))
        metric = shaped(arrays, "metric", np.float32, (near,))
        if (np.diff(known.astype(np.int64), append=BUCKETS) <= 0).any() or not (rarity > 0.0).all():
            raise ValueError("known, rarity: out of range")
        self._arrays = {name: arrays[name] for name in _ARRAYS}
        # One order in memory, so that sums are added in one order: a frozen score must not move by its last bit.
        hand, landmarks, mixing, metric = (np.array(one, order="C") for one in (hand, landmarks, mixing, metric))
        self.blocks = (HAND, topics.shape[1], len(landmarks))
        self.size = sum(self.blocks)
        self._hand = hand
        # The last row stands for words that were not there when this was fitted.
        self._row = np.full(BUCKETS, len(known), np.int16)
        self._row[known] = np.arange(len(known), dtype=np.int16)
        unseen = np.zeros((1, topics.shape[1]), np.float32)
        self._topics = (
            np.append(rarity, np.float32(_UNSEEN)),
            np.ascontiguousarray(np.concatenate((topics.astype(np.float32), unseen))),
        )
        self._metric = metric
        self._landmarks = (landmarks, mixing, 0.5 * np.einsum("ij,ij->i", landmarks, landmarks))

    def arrays(self) -> dict[str, Array]:
        """All that this is, for the store."""
        return dict(self._arrays)

    def apply(self, traits: Traits) -> Singles:
        """The features of one prompt, float32 (size,)."""
        hand, topics, landmarks = self.blocks
        near = hand + topics
        out = np.empty(near + landmarks, np.float32)
        figures = out[:hand]
        np.subtract(np.frombuffer(traits.hand, np.float32), self._hand, out=figures)
        np.maximum(figures, -CLIP, out=figures)
        np.minimum(figures, CLIP, out=figures)
        rows = self._row[np.frombuffer(traits.grams, np.uint16)]
        if len(rows):
            rarity, directions = self._topics
            values = rarity[rows]
            np.dot(values, directions[rows], out=out[hand:near])
            out[hand:near] *= 1.0 / math.sqrt(values @ values)
        else:
            out[hand:near] = 0.0
        marks, mixing, squares = self._landmarks
        point = out[:near] * self._metric
        apart = marks @ point
        apart -= squares
        apart -= 0.5 * (point @ point)
        np.dot(mixing, np.exp(apart, out=apart), out=out[near:])
        return out

    @classmethod
    def fit(cls, traits: Sequence[Traits], *, topics: int = TOPICS, landmarks: int = LANDMARKS) -> Projection:
        """Fits to what prompts look like, without labels. Deterministic; about half a second for 1,000.

        Args:
            traits: At least one.
        """
        chosen = np.linspace(0, len(traits) - 1, min(len(traits), SAMPLE_MAX)).astype(np.int64)
        sample = [traits[place] for place in chosen]
        figures = np.array([np.frombuffer(one.hand, np.float32) for one in sample])
        hand = figures.mean(axis=0)
        known, rarity, directions, points = _topics(sample, min(topics, len(sample) // _PER_DIRECTION))
        near = np.concatenate((np.clip(figures - hand, -CLIP, CLIP), points), axis=1)
        metric = _metric(near, directions.shape[1])
        marks, mixing = _landmarks(near * metric, min(landmarks, len(sample) // _PER_DIRECTION))
        found = (hand, known, rarity, directions, metric, marks, mixing)
        return cls(dict(zip(_ARRAYS, found, strict=True)))


_ARRAYS: Final = ("hand", "known", "rarity", "topics", "metric", "landmarks", "mixing")

_UNSEEN: Final = 1.0
"""What a word that the fit has not seen weighs in a prompt's length: it dilutes what is known, no more."""


def _topics(sample: Sequence[Traits], count: int) -> tuple[npt.NDArray[np.uint16], Singles, Array, Singles]:
    """Buckets that count (W,), their weights (W,), directions (W, K), and where the sample lies along them (n, K)."""
    table = np.zeros((len(sample), BUCKETS), np.float32)
    for row, traits in enumerate(sample):
        table[row, np.frombuffer(traits.grams, np.uint16)] = 1.0
    seen = table.sum(axis=0)
    known = np.flatnonzero(seen >= _SEEN_MIN)
    table = table[:, known]
    rarity = (np.log((len(sample) + 1.0) / (seen[known] + 1.0)) + 1.0).astype(np.float32)
    table *= rarity
    table /= np.sqrt(np.einsum("ij,ij->i", table, table))[:, None] + 1e-6
    values, vectors = np.linalg.eigh((table @ table.T).astype(np.float64))
    order = np.argsort(values)[::-1][:count]
    order = order[values[order] > 1e-4]
    strength = np.sqrt(values[order])
    # Topics keep their strength, as figures keep their scale: whitened, noise is as loud as they are.
    directions = (table.T @ (vectors[:, order] / strength).astype(np.float32)).astype(np.float16)
    return known.astype(np.uint16), rarity, directions, table @ directions.astype(np.float32)


def _metric(near: Singles, topics: int) -> Singles:
    """Factor per feature: figures and topics count alike, and typical prompts lie sqrt(2) / width apart."""
    hand = near.shape[1] - topics
    spread = near.var(axis=0)
    factors = np.zeros(near.shape[1])
    for part in (slice(0, hand), slice(hand, None)):
        total = float(spread[part].sum())
        factors[part] = 1.0 / np.sqrt(total) if total > 1e-9 else 0.0
    total = float((spread * factors**2).sum())
    metric: Singles = (factors / (_WIDTH * np.sqrt(max(total, 1e-9)))).astype(np.float32)
    return metric


def _landmarks(points: Singles, count: int) -> tuple[Singles, Singles]:
    """Centres of clusters (M, near), and what makes features of nearness to them uncorrelated (M, M)."""
    if count < 1:
        return np.zeros((0, points.shape[1]), np.float32), np.zeros((0, 0), np.float32)
    marks = points[np.linspace(0, len(points) - 1, count).astype(np.int64)].astype(np.float64)
    for _ in range(_LLOYD):
        nearest = np.argmin(np.einsum("ij,ij->i", marks, marks) - 2.0 * points @ marks.T, axis=1)
        sizes = np.bincount(nearest, minlength=count)
        sums = np.zeros_like(marks)
        np.add.at(sums, nearest, points)
        marks[sizes > 0] = sums[sizes > 0] / sizes[sizes > 0, None]
    squares = 0.5 * np.einsum("ij,ij->i", marks, marks)
    apart = marks @ marks.T - squares[:, None] - squares[None, :]
    values, vectors = np.linalg.eigh(np.exp(np.minimum(apart, 0.0)) + _JITTER * np.eye(count))
    mixing = (vectors / np.sqrt(np.maximum(values, _JITTER))).T
    return marks.astype(np.float32), mixing.astype(np.float32)
