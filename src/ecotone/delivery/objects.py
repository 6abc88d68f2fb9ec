"""Where a hub's files lie: the port, and a folder of this machine behind it.

A name is a path below the hub (`packs/<blake3>`, `director/metadata/timestamp.json`). What is written is there whole
and durable or not at all, and whoever reads meanwhile sees what was there before or what is there now.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec

from ecotone.assets import StoreError, files

__all__ = [
    "CONTENT_BYTES_MAX",
    "PIECE_BYTES",
    "SEALED",
    "Folder",
    "Objects",
    "Stored",
    "fresh_name",
    "kept",
    "named",
    "placed",
]

CONTENT_BYTES_MAX: Final = 16 << 20
"""Most that is read or written as one piece of memory: a manifest. Packs go by `take` and `stream`."""
PIECE_BYTES: Final = 256 << 10
SEALED: Final = b"ECOSEAL1"
"""What begins so is encrypted (`hub.sealed`)."""
LEFT_S: Final = 86_400.0
"""Nobody writes one file for so long."""
_FRESH: Final = re.compile(r"\.[0-9]{1,10}-[0-9a-f]{12}\.new")
"""As `fresh_name` makes them."""
_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,220}"
_NAME: Final = re.compile(rf"(?:{_PART}/){{0,6}}{_PART}")
_FOLDER: Final = re.compile(rf"(?:{_PART}/){{0,6}}")


class Stored(msgspec.Struct, frozen=True):
    """An object that is there; `modified_s` in Unix seconds, by the clock of where it lies."""

    name: str
    bytes: int
    modified_s: float


class Objects(Protocol):
    """Files by name. All methods may be called from several threads and processes at once.

    What is not there raises FileNotFoundError, what must not be there and is FileExistsError; all else that goes wrong
    is a StoreError (`hub.objects`, `asset.io`, `asset.disk_full`).
    """

    @property
    def where(self) -> str:
        """The place, as errors name it."""
        ...

    @property
    def local(self) -> Path | None:
        """The folder of this machine in which they lie, sealed or not; None: they lie elsewhere."""
        ...

    def get(self, name: str, bytes_max: int = CONTENT_BYTES_MAX) -> bytes:
        """All of a small object; a longer one is a StoreError `hub.objects`."""
        ...

    def range(self, name: str, start: int, length: int) -> bytes:
        """So many bytes from there on, or fewer where the object ends."""
        ...

    def stream(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The same in pieces of at most `PIECE_BYTES`; memory stays bounded. It is opened at the first piece."""
        ...

    def put(self, name: str, content: bytes, *, is_new: bool = False) -> None:
        """The object holds this; with `is_new` only where there is none."""
        ...

    def take(self, name: str, path: Path, *, is_new: bool = False) -> None:
        """The same of a file, which is gone afterwards. Without `is_new` it may be in the place of another."""
        ...

    def list(self, folder: str) -> Iterator[Stored]:
        """All that lies below a folder (`packs/`; `''`: everything), in no order."""
        ...

    def delete(self, name: str) -> None:
        """It is not there any more, if it was."""
        ...

    def size(self, name: str) -> int | None:
        """Its length in bytes; None: it is not there."""
        ...

    def tidy(self, older_s: float = LEFT_S) -> int:
        """Removes what writers that were killed have left here so long ago; gives how many files."""
        ...

    def scratch(self, name: str) -> Path:
        """A folder of this machine in which a file may be made that is to become the object."""
        ...


def named(name: str) -> str:
    """The name, if it can be one.

    Raises:
        FileNotFoundError: It cannot: nothing of that name is ever there.
    """
    if _NAME.fullmatch(name) is None:
        raise FileNotFoundError(errno.ENOENT, "this cannot be the name of a hub's file", name[:80])
    return name


def placed(where: Path | Objects) -> Objects:
    """The objects of a place: a path is a folder's."""
    return Folder(where) if isinstance(where, Path) else where


def fresh_name(folder: Path) -> Path:
    """A new name in a folder, for a file that is being made. It begins with a dot: nothing takes it for an object."""
    return folder / f".{os.getpid()}-{uuid.uuid4().hex[:12]}.new"


