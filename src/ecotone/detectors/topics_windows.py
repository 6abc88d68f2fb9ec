"""What the heads of `topics` look at: a text's tokens in overlapping windows, each a vector and some hashed n-grams."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "BUCKETS", "WINDOW_BLOCKS", "Windows", "ngrams", "windows"]

BLOCK: Final = 32
"""Tokens from one window's start to the next one's."""

WINDOW_BLOCKS: Final = 4
"""Blocks in a window: 128 tokens are a paragraph of about 90 English words or 80 Chinese characters."""

BUCKETS: Final = 1 << 14
_PRIMES: Final = (1_000_003, 7_919, 104_729)


class Windows(msgspec.Struct, frozen=True, gc=False):
    """A text's windows.

    Attributes:
        means: Mean vector of each window's tokens, of length 1. Shape (windows, dimensions).
        buckets: Bucket of the n-grams that begin at each token. Shape (3, tokens).
        starts: Each block's first token. Shape (blocks,).
        sizes: Tokens in each window. Shape (windows,).
    """

    means: NDArray[np.float32]
    buckets: NDArray[np.int64]
    starts: NDArray[np.int64]
    sizes: NDArray[np.float32]

    def sums(self, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sum of the n-grams' weights in each window over the root of its size. Shape (windows, columns of `weights`)."""
        each = weights[self.buckets].sum(axis=0)
        blocks = np.add.reduceat(each, self.starts, axis=0)
        return _slide(blocks) / np.sqrt(self.sizes)[:, None]


def windows(tokens: NDArray[np.int64], table: NDArray[np.float32]) -> Windows:
    """Cuts at least one token into windows: one where the text is short, else one from each block's start."""
    starts = np.arange(0, len(tokens), BLOCK)
    sums = _slide(np.add.reduceat(table[tokens], starts, axis=0))
    counts = np.diff(starts, append=len(tokens)).astype(np.float32)
    lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    return Windows(sums / np.maximum(lengths, 1e-6), ngrams(tokens), starts, _slide(counts[:, None])[:, 0])


def ngrams(tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Buckets of the one, two and three tokens that begin at each token; past the end stands token 0. Shape (3, n)."""
    padded = np.concatenate([tokens, np.zeros(2, np.int64)])
    one = (padded[: len(tokens)] + 1) * _PRIMES[0]
    two = one + (padded[1:-1] + 1) * _PRIMES[1] * 31
    three = two + (padded[2:] + 1) * _PRIMES[2] * 961
    return np.stack([_mix(one), _mix(two), _mix(three)])


def _mix(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spreads the numbers over the buckets, the same on every machine."""
    wide = numbers.astype(np.uint64) * np.uint64(0x9E37_79B9_7F4A_7C15)
    return (wide >> np.uint64(64 - 14)).astype(np.int64)


def _slide(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of `WINDOW_BLOCKS` neighbouring rows; one row where there are no more than that."""
    if len(blocks) <= WINDOW_BLOCKS:
        return blocks.sum(axis=0, keepdims=True)
    count = len(blocks) - WINDOW_BLOCKS + 1
    total = blocks[:count].copy()
    for at in range(1, WINDOW_BLOCKS):
        total += blocks[at : at + count]
    return total
