"""Answers in prose: how far they say the same. Pure; an embedding, where there is one, comes from outside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ecotone.checking.soundness import unsound
from ecotone.checking.words import overlap
from ecotone.values.normal import said
from ecotone.values.quality import Comparison, Question, Reply

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME: Final = "similar"

EMBED_CHARS_MAX: Final = 8_192
"""Of each text that is embedded."""

UNRELATED_QUANTILE: Final = 0.95


class Scale(msgspec.Struct, frozen=True, gc=False):
    """How likeness is read as agreement: none up to `low`, all from `high`, straight between them.

    Raises:
        ValueError: not low < high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Checks the two."""
        if not self.low < self.high:
            raise ValueError("low < high is needed")

    def agreement(self, likeness: float) -> float:
        """In [0, 1]."""
        return min(1.0, max(0.0, (likeness - self.low) / (self.high - self.low)))


WORDS: Final = Scale(0.19, 0.75)
"""For `words.overlap`. `low`: measured, 95 % of pairs of unrelated English texts are less alike
(docs/reference/checkers.md); `high`: set by hand, about what two wordings of one paragraph share."""

VECTORS: Final = Scale(0.33, 0.92)
"""For cosines of the static embedding `wordllama`; found as `WORDS` was."""


def scale_from(unrelated: Sequence[float], high: float) -> Scale | None:
    """A scale for the texts of one site, without labels; None with fewer than 50 likenesses, or none below `high`.

    Args:
        unrelated: Likeness of the cloud's answers to different questions: what two answers share that have nothing
            to do with each other but form and field.
        high: Likeness that counts as full agreement.
    """
    if len(unrelated) < 50:
        return None
    low = sorted(unrelated)[math.ceil(UNRELATED_QUANTILE * len(unrelated)) - 1]
    return Scale(low, high) if low < high else None


def similar(question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
    """1 less how far the two use the same words (`words.overlap`, read by the scale `WORDS`). None without text.

    A weak judge: other words may say the same, and the same words with a 'not' the contrary. It tells an answer that
    misses the matter from one that meets it.
    """
    return _compared(question, edge, cloud, lambda one, other: WORDS.agreement(overlap(one, other)))


class Embedded:
    """`similar` by an embedding: the cosine of the two answers' vectors."""

    def __init__(self, embed: Callable[[Sequence[str]], NDArray[Any]], scale: Scale = VECTORS) -> None:
        """Args:
        embed: Texts to vectors, shape (texts, dimensions). What it raises is not caught here.
        scale: How its cosines are read.
        """
        self._embed = embed
        self._scale = scale

    def compare(self, question: Question, edge: Reply, cloud: Reply) -> Comparison | None:
        """See `Checker.compare`."""
        return _compared(question, edge, cloud, self._agreement)

    def _agreement(self, one: str, other: str) -> float:
        vectors = self._embed([one[:EMBED_CHARS_MAX], other[:EMBED_CHARS_MAX]])
        a, b = vectors[0], vectors[1]
        length = math.sqrt(float(a @ a) * float(b @ b))
        # A text without a known token has no direction, and is like nothing.
        return self._scale.agreement(float(a @ b) / length) if length > 0 else 0.0


def _compared(
    question: Question, edge: Reply, cloud: Reply, agreement: Callable[[str, str], float]
) -> Comparison | None:
    unread = unsound(NAME, edge, cloud)
    if unread is not None:
        return unread
    text, reference = said(edge.text).strip(), said(cloud.text).strip()
    if not text or not reference:
        # Calls alone are for another checker.
        return None
    return Comparison(gap=0.0 if text == reference else 1.0 - agreement(text, reference), checker=NAME)
