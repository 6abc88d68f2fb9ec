"""Publishing over the wire as people handle it: asked for, looked at, signed. The work itself is `publishing`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from ecotone.access import Actor, Subject, demand, demand_rest
from ecotone.delivery.hub_folder import Hub
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.publishing_signing import checked
from ecotone.hub.releases_fleet import folder
from ecotone.hub.releases_rows import text
from ecotone.hub.releases_values import digest, new_id
from ecotone.hub.tables_releases import publications
from ecotone.hub.uploads import Uploads
from ecotone.hub.work_tasks import Tasks
from ecotone.transfer import Requires
from ecotone.values import ConfigError, RequestError
from ecotone.values.fleet import Name, Version

__all__ = ["PUBLISH", "About", "Ask", "Publication", "Publications", "found", "put"]

PUBLISH: Final = "publish"
"""Kind of the task that publishes."""

State = Literal["cutting", "unsigned", "signed", "written", "announced", "refused"]
Kind = Literal["model", "adapter", "dataset", "policy", "labels", "prior"]
Word = Annotated[str, Meta(max_length=256)]
UploadId = Annotated[str, Meta(pattern=r"^u-[0-9a-f]{12}\Z")]


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the publisher says of a version; see `transfer.Manifest`."""

    name: Name
    version: Version
    kind: Kind = "model"
    licence: Word
    card: Annotated[str, Meta(max_length=1 << 16)] = ""
    lineage: Annotated[tuple[Word, ...], Meta(max_length=64)] = ()
    requires: Requires = Requires()
    residency: Annotated[tuple[Word, ...], Meta(max_length=64)] = ()


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What shall be published: these uploads, the first being the one that the bare name means."""

    about: About
    publisher: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z")]
    uploads: Annotated[tuple[UploadId, ...], Meta(min_length=1, max_length=256)]


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One that was asked for.

    Attributes:
        state: `cutting`: the hub looks at the files and cuts them. `unsigned`: the publisher is to sign. `signed`: the
            hub takes it in. `written`: it waits for the online key. `announced`: sites can have it. `refused`: it is
            not published, for `why`.
        why: A code. message: In words.
        sha256: Of the manifest, once there is one.
    """

    id: str
    name: str
    version: str
    kind: str
    publisher: str
    state: State
    why: str
    message: str
    by: str
    touched_s: float
    sha256: str
    about: About
    uploads: tuple[str, ...]


