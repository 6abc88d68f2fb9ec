"""A few questions and answers that compared badly, for the operator to look at: the one place that keeps content.

A ring of sealed files, each replaced whole. It is written only where the configuration asks for it in words, and takes
nothing of a conversation with labels.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store.disk import Disk
from ecotone.store.sealing import Sealer, UnsealError
from ecotone.values import EcotoneError

__all__ = ["EXAMPLES_MAX", "TEXT_CHARS_MAX", "Example", "Examples"]

EXAMPLES_MAX: Final = 200
"""So many are kept; the oldest makes room."""
TEXT_CHARS_MAX: Final = 4_000
"""Longer texts keep their beginning and their end."""
_FOLDER: Final = "examples"
_NAME: Final = re.compile(r"(\d{4})\.sealed")
_FILE_BYTES_MAX: Final = 1 << 20
_CUT: Final = "\n[…]\n"


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One question with both answers. Content: it is sealed at rest, and shown only to who has the store's key.

    Attributes:
        at_ms: Milliseconds since the Unix epoch.
        gap: How much worse the edge's answer was, in [-1, 1].
        facets: What the request was like, as the report's clusters say it.
    """

    request: str
    model: str
    target: str
    at_ms: int
    gap: float
    checker: str
    question: str
    edge: str
    cloud: str
    facets: tuple[str, ...] = ()


class Examples:
    """Examples in `<store>/examples/`. Everything blocks: on the loop, use `asyncio.to_thread`; one writer."""

    def __init__(self, store: Path, key: bytes, *, disk: Disk | None = None, kept_max: int = EXAMPLES_MAX) -> None:
        """Makes nothing yet.

        Args:
            key: The store's key, as `sealing.key` gives it.
        """
        self._folder = store / _FOLDER
        self._sealer = Sealer(key)
        self._disk = disk or Disk()
        self._max = kept_max
        self._next: int | None = None

    def add(self, example: Example, labels: tuple[str, ...]) -> bool:
        """Keeps an example in place of the oldest; whether it did: nothing is kept of a conversation with labels.

        Raises:
            EcotoneError: `store.examples`: the disk refused.
        """
        if labels:
            return False
        slot = self._slot()
        path = self._path(slot)
        kept = msgspec.structs.replace(
            example, question=_cut(example.question), edge=_cut(example.edge), cloud=_cut(example.cloud)
        )
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._disk.save(path, self._sealer.seal(msgspec.json.encode(kept), "examples", path.name))
        except OSError as error:
            raise EcotoneError("store.examples", f"{path}: {error}; check rights and free space") from error
        self._next = (slot + 1) % self._max
        return True

    def read(self, model: str | None = None) -> list[Example]:
        """The examples of a model name, or all; newest first. What cannot be opened is left out."""
        found = (self._opened(path) for path in self._files())
        kept = [one for one in found if one is not None and model in (None, one.model)]
        return sorted(kept, key=lambda one: one.at_ms, reverse=True)

    def purge(self, before_ms: int | None = None) -> int:
        """Removes the examples older than this, or all, and with all of them what cannot be opened; how many.

        Raises:
            EcotoneError: `store.examples`: the disk refused.
        """
        gone = 0
        try:
            for path in self._files():
                kept = self._opened(path) if before_ms is not None else None
                if before_ms is None or (kept is not None and kept.at_ms < before_ms):
                    self._disk.remove(path)
                    gone += 1
            if gone:
                self._disk.sync_folder(self._folder)
        except OSError as error:
            raise EcotoneError("store.examples", f"{self._folder}: {error}; check rights") from error
        return gone

    def _slot(self) -> int:
        """Where the next one goes: a free place, else that of the oldest."""
        if self._next is None:
            times: dict[int, int] = {}
            for path in self._files():
                match, kept = _NAME.fullmatch(path.name), self._opened(path)
                if match is not None and int(match[1]) < self._max:
                    times[int(match[1])] = -1 if kept is None else kept.at_ms
            free = next((slot for slot in range(self._max) if slot not in times), None)
            self._next = min(times, key=times.__getitem__) if free is None else free
        return self._next

    def _files(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))
        return []

    def _path(self, slot: int) -> Path:
        return self._folder / f"{slot:04d}.sealed"

    def _opened(self, path: Path) -> Example | None:
        try:
            with path.open("rb") as file:
                sealed = file.read(_FILE_BYTES_MAX)
            return msgspec.json.decode(self._sealer.unseal(sealed, "examples", path.name), type=Example)
        except (OSError, UnsealError, msgspec.DecodeError):
            return None


def _cut(text: str) -> str:
    """A text of bounded length; its surrogates, if any, replaced so that it can be written."""
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= TEXT_CHARS_MAX:
        return text
    half = (TEXT_CHARS_MAX - len(_CUT)) // 2
    return text[:half] + _CUT + text[-half:]
