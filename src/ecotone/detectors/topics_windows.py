"""What the heads of `topics` look at: a text's tokens in overlapping windows, each turned into one row of numbers."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "BUCKETS", "WINDOW_BLOCKS", "windows"]

BLOCK: Final = 64
"""Tokens from one window's start to the next one's."""

WINDOW_BLOCKS: Final = 2
"""Blocks in a window: 128 tokens are a paragraph of about 90 English words or 80 Chinese characters."""

BUCKETS: Final = 2048
_NGRAMS_WEIGHT: Final = 0.125
"""Of the n-grams beside the vector, which has length 1."""

_MULTIPLIERS: Final = (1_000_003, 7_919 * 31, 104_729 * 961)
_GOLDEN: Final = 0x9E37_79B9_7F4A_7C15


def windows(tokens: NDArray[np.int64], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of a text of at least one token: one where it is short, else one from each block's start.

    A row is the mean vector of the window's tokens, at length 1, and then which hashed n-grams (one to three tokens)
    are in it, each 1 or -1 by its sign, over the root of the window's size. Not how often: a column of numbers would
    drown all else. Shape (windows, dimensions + `BUCKETS`).

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009.
    """
    starts = np.arange(0, len(tokens), BLOCK)
    sums = _slide(np.add.reduceat(table[tokens], starts, axis=0))
    lengths = np.sqrt((sums * sums).sum(axis=1, keepdims=True))
    sizes = _slide(np.diff(starts, append=len(tokens)).astype(np.float32)[:, None])
    present = np.clip(_slide(_counts(tokens)), -1, 1) * (_NGRAMS_WEIGHT / np.sqrt(sizes))
    row: NDArray[np.float32] = np.hstack([sums / np.maximum(lengths, 1e-6), present])
    return row


def _counts(tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Signed counts of the n-grams that begin in each block; past the end stands token 0. Shape (blocks, `BUCKETS`)."""
    size = len(tokens)
    padded = np.concatenate([tokens + 1, np.zeros(2, np.int64)])
    ones = padded[:size] * _MULTIPLIERS[0]
    twos = ones + padded[1 : size + 1] * _MULTIPLIERS[1]
    threes = twos + padded[2:] * _MULTIPLIERS[2]
    # Multiplying wraps around, the same on every machine; the upper bits are the best mixed.
    mixed = np.concatenate([ones, twos, threes]).astype(np.uint64) * np.uint64(_GOLDEN)
    buckets = (mixed >> np.uint64(53)).astype(np.int64)
    signs = 1.0 - 2.0 * ((mixed >> np.uint64(52)) & np.uint64(1)).astype(np.float64)
    blocks = -(-size // BLOCK)
    places = np.tile(np.arange(size) // BLOCK, 3) * BUCKETS + buckets
    counts = np.bincount(places, weights=signs, minlength=blocks * BUCKETS)
    shaped: NDArray[np.float32] = counts.astype(np.float32).reshape(blocks, BUCKETS)
    return shaped


def _slide(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of `WINDOW_BLOCKS` neighbouring rows; one row where there are no more than that."""
    if len(blocks) <= WINDOW_BLOCKS:
        whole: NDArray[np.float32] = blocks.sum(axis=0, keepdims=True)
        return whole
    count = len(blocks) - WINDOW_BLOCKS + 1
    total = blocks[:count].copy()
    for at in range(1, WINDOW_BLOCKS):
        total += blocks[at : at + count]
    return total
