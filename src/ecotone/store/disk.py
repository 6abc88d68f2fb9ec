"""What the ledger asks of the file system, in one place, so that tests can put faults there."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from ecotone.values import ConfigError

__all__ = ["Disk", "Lock"]

_COPY_BYTES: Final = 1 << 20
_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_DSYNC


class Disk:
    """The operations of the ledger's writer. Every method may raise OSError."""

    def create(self, path: Path) -> int:
        """A new, empty file of this user's only, open for `append`."""
        return os.open(path, _APPEND | os.O_CREAT | os.O_EXCL, 0o600)

    def reopen(self, path: Path) -> int:
        """An existing file, open for `append`; what a process before this one wrote to it is durable."""
        fd = os.open(path, _APPEND)
        try:
            os.fsync(fd)
        except OSError:
            self.close(fd)
            raise
        return fd

    def append(self, fd: int, content: bytes) -> None:
        """Returns when all of it is on the disk (O_DSYNC: write and fdatasync in one call, one thread switch less)."""
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]

    def close(self, fd: int) -> None:
        """Lets go of a file; what close() says of it is of no use, for all of it was synchronised or given up."""
        with contextlib.suppress(OSError):
            os.close(fd)

    def cut(self, path: Path, size: int) -> None:
        """The file is `size` bytes long, durably."""
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            self.close(fd)

    def save(self, path: Path, content: bytes) -> None:
        """A whole small file, durable, in place of any that was there: never half of it."""
        temp = path.with_name(f"{path.name}.tmp")
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            self.append(fd, content)
            os.fsync(fd)
        finally:
            self.close(fd)
        temp.replace(path)
        self.sync_folder(path.parent)

    def behead(self, path: Path, start: int) -> None:
        """The file's bytes before `start` are gone; a reader sees the old file or the new one, never a half."""
        temp = path.with_name(f"{path.name}.tmp")
        with path.open("rb") as file:
            file.seek(start)
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                while block := file.read(_COPY_BYTES):
                    self.append(fd, block)
                os.fsync(fd)
            finally:
                self.close(fd)
        temp.replace(path)
        self.sync_folder(path.parent)

    def remove(self, path: Path) -> None:
        """The file is not there."""
        path.unlink(missing_ok=True)

    def move(self, path: Path, to: Path) -> None:
        """The file has another name; durable with the next `sync_folder`."""
        path.replace(to)

    def sync_folder(self, path: Path) -> None:
        """The folder's names are durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            self.close(fd)


class Lock:
    """One writer per store: held until `release`, or until the process ends in whatever way."""

    def __init__(self, path: Path) -> None:
        """Takes the lock.

        Raises:
            ConfigError: `store.locked`: another process has it.
            OSError: the file cannot be made.
        """
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(self._fd, 32).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise ConfigError(
                "store.locked",
                f"store.path: another site (process {owner or 'unknown'}) writes to {path.parent}; "
                "stop it, or give this site a folder of its own",
            ) from error
        with contextlib.suppress(OSError):  # a full disk: the number is only a hint for the message above
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether a process holds the lock now."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def release(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
