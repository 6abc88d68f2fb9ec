"""Hashed n-grams of a prompt: 12-bit buckets under a secret, so that texts are near each other without being kept.

A bucket is 12 bits of a checksum of a word (or of two, or of four bytes) under secret factors. That hides words from whoever has a dump
and not the secret, and with it about as many words share a bucket as a language has thousands. It is no encryption: the
store seals what it keeps.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt

BITS: Final = 12
BUCKETS: Final = 1 << BITS
COUNT_MAX: Final = 15
_MASK: Final = (1 << 64) - 1
_FOLD: Final = np.uint64(29)
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
"""An odd number near 2^64 divided by the golden ratio. Source: Knuth, The Art of Computer Programming 3, 6.4."""

_SHIFT: Final = np.uint64(64 - BITS)
_WIDE: Final = 0x0E00
"""From here on (Thai, the scripts of East Asia) words are not set apart by spaces: pairs of characters stand for them."""

_SIGNS_FROM: Final = 0x2000
_SIGNS_TO: Final = 0x2E80
"""Between these: punctuation, arrows, mathematical symbols."""


class Keys:
    """Secret factors of the hash. The same secret gives the same buckets."""

    __slots__ = ("first", "last", "pair", "seed", "wide", "word")

    def __init__(self, secret: bytes) -> None:
        """Args: secret: 64 bytes, uniformly random to others."""
        self.seed = int.from_bytes(secret[:4], "big")
        numbers = np.frombuffer(secret[8:56], ">u8").astype(np.uint64) | np.uint64(1)
        self.word, self.pair, self.first, self.last = (np.uint64(number) for number in numbers[:4])
        self.wide = numbers[4:6]


def grams(data: bytes, found: Sequence[bytes], keys: Keys, limit: int) -> npt.NDArray[np.uint16]:
    """Buckets with counts, uint16 (G <= limit,): bucket << 4 | count, buckets rising.

    Words, pairs of words, the first and the last word once more by themselves (a template shows there), and pairs of
    characters of scripts without spaces.

    Args:
        data: What `hand.cap` made of the prompt.
        found: What `hand.words` made of that.
    """
    count = len(found)
    if not count:
        return np.zeros(0, np.uint16)
    sums = np.fromiter(map(zlib.crc32, found, repeat(keys.seed)), np.uint64, count)
    mixed = np.empty(2 * count + 1, np.uint64)
    np.multiply(sums, keys.word, out=mixed[:count])
    np.multiply(sums[:-1], keys.pair, out=mixed[count : 2 * count - 1])
    mixed[count : 2 * count - 1] += sums[1:]
    mixed[2 * count - 1] = int(sums[0]) * int(keys.first) & _MASK
    mixed[2 * count] = int(sums[-1]) * int(keys.last) & _MASK
    if not data.isascii():
        mixed = np.concatenate((mixed, _wide(data, keys)))
    return _pack(mixed, limit)


def _wide(data: bytes, keys: Keys) -> npt.NDArray[np.uint64]:
    """Hashes of pairs of characters where both are wide."""
    codes = np.frombuffer(data.decode("utf-8", "replace").encode("utf-32-le"), "<u4").astype(np.uint64)
    is_wide = codes >= _WIDE
    is_wide &= (codes < _SIGNS_FROM) | (codes >= _SIGNS_TO)
    both = is_wide[:-1] & is_wide[1:]
    return (codes[:-1][both] * keys.wide[0] + codes[1:][both]) * keys.wide[1]


def _pack(mixed: npt.NDArray[np.uint64], limit: int) -> npt.NDArray[np.uint16]:
    """Mixes once more (the low bits of a product are weak), keeps the top bits, and counts."""
    mixed ^= mixed >> _FOLD
    mixed *= _SPREAD
    counts = np.bincount((mixed >> _SHIFT).astype(np.int64), minlength=BUCKETS)
    kept = counts.nonzero()[0][:limit]
    return (kept << 4 | np.minimum(counts[kept], COUNT_MAX)).astype(np.uint16)
