"""The detector `topics`: sees that a text is about a person's illness, dispute, money, job or private mail.

Such a text often holds no name and no number, and must not leave all the same. The subject alone is ordinary work ("how
does insulin work?"); it is somebody's own matter that makes it a topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecotone.detectors.topics_embedding import Embedding, load_embedding
from ecotone.detectors.topics_heads import BUILT_IN, Heads, load_heads
from ecotone.detectors.topics_windows import windows
from ecotone.values.finding import Finding

__all__ = ["Topics", "make"]


class Topics:
    """Finds topics. A long text is looked at in windows: one paragraph in it is enough."""

    def __init__(self, embedding: Embedding, heads: Heads) -> None:
        """Takes both as they were loaded; they are not changed."""
        self._embedding = embedding
        self._heads = heads
        self.version = heads.version

    def find(self, texts: Sequence[str]) -> list[list[Finding]]:
        """For each text its topics, each once, with the confidence of its clearest window. Spans are empty (0, 0)."""
        return [self._of(text) for text in texts]

    def _of(self, text: str) -> list[Finding]:
        tokens = self._embedding.tokens(text)
        if not len(tokens):
            return []
        logits = self._heads.logits(windows(tokens, self._embedding.table))
        clearest = logits[logits[:, 0].argmax()]
        if clearest[0] < self._heads.threshold:
            return []
        confidence = float(1 / (1 + np.exp(-clearest[0])))
        # Of all windows that are somebody's matter; where no label is likely, the likeliest.
        best = logits[logits[:, 0] >= self._heads.threshold, 1:].max(axis=0)
        least = min(0.0, float(best.max()))
        return [
            Finding(label, "topic", 0, 0, confidence, "topics")
            for label, logit in zip(BUILT_IN, best, strict=True)
            if logit >= least
        ]


def make(settings: Mapping[str, Any]) -> Topics:
    """The detector, ready to look.

    Raises:
        ModuleNotFoundError: the package `wordllama` is not installed.
        TrustError: weights or embedding are missing or damaged.
    """
    return Topics(load_embedding(), load_heads())
