"""Reading a whole ledger, or a copy of it, in one pass and little memory, also while somebody writes it.

Nothing here trusts the chain; `verifying` does that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store import chain
from ecotone.store.segments import listed

__all__ = ["Passed", "Walk"]

_HEAD: Final = re.compile(rb'\{"v":\d+,"seq":\d+,"at_ms":(-?\d+),"kind":"([a-z0-9_.]+)"')
_LINKS: Final = msgspec.json.Decoder(chain.Link)
_BLOCK_BYTES: Final = 1 << 20


class Passed(msgspec.Struct, frozen=True, gc=False):
    """An entry that passes by; its body as it is written."""

    seq: int
    at_ms: int
    kind: str
    body: msgspec.Raw


class Walk:
    """One pass over the entries of some kinds.

    Attributes:
        size_bytes: Of all files, when the walk was made.
        entries: Lines that passed by, of all kinds.
        unreadable: Lines that are no entries. The last one of a ledger may be: a site is writing it.
    """

    def __init__(
        self,
        paths: Path | Sequence[Path],
        kinds: Collection[str],
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        advanced: Callable[[int], object] | None = None,
    ) -> None:
        """Over a folder of segments, or some segments in the order given.

        Args:
            since_ms, until_ms: Only entries from this time on, and before that one.
            advanced: Is told how many bytes were read since it was told last.

        Raises:
            OSError: a file is not there.
        """
        given = [paths] if isinstance(paths, Path) else list(paths)
        self._files = [file for path in given for file in (listed(path) if path.is_dir() else [path])]
        self._kinds = frozenset(kind.encode() for kind in kinds)
        self._since_ms = since_ms if since_ms is not None else -1 << 62
        self._until_ms = until_ms if until_ms is not None else 1 << 62
        self._advanced = advanced
        self.size_bytes = sum(file.stat().st_size for file in self._files)
        self.entries = 0
        self.unreadable = 0

    def __iter__(self) -> Iterator[Passed]:
        """The entries, in order.

        Raises:
            OSError: a file cannot be read.
        """
        for file in self._files:
            for text in self._lines(file):
                found = self._read(text)
                if found is not None:
                    yield found

    def _read(self, text: bytes) -> Passed | None:
        """An entry that is asked for."""
        self.entries += 1
        head = _HEAD.match(text)
        if head is None:
            self.unreadable += 1
            return None
        if head[2] not in self._kinds or not self._since_ms <= int(head[1]) < self._until_ms:
            return None
        try:
            link = _LINKS.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.unreadable += 1
            return None
        return Passed(link.seq, link.at_ms, link.kind, link.body)

    def _lines(self, file: Path) -> Iterator[bytes]:
        """Whole lines, and the last one as it is; what is longer than any entry is given out in pieces."""
        fd, rest = os.open(file, os.O_RDONLY | os.O_CLOEXEC), b""
        try:
            while block := os.read(fd, _BLOCK_BYTES):
                if self._advanced is not None:
                    self._advanced(len(block))
                *lines, rest = (rest + block).split(b"\n")
                yield from lines
                if len(rest) > chain.LINE_BYTES_MAX:
                    yield rest
                    rest = b""
        finally:
            os.close(fd)
        if rest:
            yield rest
