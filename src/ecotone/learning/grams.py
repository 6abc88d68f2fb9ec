"""Hashed words of a prompt: 14-bit buckets under a secret, so that texts are near each other without being kept.

A bucket is the top of a checksum under secret factors. That hides words from whoever has a dump and not the secret.
It is no encryption: the store seals what it keeps.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt

BITS: Final = 14
"""At 12 bits half of a site's words share a bucket with another: .002 APGR less, measured on RouteLLM's MMLU."""

BUCKETS: Final = 1 << BITS
_MASK: Final = (1 << 64) - 1
_FOLD: Final = np.uint64(29)
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
"""An odd number near 2^64 divided by the golden ratio. Source: Knuth, The Art of Computer Programming 3, 6.4."""

_SHIFT: Final = np.uint64(64 - BITS)
_WIDE: Final = 0x0E00
"""From here on (Thai, East Asia) words are not set apart by spaces: pairs of characters stand for them."""

_SIGNS_FROM: Final = 0x2000
_SIGNS_TO: Final = 0x2E80
"""Between these: punctuation, arrows, mathematical symbols."""


class Keys:
    """Secret factors of the hash. The same secret gives the same buckets."""

    __slots__ = ("first", "last", "seed", "wide", "word")

    def __init__(self, secret: bytes) -> None:
        """Args: secret: 64 bytes, uniformly random to others."""
        self.seed = int.from_bytes(secret[:4], "big")
        numbers = np.frombuffer(secret[8:56], ">u8").astype(np.uint64) | np.uint64(1)
        self.word, self.wide = np.uint64(numbers[0]), numbers[1:3]
        self.first, self.last = int(numbers[3]), int(numbers[4])


def grams(data: bytes, found: Sequence[bytes], keys: Keys, limit: int) -> npt.NDArray[np.uint16]:
    """Buckets, uint16 (G <= limit,), rising.

    Words, each once; the first and the last one once more by themselves (a template shows there); pairs of characters
    of scripts without spaces. Counts and pairs of words brought nothing (RouteLLM's MMLU: .006 APGR less with pairs).

    Args:
        data: What `hand.cap` made of the prompt.
        found: What `hand.words` made of that.
    """
    if not found:
        return np.zeros(0, np.uint16)
    different = set(found)
    count = len(different)
    mixed = np.empty(count + 2, np.uint64)
    mixed[:count] = np.fromiter(map(zlib.crc32, different, repeat(keys.seed)), np.uint64, count)
    mixed[:count] *= keys.word
    mixed[count] = zlib.crc32(found[0], keys.seed) * keys.first & _MASK
    mixed[count + 1] = zlib.crc32(found[-1], keys.seed) * keys.last & _MASK
    if not data.isascii():
        mixed = np.concatenate((mixed, _wide(data, keys)))
    # The low bits of a product are weak: mixed once more before the top ones are kept.
    mixed ^= mixed >> _FOLD
    mixed *= _SPREAD
    buckets = (mixed >> _SHIFT).astype(np.uint16)
    buckets.sort()
    return buckets[:limit]


def _wide(data: bytes, keys: Keys) -> npt.NDArray[np.uint64]:
    """Hashes of pairs of characters where both are wide."""
    codes = np.frombuffer(data.decode("utf-8", "replace").encode("utf-32-le"), "<u4").astype(np.uint64)
    is_wide = codes >= _WIDE
    is_wide &= (codes < _SIGNS_FROM) | (codes >= _SIGNS_TO)
    both = is_wide[:-1] & is_wide[1:]
    hashes: npt.NDArray[np.uint64] = (codes[:-1][both] * keys.wide[0] + codes[1:][both]) * keys.wide[1]
    return hashes
