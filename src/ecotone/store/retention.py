"""Retention by age: whole closed segments go, and a signed note says which, so that the rest can be verified alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store import chain, merkle, notes
from ecotone.store.disk import Disk
from ecotone.store.segments import first_seq, last_entry, listed
from ecotone.store.signing import Signer, Verifier

__all__ = ["ABOUT", "PRUNED", "Removed", "finish", "first_to_keep", "prune", "record", "tree_at"]

PRUNED: Final = "pruned"
"""File beside the segments: the note on what was removed so far."""
ABOUT: Final = "#pruned"
"""What sets its origin apart from a checkpoint's."""


class Removed(msgspec.Struct, frozen=True):
    """What retention removed.

    Attributes:
        first_seq: The first entry that was kept.
        prev: Hash of the last entry that was not.
        from_ms, until_ms: Times of the first and the last removed entry.
        at_ms: When the last removal was.
    """

    first_seq: int
    prev: str
    from_ms: int
    until_ms: int
    at_ms: int


def record(note: notes.Note) -> tuple[Removed, merkle.Tree] | None:
    """What a note of removal says, and the tree over what was removed; None where it says no such thing."""
    tree, more = note.tree(), note.more
    try:
        times = [int(more[word]) for word in ("from", "until", "at")]
        prev = more["prev"]
    except (KeyError, ValueError):
        return None
    if tree is None or not note.origin.endswith(ABOUT) or len(prev) != len(chain.NOTHING):
        return None
    return Removed(note.size, prev, *times), tree


def read(folder: Path) -> notes.Note | None:
    """The note of removal of a ledger; None where there is none, or something else.

    Raises:
        OSError: it cannot be read.
    """
    path = folder / PRUNED
    return notes.parse(path.read_bytes()[: notes.NOTE_BYTES_MAX]) if path.exists() else None


def first_to_keep(folder: Path, cutoff_ms: int) -> Path | None:
    """The segment before which all are older than an instant; None where there is nothing to remove.

    Raises:
        OSError: a segment cannot be read.
    """
    segments = listed(folder)
    for path in segments[:-1]:
        _, entry, _ = last_entry(path, path.stat().st_size)
        if entry is None or entry.at_ms >= cutoff_ms:
            return path if path != segments[0] else None
    return segments[-1] if len(segments) > 1 else None


def prune(folder: Path, keep: Path, signer: Signer, disk: Disk, now_ms: int) -> Removed | None:
    """Removes all segments before `keep`; None where the ledger does not fit its own checkpoints, and all stays.

    The signed note is durable before the first segment goes.

    Raises:
        OSError: the disk. What is left undone is done by `finish`.
    """
    size = first_seq(keep)
    assert size is not None, "a segment's name says where it begins"
    verifier = Verifier([signer.public])
    tree = tree_at(folder, size, verifier)
    first, kept = _first_entry(listed(folder)[0]), _first_entry(keep)
    _, gone, _ = last_entry(_before(folder, keep), _before(folder, keep).stat().st_size)
    if tree is None or first is None or kept is None or gone is None or kept.prev != gone.hash:
        return None
    old = read(folder)
    earlier = record(old) if old is not None and verifier.is_signed(old, ABOUT) else None
    removed = Removed(size, kept.prev, earlier[0].from_ms if earlier else first.at_ms, gone.at_ms, now_ms)
    more = {"peaks": notes.joined(tree.peaks), "prev": removed.prev, "from": str(removed.from_ms)}
    more |= {"until": str(removed.until_ms), "at": str(now_ms)}
    disk.save(folder / PRUNED, signer.note(size, tree.root(), more, about=ABOUT))
    _remove(folder, size, disk)
    return removed


def finish(folder: Path, verifier: Verifier, disk: Disk) -> None:
    """Removes what an interrupted `prune` has left.

    Raises:
        OSError: the disk.
    """
    note = read(folder)
    if note is not None and record(note) is not None and verifier.is_signed(note, ABOUT):
        _remove(folder, note.size, disk)


def tree_at(folder: Path, size: int, verifier: Verifier, check: notes.Note | None = None) -> merkle.Tree | None:
    """The tree over the first `size` entries, from the nearest signed peaks on; None where that cannot be.

    Args:
        check: A checkpoint whose root must be that of the tree on its way, if it comes by.

    Raises:
        OSError: a segment cannot be read.
    """
    tree = _base(folder, size, verifier)
    for path in listed(folder):
        first = first_seq(path)
        if first is None or first > tree.size or first >= size:
            continue
        with path.open("rb") as file:
            skip = tree.size - first
            for text in file:
                if skip > 0:
                    skip -= 1
                    continue
                if check is not None and tree.size == check.size and tree.root() != check.root:
                    return None
                if tree.size == size:
                    return tree
                tree.append(text[:-1])
    if tree.size != size or (check is not None and check.size == size and check.root != tree.root()):
        return None
    return tree


def _base(folder: Path, size: int, verifier: Verifier) -> merkle.Tree:
    """The largest tree of at most `size` entries that a signed note tells."""
    path = folder / notes.CHECKPOINTS
    found = None
    if path.exists():
        found = notes.last(path, lambda note: "peaks" in note.more and note.size <= size and verifier.is_signed(note))
    pruned = read(folder)
    if pruned is not None and pruned.size <= size and verifier.is_signed(pruned, ABOUT):
        found = pruned if found is None or found.size < pruned.size else found
    tree = found.tree() if found is not None else None
    return tree if tree is not None else merkle.Tree()


def _remove(folder: Path, size: int, disk: Disk) -> None:
    """Segments that begin before entry `size`, with what crashes left beside them, oldest first."""
    for path in sorted(folder.glob("*.jsonl*")):
        if path.name.partition(".")[0].isdigit() and int(path.name.partition(".")[0]) < size:
            disk.remove(path)
    disk.sync_folder(folder)


def _before(folder: Path, keep: Path) -> Path:
    segments = listed(folder)
    return segments[segments.index(keep) - 1]


def _first_entry(path: Path) -> chain.Entry | None:
    with path.open("rb") as file:
        return chain.entry(file.readline(chain.LINE_BYTES_MAX))


def behead(path: Path, size: int, disk: Disk) -> None:
    """The file of checkpoints begins with the first one of at least `size`, if that makes it half as long or less.

    Raises:
        OSError: the disk.
    """
    start = 0
    for end, note in notes.read(path):
        if note is None or note.size >= size:
            break
        start = end
    if start * 2 >= os.stat(path).st_size:
        disk.behead(path, start)
