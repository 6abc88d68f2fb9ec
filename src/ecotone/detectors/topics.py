"""The detector `topics`: sees that a text is about a person's illness, dispute, money, job or private mail.

Such a text often holds no name and no number, and must not leave all the same. The subject alone is ordinary work ("how
does insulin work?"); it is somebody's own matter that makes it a topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecotone.detectors.topics_embedding import Embedding, load_embedding
from ecotone.detectors.topics_heads import Heads, load_heads
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
        best = self._heads.logits(windows(tokens, self._embedding.table)).max(axis=0)
        return [
            Finding(label, "topic", 0, 0, float(1 / (1 + np.exp(-logit))), "topics")
            for label, logit, least in zip(self._heads.labels, best, self._heads.thresholds, strict=True)
            if logit >= least
        ]


def make(settings: Mapping[str, Any]) -> Topics:
    """The detector, ready to look.

    Raises:
        ModuleNotFoundError: the package `wordllama` is not installed.
        TrustError: weights or embedding are missing or damaged.
    """
    return Topics(load_embedding(), load_heads())
