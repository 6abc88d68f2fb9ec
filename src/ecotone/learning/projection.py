"""What traits become before a line is fitted through them: figures on one scale, topics, and nearness to landmarks.

Fitted without labels, on a few hundred prompts or more; immutable afterwards. Topics are latent semantic analysis of
the hashed n-grams; landmarks (centres of clusters) give the line a way to bend.
Source: Deerwester et al. 1990 (LSA); Williams & Seeger 2001 (Nystroem features of a Gaussian kernel).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ecotone.learning.grams import BUCKETS, COUNT_MAX
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
"""Standard deviations beyond which a figure says no more: a prompt unlike all others must not swing the line."""

_LLOYD: Final = 8
_HAND_WEIGHT: Final = 0.35
_JITTER: Final = 1e-3
_PER_DIRECTION: Final = 4
"""Prompts behind each topic and each landmark at least."""

_LOGS: Final = np.log1p(np.arange(COUNT_MAX + 1)).astype(np.float32)


class Projection:
    """A fitted projection; immutable. `apply` gives hand figures, topics, embedding and landmarks, in this order."""

    __slots__ = ("_arrays", "_hand", "_landmarks", "_metric", "_squares", "blocks", "size")

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        """Takes the arrays of `arrays()`, checked.

        Raises:
            ValueError: One is missing, or shapes do not fit together.
        """
        hand = shaped(arrays, "hand", np.float32, (2, HAND))
        weights = shaped(arrays, "rarity", np.float32, (BUCKETS,))
        topics = shaped(arrays, "topics", np.float16, (BUCKETS, -1))
        embedded = shaped(arrays, "embedded", np.float32, (2, -1))
        near = HAND + topics.shape[1] + embedded.shape[1]
        landmarks = shaped(arrays, "landmarks", np.float32, (-1, near))
        mixing = shaped(arrays, "mixing", np.float32, (len(landmarks), len(landmarks)))
        metric = shaped(arrays, "metric", np.float32, (near,))
        self._arrays = dict(arrays)
        self.blocks = (HAND, topics.shape[1], embedded.shape[1], len(landmarks))
        self.size = sum(self.blocks)
        self._hand = (hand[0], hand[1], weights, topics.astype(np.float32), embedded)
        self._metric = metric
        self._landmarks = (landmarks, mixing)
        self._squares = np.einsum("ij,ij->i", landmarks, landmarks)

    def arrays(self) -> dict[str, Array]:
        """All that this is, for the store."""
        return dict(self._arrays)

    def apply(self, traits: Traits) -> Floats:
        """The features of one prompt, float64 (size,)."""
        hand, topics, embedding, landmarks = self.blocks
        near = hand + topics + embedding
        out = np.empty(near + landmarks, np.float32)
        centre, scale, weights, directions, embedded = self._hand
        figures = out[:hand]
        np.subtract(np.frombuffer(traits.hand, np.float32), centre, out=figures)
        figures *= scale
        np.maximum(figures, -CLIP, out=figures)
        np.minimum(figures, CLIP, out=figures)
        out[hand:near] = 0.0
        packed = np.frombuffer(traits.grams, np.uint16)
        if len(packed) and topics:
            buckets = packed >> 4
            values = _LOGS[packed & 15] * weights[buckets]
            values /= np.sqrt(values @ values)
            np.dot(values, directions[buckets], out=out[hand : hand + topics])
        if embedding:
            out[hand + topics : near] = _embedding(traits, embedding)
            out[hand + topics : near] -= embedded[0]
            out[hand + topics : near] *= embedded[1]
        if landmarks:
            point = out[:near] * self._metric
            marks, mixing = self._landmarks
            apart = marks @ point
            apart -= 0.5 * (self._squares + point @ point)
            np.dot(mixing, np.exp(apart, out=apart), out=out[near:])
        return out.astype(np.float64)

    @classmethod
    def fit(cls, traits: Sequence[Traits], *, topics: int = TOPICS, landmarks: int = LANDMARKS) -> Projection:
        """Fits to what prompts look like, without labels. Deterministic; about half a second for 1,000.

        Args:
            traits: At least one.
        """
        step = max(1, -(-len(traits) // SAMPLE_MAX))
        sample = traits[::step]
        hand = _hand(sample)
        weights, directions, points = _topics(sample, min(topics, len(sample) // _PER_DIRECTION))
        embedded, embeddings = _embeddings(sample)
        figures = np.clip((_figures(sample) - hand[0]) * hand[1], -CLIP, CLIP)
        near = np.concatenate((figures, points, embeddings), axis=1)
        metric = _metric(near, (HAND, points.shape[1], embeddings.shape[1]))
        marks, mixing = _landmarks(near * metric, min(landmarks, len(sample) // _PER_DIRECTION))
        return cls(
            {
                "hand": hand,
                "rarity": weights,
                "topics": directions,
                "embedded": embedded,
                "metric": metric,
                "landmarks": marks,
                "mixing": mixing,
            }
        )


def _figures(sample: Sequence[Traits]) -> Singles:
    return np.array([np.frombuffer(traits.hand, np.float32) for traits in sample])


def _embedding(traits: Traits, size: int) -> Singles:
    """The embedding, or zeros where a prompt has none of this size."""
    found = np.frombuffer(traits.embedding, np.float16).astype(np.float32)
    return found if len(found) == size else np.zeros(size, np.float32)


def _hand(sample: Sequence[Traits]) -> Singles:
    """Mean, and one over the standard deviation (0 where a figure never moves), float32 (2, HAND)."""
    figures = _figures(sample).astype(np.float64)
    spread = figures.std(axis=0)
    inverse = np.divide(1.0, spread, out=np.zeros(HAND), where=spread > 1e-4)
    return np.array((figures.mean(axis=0), inverse), np.float32)


def _topics(sample: Sequence[Traits], count: int) -> tuple[Singles, npt.NDArray[np.float16], Singles]:
    """Weights of buckets (BUCKETS,), directions (BUCKETS, K), and where the sample lies along them (n, K)."""
    table = np.zeros((len(sample), BUCKETS), np.float32)
    for row, traits in enumerate(sample):
        packed = np.frombuffer(traits.grams, np.uint16)
        table[row, packed >> 4] = _LOGS[packed & 15]
    seen = np.count_nonzero(table, axis=0)
    weights = (np.log((len(sample) + 1.0) / (seen + 1.0)) + 1.0).astype(np.float32)
    table *= weights
    table /= np.sqrt(np.einsum("ij,ij->i", table, table))[:, None] + 1e-12
    values, vectors = np.linalg.eigh((table @ table.T).astype(np.float64))
    order = np.argsort(values)[::-1][:count]
    order = order[values[order] > 1e-6]
    strength = np.sqrt(values[order])
    directions = (table.T @ vectors[:, order].astype(np.float32)) / strength.astype(np.float32)
    # Between plain LSA, where few topics drown the rest, and whitening, where noise is as loud as they are.
    stretch = np.sqrt(len(sample) / (strength * np.sqrt(len(sample)))) if len(order) else strength
    half = (directions * stretch.astype(np.float32)).astype(np.float16)
    return weights, half, table @ half.astype(np.float32)


def _embeddings(sample: Sequence[Traits]) -> tuple[Singles, Singles]:
    """(centre, inverse scale) float32 (2, E), and the sample's (n, E); E of the first prompt."""
    size = len(sample[0].embedding) // 2
    found = np.array([_embedding(traits, size) for traits in sample], np.float32).reshape(len(sample), size)
    centre = found.mean(axis=0)
    spread = float(np.sqrt(np.mean((found - centre) ** 2))) if size else 0.0
    inverse = np.full(size, 1.0 / spread if spread > 1e-9 else 0.0)
    scaled = (found - centre) * inverse
    return np.array((centre, inverse), np.float32).reshape(2, size), scaled.astype(np.float32)


