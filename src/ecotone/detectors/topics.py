"""The detector `topics`: sees that a text is about a person's illness, dispute, money, job or private mail.

Such a text often holds no name and no number, and must not leave all the same. The subject alone is ordinary work ("how
does insulin work?"); it is somebody's own matter that makes it a topic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ecotone.detectors.topics_embedding import Embedding, load_embedding
from ecotone.detectors.topics_heads import BUILT_IN, Heads, load_heads
from ecotone.detectors.topics_site import NONE, SiteHeads, site_heads
from ecotone.detectors.topics_windows import windows
from ecotone.values import Finding

__all__ = ["Topics", "make"]

_UNTRAINED: Final = re.compile(r"[\u0370-\u1dff\u2c00-\u2dff\u3040-\u31ff\ua000-\ud7ff\uf900-\ufdff\ufe70-\ufeff]")
"""Letters of scripts that no training text had: all but Latin and Chinese (and the Japanese kana beside it)."""

_UNTRAINED_MIN: Final = 12
_UNTRAINED_SHARE: Final = 0.2


class Topics:
    """Finds topics. A long text is looked at in windows: one paragraph in it is enough."""

    def __init__(self, embedding: Embedding, heads: Heads, site: SiteHeads | None = None) -> None:
        """Takes all as they were loaded or learned; they are not changed."""
        self._embedding = embedding
        self._heads = heads
        self._site = site
        self.version = heads.version if site is None else f"{heads.version}+{site.digest()}"

    def find(self, texts: Sequence[str]) -> list[list[Finding]]:
        """For each text its topics, each once, with the confidence of its clearest window. Spans are empty (0, 0).

        A text in a script that was not trained on is `unknown`, `no_model`.
        """
        return [self._of(text) for text in texts]

    def _of(self, text: str) -> list[Finding]:
        if _is_untrained(text):
            return [Finding("unknown", "no_model", 0, 0, 1.0, "topics")]
        tokens = self._embedding.tokens(text)
        if not len(tokens):
            return []
        rows = windows(tokens, self._embedding.table)
        logits = self._heads.logits(rows)
        counts = logits[:, 0] >= self._heads.threshold
        found: dict[str, float] = {}
        if self._site is not None:
            above = self._site.scores(rows)
            found, passes = self._of_site(above, self._site.labels)
            counts &= ~passes | (logits[:, 0] >= self._site.ceiling)
            counts &= ~self._site.repeats(rows)
        for label in self._built_in(logits[counts]):
            found[label] = max(found.get(label, 0.0), _confidence(logits[counts, 0].max()))
        return [Finding(label, "topic", 0, 0, confidence, "topics") for label, confidence in sorted(found.items())]

    @staticmethod
    def _built_in(logits: NDArray[np.float32]) -> list[str]:
        """Labels of the windows that are somebody's matter; where none is likely, the likeliest."""
        if not len(logits):
            return []
        best = logits[:, 1:].max(axis=0)
        least = min(0.0, float(best.max()))
        return [label for label, logit in zip(BUILT_IN, best, strict=True) if logit >= least]

    @staticmethod
    def _of_site(above: NDArray[np.float32], labels: tuple[str, ...]) -> tuple[dict[str, float], NDArray[np.bool_]]:
        """The site's labels that are seen, and which windows are like its `none` examples."""
        passes = np.zeros(len(above), np.bool_)
        found = {}
        for at, label in enumerate(labels):
            if label == NONE:
                passes = above[:, at] >= 0
            elif above[:, at].max() >= 0:
                found[label] = _confidence(4 * above[:, at].max())
        return found, passes


def _is_untrained(text: str) -> bool:
    """Whether much of the text is in a script of which the detector knows nothing: it must not seem harmless then."""
    if text.isascii():
        return False
    count = len(_UNTRAINED.findall(text))
    return count >= _UNTRAINED_MIN and count >= _UNTRAINED_SHARE * len(text)


def _confidence(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def make(settings: Mapping[str, Any]) -> Topics:
    """The detector, ready to look.

    Args:
        settings: `topics_examples`, where a site has topics of its own: a list of `label` and `text`.

    Raises:
        ModuleNotFoundError: the package `wordllama` is not installed.
        TrustError: `topics.embedding`, `topics.weights`: a file is missing or damaged.
        ConfigError: `topics.examples`: an example is not one.
    """
    embedding, heads = load_embedding(), load_heads()
    return Topics(embedding, heads, site_heads(settings, embedding, heads))
