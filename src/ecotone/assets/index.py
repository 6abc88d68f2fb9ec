"""The store's memory: which reference is which digest. One small JSON file, replaced whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from ecotone.assets import files
from ecotone.assets.errors import StoreError

__all__ = ["Index", "Record"]

LOCK_WAIT_S = 10.0


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of one reference.

    Attributes:
        sha256: The digest that the file must have from now on.
        is_first_use: True if nobody stated the digest: it was taken from the file when it was first seen.
    """

    sha256: str
    is_first_use: bool = False


class _File(msgspec.Struct, frozen=True):
    version: Literal[1]
    assets: dict[str, Record]


class Index:
    """References and their records."""

    def __init__(self, path: Path) -> None:
        """Nothing is read or made yet."""
        self._path = path

    def records(self) -> dict[str, Record]:
        """All records by reference.

        Raises:
            StoreError: `asset.index`, if the file is damaged. What was trusted on first use is in there, so
                that it is not made anew in silence.
        """
        with files.durably(f"reading {self._path}"):
            try:
                raw = self._path.read_bytes()
            except FileNotFoundError:
                return {}
        try:
            return msgspec.json.decode(raw, type=_File).assets
        except msgspec.DecodeError as error:
            raise StoreError(
                "asset.index",
                f"{self._path} is damaged ({error}). Move it away: models of the catalogue and those with a "
                "#sha256= are found again by their digest; a file: or hf: without one is trusted anew at its first use",
            ) from error

    def change(self, edit: Callable[[dict[str, Record]], None]) -> None:
        """Reads, edits and replaces the records; changes by several processes come one after the other.

        Raises:
            StoreError: `asset.index`, `asset.busy`, `asset.disk_full`, `asset.io`.
        """
        with files.durably(f"writing {self._path}"):
            files.folder(self._path.parent)
            with files.locked(self._path.with_suffix(".lock"), LOCK_WAIT_S):
                records = self.records()
                edit(records)
                content = msgspec.json.encode(_File(1, dict(sorted(records.items()))))
                files.written(self._path, msgspec.json.format(content) + b"\n")