def _metric(near: Singles, blocks: tuple[int, int, int]) -> Singles:
    """Factor per feature such that blocks count alike and a typical squared distance is 2, float32 (near,)."""
    parts = []
    start = 0
    for size, weight in zip(blocks, (_HAND_WEIGHT, 1.0, 1.0), strict=True):
        block = near[:, start : start + size]
        total = float(block.var(axis=0).sum())
        parts.append(np.full(size, np.sqrt(weight / total) if total > 1e-9 else 0.0))
        start += size
    metric = np.concatenate(parts)
    total = float((near * metric).var(axis=0).sum())
    return (metric / np.sqrt(max(total, 1e-9))).astype(np.float32)


def _landmarks(points: Singles, count: int) -> tuple[Singles, Singles]:
    """Centres of clusters (M, near), and what makes features of nearness to them uncorrelated (M, M)."""
    if count < 2:
        return np.zeros((0, points.shape[1]), np.float32), np.zeros((0, 0), np.float32)
    marks = points[np.linspace(0, len(points) - 1, count).astype(np.int64)].astype(np.float64)
    for _ in range(_LLOYD):
        nearest = np.argmin(np.einsum("ij,ij->i", marks, marks) - 2.0 * points @ marks.T, axis=1)
        sums = np.zeros_like(marks)
        np.add.at(sums, nearest, points)
        sizes = np.bincount(nearest, minlength=count)
        marks[sizes > 0] = sums[sizes > 0] / sizes[sizes > 0, None]
    apart = -0.5 * ((marks[:, None, :] - marks[None, :, :]) ** 2).sum(axis=2)
    values, vectors = np.linalg.eigh(np.exp(apart) + _JITTER * np.eye(count))
    mixing = (vectors / np.sqrt(np.maximum(values, _JITTER))).T
    return marks.astype(np.float32), mixing.astype(np.float32)
