"""What runs on this machine, as far as it can be seen: the site on a store, and who has a file open."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from ecotone.store.disk import Lock
from ecotone.store.ledger import LOCK

__all__ = ["is_open", "site_running"]

_START_AT = 19  # fields of /proc/PID/stat after the name, before the time at which the process began


def site_running(store: Path) -> str | None:
    """Which process is the site on this store: the same text for as long as it runs.

    Empty where none runs; None where one runs and it cannot be said which, as when it runs in another container.
    """
    lock = store / LOCK
    if not Lock.is_held(lock):
        return ""
    try:
        pid = int(lock.read_text("ascii"))
        began = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[_START_AT]
    except (OSError, ValueError, IndexError):
        return None
    return f"{pid}:{began}"


def is_open(paths: Collection[Path]) -> bool:
    """Whether a process that we may look at has one of the files open, or mapped into its memory."""
    wanted = set()
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            continue  # gone: nothing can be lost
        wanted.add((found.st_dev, found.st_ino))
    return bool(wanted) and any(_has(process, wanted) for process in Path("/proc").glob("[0-9]*"))


def _has(process: Path, wanted: set[tuple[int, int]]) -> bool:
    for kind in ("fd", "map_files"):
        try:
            entries = list(os.scandir(process / kind))
        except OSError:
            continue  # it has ended, or is somebody else's, who cannot read the store either
        for entry in entries:
            try:
                found = entry.stat()
            except OSError:
                continue
            if (found.st_dev, found.st_ino) in wanted:
                return True
    return False
