"""Small binary documents that lie on the disk encrypted, are replaced whole, and never keep a site from starting."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Final

from ecotone.store.disk import Disk
from ecotone.store.sealing import Sealer, UnsealError
from ecotone.values import EcotoneError

__all__ = ["DOCUMENT_BYTES_MAX", "Documents"]

DOCUMENT_BYTES_MAX: Final = 64 << 20
"""No document is longer: it is read, opened and held whole."""
_FOLDER: Final = "sealed"
_SUFFIX: Final = ".sealed"
_SEAL_BYTES: Final = 12 + 16
"""What sealing adds: nonce and tag of AES-GCM."""
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_BROKEN_MAX: Final = 9
"""So many broken files of one name are kept; then the last one is replaced."""


class Documents:
    """Documents in `<store>/sealed/`. Reads and writes block: on the loop, use `asyncio.to_thread`.

    Each is bound to its name: one that was renamed does not open. That an old one was put back does not show.
    """

    def __init__(
        self, store: Path, key: bytes, *, disk: Disk | None = None, bytes_max: int = DOCUMENT_BYTES_MAX
    ) -> None:
        """Makes nothing yet.

        Args:
            key: The store's key, as `sealing.key` gives it.
            bytes_max: No document is longer.
        """
        self._folder = store / _FOLDER
        self._sealer = Sealer(key)
        self._disk = disk or Disk()
        self._bytes_max = bytes_max

    def read(self, name: str) -> bytes | None:
        """The document, or None where there is none that can be used.

        One that was changed, sealed with another key, or is too long, is renamed to `<name>.sealed.broken-<n>`: with
        the key of its time it may yet be opened.
        """
        path = self._path(name)
        try:
            with path.open("rb") as file:
                sealed = file.read(self._bytes_max + _SEAL_BYTES + 1)
        except OSError:
            return None
        try:
            if len(sealed) > self._bytes_max + _SEAL_BYTES:
                raise UnsealError(name)
            return self._sealer.unseal(sealed, "documents", name)
        except UnsealError:
            with contextlib.suppress(OSError):
                self._disk.move(path, self._broken(path))
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replaces the document; after a crash there is the old one or the new one.

        Raises:
            EcotoneError: `store.document`: it is too long, or the disk refused; the old document stands.
        """
        path = self._path(name)
        if len(content) > self._bytes_max:
            message = f"{path}: {len(content)} bytes are too many; at most {self._bytes_max} are kept"
            raise EcotoneError("store.document", message)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._disk.save(path, self._sealer.seal(content, "documents", name))
        except OSError as error:
            raise EcotoneError("store.document", f"{path}: {error}; check rights and free space") from error

    def remove(self, name: str) -> None:
        """The document is not there, nor what is broken of it. Idempotent.

        Raises:
            EcotoneError: `store.document`: the disk refused.
        """
        path = self._path(name)
        try:
            for gone in (path, *(self._aside(path, number) for number in range(1, _BROKEN_MAX + 1))):
                self._disk.remove(gone)
            if self._folder.is_dir():
                self._disk.sync_folder(self._folder)
        except OSError as error:
            raise EcotoneError("store.document", f"{path}: {error}; check rights") from error

    def _path(self, name: str) -> Path:
        assert _NAME.fullmatch(name), f"{name!r} cannot name a document"
        return self._folder / f"{name}{_SUFFIX}"

    def _broken(self, path: Path) -> Path:
        """The first free name for a broken file."""
        names = [self._aside(path, number) for number in range(1, _BROKEN_MAX + 1)]
        return next((free for free in names if not free.exists()), names[-1])

    @staticmethod
    def _aside(path: Path, number: int) -> Path:
        return path.with_name(f"{path.name}.broken-{number}")
