"""What the room asks of the file system: durable replacement, folders, locks between processes, free space."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ecotone.assets.errors import StoreError

__all__ = ["durably", "folder", "free_space", "locked", "moved", "sync_folder", "written"]

SPARE_BYTES = 64 << 20  # what a download leaves free for the site's own journal and queue
LOCK_POLL_S = 0.1
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def durably(what: str) -> Iterator[None]:
    """Operations on the store's folder; their OSError becomes a StoreError that says how to mend it.

    Raises:
        StoreError: `asset.disk_full` or `asset.io`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreError(
                "asset.disk_full",
                f"{what}: the disk (or a quota or file size limit) is full: {error}. Free some space and run "
                "the same command again: it goes on where it stopped",
            ) from error
        raise StoreError("asset.io", f"{what}: {error}. Check the folder's owner, rights and disk") from error


def folder(path: Path) -> Path:
    """The folder, made if need be, for this user only."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def sync_folder(path: Path) -> None:
    """Makes the folder's entries durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def moved(source: Path, target: Path, mode: int) -> None:
    """`source` is `target`, whole and durable: its bytes first, then its name."""
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)
    source.replace(target)
    sync_folder(target.parent)


def written(target: Path, content: bytes) -> None:
    """`target` holds `content`; after a crash it holds the old content or the new, never a part."""
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        fresh.write_bytes(content)
        moved(fresh, target, 0o600)
    finally:
        fresh.unlink(missing_ok=True)


def free_space(path: Path, needed: int, what: str) -> None:
    """Refuses before the first byte what the disk cannot hold.

    Raises:
        StoreError: `asset.disk_full`, with both sizes.
    """
    free = os.statvfs(path)
    free_bytes = free.f_bavail * free.f_frsize
    if free_bytes < needed + SPARE_BYTES:
        raise StoreError(
            "asset.disk_full",
            f"{what} needs {(needed + SPARE_BYTES) / 1e6:.0f} MB in {path} ({SPARE_BYTES / 1e6:.0f} MB of them "
            f"stay free), and {free_bytes / 1e6:.0f} MB are free. Free some space or move the store",
        )


@contextlib.contextmanager
def locked(path: Path, wait_s: float, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Only one process (and one thread) holds the lock file at a time; a killed holder's lock is free.

    Args:
        path: The lock file; it stays, empty.
        wait_s: Longest wait for another holder, seconds.
        on_wait: Called once, if there is another holder.

    Raises:
        StoreError: `asset.busy`, if another holder keeps it for longer.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(fd, path, wait_s, on_wait)
        yield
    finally:
        os.close(fd)


def _acquire(fd: int, path: Path, wait_s: float, on_wait: Callable[[], None]) -> None:
    until_s: float | None = None
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            now_s = time.monotonic()
            if until_s is None:
                until_s = now_s + wait_s
                on_wait()
            if now_s >= until_s:
                raise StoreError(
                    "asset.busy", f"another process has held {path} for {wait_s:.0f} s: wait for it, or end it"
                ) from error
            time.sleep(LOCK_POLL_S)
        else:
            return
