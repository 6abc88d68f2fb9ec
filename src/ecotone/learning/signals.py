"""From a question to its traits: no model call, no network; about fifty microseconds on one core."""

from __future__ import annotations

import hashlib
from typing import Final

from ecotone.learning.grams import Keys, grams
from ecotone.learning.groups import GroupKeys
from ecotone.learning.hand import cap, look, words
from ecotone.learning.traits import GRAMS_MAX, Traits
from ecotone.values.quality import Question

SECRET_BYTES_MIN: Final = 16


class Signals:
    """Takes the traits of questions. Holds a secret, and no content; one serves all model names.

    Traits made with one secret say nothing about those made with another: what is kept across restarts is only of use
    with the same secret.
    """

    __slots__ = ("_groups", "_keys")

    def __init__(self, secret: bytes) -> None:
        """Args: secret: At least `SECRET_BYTES_MIN` bytes.

        Raises:
            ValueError: The secret is too short.
        """
        if len(secret) < SECRET_BYTES_MIN:
            raise ValueError(f"a secret of signals has at least {SECRET_BYTES_MIN} bytes")
        self._groups = GroupKeys(hashlib.blake2b(secret, digest_size=32, person=b"groups").digest())
        self._keys = Keys(hashlib.blake2b(secret, digest_size=64, person=b"grams").digest())

    def of(self, question: Question) -> Traits:
        """The traits of a question: without content, the same for the same question."""
        asked = question.asked
        data = cap(asked)
        found = words(data)
        others = max(0, question.chars - len(asked))
        around = (len(asked), others, question.turns, bool(question.tools), bool(question.form))
        return Traits(
            self._groups.of(question),
            look(data, found, around).tobytes(),
            grams(data, found, self._keys, GRAMS_MAX).tobytes(),
        )
