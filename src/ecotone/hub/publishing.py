"""What the hub does to publish what came over the wire: it looks at files, cuts them, and announces what was signed.

Every step may be done twice. A pack has the name of its content and a manifest is the same for the same files, so that
what a killed step had written is found and not written again.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import CryptoSigner

from ecotone.assets import files
from ecotone.delivery import packs
from ecotone.delivery.hub_folder import Hub
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.publications import Publication, found, put
from ecotone.hub.publishing_signing import checked
from ecotone.hub.tables_releases import publications
from ecotone.hub.uploads import Uploads
from ecotone.hub.work_tasks import Next, Step
from ecotone.transfer import Manifest, encode
from ecotone.trust import terms
from ecotone.values import ConfigError, EcotoneError, RequestError, TrustError

__all__ = ["Publishing"]

log = logging.getLogger(__name__)

MESSAGE_CHARS_MAX: Final = 500


class Publishing:
    """The job `publish`. One process at a time does it."""

    def __init__(
        self,
        database: Database,
        acts: Acts,
        hub: Hub,
        uploads: Uploads,
        online: Callable[[], CryptoSigner | None],
        *,
        scratch: Path,
    ) -> None:
        """Reads nothing yet.

        Args:
            online: The catalogue's online key; None: it is not here, and somebody else announces.
            scratch: A folder of this machine, for files that are being cut.
        """
        self._database: Final = database
        self._acts: Final = acts
        self._hub: Final = hub
        self._uploads: Final = uploads
        self._online: Final = online
        self._scratch: Final = scratch
        self._clock: Final = uploads.clock

    def __call__(self, step: Step, subject: str) -> Next:
        """Takes one publication as far as it goes: to where it is to be signed, or to its announcement."""
        state = step("look", lambda: self._state(subject))
        if state == "cutting":
            step("cut", lambda: self.cut(subject))
            step("clear", lambda: self.clear(subject))
        elif state in ("signed", "written") and step("write", lambda: self.write(subject)):
            step("announce", lambda: self.announce(subject))
        return Next()

    def cut(self, subject: str) -> str:
        """Looks at the files and cuts them into packs; gives the state that follows: `unsigned` or `refused`.

        Raises:
            StoreError: The database, the objects or the disk failed: it is tried again.
        """
        known = self._found(subject)
        if known is None or known.state != "cutting":
            return "gone"
        try:
            manifest = self._cut(known)
        except (TrustError, ConfigError) as error:
            self._refuse(known, error)
            return "refused"
        raw = encode(manifest)
        with self._database.begin() as c:
            values = {"manifest": raw, "sha256": hashlib.sha256(raw).hexdigest()}
            put(c, subject, "unsigned", self._clock(), **values)
        return "unsigned"

    def clear(self, subject: str) -> bool:
        """Removes what is not needed any more: the uploads, and the files that were cut."""
        known = self._found(subject)
        if known is not None:
            self._uploads.ended(known.uploads)
        shutil.rmtree(self._scratch / subject, ignore_errors=True)
        return True

    def write(self, subject: str) -> bool:
        """Writes what the publisher has signed; whether there is something to announce."""
        known = self._found(subject)
        if known is None or known.state != "signed":
            return known is not None and known.state == "written"
        with self._database.read() as c:
            row: Any = c.execute(publications.select().where(publications.c.id == subject)).one()
        manifest, signed = bytes(row.manifest), bytes(row.signed)
        with self._hub.locked():
            # Where a killed process had written it already, there is nothing to look at.
            if self._hub.catalogue.content(known.publisher) != signed:
                try:
                    self._written(known, manifest, signed)
                except (TrustError, RequestError, ConfigError) as error:
                    self._again(known, error)
                    return False
        with self._database.begin() as c:
            # Noted before it takes effect, and once: with the state that says so.
            named = f"{subject} {known.name}@{known.version}"
            self._acts.write("hub", "publish.announce", named, known.sha256, at=c)
            put(c, subject, "written", self._clock(), signed=None)
        return True

    def announce(self, subject: str) -> bool:
        """Sites can have it from now on. Without the online key here that is for who has it: `ecotone hub sign`."""
        online = self._online()
        if online is None:
            log.warning("hub: %s is signed and written; without online.key here it is not announced yet", subject)
            return False
        with self._hub.locked():
            self._hub.refresh([online])
        with self._database.begin() as c:
            put(c, subject, "announced", self._clock())
        return True

    def _written(self, known: Publication, manifest: bytes, signed: bytes) -> None:
        catalogue = self._hub.catalogue
        self._unknown_elsewhere(known)
        current = catalogue.content(known.publisher)
        number = checked(current, signed, known.publisher, manifest, catalogue.targets, self._clock())
        path = terms.asset_path(known.kind, known.name, known.version)
        self._hub.objects.put(terms.target(terms.CATALOGUE, path, known.sha256), manifest)
        catalogue.put(f"{number}.{known.publisher}.json", signed)

    def _cut(self, known: Publication) -> Manifest:
        with files.durably(f"writing {self._scratch}"):
            folder = files.folder(files.folder(self._scratch) / known.id)
        paths = [self._uploads.fetch(one, folder) for one in known.uploads]
        about = packs.About(**{field: getattr(known.about, field) for field in packs.About.__struct_fields__})
        named = self._hub.assets()
        earlier = [(one, self._hub.manifest(one.asset)) for one in named]
        same = [manifest for one, manifest in earlier if one.asset.name == known.name]
        return packs.publish(
            paths,
            self._hub.objects,
            about,
            earlier=[manifest for _, manifest in earlier],
            base=same[-1] if same else None,
        )

    def _unknown_elsewhere(self, known: Publication) -> None:
        self._hub.demand_kind(known.name, known.kind)
        for one in self._hub.assets():
            asset = one.asset
            if (asset.kind, asset.name, asset.version) != (known.kind, known.name, known.version):
                continue
            if asset.sha256 != known.sha256 or one.publisher != known.publisher:
                raise ConfigError(
                    "hub.version",
                    f"{known.name} {known.version} is published already, and is another: a version is never changed. "
                    "Give it a new one",
                )

    def _refuse(self, known: Publication, error: EcotoneError) -> None:
        with self._database.begin() as c:
            named = f"{known.id} {known.name}@{known.version}"
            self._acts.write("hub", "publish.refuse", named, at=c, why=error.code)
            told = {"why": error.code, "message": error.message[:MESSAGE_CHARS_MAX]}
            put(c, known.id, "refused", self._clock(), **told)

    def _again(self, known: Publication, error: EcotoneError) -> None:
        """What was signed cannot be taken any more: something else was signed since. It is to be signed anew."""
        told = {"why": error.code, "message": error.message[:MESSAGE_CHARS_MAX], "signed": None}
        with self._database.begin() as c:
            put(c, known.id, "unsigned", self._clock(), **told)

    def _state(self, subject: str) -> str:
        known = self._found(subject)
        return "gone" if known is None else known.state

    def _found(self, subject: str) -> Publication | None:
        """The publication; None: somebody has given it up."""
        with self._database.read() as c:
            try:
                return found(c, subject)
            except ConfigError:
                return None
