"""Files that come over the wire in pieces, to be published: each piece is kept, and any cut is gone on from.

In the manner of tus: an upload has an offset, a piece says at which offset it begins, and one that begins elsewhere is
refused with where it must. Nothing of an upload is served to anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.engine import Connection

from ecotone.access import Actor, demand_somewhere
from ecotone.assets import files
from ecotone.delivery.objects import PIECE_BYTES, Objects, fresh_name
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.releases_values import digest, new_id
from ecotone.hub.tables_releases import upload_parts, uploads
from ecotone.values import ConfigError, RequestError, TrustError
from ecotone.values.fleet import Digest

__all__ = ["FOLDER", "OPEN_MAX", "PIECE_BYTES_MAX", "Begin", "Upload", "Uploads"]

FOLDER: Final = "uploads/"
PIECE_BYTES_MAX: Final = 64 << 20
OPEN_MAX: Final = 64
"""Uploads that one person has begun and not ended."""
_FILE_BYTES_MAX: Final = 1 << 42
_TOO_MUCH: Final = "hub.uploads"


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file that is to come: its name, its size and its SHA-256."""

    file: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}\Z")]
    bytes: Annotated[int, Meta(ge=0, le=_FILE_BYTES_MAX)]
    sha256: Digest


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file as far as it has come: `offset` of `bytes`."""

    id: str
    file: str
    bytes: int
    sha256: str
    offset: int
    by: str
    touched_s: float

    @property
    def is_whole(self) -> bool:
        """Whether all of it has come."""
        return self.offset == self.bytes


class Uploads:
    """Uploads of one hub. Several threads and processes may take pieces, also of the same upload."""

    def __init__(self, database: Database, acts: Acts, objects: Objects, clock: Callable[[], float]) -> None:
        """Reads nothing yet."""
        self._database: Final = database
        self._acts: Final = acts
        self._objects: Final = objects
        self.clock: Final = clock

    def begin(self, actor: Actor, asked: Begin) -> Upload:
        """A new upload, of which nothing has come yet.

        Raises:
            RefusalError: `hub.may`.
            RequestError: `hub.uploads`: there are too many.
        """
        demand_somewhere(actor, "asset.publish")
        made = Upload(
            id=new_id("u"),
            file=asked.file,
            bytes=asked.bytes,
            sha256=asked.sha256,
            offset=0,
            by=actor.name,
            touched_s=self.clock(),
        )
        with self._database.begin() as c:
            mine = c.execute(select(func.count()).where(uploads.c.by == actor.name)).scalar() or 0
            if mine >= OPEN_MAX:
                raise RequestError(
                    _TOO_MUCH, f"{mine} uploads of yours are open: publish or drop some of them", status=429
                )
            self._acts.write(actor.name, "upload.begin", f"{made.id} {made.file}", digest(asked), at=c)
            c.execute(insert(uploads).values(msgspec.structs.asdict(made)))
        return made

    def at(self, actor: Actor, upload: str) -> Upload:
        """How far it has come.

        Raises:
            ConfigError: `hub.unknown`: there is none, or it is somebody else's.
        """
        with self._database.read() as c:
            return self._mine(c, actor, upload)

    def list(self, actor: Actor) -> Sequence[Upload]:
        """Those of the actor, newest first: an upload that was cut is found again by its name, size and digest."""
        with self._database.read() as c:
            mine = select(uploads).where(uploads.c.by == actor.name).order_by(uploads.c.touched_s.desc())
            return [Upload(**row) for row in c.execute(mine).mappings()]

    def append(self, actor: Actor, upload: str, offset: int, body: Iterator[bytes]) -> int:
        """Takes the next piece; gives the offset behind it. What has come of a piece that breaks off is kept.

        Raises:
            ConfigError: `hub.unknown`.
            RequestError: `hub.offset`, 409: it must begin elsewhere; `hub.uploads`: it is too long; `hub.cut`.
            StoreError: `hub.objects`, `asset.disk_full` ...
        """
        known = self.at(actor, upload)
        _expect(known, offset)
        name = f"{FOLDER}{upload}/{offset:015d}-{new_id('p')}"
        fresh = fresh_name(self._objects.scratch(name))
        broken: RequestError | None = None
        try:
            try:
                size = _written(fresh, body, min(known.bytes - offset, PIECE_BYTES_MAX))
            except RequestError as error:
                if error.code == _TOO_MUCH:
                    raise
                # The line was cut: what has come has come.
                size, broken = fresh.stat().st_size, error
            if size:
                self._objects.take(name, fresh, is_new=True)
                self._keep(actor, known, name, size)
        finally:
            fresh.unlink(missing_ok=True)
        if broken is not None:
            raise broken
        return offset + size

    def drop(self, actor: Actor, upload: str) -> None:
        """It is given up, and what has come of it is removed.

        Raises:
            ConfigError: `hub.unknown`.
        """
        with self._database.begin() as c:
            known = self._mine(c, actor, upload)
            self._acts.write(actor.name, "upload.drop", f"{known.id} {known.file}", at=c)
            c.execute(delete(uploads).where(uploads.c.id == upload))
        self.clear(upload)

    def whole(self, actor: Actor, ids: tuple[str, ...]) -> Sequence[Upload]:
        """Uploads that are all there, in this order.

        Raises:
            ConfigError: `hub.unknown`.
            RequestError: `hub.offset`: one is not whole.
        """
        with self._database.read() as c:
            found = [self._mine(c, actor, one) for one in ids]
        for one in found:
            if not one.is_whole:
                raise RequestError(
                    "hub.offset", f"{one.file} has come to {one.offset} of {one.bytes} bytes: go on there"
                )
        return found

    def fetch(self, upload: str, to: Path) -> Path:
        """All of an upload as a file in a folder of this machine, its digest checked; one that is there is kept.

        Raises:
            ConfigError: `hub.unknown`.
            TrustError: `hub.upload`: it is not what was said to come.
            StoreError: `hub.objects`, `asset.disk_full` ...
        """
        with self._database.read() as c:
            known = _found(c, upload)
            rows = c.execute(
                select(upload_parts).where(upload_parts.c.upload == upload).order_by(upload_parts.c.at)
            ).all()
        path = to / known.file
        if path.is_file() and path.stat().st_size == known.bytes and _sha256(path) == known.sha256:
            return path
        with files.durably(f"writing {path}"), path.open("wb") as out:
            for row in rows:
                for piece in self._objects.stream(row.object, 0, int(row.bytes)):
                    out.write(piece)
        if path.stat().st_size != known.bytes or _sha256(path) != known.sha256:
            path.unlink()
            raise TrustError(
                "hub.upload", f"{known.file} is not what was said to come: its SHA-256 is another. Send it anew"
            )
        return path

    def ended(self, ids: tuple[str, ...]) -> None:
        """They are published or refused: what came of them is removed."""
        with self._database.begin() as c:
            c.execute(delete(uploads).where(uploads.c.id.in_(ids)))
        for one in ids:
            self.clear(one)

    def stale(self, before_s: float) -> Sequence[str]:
        """Uploads that nobody has gone on with since."""
        with self._database.read() as c:
            return c.execute(select(uploads.c.id).where(uploads.c.touched_s < before_s)).scalars().all()

    def clear(self, upload: str) -> None:
        """Removes all pieces of an upload that is no more."""
        for name in [stored.name for stored in self._objects.list(f"{FOLDER}{upload}/")]:
            self._objects.delete(name)
        with self._database.begin() as c:
            c.execute(delete(upload_parts).where(upload_parts.c.upload == upload))

    def _keep(self, actor: Actor, known: Upload, name: str, size: int) -> None:
        """The piece counts, unless another one has come to the same place meanwhile."""

        def kept(c: Connection) -> int:
            mine = self._mine(c, actor, known.id)
            if mine.offset == known.offset:
                row = {"upload": known.id, "at": known.offset, "bytes": size, "object": name}
                c.execute(insert(upload_parts).values(row))
                later = {"offset": known.offset + size, "touched_s": self.clock()}
                c.execute(update(uploads).where(uploads.c.id == known.id).values(later))
            return mine.offset

        offset = self._database.run(kept)
        if offset != known.offset:
            self._objects.delete(name)
            _expect(msgspec.structs.replace(known, offset=offset), known.offset)

    @staticmethod
    def _mine(c: Connection, actor: Actor, upload: str) -> Upload:
        known = _found(c, upload)
        if known.by != actor.name:
            raise _unknown(upload)
        return known


def _found(c: Connection, upload: str) -> Upload:
    row: Any = c.execute(select(uploads).where(uploads.c.id == upload)).mappings().first()
    if row is None:
        raise _unknown(upload)
    return Upload(**row)


def _unknown(upload: str) -> ConfigError:
    return ConfigError("hub.unknown", f"there is no upload '{upload}' of yours: begin a new one")


def _expect(known: Upload, offset: int) -> None:
    if known.offset != offset:
        raise RequestError("hub.offset", f"{known.file} has come to byte {known.offset}: go on there", status=409)


def _written(fresh: Path, body: Iterator[bytes], most: int) -> int:
    size = 0
    with files.durably(f"writing {fresh}"), fresh.open("xb") as out:
        for piece in body:
            size += len(piece)
            if size > most:
                raise RequestError(_TOO_MUCH, f"there is more to come than the {most} bytes that may", status=413)
            out.write(piece)
    return size


def _sha256(path: Path) -> str:
    known = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(PIECE_BYTES):
            known.update(piece)
    return known.hexdigest()
