"""What signals made of one question: numbers and keyed hashes, no content."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from ecotone.learning.grams import BUCKETS
from ecotone.learning.hand import HAND

GRAMS_MAX: Final = 600
"""Buckets kept of one prompt: more than 2,000 characters of most languages hold."""

GROUP_LEVELS: Final = 5


class Traits(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Signals of one question: half a kilobyte, 2 KB at most.

    Attributes:
        groups: Keyed 64-bit hashes of what requests have in common, from general to specific (`groups.LEVELS`); 0 where
            there is nothing at a level.
        hand: Float32 (HAND,), `hand.NAMES`.
        grams: Uint16 (G,): buckets of words, rising.
    """

    groups: tuple[int, ...]
    hand: bytes
    grams: bytes

    def dump(self) -> bytes:
        """This as bytes, for the store."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def load(data: bytes) -> Traits:
        """What `dump` wrote.

        Raises:
            ValueError: These bytes are not a dump, or of another version.
        """
        try:
            traits = _decoder.decode(data)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not a dump of traits: {error}") from error
        if not traits.is_sound():
            raise ValueError("not a dump of traits: a part has the wrong length or range")
        return traits

    def is_sound(self) -> bool:
        """True where every part has the length and the range that it must have."""
        return (
            len(self.groups) == GROUP_LEVELS
            and all(0 <= key < 1 << 64 for key in self.groups)
            and len(self.hand) == 4 * HAND
            and bool(np.isfinite(np.frombuffer(self.hand, np.float32)).all())
            and len(self.grams) % 2 == 0
            and len(self.grams) <= 2 * GRAMS_MAX
            and bool((np.frombuffer(self.grams, np.uint16) < BUCKETS).all())
        )


_decoder: Final = msgspec.msgpack.Decoder(Traits)
