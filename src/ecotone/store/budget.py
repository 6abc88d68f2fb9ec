"""How much of the disk the queue may take: asked before anything new is accepted, so that the disk is never full."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ecotone.store.queue_limits import QueueLimits
from ecotone.values import RefusalError

__all__ = ["Budget", "free_bytes"]

RETRY_AFTER_S: Final = 60.0
_OVERHEAD: Final = 4096
"""Bytes that a row costs besides its content, generously: a page."""


def free_bytes(folder: Path) -> int:
    """Bytes that this user may still write to a folder's disk."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class Budget:
    """The bounds of one file's size."""

    def __init__(self, folder: Path, limits: QueueLimits, free: Callable[[Path], int] = free_bytes) -> None:
        self._folder, self._limits, self._free = folder, limits, free

    def check(self, connection: sqlite3.Connection, size: int) -> None:
        """There is room for so many bytes more.

        Raises:
            RefusalError: `refused.store_full`: there is not; nothing was changed.
        """
        page, pages, unused = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        after = (pages - unused) * page + size + _OVERHEAD
        if after > self._limits.disk_bytes_max:
            raise _full(f"the {self._limits.disk_bytes_max} bytes that the queue may use are used")
        # The WAL holds a change once more until it is put into the file.
        if self._free(self._folder) < self._limits.free_bytes_min + 2 * (size + _OVERHEAD):
            raise _full("the disk is nearly full")


def _full(why: str) -> RefusalError:
    message = f"The site can queue nothing more: {why}; what was accepted is safe."
    return RefusalError("refused.store_full", message, status=507, retry_after_s=RETRY_AFTER_S)
