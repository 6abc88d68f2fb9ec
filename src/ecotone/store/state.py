"""Small durable state: JSON documents that are replaced whole, and never keep a site from starting."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from ecotone.store.disk import Disk
from ecotone.values import EcotoneError

__all__ = ["State"]

T = TypeVar("T")

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_BROKEN_MAX: Final = 9
"""So many broken files of one name are kept; then the last one is replaced."""


class State:
    """Documents in `<store>/state/`. Reads and writes block: on the loop, use `asyncio.to_thread`."""

    def __init__(self, store: Path, disk: Disk | None = None) -> None:
        self._folder = store / "state"
        self._disk = disk or Disk()

    def read(self, name: str, kind: type[T]) -> T | None:
        """The document, or None where there is none that can be used.

        One that is broken, or of another shape, is renamed to `<name>.json.broken-<n>`.
        """
        path = self._path(name)
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except OSError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError):
            with contextlib.suppress(OSError):
                self._disk.move(path, self._broken(path))
            return None

    def write(self, name: str, document: Any) -> None:
        """Replaces the document; after a crash there is the old one or the new one.

        Raises:
            EcotoneError: `store.state`: the disk refused; the old document stands.
        """
        path = self._path(name)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._disk.save(path, msgspec.json.encode(document))
        except OSError as error:
            raise EcotoneError("store.state", f"{path}: {error}; check rights and free space") from error

    def _path(self, name: str) -> Path:
        assert _NAME.fullmatch(name), f"{name!r} cannot name a document"
        return self._folder / f"{name}.json"

    def _broken(self, path: Path) -> Path:
        """The first free name for a broken file."""
        names = [path.with_name(f"{path.name}.broken-{number}") for number in range(1, _BROKEN_MAX + 1)]
        return next((free for free in names if not free.exists()), names[-1])
