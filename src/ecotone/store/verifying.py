"""Recomputes a ledger's chain and tree from any copy of it: a folder, or single segments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from ecotone.store import chain, merkle, notes
from ecotone.store.checking import Attestation, BadEntry, Checker
from ecotone.store.segments import first_seq, listed
from ecotone.store.signing import Verifier

__all__ = ["BadEntry", "Report", "Trust", "Visit", "verify"]

Visit = Callable[[bytes, chain.Link, merkle.Tree | None], None]
"""What a pass may do with each good entry: its line, what it says, and the tree before it (None where not known)."""

_SETTLE_S: Final = 0.05


class Report(msgspec.Struct, frozen=True):
    """What a copy of a ledger proves.

    Attributes:
        entries, first_seq, last_seq: The good entries, up to the first bad one; -1 where there is none.
        first_at_ms, last_at_ms: Their span, by the site's clock.
        head: The last good entry; kept elsewhere, it shows later that the ledger was not cut or rewritten.
        bad: None where the chain is whole.
        side_files: `.torn` files beside it: what crashes left; they are no part of the chain.
        attested: What the signed statements add to that.
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
    attested: Attestation = Attestation()

    @property
    def is_whole(self) -> bool:
        """Whether nothing was changed, dropped, reordered or cut."""
        return self.bad is None


class Trust(msgspec.Struct, frozen=True):
    """What a verifier brings along.

    Attributes:
        keys: Public keys of the site, as `signing.Verifier` takes them; none: signatures are not checked.
        heads: Heads from earlier reports, which must still be part of the chain.
        checkpoints: Checkpoints that were kept elsewhere, which must still fit.
    """

    keys: tuple[bytes, ...] = ()
    heads: tuple[chain.Head, ...] = ()
    checkpoints: tuple[notes.Note, ...] = ()


def verify(
    paths: Path | Sequence[Path],
    *,
    known: Sequence[chain.Head] = (),
    trust: Trust | None = None,
    visit: Visit | None = None,
) -> Report:
    """Walks the whole chain; memory stays bounded by the longest entry.

    A folder must begin with seq 0, or with what its note of removal says. Segments given by name may begin anywhere,
    the first entry's predecessor is then taken as it says, and only checkpoints that are given count. That the end was
    cut off at an entry's boundary, or all rewritten, shows against the folder's checkpoints, and against `trust`.

    Args:
        known: More heads.
        visit: Is given every good entry.

    Raises:
        ConfigError: `store.public_key`: a key of `trust` is none.
        OSError: a file cannot be read.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    is_folder = len(given) == 1 and given[0].is_dir()
    files = listed(given[0]) if is_folder else _in_order(given)
    trust = trust or Trust()
    verifier = Verifier(trust.keys) if trust.keys else None
    checker = Checker(given[0] if is_folder else None, verifier, trust.checkpoints)
    links, bad = checker.begin(first_seq(files[0]) if files else None)
    if is_folder:  # listed again: what the checkpoints cover that are known now is in these files
        files = [path for path in listed(given[0]) if (first_seq(path) or 0) >= checker.skipped]
    walk = _Walk(files, links, (*known, *trust.heads), checker, visit)
    bad = bad or walk.run()
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

    def __init__(
        self,
        files: list[Path],
        links: chain.Chain,
        known: Sequence[chain.Head],
        checker: Checker,
        visit: Visit | None,
    ) -> None:
        self._files, self._links, self._checker, self._visit = files, links, checker, visit
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
            self._checker.attestation(),
        )

    def _file(self, path: Path, file: BinaryIO) -> BadEntry | None:
        links, checker, visit = self._links, self._checker, self._visit
        for number, text in enumerate(_lines(file), 1):
            if not text.endswith(b"\n") and path == self._files[-1]:
                text = _settled(file, text)
            fault = links.feed(text)
            if fault is not None:
                if fault.why == "dropped" and self._is_later(file, path, fault.seq):
                    fault = chain.Fault("reordered", fault.seq, f"entry {fault.seq} stands further down")
                return BadEntry(path.name, number, fault.seq, fault.why, fault.detail)
            if visit is not None:
                visit(text, links.link, checker.tree)
            bad = checker.entry(text, links.link) or self._known_bad(path, number)
            if bad is not None:
                return bad
        return None

    def _known_bad(self, path: Path, number: int) -> BadEntry | None:
        """Whether the last entry is another one than an earlier report said."""
        link = self._links.link
        if self._first_seq < 0:
            self._first_seq = link.seq
        if self._known and self._known.get(link.seq, link.hash) != link.hash:
            detail = "an earlier report gave this entry another hash: the ledger was rewritten"
            return BadEntry(path.name, number, link.seq, "changed", detail)
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
        return self._checker.end(last_seq + 1)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of bounded length; one that is too long comes in pieces, which no chain accepts."""
    while text := file.readline(chain.LINE_BYTES_MAX):
        yield text


def _settled(file: BinaryIO, text: bytes) -> bytes:
    """The last line again: a site that writes right now may have been in the middle of it."""
    time.sleep(_SETTLE_S)
    file.seek(-len(text), 1)
    return file.readline(chain.LINE_BYTES_MAX)
