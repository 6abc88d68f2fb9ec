"""A file's SHA-256, and a hold on exactly the file that was hashed.

Between the check and the use somebody may put another file in its place. Two things stand against it:

* The file is opened once. The digest is taken through that descriptor, and the same descriptor is handed out:
  `/proc/self/fd/N`, inherited by the worker, is the file that was hashed, whatever its name points to by then.
* A descriptor does not stop a writer who changes the same file in place. Linux moves a file's ctime at every
  write and lets nobody set it back, so the identity (device, inode, size, mtime, ctime) is compared before and
  after hashing, and once more by `Held.confirm` when the loader has read the file. The kernel's clock for
  ctime ticks every 1 to 10 ms: a change within one tick of the check may go unseen.

What this does not stop: root, or the same user with the site's own rights, who can change the running worker
itself. Whoever must stop those puts the store on a file system with fs-verity.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ecotone.values import ConfigError, TrustError

__all__ = ["Held", "held", "sha256_of", "sha256_of_text"]

CHUNK_BYTES = 1 << 20
_Identity = tuple[int, int, int, int, int]


class Held:
    """An open file whose digest was right; valid inside the `with` that gave it."""

    def __init__(self, path: Path, fd: int, sha256: str) -> None:
        """Takes an open descriptor; the caller closes it."""
        self.path = path
        self.fd = fd
        self.sha256 = sha256
        self._identity = _identity(fd)

    @property
    def fd_path(self) -> str:
        """A path to the very file that was hashed, for a child that inherits `fd` (`pass_fds=[held.fd]`)."""
        return f"/proc/self/fd/{self.fd}"

    @property
    def fds(self) -> tuple[int, ...]:
        """The descriptor, alone."""
        return (self.fd,)

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self._identity[2]

    def confirm(self) -> None:
        """Promises that nobody wrote to the file, nor put another in its place, since it was hashed.

        To be called when a loader that was given `path` or `fd_path` has read the file.

        Raises:
            TrustError: `asset.changed`.
        """
        try:
            now = self.path.stat()
        except OSError as error:
            raise _changed(self.path) from error
        if _of(now) != self._identity or _identity(self.fd) != self._identity:
            raise _changed(self.path)


@contextlib.contextmanager
def held(path: Path, *, is_link_allowed: bool = True) -> Iterator[Held]:
    """The file, opened once and hashed through that descriptor; memory stays at one chunk.

    Raises:
        ConfigError: `asset.file`, if there is no readable regular file at the path.
        TrustError: `asset.changed`, if it was written to or replaced meanwhile.
    """
    fd = _opened(path, is_link_allowed)
    try:
        before = _identity(fd)
        digest = sha256_of(fd)
        file = Held(path, fd, digest)
        if file._identity != before:
            raise _changed(path)
        file.confirm()
        yield file
    finally:
        os.close(fd)


def sha256_of(fd: int) -> str:
    """SHA-256 of the open file from its start, in hexadecimal; the descriptor's position does not move.

    The interpreter lock is released while a chunk is hashed, so that a thread may do it beside an event loop.
    """
    digest, buffer, at = hashlib.sha256(), memoryview(bytearray(CHUNK_BYTES)), 0
    while n := os.preadv(fd, [buffer], at):
        digest.update(buffer[:n])
        at += n
    return digest.hexdigest()


def _opened(path: Path, is_link_allowed: bool) -> int:
    # Not blocking: a fifo in the file's place must not hang a start.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if is_link_allowed else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise TrustError("asset.changed", f"{path} is a symbolic link; the store holds none") from error
        raise ConfigError("asset.file", f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ConfigError("asset.file", f"{path} is not a regular file: give the path of the model file itself")
    return fd


def _identity(fd: int) -> _Identity:
    return _of(os.fstat(fd))


def _of(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _changed(path: Path) -> TrustError:
    return TrustError(
        "asset.changed",
        f"{path} was changed or replaced while it was being checked or loaded: nothing of it is used. Find out "
        "what writes there, then start again",
    )


def sha256_of_text(text: str) -> str:
    """SHA-256 of the text in UTF-8, in hexadecimal: a file name for anything."""
    return hashlib.sha256(text.encode()).hexdigest()
