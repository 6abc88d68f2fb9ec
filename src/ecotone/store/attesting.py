"""What the writer's thread does for proof: it grows the Merkle tree over what is durable, and signs checkpoints.

A failure here never keeps an entry from being written: entries are durable first, and whatever could not be signed
now is covered by the next checkpoint.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store import merkle, notes, retention
from ecotone.store.disk import Disk
from ecotone.store.limits import LedgerLimits
from ecotone.store.segments import Tail
from ecotone.store.shape import encoded
from ecotone.store.signing import Signer, Verifier

__all__ = ["CHECKPOINT", "PRUNED", "Attester", "Loss", "opened"]

CHECKPOINT: Final = b"checkpoint"
PRUNED: Final = b"pruned"
"""Kinds of the entries in which the chain itself repeats what was signed."""
_LOOK_S: Final = 3600.0
"""So often an idle ledger looks for segments that are too old."""
_DAY_MS: Final = 86_400_000


class Loss(msgspec.Struct, frozen=True):
    """What a start found missing or changed, as the entry `recovered` gives it.

    Attributes:
        why: `behind_checkpoint`: the ledger ends before its own signed checkpoint; `other_root`: it is not what was
            signed; `headless`: its beginning is gone, and no note of removal says so.
        size, root: What the last checkpoint said.
        first_seq: The first entry that it covered and that is not there any more, or may be another.
    """

    why: str
    size: int
    root: str
    first_seq: int


class Attester:
    """The tree and the file of checkpoints.

    Attributes:
        said: (Kind, body) of entries that the ledger owes; the loop thread takes them.
        failure: Why the last checkpoint could not be written, or `''`.
        origin: Who signs, as the notes name it.
    """

    def __init__(
        self, folder: Path, tree: merkle.Tree | None, noted: notes.Note | None, signer: Signer, disk: Disk
    ) -> None:
        """See `opened`. Without a tree nothing is signed: the ledger does not fit what was signed before."""
        self.said: deque[tuple[bytes, bytes]] = deque()
        self.failure = "" if tree is not None else "the ledger was rewritten"
        self.limits = LedgerLimits()
        self.wall_s: Callable[[], float] = time.time
        self._folder, self._path = folder, folder / notes.CHECKPOINTS
        self.origin = signer.origin
        self._signer, self._disk = signer, disk
        self._tree = tree if tree is not None else merkle.Tree()
        self._is_dumb = tree is None
        self._raw = noted.raw if noted is not None else b""
        self._size = noted.size if noted is not None else 0
        self._fd, self._end, self._is_suspect = -1, self._path.stat().st_size if self._path.exists() else 0, False
        self._is_first = True  # with peaks: the next start need not read what this one has read
        self._since_s: float | None = None
        self._last_s = -1e9
        self._looked_s = -1e9
        self._lock = threading.Lock()

    def added(self, lines: Sequence[bytes]) -> None:
        """These lines are durable."""
        if self._is_dumb:
            return
        with self._lock:
            append = self._tree.append
            for text in lines:
                append(text[:-1])
            if self._since_s is None:
                self._since_s = time.monotonic()
        if self._tree.size - self._size >= self.limits.checkpoint_entries:
            self.checkpoint()

    def rest_s(self) -> float | None:
        """How long there is nothing to do, in seconds; None: for ever, or until lines are added."""
        waits = []
        now_s = time.monotonic()
        if self._since_s is not None:
            due_s = max(self._since_s + self.limits.checkpoint_soon_s, self._last_s + self.limits.checkpoint_s)
            waits.append(due_s - now_s)
        if self.limits.keep_days is not None:
            waits.append(self._looked_s + _LOOK_S - now_s)
        return max(0.0, min(waits)) if waits else None

    def tick(self) -> None:
        """Does what is due."""
        if self.rest_s() == 0.0:
            now_s = time.monotonic()
            if self.limits.keep_days is not None and now_s >= self._looked_s + _LOOK_S:
                self.prune()
            else:
                self.checkpoint()

    def checkpoint(self) -> bytes:
        """Signs what is durable, if anything is new; the newest checkpoint, `b''` without one. For any thread."""
        with self._lock:
            if self._tree.size > self._size:
                self._sign(is_start=False)
            return self._raw

    def begin_segment(self) -> None:
        """A new segment begins behind all that was added: its checkpoint lets the tree be continued from here."""
        with self._lock:
            if self._tree.size:
                self._sign(is_start=True)

    def prune(self) -> None:
        """Removes what is older than `keep_days`."""
        keep_days = self.limits.keep_days
        if keep_days is None or self._is_dumb:
            return
        self._looked_s = time.monotonic()
        now_ms = int(self.wall_s() * 1000)
        with self._lock:
            try:
                keep = retention.first_to_keep(self._folder, now_ms - int(keep_days * _DAY_MS))
                if keep is None:
                    return
                removed = retention.prune(self._folder, keep, self._signer, self._disk, now_ms)
                if removed is not None:
                    self.said.append((PRUNED, encoded(removed)))
                    self._behead(removed.first_seq)
            except OSError as error:
                self.failure = error.strerror or type(error).__name__

    def close(self) -> None:
        """Signs what is left and lets go of the file."""
        self.checkpoint()
        self._let_go()

    def _sign(self, *, is_start: bool) -> None:
        """Writes a checkpoint over the whole tree. The lock is held."""
        self._last_s, self._since_s = time.monotonic(), None
        tree = self._tree
        root = tree.root()
        more = {"peaks": notes.joined(tree.peaks)} if is_start or self._is_first else {}
        raw = self._signer.note(tree.size, root, more)
        if raw == self._raw or self._is_dumb:
            return
        try:
            self._write(raw + b"\n")
        except OSError as error:
            self.failure = error.strerror or type(error).__name__
            self._since_s = self._last_s
            return
        if tree.size > self._size:
            self.said.append(_repeated(tree.size, root))
        self.failure, self._raw, self._size, self._is_first = "", raw, tree.size, False

    def _write(self, content: bytes) -> None:
        """Appends to the file of checkpoints, durably.

        Raises:
            OSError: nothing of it counts.
        """
        if self._is_suspect:
            self._let_go()
            if self._path.exists():
                self._disk.cut(self._path, self._end)
            self._is_suspect = False
        if self._fd < 0:
            is_new = not self._path.exists()
            self._fd = self._disk.create(self._path) if is_new else self._disk.reopen(self._path)
            if is_new:
                self._end = 0
                self._disk.sync_folder(self._folder)
        self._is_suspect = True
        self._disk.append(self._fd, content)
        self._end += len(content)
        self._is_suspect = False

    def _behead(self, size: int) -> None:
        if self._path.exists():
            self._let_go()
            retention.behead(self._path, size, self._disk)
            self._end = self._path.stat().st_size

    def _let_go(self) -> None:
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1


def _repeated(size: int, root: bytes) -> tuple[bytes, bytes]:
    """The entry that repeats a checkpoint in the chain."""
    return CHECKPOINT, encoded({"size": size, "root": root.hex()})


def opened(folder: Path, tail: Tail, signer: Signer, disk: Disk) -> tuple[Attester, list[Loss]]:
    """The attester of a ledger that ends with `tail`, and what its last checkpoint shows to be wrong with it.

    Reads the last segment; the whole ledger only where it never had a checkpoint.

    Raises:
        OSError: the disk.
    """
    verifier = Verifier([signer.public])
    retention.finish(folder, verifier, disk)
    size = tail.entry.seq + 1 if tail.entry is not None else 0
    noted, losses = _repaired(folder / notes.CHECKPOINTS, size, verifier, disk)
    tree = retention.tree_at(folder, size, verifier, noted)
    if tree is None:
        losses.append(
            Loss("headless", 0, "", 0) if noted is None else Loss("other_root", noted.size, noted.root.hex(), 0)
        )
    attester = Attester(folder, tree, noted, signer, disk)
    if noted is not None and noted.size == size and size:
        attester.said.append(_repeated(size, noted.root))  # the one at the last end: no entry could follow it
    return attester, losses


def _repaired(path: Path, size: int, verifier: Verifier, disk: Disk) -> tuple[notes.Note | None, list[Loss]]:
    """The last signed checkpoint over at most `size` entries; the file ends with it, the rest is beside it."""
    if not path.exists():
        return None, []
    newest = notes.last(path, verifier.is_signed)
    end = notes.end_of(path, lambda note: note.size <= size)
    length = path.stat().st_size
    if end < length:
        with path.open("rb") as file:
            file.seek(end)
            disk.save(path.with_name(f"{path.name}.{end}.torn"), file.read())
        disk.cut(path, end)
    if newest is None or newest.size <= size:
        return newest, []
    return notes.last(path, verifier.is_signed), [Loss("behind_checkpoint", newest.size, newest.root.hex(), size)]