class Publications:
    """What people do with publications. Several threads and processes may."""

    def __init__(
        self, database: Database, acts: Acts, hub: Hub, uploads: Uploads, tasks: Tasks, region: str = ""
    ) -> None:
        """Reads nothing yet. `region`: where the hub's objects rest, if that is known."""
        self._database: Final = database
        self._acts: Final = acts
        self._hub: Final = hub
        self._uploads: Final = uploads
        self._tasks: Final = tasks
        self._region: Final = region
        self._clock: Final[Callable[[], float]] = tasks.clock

    def begin(self, actor: Actor, asked: Ask) -> Publication:
        """The hub begins to look at the files.

        Raises:
            RefusalError: `hub.may`; `hub.residency`: it may not rest at this hub.
            ConfigError: `hub.unknown`: no such publisher or upload.
            RequestError: `hub.offset`: an upload is not whole; `hub.asked`: two files have one name.
        """
        about = asked.about
        demand(actor, "asset.publish", Subject(folder(about.kind, about.name)))
        if self._region:
            demand_rest(about.residency, self._region, f"{about.name} {about.version} at this hub")
        if asked.publisher not in self._hub.catalogue.publishers:
            raise ConfigError(
                "hub.unknown", f"there is no publisher '{asked.publisher}' here: `ecotone hub rotate` adds one"
            )
        files = [one.file for one in self._uploads.whole(actor, asked.uploads)]
        if len(set(files)) != len(files):
            raise RequestError("hub.asked", "two files have the same name: a version has each name once")
        row = {
            "id": new_id("p"),
            "name": about.name,
            "version": about.version,
            "kind": about.kind,
            "publisher": asked.publisher,
            "state": "cutting",
            "why": "",
            "message": "",
            "by": actor.name,
            "touched_s": self._clock(),
            "sha256": "",
            "about": text(about),
            "uploads": text(asked.uploads),
        }
        with self._database.begin() as c:
            named = f"{row['id']} {about.name}@{about.version}"
            self._acts.write(actor.name, "publish.begin", named, digest(asked), at=c, files=len(files))
            c.execute(insert(publications).values(row))
            self._tasks.wake(PUBLISH, str(row["id"]), connection=c)
            return found(c, str(row["id"]))

    def show(self, actor: Actor, publication: str) -> Publication:
        """One of them.

        Raises:
            RefusalError: `hub.may`.
            ConfigError: `hub.unknown`.
        """
        with self._database.read() as c:
            known = found(c, publication)
        demand(actor, "asset.publish", _subject(known))
        return known

    def list(self, actor: Actor, limit: int = 50) -> Sequence[Publication]:
        """Those of the actor, newest first."""
        asked = select(publications).where(publications.c.by == actor.name)
        with self._database.read() as c:
            rows = c.execute(asked.order_by(publications.c.touched_s.desc()).limit(limit)).mappings()
            return [_read(row) for row in rows]

    def manifest(self, actor: Actor, publication: str) -> bytes:
        """What the hub has made of the files: what is to be compared, and signed.

        Raises:
            RefusalError: `hub.may`.
            ConfigError: `hub.unknown`: there is none yet.
        """
        return _manifest(self._database, self.show(actor, publication))

    def newest(self, actor: Actor, publisher: str) -> bytes:
        """A publisher's newest metadata, to be signed anew with something more.

        Raises:
            RefusalError: `hub.may`.
            ConfigError: `hub.unknown`.
        """
        demand(actor, "asset.read")
        if publisher not in self._hub.catalogue.publishers:
            raise ConfigError("hub.unknown", f"there is no publisher '{publisher}' here")
        return self._hub.catalogue.content(publisher)

    def sign(self, actor: Actor, publication: str, signed: bytes) -> Publication:
        """Takes what the publisher has signed, and has it announced.

        Raises:
            RefusalError: `hub.may`.
            TrustError: `hub.signed`.
            ConfigError: `hub.unknown`.
            RequestError: `hub.stale`, 409: the publisher signed something else meanwhile; `hub.state`.
        """
        known = self.show(actor, publication)
        manifest = _manifest(self._database, known)
        catalogue = self._hub.catalogue
        current = catalogue.content(known.publisher)
        checked(current, signed, known.publisher, manifest, catalogue.targets, self._clock())
        with self._database.begin() as c:
            if found(c, publication).state not in ("unsigned", "signed"):
                raise RequestError(
                    "hub.state", f"{publication} is '{known.state}': there is nothing to sign", status=409
                )
            self._acts.write(
                actor.name, "publish.sign", f"{publication} {known.name}@{known.version}", known.sha256, at=c
            )
            put(c, publication, "signed", self._clock(), signed=signed)
            self._tasks.wake(PUBLISH, publication, connection=c)
        return self.show(actor, publication)

    def drop(self, actor: Actor, publication: str) -> None:
        """It is given up, and its uploads with it; nothing was announced.

        Raises:
            RefusalError: `hub.may`.
            ConfigError: `hub.unknown`.
            RequestError: `hub.state`, 409: it is announced, or about to be.
        """
        known = self.show(actor, publication)
        with self._database.begin() as c:
            if found(c, publication).state in ("signed", "written", "announced"):
                raise RequestError("hub.state", f"{publication} is '{known.state}': withdraw the version", status=409)
            self._acts.write(actor.name, "publish.drop", f"{publication} {known.name}@{known.version}", at=c)
            c.execute(delete(publications).where(publications.c.id == publication))
        self._uploads.ended(known.uploads)


def found(connection: Connection, publication: str) -> Publication:
    """One of them.

    Raises:
        ConfigError: `hub.unknown`.
    """
    row = connection.execute(select(publications).where(publications.c.id == publication)).mappings().first()
    if row is None:
        raise ConfigError("hub.unknown", f"there is no publication '{publication}' here")
    return _read(row)


def put(connection: Connection, publication: str, state: State, now_s: float, **more: Any) -> None:
    """Where it stands now; `more` columns with it."""
    values = {"state": state, "touched_s": now_s, **more}
    connection.execute(update(publications).where(publications.c.id == publication).values(values))


def _read(row: Any) -> Publication:
    rich = {"about": About, "uploads": tuple[str, ...]}
    plain = [field for field in Publication.__struct_fields__ if field not in rich]
    return Publication(
        **{field: row[field] for field in plain},
        **{field: msgspec.json.decode(row[field], type=kind) for field, kind in rich.items()},
    )


def _manifest(database: Database, known: Publication) -> bytes:
    with database.read() as c:
        raw = c.execute(select(publications.c.manifest).where(publications.c.id == known.id)).scalar()
    if raw is None:
        raise ConfigError("hub.unknown", f"{known.id} is '{known.state}': there is no manifest of it yet")
    return bytes(raw)


def _subject(known: Publication) -> Subject:
    return Subject(folder(known.kind, known.name))
