"""The run of bytes that is coming, kept as it comes, so that a killed process loses next to nothing.

It is only a hint: who goes on from it finds out by the segment's own digest whether it was right. Nothing is synced.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from ecotone.transfer import Get

__all__ = ["Begun"]

WORTH_BYTES: Final = 64 << 10
"""Shorter runs are not kept: to ask for them again costs less than to write them twice."""
_HEAD_BYTES: Final = 128


class Begun:
    """One file that holds the beginning of one run."""

    def __init__(self, path: Path) -> None:
        """Opens the file of an earlier run, or makes it. Where that cannot be, nothing is kept, and that is all."""
        self._fd, self._head = -1, b""
        with contextlib.suppress(OSError):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def taken(self, get: Get) -> bytearray:
        """What an earlier run has left of exactly this run of bytes; empty if it left none. It is given once."""
        found = b""
        with contextlib.suppress(OSError):
            if os.pread(self._fd, _HEAD_BYTES, 0) == _head(get) != self._head:
                found = os.pread(self._fd, get.length, _HEAD_BYTES)
                self._head = _head(get)
        return bytearray(found if len(found) < get.length else b"")

    def keep(self, get: Get, at: int, piece: bytes | memoryview) -> None:
        """Remembers `piece`, which begins at byte `at` of the run; what was kept of another run goes."""
        if get.length <= WORTH_BYTES:
            return
        with contextlib.suppress(OSError):
            if self._head != _head(get):
                os.ftruncate(self._fd, 0)
                self._head = b""
                if at == 0:
                    self._head = _head(get)
                    os.pwrite(self._fd, self._head, 0)
            if self._head:
                os.pwrite(self._fd, piece, _HEAD_BYTES + at)

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _head(get: Get) -> bytes:
    return f"{get.pack} {get.offset} {get.length}\n".encode().rjust(_HEAD_BYTES)
