"""What a site has of segments, and the files that are being put together.

Two places hold segments: whole model files (the store's own, Ollama's), which are cut as a publisher would cut them,
and the unfinished files of an earlier run. Neither is believed: a segment counts as here when it hashes to its name,
and is hashed again when it is taken. So there is no list of what has arrived that a crash could leave wrong:
what is in the unfinished file says itself what it is.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

from ecotone.assets import Progress, files
from ecotone.transfer import Manifest, Part, Segment, decode, encode, formats, layout
from ecotone.values import TrustError

__all__ = ["Holdings", "Staging", "candidates", "unfinished"]

FILE_BYTES_MIN: Final = 1 << 16
_MANIFEST: Final = "manifest"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, mark TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS segments (
    blake3 BLOB NOT NULL, file INTEGER NOT NULL, at INTEGER NOT NULL, length INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_blake3 ON segments (blake3);
CREATE INDEX IF NOT EXISTS by_file ON segments (file);
"""


def candidates(store: Path) -> list[Path]:
    """Files of this machine that may share segments with a model: the store's, and Ollama's where there are some."""
    folders = [
        Path(os.environ.get("OLLAMA_MODELS", "~/.ollama/models")).expanduser(),
        Path("/usr/share/ollama/.ollama/models"),
    ]
    found = [*(store / "assets" / "sha256").glob("??/*")]
    for folder in folders:
        with contextlib.suppress(OSError):  # somebody else's folder: what cannot be looked at is not used
            found += (folder / "blobs").glob("sha256-*")
    return sorted(set(found))


class Holdings:
    """Segments of the whole files on this machine, remembered from run to run by each file's identity."""

    def __init__(self, memory: Path) -> None:
        """Opens the memory, an SQLite file; a damaged one is made anew, since it can be.

        Raises:
            StoreError: `asset.io`, `asset.disk_full`.
        """
        with files.durably(f"opening {memory}"):
            files.folder(memory.parent)
            try:
                self._db = _opened(memory)
            except sqlite3.DatabaseError:
                for path in memory.parent.glob(f"{memory.name}*"):
                    path.unlink(missing_ok=True)
                self._db = _opened(memory)

    def close(self) -> None:
        """Closes the memory."""
        self._db.close()

    def look(self, paths: Iterable[Path], progress: Progress) -> None:
        """Cuts and hashes the files that are new or have changed; those that cannot be read or cut are left out.

        Files that are not among `paths` are forgotten: what has gone must not be planned with.
        """
        wanted = [*paths]
        gone = {path for (path,) in self._db.execute("SELECT path FROM files")} - {str(path) for path in wanted}
        with self._db:
            for lost in gone:
                self._forget(Path(lost))
        for path in wanted:
            try:
                mark = _mark(path)
                known = self._db.execute("SELECT mark FROM files WHERE path = ?", (str(path),)).fetchone()
                if known == (mark,) or path.stat().st_size < FILE_BYTES_MIN:
                    continue
                progress.step(f"looking at what {path.name[:24]} has in common")
                rows = list(_segments(path))
            except (OSError, TrustError):
                continue  # not a file of ours to judge: it is no source, and that is all
            self._remember(path, mark, rows)

    def look_unfinished(self, folder: Path) -> None:
        """Takes in what an unfinished delivery of another version has brought so far; its manifest lies beside it."""
        with contextlib.suppress(OSError, TrustError):  # half-written, or gone: it is no source
            manifest = unfinished(folder)
            for number, part in enumerate(manifest.parts):
                path = folder / str(number)
                with path.open("rb", buffering=0) as file:
                    fd = file.fileno()
                    places = zip(_starts(part), part.segments, strict=True)
                    rows = [(one.blake3, at, one.length) for at, one in places if _is_there(fd, at, one)]
                self._remember(path, _mark(path), rows)

    def __contains__(self, name: object) -> bool:
        """Whether a segment of that BLAKE3 is said to be here; `read` is the proof."""
        return bool(self._spots(str(name)))

    def read(self, name: str) -> bytes | None:
        """The segment, hashed again; None if it is not here after all."""
        for path, at, length in self._spots(name):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                content = os.pread(fd, length, at)
            finally:
                os.close(fd)
            if _name(content) == name:
                return content
            with self._db:
                self._forget(Path(path))
        return None

    def _spots(self, name: str) -> list[tuple[str, int, int]]:
        return self._db.execute(
            "SELECT path, at, length FROM segments JOIN files ON files.id = file WHERE blake3 = ?",
            (bytes.fromhex(name),),
        ).fetchall()

    def _remember(self, path: Path, mark: str, rows: list[tuple[str, int, int]]) -> None:
        with self._db:
            self._forget(path)
            file = self._db.execute("INSERT INTO files (path, mark) VALUES (?, ?)", (str(path), mark)).lastrowid
            found = [(bytes.fromhex(name), file, at, length) for name, at, length in rows]
            self._db.executemany("INSERT INTO segments VALUES (?, ?, ?, ?)", found)

    def _forget(self, path: Path) -> None:
        self._db.execute("DELETE FROM segments WHERE file = (SELECT id FROM files WHERE path = ?)", (str(path),))
        self._db.execute("DELETE FROM files WHERE path = ?", (str(path),))


