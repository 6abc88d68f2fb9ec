"""The container of what travels on a stick: entries with names, one after the other. It is read in place.

    ECOTONE-BUNDLE/1\n
    entries: length of the name (2 bytes), of the content (8 bytes, both big-endian), name, content
    the end: 0 as the length of a name, and the number of entries in place of the length of a content

Nothing of it is trusted: who reads it says which names there may be, and checks what is in them.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from ecotone.assets import FetchError, StoreError, files
from ecotone.delivery.sources import SourceMissing
from ecotone.values import ConfigError, TrustError

__all__ = ["ENTRIES_MAX", "Contents", "Writing", "malformed", "new_file"]

MAGIC: Final = b"ECOTONE-BUNDLE/1\n"
ENTRY: Final = struct.Struct(">HQ")
ENTRIES_MAX: Final = 400_000
_NAME_BYTES_MAX: Final = 400


class Writing:
    """A container that is being written."""

    def __init__(self, file: BinaryIO) -> None:
        """Writes how it begins."""
        self._file, self._count = file, 0
        file.write(MAGIC)

    def put(self, name: str, content: bytes) -> None:
        """One entry."""
        self.pour(name, len(content), (content,))

    def pour(self, name: str, length: int, pieces: Iterable[bytes]) -> None:
        """One entry that is longer than what should be held at once; the pieces must make up its length."""
        raw = name.encode()
        self._file.write(ENTRY.pack(len(raw), length) + raw)
        for piece in pieces:
            self._file.write(piece)
            length -= len(piece)
        assert length == 0, f"{name} is not as long as was said"
        self._count += 1

    def end(self) -> None:
        """Writes how it ends."""
        self._file.write(ENTRY.pack(0, self._count))


@contextlib.contextmanager
def new_file(to: Path) -> Iterator[BinaryIO]:
    """A file that is there, whole and durable, when this ends without an error, and else is not.

    Raises:
        ConfigError: `hub.file`: there is one already.
        StoreError: `asset.disk_full`, `asset.io`.
    """
    if to.exists():
        raise ConfigError("hub.file", f"{to} is there already: give the name of a new file")
    fresh = to.with_name(f".{to.name}.{os.getpid()}.new")
    try:
        with files.durably(f"writing {to}"):
            with fresh.open("xb") as file:
                yield file
            files.moved(fresh, to, 0o644)
    finally:
        fresh.unlink(missing_ok=True)


class Contents:
    """What is in a container: `places` has for each name where its content begins, and its length. Close it."""

    def __init__(self, path: Path, allowed: re.Pattern[str]) -> None:
        """Reads what is in it, but no content.

        Raises:
            ConfigError: `hub.file`, if it cannot be read.
            TrustError: `bundle.malformed`: it is none, or has a name that is not allowed, or one twice;
                `bundle.truncated`.
        """
        self.path: Final = path
        self.places: Final[dict[str, tuple[int, int]]] = {}
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ConfigError("hub.file", f"{path} cannot be read: {error.strerror}") from error
        try:
            self._index(allowed)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def content(self, name: str, bytes_max: int) -> bytes:
        """All of a small entry.

        Raises:
            SourceMissing: `asset.refused`: it is not there.
            FetchError: `asset.too_large`.
        """
        if name not in self.places:
            raise SourceMissing("asset.refused", f"{self.path} has no {name}")
        at, length = self.places[name]
        if length > bytes_max:
            raise FetchError("asset.too_large", f"{name} in {self.path} is longer than {bytes_max} bytes")
        return self.read(at, length)

    def read(self, at: int, length: int) -> bytes:
        """Bytes of the file.

        Raises:
            StoreError: `asset.io`.
            TrustError: `bundle.truncated`: it has become shorter.
        """
        try:
            content = os.pread(self._fd, length, at)
        except OSError as error:
            raise StoreError("asset.io", f"{self.path} cannot be read: {error.strerror}. Check the stick") from error
        if len(content) < length:
            raise _truncated(self.path)
        return content

    def _index(self, allowed: re.Pattern[str]) -> None:
        size, at = os.fstat(self._fd).st_size, len(MAGIC)
        if self.read(0, min(size, at)) != MAGIC:
            raise malformed(self.path, "it does not begin like one")
        for count in range(ENTRIES_MAX):
            if at + ENTRY.size > size:
                raise _truncated(self.path)
            name_bytes, content_bytes = ENTRY.unpack(self.read(at, ENTRY.size))
            at += ENTRY.size
            if not name_bytes:
                if content_bytes != count or at != size:
                    raise malformed(self.path, "its end is not where it should be")
                return
            if name_bytes > _NAME_BYTES_MAX:
                raise malformed(self.path, "a name in it is too long")
            if at + name_bytes + content_bytes > size:
                raise _truncated(self.path)
            name = self.read(at, name_bytes).decode("ascii", "replace")
            if not allowed.fullmatch(name) or name in self.places:
                raise malformed(self.path, "a name in it is none that can be there, or stands twice")
            self.places[name] = (at + name_bytes, content_bytes)
            at += name_bytes + content_bytes
        raise malformed(self.path, f"it has more than {ENTRIES_MAX} entries")


def malformed(path: Path, why: str) -> TrustError:
    """The file is no bundle, or not of the kind that is read here."""
    return TrustError("bundle.malformed", f"{path} is no bundle that can be used here: {why}. Nothing of it is used")


def _truncated(path: Path) -> TrustError:
    return TrustError("bundle.truncated", f"{path} ends too early: copy it again. Nothing of it is used")
