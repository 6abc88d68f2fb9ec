"""How much of one text another one says in the same words. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Final

from ecotone.values.normal import normalised

CHARS_MAX: Final = 8_192
"""Of each text that is compared. Precedent: the mean answer of public chat data has some 1,500."""

GRAM: Final = 4
"""Characters of a gram. Precedent: chrF counts up to 6, and found 4 and 6 alike for short texts."""

_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|[^\s\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]+")


def overlap(one: str, other: str) -> float:
    """How far two texts use the same words, in [0, 1]: the mean of the F1 of words and that of grams of characters.

    Grams see inflexion (`walk`, `walked`) and order. A Chinese, Japanese or Korean character is a word.

    Source: Rajpurkar et al. 2016 (token F1); Popović 2015 (chrF, here with one length of gram).
    """
    one, other = normalised(one[:CHARS_MAX]), normalised(other[:CHARS_MAX])
    if one == other:
        return 1.0
    return (f1(_words(one), _words(other)) + f1(_grams(one), _grams(other))) / 2


def f1(one: Iterable[Hashable], other: Iterable[Hashable]) -> float:
    """Harmonic mean of precision and recall of two bags, in [0, 1]; 0 where both are empty."""
    mine, theirs = Counter(one), Counter(other)
    total = mine.total() + theirs.total()
    return 2 * (mine & theirs).total() / total if total else 0.0


def _words(text: str) -> list[str]:
    return text.split() if text.isascii() else _WORD.findall(text)


def _grams(text: str) -> list[str]:
    return [text[at : at + GRAM] for at in range(max(1, len(text) - GRAM + 1))]
