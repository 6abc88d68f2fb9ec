"""Files and batches in memory: see `sim.queue`."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from ecotone.values import Batch, RefusalError, RequestError, StoredFile

__all__ = ["MemoryFiles"]

_T = TypeVar("_T", StoredFile, Batch)
_OVER: Final = ("completed", "failed", "expired", "cancelled")


class MemoryFiles:
    """Implements `ports.Files` and most of `ports.Batches`.

    Attributes:
        is_full: Where a history says so, nothing is accepted (`refused.store_full`).
    """

    def __init__(self, *, files_max: int = 10_000, file_bytes_max: int = 200 << 20) -> None:
        self.is_full = False
        self._file_bounds = (files_max, file_bytes_max)
        self._files: dict[str, StoredFile] = {}
        self._contents: dict[str, bytes] = {}
        self._batches: dict[str, Batch] = {}

    def check_room(self) -> None:
        """The made disk has room.

        Raises:
            RefusalError: `refused.store_full`: it has not.
        """
        if self.is_full:
            raise RefusalError("refused.store_full", "The made disk is full.", status=507, retry_after_s=60.0)

    async def begin_file(self, file: StoredFile) -> None:
        """See `ports.Files.begin_file`."""
        self.check_room()
        self._begin(file)

    async def append_file(self, file: str, content: bytes) -> int:
        """See `ports.Files.append_file`."""
        self.check_room()
        return self._append(self._unfinished(file), content)

    async def finish_file(self, file: str) -> StoredFile:
        """See `ports.Files.finish_file`."""
        found = msgspec.structs.replace(self._unfinished(file), is_whole=True)
        self._files[file] = found
        return found

    async def put_file(self, file: StoredFile, content: bytes) -> StoredFile:
        """See `ports.Files.put_file`."""
        self.check_room()
        if len(content) > self._file_bounds[1]:
            raise _too_long()
        self._begin(file)
        self._append(self._files[file.id], content)
        return await self.finish_file(file.id)

    async def file(self, file: str) -> StoredFile | None:
        """See `ports.Files.file`."""
        return self._files.get(file)

    async def read_file(self, file: str, start: int, limit: int) -> bytes | None:
        """See `ports.Files.read_file`."""
        return self._contents[file][start : start + limit] if file in self._files else None

    async def files(self, *, key: str | None = None, after: str = "", limit: int) -> tuple[StoredFile, ...]:
        """See `ports.Files.files`."""
        found = [file for file in reversed(self._files.values()) if file.is_whole and key in (None, file.key)]
        return tuple(_behind(found, after)[:limit])

    async def delete_file(self, file: str) -> bool:
        """See `ports.Files.delete_file`."""
        self._contents.pop(file, None)
        return self._files.pop(file, None) is not None

    async def put_batch(self, batch: Batch) -> None:
        """See `ports.Batches.put_batch`."""
        self._batches[batch.id] = batch

    async def batch(self, batch: str) -> Batch | None:
        """See `ports.Batches.batch`."""
        return self._batches.get(batch)

    async def batches(self, *, key: str | None = None, after: str = "", limit: int) -> tuple[Batch, ...]:
        """See `ports.Batches.batches`."""
        found = [batch for batch in reversed(self._batches.values()) if key in (None, batch.key)]
        return tuple(_behind(found, after)[:limit])

    def drop_unfinished(self) -> None:
        """At a restart: whoever was writing files is gone."""
        self._files = {name: file for name, file in self._files.items() if file.is_whole}

    def drop_expired(self, now_ms: int) -> None:
        """Files whose time is over are gone."""
        self._files = {
            name: file for name, file in self._files.items() if not (file.is_whole and 0 < file.expires_at_ms <= now_ms)
        }

    def drop_batches(self, before_ms: int, used: set[str]) -> None:
        """Batches that are over, were to end before an instant, and have no jobs are gone."""
        self._batches = {
            name: batch
            for name, batch in self._batches.items()
            if not (batch.state in _OVER and batch.expires_at_ms < before_ms and name not in used)
        }

    def _begin(self, file: StoredFile) -> None:
        held = self._files.get(file.id)
        if held is not None and held.is_whole:
            raise RequestError("request.file", f"The file {file.id} is whole already.", status=409)
        self._files.pop(file.id, None)
        if len(self._files) >= self._file_bounds[0]:
            raise RefusalError("refused.queue_full", "There are too many files.", status=429, retry_after_s=60.0)
        self._files[file.id] = msgspec.structs.replace(file, size=0, is_whole=False)
        self._contents[file.id] = b""

    def _append(self, file: StoredFile, content: bytes) -> int:
        whole = self._contents[file.id] + content
        if len(whole) > self._file_bounds[1]:
            raise _too_long()
        self._contents[file.id] = whole
        self._files[file.id] = msgspec.structs.replace(file, size=len(whole))
        return len(whole)

    def _unfinished(self, name: str) -> StoredFile:
        held = self._files.get(name)
        if held is None or held.is_whole:
            raise RequestError("request.file", f"No file {name} is being written.", status=404)
        return held


def _behind(found: list[_T], after: str) -> list[_T]:
    """What comes behind one of these; nothing where it is not among them."""
    if not after:
        return found
    names = [one.id for one in found]
    return found[names.index(after) + 1 :] if after in names else []


def _too_long() -> RequestError:
    return RequestError("request.too_large", "The file is longer than this site keeps.", status=413)