class Folder:
    """A folder of this machine: any web server can serve what is in it, any tool copy it."""

    def __init__(self, path: Path) -> None:
        """Looks at nothing yet."""
        self.path: Final = path

    @property
    def where(self) -> str:
        """See `Objects.where`."""
        return str(self.path)

    @property
    def local(self) -> Path | None:
        """See `Objects.local`."""
        return self.path

    def get(self, name: str, bytes_max: int = CONTENT_BYTES_MAX) -> bytes:
        """See `Objects.get`."""
        with self._opened(name) as file, kept(f"reading {self.path / name}"):
            content = file.read(bytes_max + 1)
        if len(content) > bytes_max:
            raise StoreError("hub.objects", f"{self.path / name} is longer than {bytes_max} bytes: it is not read")
        return content

    def range(self, name: str, start: int, length: int) -> bytes:
        """See `Objects.range`."""
        return b"".join(self.stream(name, start, length))

    def stream(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Objects.stream`."""
        with self._opened(name) as file, kept(f"reading {self.path / name}"):
            left = os.fstat(file.fileno()).st_size if length is None else length
            file.seek(start)
            while left > 0 and (piece := file.read(min(PIECE_BYTES, left))):
                yield piece
                left -= len(piece)

    def put(self, name: str, content: bytes, *, is_new: bool = False) -> None:
        """See `Objects.put`."""
        target = self.path / named(name)
        with kept(f"writing {target}"):
            fresh = fresh_name(_folder(target.parent))
            try:
                fresh.write_bytes(content)
                _placed(fresh, target, 0o644, is_new=is_new)
            finally:
                fresh.unlink(missing_ok=True)

    def take(self, name: str, path: Path, *, is_new: bool = False) -> None:
        """See `Objects.take`. It is moved where it lies on the same disk."""
        target = self.path / named(name)
        with kept(f"writing {target}"):
            _folder(target.parent)
            if not _is_same_disk(path, target.parent):
                self._copied(path, target, is_new=is_new)
            else:
                _placed(path, target, 0o444, is_new=is_new)
            path.unlink(missing_ok=True)

    def list(self, folder: str) -> Iterator[Stored]:
        """See `Objects.list`."""
        assert _FOLDER.fullmatch(folder), f"{folder!r} is no folder of a hub: it ends with '/'"
        with kept(f"reading {self.path / folder}"):
            yield from self._below(self.path / folder, folder)

    def delete(self, name: str) -> None:
        """See `Objects.delete`."""
        with kept(f"removing {self.path / name}"):
            (self.path / named(name)).unlink(missing_ok=True)

    def size(self, name: str) -> int | None:
        """See `Objects.size`."""
        try:
            with kept(f"reading {self.path / name}"):
                found = (self.path / named(name)).stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def tidy(self, older_s: float = LEFT_S) -> int:
        """See `Objects.tidy`."""
        count, before_s = 0, time.time() - older_s
        with kept(f"removing what was left in {self.path}"):
            for folder, _, names in os.walk(self.path):
                for name in names:
                    if _FRESH.fullmatch(name):
                        path = Path(folder, name)
                        with contextlib.suppress(FileNotFoundError):  # whoever writes it is done
                            if path.stat(follow_symlinks=False).st_mtime < before_s:
                                path.unlink()
                                count += 1
        return count

    def scratch(self, name: str) -> Path:
        """See `Objects.scratch`."""
        with kept(f"writing {self.path}"):
            return files.folder((self.path / named(name)).parent)

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        """The file, if it is one: no link, no folder, no pipe."""
        path = self.path / named(name)
        with kept(f"reading {path}"):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
                    raise FileNotFoundError(errno.ENOENT, "there is no such file", str(path)) from error
                raise
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise FileNotFoundError(errno.ENOENT, "this is no file", str(path))
        with os.fdopen(fd, "rb", buffering=0) as file:
            yield file

    def _copied(self, path: Path, target: Path, *, is_new: bool) -> None:
        fresh = fresh_name(target.parent)
        try:
            with path.open("rb") as source, fresh.open("xb") as out:
                while piece := source.read(PIECE_BYTES):
                    out.write(piece)
            _placed(fresh, target, 0o444, is_new=is_new)
        finally:
            fresh.unlink(missing_ok=True)

    def _below(self, folder: Path, prefix: str) -> Iterator[Stored]:
        try:
            found = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in found:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(folder / entry.name, f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):  # removed since
                    about = entry.stat(follow_symlinks=False)
                    yield Stored(f"{prefix}{entry.name}", about.st_size, about.st_mtime)


def _folder(path: Path) -> Path:
    """The folder, made if need be and then durable too."""
    if not path.is_dir():
        _folder(path.parent)
        files.folder(path)
        files.sync_folder(path.parent)
    return path


def _is_same_disk(path: Path, folder: Path) -> bool:
    return path.stat().st_dev == folder.stat().st_dev


def _placed(fresh: Path, target: Path, mode: int, *, is_new: bool) -> None:
    """The file has its name, durably; where it must be new, only if nobody was faster."""
    if not is_new:
        files.moved(fresh, target, mode)
        return
    fd = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.link(fresh, target)
    fresh.unlink()
    files.sync_folder(target.parent)


@contextlib.contextmanager
def kept(what: str) -> Iterator[None]:
    """As `files.durably`; that something is there or not stays what it is."""
    try:
        with files.durably(what):
            yield
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError | FileExistsError):
            raise error.__cause__ from None
        raise
