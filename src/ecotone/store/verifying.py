"""Recomputes a ledger's chain from any copy of it: a folder, or single segments."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from ecotone.store import chain
from ecotone.store.segments import first_seq, listed

__all__ = ["BadEntry", "Report", "verify"]

_SETTLE_S: Final = 0.05


class BadEntry(msgspec.Struct, frozen=True):
    """The first entry that does not fit.

    Attributes:
        line: Number of the line in its file, from 1; 0 where a file or the end is at fault.
        why: `changed`, `dropped`, `reordered`, `torn`, `unreadable`, `empty`.
    """

    file: str
    line: int
    seq: int
    why: str
    detail: str


class Report(msgspec.Struct, frozen=True):
    """What a copy of a ledger proves.

    Attributes:
        entries, first_seq, last_seq: The good entries, up to the first bad one; -1 where there is none.
        first_at_ms, last_at_ms: Their span, by the site's clock.
        head: The last good entry; kept elsewhere, it shows later that the ledger was not cut or rewritten.
        bad: None where the chain is whole.
        side_files: `.torn` files beside it: what crashes left; they are no part of the chain.
    """

    segments: int
    entries: int
    first_seq: int
    last_seq: int
    first_at_ms: int
    last_at_ms: int
    head: chain.Head
    bad: BadEntry | None = None
    side_files: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether nothing was changed, dropped, reordered or cut."""
        return self.bad is None


def verify(paths: Path | Sequence[Path], *, known: Sequence[chain.Head] = ()) -> Report:
    """Walks the whole chain; memory stays bounded by the longest entry.

    A folder must begin with seq 0. Segments given by name may begin anywhere, the first entry's predecessor is then
    taken as it says. That the end was cut off at an entry's boundary, or all rewritten, only `known` heads show.

    Args:
        known: Heads from earlier reports, which must still be part of the chain.

    Raises:
        OSError: a file cannot be read.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    is_folder = len(given) == 1 and given[0].is_dir()
    files = listed(given[0]) if is_folder else _in_order(given)
    walk = _Walk(files, chain.Chain() if is_folder else chain.Chain(first_seq(files[0]), None), known)
    bad = walk.run()
    torn = tuple(sorted(path.name for path in given[0].glob("*.torn"))) if is_folder else ()
    return walk.report(bad, torn)


def _in_order(paths: list[Path]) -> list[Path]:
    """Segments by the position in their names; where a name says nothing, as given."""
    if not paths:
        raise FileNotFoundError("no segment was given")
    if any(first_seq(path) is None for path in paths):
        return paths
    return sorted(paths, key=lambda path: path.name)


class _Walk:
    """One pass over some files."""

    def __init__(self, files: list[Path], links: chain.Chain, known: Sequence[chain.Head]) -> None:
        self._files, self._links = files, links
        self._known = {head.seq: head.hash for head in known}
        self._first_seq = -1

    def run(self) -> BadEntry | None:
        """Feeds every line to the chain, up to the first one that does not fit."""
        for path in self._files:
            with path.open("rb") as file:
                bad = self._file(path, file)
            if bad is not None:
                return bad
        return self._ending()

    def report(self, bad: BadEntry | None, torn: tuple[str, ...]) -> Report:
        """What was found."""
        links = self._links
        last_seq = links.seq - 1 if links.entries and links.seq is not None else -1
        return Report(
            len(self._files),
            links.entries,
            self._first_seq,
            last_seq,
            links.first_at_ms,
            links.last_at_ms,
            chain.Head(last_seq, links.head),
            bad,
            torn,
        )

    def _file(self, path: Path, file: BinaryIO) -> BadEntry | None:
        links, known = self._links, self._known
        for number, text in enumerate(_lines(file), 1):
            if not text.endswith(b"\n") and path == self._files[-1]:
                text = _settled(file, text)
            fault = links.feed(text)
            if fault is not None:
                if fault.why == "dropped" and self._is_later(file, path, fault.seq):
                    fault = chain.Fault("reordered", fault.seq, f"entry {fault.seq} stands further down")
                return BadEntry(path.name, number, fault.seq, fault.why, fault.detail)
            assert links.seq is not None
            if self._first_seq < 0:
                self._first_seq = links.seq - 1
            if known and known.get(links.seq - 1, links.head) != links.head:
                detail = "an earlier report gave this entry another hash: the ledger was rewritten"
                return BadEntry(path.name, number, links.seq - 1, "changed", detail)
        return None

    def _is_later(self, file: BinaryIO, path: Path, seq: int) -> bool:
        """Whether a missing entry stands behind the place where it belongs."""
        start = b'{"v":%d,"seq":%d,' % (chain.VERSION, seq)
        if any(text.startswith(start) for text in _lines(file)):
            return True
        for other in self._files[self._files.index(path) + 1 :]:
            with other.open("rb") as later:
                if any(text.startswith(start) for text in _lines(later)):
                    return True
        return False

    def _ending(self) -> BadEntry | None:
        """What the end of the files shows."""
        if self._links.entries == 0:
            return BadEntry("", 0, 0, "empty", "there is no entry")
        last_seq = (self._links.seq or 0) - 1
        cut = [seq for seq in self._known if seq > last_seq]
        if cut:
            detail = f"an earlier report reached entry {max(cut)}: the end was cut off"
            return BadEntry(self._files[-1].name, 0, last_seq + 1, "dropped", detail)
        return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of bounded length; one that is too long comes in pieces, which no chain accepts."""
    while text := file.readline(chain.LINE_BYTES_MAX):
        yield text


def _settled(file: BinaryIO, text: bytes) -> bytes:
    """The last line again: a site that writes right now may have been in the middle of it."""
    time.sleep(_SETTLE_S)
    file.seek(-len(text), 1)
    return file.readline(chain.LINE_BYTES_MAX)