class Staging:
    """The files of one version while they are put together, each at its full length from the start.

    `missing` are the segments that are not in place yet.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        """Opens the files of an earlier run, or makes them; what is whole in them is kept.

        Raises:
            StoreError: `asset.disk_full`, `asset.io`.
        """
        self.folder, self._manifest = folder, manifest
        self._fds: list[int] = []
        self._places: dict[str, list[tuple[int, int, int]]] = {}
        with files.durably(f"writing {folder}"):
            files.folder(folder)
            files.written(folder / _MANIFEST, encode(manifest))
            for number, part in enumerate(manifest.parts):
                fd = os.open(self.path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                self._fds.append(fd)
                for at, segment in zip(_starts(part), part.segments, strict=True):
                    self._places.setdefault(segment.blake3, []).append((number, at, segment.length))
            self.missing = self._lacking()

    def path(self, number: int) -> Path:
        """The unfinished file of a part."""
        return self.folder / str(number)

    def needed_bytes(self) -> int:
        """Disk that the files will still take."""
        return sum(
            max(part.bytes - os.fstat(fd).st_blocks * 512, 0)
            for part, fd in zip(self._manifest.parts, self._fds, strict=True)
        )

    def allocate(self) -> None:
        """Gives the files their length, so that every place in them can be written.

        Raises:
            StoreError: `asset.disk_full`, `asset.io`.
        """
        with files.durably(f"writing {self.folder}"):
            for part, fd in zip(self._manifest.parts, self._fds, strict=True):
                os.ftruncate(fd, part.bytes)

    def put(self, name: str, content: bytes) -> None:
        """Writes the segment, which its caller has hashed, to all its places.

        Raises:
            StoreError: `asset.disk_full`, `asset.io`.
        """
        with files.durably(f"writing {self.folder}"):
            for number, at, _ in self._places[name]:
                done = 0
                while done < len(content):
                    done += os.pwrite(self._fds[number], memoryview(content)[done:], at + done)
        self.missing.discard(name)

    def has(self, name: str) -> bool:
        """Whether the segment is in place."""
        return name in self._places and name not in self.missing

    def read(self, name: str) -> bytes | None:
        """A segment that is in place, hashed again; None if it is not."""
        if not self.has(name):
            return None
        number, at, length = self._places[name][0]
        content = os.pread(self._fds[number], length, at)
        return content if _name(content) == name else None

    def close(self) -> None:
        """Closes the files; what is in them stays for the next run."""
        for fd in self._fds:
            os.close(fd)
        self._fds = []

    def _lacking(self) -> set[str]:
        """The segments of which a place does not hold them. Holes are not read."""
        lacking: set[str] = set()
        for name, places in self._places.items():
            for number, at, length in places:
                if not _is_there(self._fds[number], at, Segment(name, length, 0, 0)):
                    lacking.add(name)
                    break
        return lacking


def unfinished(folder: Path) -> Manifest:
    """What an unfinished delivery is of.

    Raises:
        OSError: It has no manifest.
        TrustError: `delivery.manifest`, for a damaged one.
    """
    return decode((folder / _MANIFEST).read_bytes())


def _is_there(fd: int, at: int, segment: Segment) -> bool:
    return _has_bytes(fd, at, segment.length) and _name(os.pread(fd, segment.length, at)) == segment.blake3


def _has_bytes(fd: int, at: int, length: int) -> bool:
    if os.fstat(fd).st_size < at + length:
        return False
    try:
        return os.lseek(fd, at, os.SEEK_DATA) < at + length
    except OSError:
        return False  # ENXIO: there is nothing but a hole up to the end


def _starts(part: Part) -> list[int]:
    return [0, *accumulate(segment.length for segment in part.segments)][:-1]


def _opened(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=60)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _segments(path: Path) -> Iterator[tuple[str, int, int]]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(fd).st_size

        def read(at: int, n: int) -> bytes:
            return os.pread(fd, n, at)

        table = layout.tensors(read, size, formats.found(read, size))
        for span in layout.cuts(read, size, table):
            yield _name(read(span.at, span.length)), span.at, span.length
    finally:
        os.close(fd)


def _mark(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _name(content: bytes) -> str:
    from blake3 import blake3

    return blake3(content).hexdigest()
