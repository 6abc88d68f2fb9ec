"""Reading a ledger while somebody writes it: the entries of one request, the last entry of a kind.

Nothing here takes the lock or trusts the chain; `verifying` does the latter.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store import chain
from ecotone.store.segments import lines_back, listed

__all__ = ["find", "last", "request_ms"]

_REQUEST: Final = re.compile(r"req-([0-9a-f]{11})")
_AT: Final = re.compile(rb'\{"v":\d+,"seq":\d+,"at_ms":(\d+),"kind":"([a-z0-9_.]+)"')
_BLOCK_BYTES: Final = 1 << 20
_PROBE_BYTES: Final = 8 << 10
EARLY_MS: Final = 120_000
"""How much earlier than its request's id an entry may be dated, by a clock that is set back a little."""


def request_ms(request: str) -> int | None:
    """Milliseconds since the Unix epoch at which a request came, by its id; None where the id does not say."""
    match = _REQUEST.match(request)
    return int(match[1], 16) if match else None


def find(folder: Path, request: str, *, span_s: float = 3600.0) -> list[chain.Entry]:
    """All entries whose body's `request` is this id, in order.

    Looks from two minutes before the id's time to `span_s` after it; an id without a time costs a walk through the
    whole ledger.

    Raises:
        OSError: a segment cannot be read.
    """
    came_ms = request_ms(request)
    needle = b'"request":' + msgspec.json.encode(request)
    found: list[chain.Entry] = []
    for path in listed(folder):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            until_ms = None if came_ms is None else came_ms + int(span_s * 1000)
            start = 0 if came_ms is None else _lower_bound(fd, size, came_ms - EARLY_MS)
            for text in _lines_with(fd, start, size, needle, until_ms):
                entry = chain.entry(text)
                if entry is not None and entry.body.get("request") == request:
                    found.append(entry)
        finally:
            os.close(fd)
    return found


def last(folder: Path, kind: str, *, bytes_max: int = 8 << 20) -> chain.Entry | None:
    """The last entry of a kind within the last `bytes_max` bytes of the ledger.

    Raises:
        OSError: a segment cannot be read.
    """
    needle = b'"kind":"%b"' % kind.encode()
    for path in reversed(listed(folder)):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            for start, text in lines_back(fd, size):
                entry = chain.entry(text) if needle in text[:160] else None
                if entry is not None and entry.kind == kind:
                    return entry
                if size - start >= bytes_max:
                    return None
            bytes_max -= size
        finally:
            os.close(fd)
    return None


def _lower_bound(fd: int, size: int, at_ms: int) -> int:
    """Offset of a line no later than the first one dated `at_ms` or after; `size` where there is none."""
    low, high = 0, size
    while high - low > _BLOCK_BYTES // 4:
        middle = (low + high) // 2
        dated = _dated(fd, middle, high)
        if dated is None or dated[1] >= at_ms:
            high = middle
        else:
            low = dated[0]
    return low


def _dated(fd: int, start: int, end: int) -> tuple[int, int] | None:
    """(offset, time in ms) of the first line that begins after `start` and before `end`."""
    size = _PROBE_BYTES
    while True:
        block = os.pread(fd, size, start)
        newline = block.find(b"\n")
        if start + newline + 1 >= end:
            return None
        match = _AT.match(block, newline + 1) if newline >= 0 else None
        if match is not None:
            return start + newline + 1, int(match[1])
        if len(block) < size or size > 2 * chain.LINE_BYTES_MAX:
            return None
        size *= 4


def _lines_with(fd: int, start: int, end: int, needle: bytes, until_ms: int | None) -> Iterator[bytes]:
    """Whole lines that contain `needle`, up to the first block that begins later than `until_ms`."""
    rest = b""
    while start < end:
        read = os.pread(fd, min(_BLOCK_BYTES, end - start), start)
        if not read:
            return  # cut meanwhile
        start += len(read)
        block = rest + read
        match = _AT.match(block)
        if match is not None and until_ms is not None and int(match[1]) > until_ms:
            return
        whole = block.rfind(b"\n") + 1
        rest = block[whole:]
        if block.find(needle, 0, whole) >= 0:
            yield from (text for text in block[:whole].split(b"\n") if needle in text)
