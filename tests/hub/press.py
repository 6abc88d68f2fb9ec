"""A hub with real signed repositories to which files are published over the wire, for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tests.hub.members import Clock, Members
from tests.hub.rollout import OWNER, now

from ecotone.access import Actor
from ecotone.delivery import hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.delivery.objects import Objects
from ecotone.hub.collecting import Collecting, Keep
from ecotone.hub.database import Database
from ecotone.hub.publications import About, Ask, Publication, Publications
from ecotone.hub.publishing import Publishing
from ecotone.hub.publishing_signing import compare, next_signed
from ecotone.hub.releases_fleet import Fleet
from ecotone.hub.resigning import Resigning
from ecotone.hub.uploads import Begin, Upload, Uploads
from ecotone.hub.wishes import Wishes
from ecotone.hub.work_tasks import Tasks
from ecotone.transfer import decode


class Press:
    """The hub, and a publisher's machine beside it."""

    def __init__(self, database: Database, objects: Objects, folder: Path, *, is_new: bool = True) -> None:
        self.clock = Clock()
        self.folder = folder
        self.keys = folder / "keys"
        self.database = database
        self.objects = objects
        self.members = Members(database, self.keys, self.clock)
        self.hub = Hub(objects, self.clock, lock=lambda: database.lock("repositories"))
        if is_new:
            self.hub.create(["models"], keys=self.keys)
        self.acts = self.members.acts
        self.tasks = Tasks(database, self.clock)
        self.uploads = Uploads(database, self.acts, objects, self.clock)
        self.publications = Publications(database, self.acts, self.hub, self.uploads, self.tasks)
        self.has_online = True
        self.publishing = Publishing(
            database, self.acts, self.hub, self.uploads, self.online, scratch=folder / "scratch"
        )
        self.wishes = Wishes(database, self.hub, self.key("director"), self.clock)
        self.fleet = Fleet(database, self.members.sites, self.wishes, self.clock)
        self.resigning = Resigning(database, self.acts, self.wishes, self.online, self.clock)

    def collecting(self, **keep: Any) -> Collecting:
        return Collecting(self.database, self.acts, self.hub, self.uploads, self.fleet, Keep(**keep))

    def online(self) -> CryptoSigner | None:
        return self.key("online") if self.has_online else None

    def key(self, name: str) -> CryptoSigner:
        return hub_keys.read(self.keys / f"{name}.key")

    def upload(self, name: str, content: bytes, actor: Actor = OWNER, piece: int = 1 << 20) -> Upload:
        said = Begin(file=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        made = self.uploads.begin(actor, said)
        for at in range(0, len(content), piece):
            self.uploads.append(actor, made.id, at, pieces(content[at : at + piece]))
        return self.uploads.at(actor, made.id)

    def ask(self, version: str, *files: tuple[str, bytes], **about: Any) -> Publication:
        uploads = tuple(self.upload(name, content).id for name, content in files)
        said = About(**{"name": "smol", "version": version, "licence": "MIT", **about})
        return self.publications.begin(OWNER, Ask(about=said, publisher="models", uploads=uploads))

    def work(self, publication: Publication) -> Publication:
        self.publishing(now, publication.id)
        return self.publications.show(OWNER, publication.id)

    def signed(
        self, publication: Publication, files: Sequence[tuple[str, bytes]], key: str = "publisher-models"
    ) -> bytes:
        """What the publisher's machine does."""
        manifest = self.publications.manifest(OWNER, publication.id)
        mine = dict(files)

        def read(path: Path) -> Callable[[int, int], bytes]:
            return lambda at, n: mine[path.name][at : at + n]

        compare(decode(manifest), {"name": publication.name}, [Path(name) for name, _ in files], read)
        newest = self.publications.newest(OWNER, "models")
        return next_signed(newest, "models", manifest, self.key("publisher-models"), self.clock())

    def publish(self, version: str, *files: tuple[str, bytes], **about: Any) -> Publication:
        """All of it."""
        made = self.work(self.ask(version, *files, **about))
        assert made.state == "unsigned", made.message
        self.clock.now_s += 1
        self.publications.sign(OWNER, made.id, self.signed(made, files))
        return self.work(made)

    def names(self, folder: str) -> set[str]:
        return {one.name for one in self.objects.list(folder)}

    def written(self) -> list[str]:
        return self.members.written()


def pieces(content: bytes) -> Iterator[bytes]:
    for at in range(0, len(content), 1000):
        yield content[at : at + 1000]


def text(seed: int, lines: int = 3000) -> bytes:
    """A file of text that shares nothing with another seed's."""
    return b"".join(hashlib.sha256(f"{seed}-{n}".encode()).hexdigest().encode() + b"\n" for n in range(lines))
