"""The Merkle tree over a ledger's lines (RFC 9162, 2.1), of which only the peaks are kept. Pure.

A leaf is a line without its newline. `Tree` grows by one leaf at a time in about a microsecond and can give its root
at any moment; `Path` gathers the proof that one leaf is in a larger tree while the leaves after it pass by, so that a
proof over a million entries needs no memory for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

__all__ = ["EMPTY", "HASH_BYTES", "Path", "Tree", "leaf", "root_by"]

HASH_BYTES: Final = 32
EMPTY: Final = sha256(b"").digest()
"""Root of a tree without leaves."""


def leaf(text: bytes) -> bytes:
    """Hash of a leaf. Source: RFC 9162, 2.1.1."""
    return sha256(b"\0" + text).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that only grows.

    Attributes:
        size: Leaves so far.
        peaks: Roots of the complete subtrees that it is made of, the largest (and oldest) first: one for each bit that
            is set in `size`.
    """

    __slots__ = ("peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        assert len(peaks) == size.bit_count(), "a tree has one peak for each bit of its size"
        self.size = size
        self.peaks = list(peaks)

    def append(self, text: bytes) -> None:
        """The tree has one more leaf."""
        self.push(sha256(b"\0" + text).digest())

    def push(self, node: bytes) -> None:
        """The same, by the leaf's hash."""
        peaks, left = self.peaks, self.size
        self.size += 1
        while left & 1:
            node = sha256(b"\1" + peaks.pop() + node).digest()
            left >>= 1
        peaks.append(node)

    def root(self) -> bytes:
        """Its root hash. Source: RFC 9162, 2.1.1."""
        if not self.peaks:
            return EMPTY
        node = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            node = _node(peak, node)
        return node


class Path:
    """Proof that leaf `index` is in the tree of `size` leaves, while it is gathered.

    What stands left of a leaf in its path are the peaks of the tree before it; what stands right are the roots of
    ranges of later leaves, each a small `Tree` of its own.
    """

    def __init__(self, before: Tree, size: int) -> None:
        """Takes the tree just before the leaf was appended; `push` then wants every leaf after it, in order."""
        assert before.size < size, "the leaf is in the tree"
        self._left = list(before.peaks)
        self._sides, self._ends = _plan(before.size, size)
        self._right = [Tree() for _ in self._ends]
        self._at, self._now = before.size + 1, 0

    def push(self, node: bytes) -> None:
        """Takes the hash of the next leaf; those behind the end of the tree are ignored."""
        while self._now < len(self._ends) and self._at >= self._ends[self._now]:
            self._now += 1
        if self._now < len(self._ends):
            self._right[self._now].push(node)
            self._at += 1

    def hashes(self) -> list[bytes]:
        """The path, from the leaf to the root. Source: RFC 9162, 2.1.3.1."""
        left, right = list(self._left), list(self._right)
        return [left.pop() if is_left else right.pop(0).root() for is_left in self._sides]


def _plan(index: int, size: int) -> tuple[list[bool], list[int]]:
    """(whether each step of a path takes its hash from the left, ends of the ranges on the right), leaf first."""
    sides: list[bool] = []
    ends: list[int] = []
    start, count = 0, size
    while count > 1:
        split = 1 << ((count - 1).bit_length() - 1)
        if index - start < split:
            sides.append(False)
            ends.append(start + count)
            count = split
        else:
            sides.append(True)
            start, count = start + split, count - split
    return sides[::-1], ends[::-1]


def root_by(node: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to from a leaf's hash; None where the path cannot be one.

    Source: RFC 9162, 2.1.3.2.
    """
    if not 0 <= index < size:
        return None
    sides, _ = _plan(index, size)
    if len(sides) != len(path):
        return None
    for is_left, other in zip(sides, path, strict=True):
        node = _node(other, node) if is_left else _node(node, other)
    return node
