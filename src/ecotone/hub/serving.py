"""A hub's rooms, opened in their order, each when it is first asked for."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Final

from securesystemslib.signer import CryptoSigner

from ecotone.delivery import hub_keys
from ecotone.delivery.hub_folder import Hub as Repositories
from ecotone.hub import acts
from ecotone.hub.database import Database
from ecotone.hub.objects import Objects, open_objects
from ecotone.hub.oidc import Oidc
from ecotone.hub.people import People
from ecotone.hub.publications import Publications
from ecotone.hub.releases import Releases
from ecotone.hub.releases_fleet import Fleet
from ecotone.hub.reports import Reports
from ecotone.hub.sealed import Keys, Sealed
from ecotone.hub.settings import Settings
from ecotone.hub.sites import Sites
from ecotone.hub.tokens import Secrets
from ecotone.hub.uploads import Uploads
from ecotone.hub.wishes import Wishes
from ecotone.hub.work_tasks import Tasks

__all__ = ["Hub", "opened"]


class Hub:
    """The rooms of a hub. Several threads may use them at once."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Opens nothing yet."""
        self.settings: Final = settings
        self.clock: Final = clock

    @functools.cached_property
    def database(self) -> Database:
        """What the hub knows."""
        return Database.open(self.settings.database_url())

    @functools.cached_property
    def objects(self) -> Objects:
        """Where documents and packs rest."""
        given = self.settings.objects
        options = {
            "endpoint": given.endpoint,
            "region": given.store_region,
            "access_key_id": given.key_id,
            "secret_access_key": given.key,
        }
        where = given.url or str(self.settings.folder)
        found = open_objects(where, {name: value for name, value in options.items() if value is not None})
        given_keys = self.settings.encrypt
        if given_keys is None:
            return found
        read = self.settings.secret
        earlier = [read(reference, "encrypt.earlier") for reference in given_keys.earlier]
        return Sealed(found, Keys.parsed(read(given_keys.key, "encrypt.key"), earlier))

    @functools.cached_property
    def repositories(self) -> Repositories:
        """Catalogue and director."""
        return Repositories(self.objects, self.clock, lock=lambda: self.database.lock("repositories"))

    @functools.cached_property
    def secrets(self) -> Secrets:
        """Keys of sessions, and what keys of people are hashed with."""
        return Secrets.at(self.settings.keys)

    @functools.cached_property
    def director(self) -> CryptoSigner | None:
        """The key that says what each site shall have; None where it is not kept here."""
        path = self.settings.keys / "director.key"
        return hub_keys.read(path) if path.exists() else None

    @functools.cached_property
    def acts(self) -> acts.Acts:
        """The hub's ledger."""
        return acts.Acts(self.database, acts.signer(self.settings.keys, self.settings.name), self.clock)

    @functools.cached_property
    def people(self) -> People:
        """Who they are, and what they may."""
        oidc = None if self.settings.oidc is None else Oidc(self.settings.oidc)
        return People(self.database, self.acts, self.secrets, oidc, self.clock)

    @functools.cached_property
    def sites(self) -> Sites:
        """Enrolment and sessions."""
        return Sites(self.database, self.acts, self.secrets, self.settings.name, self.clock)

    @functools.cached_property
    def wishes(self) -> Wishes:
        """What each site shall have."""
        return Wishes(self.database, self.repositories, self.director, self.clock)

    @functools.cached_property
    def reports(self) -> Reports:
        """What sites say of themselves."""
        return Reports(self.database, self.wishes, self.clock)

    @functools.cached_property
    def tasks(self) -> Tasks:
        """Durable work that waits or runs."""
        return Tasks(self.database, self.clock)

    @functools.cached_property
    def fleet(self) -> Fleet:
        """Sites, their wishes and their reports, as releases see them."""
        return Fleet(self.database, self.sites, self.wishes, self.clock)

    @functools.cached_property
    def releases(self) -> Releases:
        """Versions on their way to many sites."""
        return Releases(self.database, self.acts, self.fleet, self.repositories, self.tasks)

    @functools.cached_property
    def uploads(self) -> Uploads:
        """Files that are being brought, to be published."""
        return Uploads(self.database, self.acts, self.objects, self.clock)

    @functools.cached_property
    def publications(self) -> Publications:
        """Versions that are being published."""
        region = self.settings.objects.region or ""
        return Publications(self.database, self.acts, self.repositories, self.uploads, self.tasks, region)

    def prepare(self) -> None:
        """Makes what is not there yet, and heals what a crash left half done."""
        assert self.secrets is not None
        self.wishes.heal()

    def close(self) -> None:
        """Closes what was opened."""
        if "database" in self.__dict__:
            self.database.close()


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Hub]:
    """The hub of these settings.

    Raises:
        ConfigError: As the rooms do when they are opened.
    """
    hub = Hub(settings)
    try:
        yield hub
    finally:
        hub.close()
