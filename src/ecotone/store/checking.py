"""Holds a ledger's entries, as they pass by, against the signed checkpoints over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ecotone.store import chain, merkle, notes, retention
from ecotone.store.signing import Verifier

__all__ = ["Attestation", "BadEntry", "Checker"]

_NEVER: Final = 1 << 62
_SEEN_MAX: Final = 4096
"""So many checkpoints are remembered for the entries that repeat them; such an entry is at most one buffer behind."""
_FOREIGN: Final = "the given key did not sign it: it was forged, or it is of another site or kind"


class BadEntry(msgspec.Struct, frozen=True):
    """The first entry that does not fit.

    Attributes:
        line: Number of the line in its file, from 1; 0 where a file or the end is at fault.
        why: `changed`, `dropped`, `reordered`, `torn`, `unreadable`, `empty`; `checkpoint`: a signed statement is
            missing, broken or of somebody else; `lost`: the site itself found them missing when it started.
    """

    file: str
    line: int
    seq: int
    why: str
    detail: str


class Attestation(msgspec.Struct, frozen=True):
    """What the signed statements say.

    Attributes:
        is_signed: A key was given, and it signed all of them.
        checkpoints: So many fit the entries.
        size: The newest of them covers the entries 0 to `size - 1`; 0 = there is none.
        note: That checkpoint, as it is.
        removed: What retention removed, if anything: the entries before `removed.first_seq`.
        unchecked: Checkpoints that speak of removed entries only.
    """

    is_signed: bool = False
    checkpoints: int = 0
    size: int = 0
    note: str = ""
    removed: retention.Removed | None = None
    unchecked: int = 0


class Checker:
    """One pass. `begin`, then `entry` for each good entry in order, then `end`.

    Attributes:
        tree: Over all entries so far; None where the beginning is not known.
    """

    def __init__(self, folder: Path | None, verifier: Verifier | None, kept: Sequence[notes.Note]) -> None:
        """Checkpoints are those in the folder, and others that were kept elsewhere."""
        self.tree: merkle.Tree | None = None
        self._folder, self._verifier = folder, verifier
        self._path = (folder or Path()) / notes.CHECKPOINTS
        self._kept = sorted(kept, key=lambda note: note.size)
        self._rows: Iterator[tuple[int, notes.Note | None]] = iter(())
        self._limit = 0
        self._next: notes.Note | None = None
        self._due = _NEVER
        self._seen: dict[int, str] = {}
        self._late: dict[int, str] = {}
        self._lost: BadEntry | None = None
        self._removed: retention.Removed | None = None
        self._checkpoints = self._unchecked = 0
        self._newest: notes.Note | None = None

    def begin(self, first: int | None) -> tuple[chain.Chain, BadEntry | None]:
        """The chain that entries must continue, if the first one is `first`; and what is wrong before any was read."""
        if self._folder is None:
            self.tree = merkle.Tree() if first == 0 else None
            return chain.Chain(first, None), self._start()
        if self._path.exists():
            self._limit = self._path.stat().st_size
            self._rows = notes.read(self._path, 0, self._limit)
        pruned = retention.read(self._folder) if first else None
        said = retention.record(pruned) if pruned is not None else None
        if pruned is None or said is None:
            self.tree = merkle.Tree()
            return chain.Chain(), self._start()
        if self._verifier is not None and not self._verifier.is_signed(pruned, retention.ABOUT):
            return chain.Chain(), BadEntry(retention.PRUNED, 0, 0, "checkpoint", f"the note of removal: {_FOREIGN}")
        self._removed, self.tree = said
        return chain.Chain(pruned.size, self._removed.prev), self._start()

    @property
    def skipped(self) -> int:
        """Entries before this one were removed; what is left of them, if a removal was interrupted, does not count."""
        return self._removed.first_seq if self._removed is not None else 0

    def entry(self, text: bytes, link: chain.Link) -> BadEntry | None:
        """Takes the next entry, which the chain has found good."""
        tree = self.tree
        if tree is not None:
            tree.append(text[:-1])
            if tree.size == self._due:
                bad = self._meet()
                if bad is not None:
                    return bad
        if link.kind == "checkpoint":
            return self._repeats(link)
        if link.kind == "recovered":
            self._recovered(link)
        return None

    def end(self, size: int) -> BadEntry | None:
        """What is wrong at the end, after `size` entries."""
        if self.tree is not None:
            if self._next is not None:
                return self._cut(notes.CHECKPOINTS, self._next, size)
            if self._kept:
                return self._cut("", self._kept[0], size)
        return self._lost

    def attestation(self) -> Attestation:
        """What was found."""
        newest = self._newest
        return Attestation(
            self._verifier is not None and newest is not None,
            self._checkpoints,
            newest.size if newest is not None else 0,
            newest.raw.decode() if newest is not None else "",
            self._removed,
            self._unchecked,
        )

    def _start(self) -> BadEntry | None:
        """Passes over the checkpoints of entries that are not there any more."""
        bad = self._advance(0)
        start = self.tree.size if self.tree is not None else 0
        while bad is None and self._next is not None and self._next.size < start:
            self._unchecked += 1
            bad = self._advance(self._next.size)
        while bad is None and self._kept and self._kept[0].size < start:
            self._unchecked += 1
            bad = self._foreign("", self._kept.pop(0))
        if bad is None:
            self._schedule()
            if self.tree is not None and start == self._due:
                bad = self._meet()
        return bad

    def _advance(self, size: int) -> BadEntry | None:
        """Reads the next checkpoint of the folder, which covers no less than the one before it."""
        row = next(self._rows, None)
        if row is None:
            self._next = None
            return None
        before, self._next = self._next, row[1]
        if self._next is not None and before is not None and self._next.raw == before.raw:
            return _broken(size, f"the one over {size} entries stands there twice")
        if self._next is None:
            return _broken(size, f"what follows the checkpoint over {size} entries is none")
        if self._next.size < size:
            return _broken(self._next.size, f"the one over {self._next.size} entries follows the one over {size}")
        return self._foreign(notes.CHECKPOINTS, self._next)

    def _foreign(self, file: str, note: notes.Note) -> BadEntry | None:
        if self._verifier is None or self._verifier.is_signed(note):
            return None
        return BadEntry(file, 0, note.size, "checkpoint", f"the checkpoint over {note.size} entries: {_FOREIGN}")

    def _schedule(self) -> None:
        due = self._next.size if self._next is not None else _NEVER
        self._due = min(due, self._kept[0].size) if self._kept else due

    def _meet(self) -> BadEntry | None:
        """Compares the tree with all checkpoints of its size."""
        assert self.tree is not None, "checkpoints are scheduled by the tree"
        size, root = self.tree.size, self.tree.root()
        while self._next is not None and self._next.size == size:
            note = self._next
            bad = _other(notes.CHECKPOINTS, note) if note.root != root else self._advance(size)
            if bad is not None:
                return bad
            self._counted(note)
        while self._kept and self._kept[0].size == size:
            note = self._kept.pop(0)
            bad = _other("", note) if note.root != root else self._foreign("", note)
            if bad is not None:
                return bad
            self._counted(note)
        self._schedule()
        return None

    def _counted(self, note: notes.Note) -> None:
        self._checkpoints += 1
        self._newest = note
        self._seen[note.size] = note.root.hex()
        if len(self._seen) > _SEEN_MAX:
            del self._seen[next(iter(self._seen))]

    def _repeats(self, link: chain.Link) -> BadEntry | None:
        """An entry that repeats a checkpoint: it must be among those in the folder."""
        if self._folder is None or self.tree is None:
            return None
        body = _body(link)
        size, root = body.get("size"), body.get("root")
        if not isinstance(size, int) or size > link.seq:
            return BadEntry("", 0, link.seq, "checkpoint", "the entry repeats a checkpoint that cannot be")
        if size < self.skipped:
            return None
        found = self._seen.get(size) or self._written_meanwhile(size)
        if found is None:
            return _broken(size, f"entry {link.seq} repeats one over {size} entries, and it is not there")
        if found != root:
            return _broken(size, f"entry {link.seq} repeats another root for {size} entries")
        return None

    def _written_meanwhile(self, size: int) -> str | None:
        """The root that a checkpoint gives which was written since this pass began; a site may be running."""
        if size not in self._late and self._path.exists():
            start = self._limit if self._path.stat().st_size >= self._limit else 0  # retention shortens it now and then
            rows = notes.read(self._path, start)
            self._late = {note.size: note.root.hex() for _, note in rows if note is not None}
        return self._late.get(size)

    def _recovered(self, link: chain.Link) -> None:
        """An entry in which the site itself says what it found at a start."""
        body = _body(link)
        if body.get("why") in ("behind_checkpoint", "other_root", "headless") and self._lost is None:
            first, size = body.get("first_seq"), body.get("size")
            detail = f"entry {link.seq} says that the site found it at its start: {body['why']}, checkpoint over {size}"
            self._lost = BadEntry("", 0, first if isinstance(first, int) else 0, "lost", detail)

    def _cut(self, file: str, note: notes.Note, size: int) -> BadEntry:
        bad = self._foreign(file, note)
        detail = f"a checkpoint covers {note.size} entries, and there are {size}: the end was cut off"
        return bad if bad is not None else BadEntry(file, 0, size, "dropped", detail)


def _broken(seq: int, detail: str) -> BadEntry:
    return BadEntry(notes.CHECKPOINTS, 0, seq, "checkpoint", f"the file of checkpoints was changed: {detail}")


def _other(file: str, note: notes.Note) -> BadEntry:
    detail = (
        f"a checkpoint gives the first {note.size} entries another root: the ledger was rewritten, or the checkpoint"
    )
    return BadEntry(file, 0, note.size - 1, "changed", detail)


def _body(link: chain.Link) -> dict[str, Any]:
    try:
        return msgspec.json.decode(link.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
