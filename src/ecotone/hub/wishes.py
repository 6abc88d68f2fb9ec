"""What each site shall have: signed by the director, and told to whoever waits for it.

The director's files are the truth. The database holds what of them was announced, so that a long-poll costs one row; it
is written last, and after a crash between the two it is made to agree again (`heal`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from securesystemslib.signer import CryptoSigner
from sqlalchemy import Connection, Table, delete, select

from ecotone.delivery.hub_folder import Hub
from ecotone.hub.database import Database
from ecotone.hub.tables import counters, floors, wishes
from ecotone.trust.agreeing import Asset, SiteState
from ecotone.values import ConfigError

__all__ = ["FLOOR_STEP_MAX", "Wishes"]

FLOOR_STEP_MAX: Final = 1 << 20
"""So far above the last wish a site's floor may be. A stolen site that says more would leave no room above itself."""
WHY_CHARS_MAX: Final = 200
_ROWS: Final = 200
_CHANGES: Final = "wishes"
_STAMP: Final = "director"
"""Counter: the version of the director's timestamp up to which the database agrees with the director."""


class Wishes:
    """The wishes of one hub. May be used by several threads; several processes may write them."""

    def __init__(
        self,
        database: Database,
        hub: Hub,
        signer: CryptoSigner | None = None,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Reads nothing yet.

        Args:
            hub: The signed repositories.
            signer: The director's key; None: it is not kept here, and nothing is signed.
            wall_s: Seconds since the Unix epoch.
        """
        self._database, self._hub, self._signer, self._wall_s = database, hub, signer, wall_s

    def set(self, wanted: Mapping[str, Sequence[Asset]], why: str) -> dict[str, int]:
        """Each of these sites shall have these and nothing else: all in one new version, announced when this returns.

        A site that is to have what it is to have already gets no new generation, so that to call again is harmless.

        Args:
            wanted: Site -> assets; several of one name are variants of it, best first.
            why: A word for people: the release that asks for it.

        Returns:
            Site -> its generation.

        Raises:
            ConfigError: `hub.keys`: the director's key is not here; `hub.name`.
            StoreError: `hub.busy`, `hub.database`, `hub.objects` ... Some may be announced then; call again.
        """
        if not wanted:
            return {}
        with self._hub.locked():
            signer = self._director()
            self._agree()
            known = self._states(wanted)
            fresh = {
                site: tuple(assets)
                for site, assets in wanted.items()
                if site not in known or known[site].assets != tuple(assets)
            }
            if fresh:
                states = self._hub.assign_many(fresh, signer, self._floors(fresh))
                self._hub.refresh([signer])
                self._tell(states.values(), why, self._hub.director.timestamp().version)
                known.update(states)
        return {site: known[site].generation for site in wanted}

    def generation(self, site: str) -> int:
        """Of what the site shall have now; 0: nothing was ever said.

        Raises:
            StoreError: `hub.database`.
        """
        with self._database.read() as connection:
            asked = select(wishes.c.generation).where(wishes.c.site == site)
            return int(connection.execute(asked).scalar() or 0)

    def state(self, site: str) -> SiteState | None:
        """What the site shall have now; None: nothing was ever said.

        Raises:
            StoreError: `hub.database`.
        """
        return self._states([site]).get(site)

    def sites(self) -> list[str]:
        """All sites to which something was ever said.

        Raises:
            StoreError: `hub.database`.
        """
        with self._database.read() as connection:
            return list(connection.execute(select(wishes.c.site).order_by(wishes.c.site)).scalars())

    def counter(self) -> int:
        """A number that is higher than before when anything has changed; one look at one row.

        Raises:
            StoreError: `hub.database`.
        """
        with self._database.read() as connection:
            return _counter(connection, _CHANGES)

    def changed(self, since: int) -> list[tuple[str, int]]:
        """(Site, generation) of all that has changed after `counter` gave this number.

        Raises:
            StoreError: `hub.database`.
        """
        with self._database.read() as connection:
            asked = select(wishes.c.site, wishes.c.generation).where(wishes.c.change > since)
            return [(row.site, int(row.generation)) for row in connection.execute(asked)]

    def raise_floor(self, site: str, generation: int) -> bool:
        """A site knows this generation. If it is above what was wished: the next one is above it; whether it is.

        So it is after a hub was restored from a copy that is older than its sites. Nothing is signed for it here: the
        site goes on with what it has, and does not go back to what the copy holds until somebody wishes so.

        Raises:
            StoreError: `hub.database`.
        """
        wished = self.generation(site)
        if not wished < generation <= wished + FLOOR_STEP_MAX:
            return False
        return self._database.run(lambda connection: self._lifted(connection, site, generation))

    def floor(self, site: str) -> int:
        """The generation that the site knows though the hub does not; 0: none.

        Raises:
            StoreError: `hub.database`.
        """
        return self._floors([site]).get(site, 0)

    def ahead(self, by: int = 1000) -> int:
        """The next wish of every site is so far above the last one: for who restores a hub and has heard of no site.

        Raises:
            StoreError: `hub.database`.
        """
        rows = [
            {"site": site, "generation": generation + by, "at_s": self._wall_s()}
            for site, generation in self.changed(-1)
        ]
        self._database.run(lambda connection: self._put(connection, floors, rows))
        return len(rows)

    def heal(self) -> int:
        """The database says what the director has announced, whatever was cut off between the two; changes, counted.

        Raises:
            ConfigError: `hub.folder`: there is no director.
            StoreError: `hub.busy`, `hub.database`, `hub.objects` ...
        """
        with self._hub.locked():
            return self._agree()

    def refresh(self, signers: Iterable[CryptoSigner] = ()) -> list[str]:
        """Signs anew what says that nothing is newer, and what ends soon; gives which repositories.

        Args:
            signers: Of the catalogue's online key, where it is here; the director's is known.

        Raises:
            ConfigError: `hub.keys`: no key for that is here.
            StoreError: `hub.busy`, `hub.database`, `hub.objects` ...
        """
        own = [] if self._signer is None else [self._signer]
        with self._hub.locked():
            self._agree()
            for signer in own:
                self._hub.renew(signer)
            done = self._hub.refresh([*own, *signers])
            stamp = self._hub.director.timestamp().version
            self._database.run(lambda connection: self._stamped(connection, stamp))
        return done

    def _director(self) -> CryptoSigner:
        if self._signer is None:
            raise ConfigError(
                "hub.keys", "the director's key is not here: no wish can be signed. Put director.key where `keys` says"
            )
        return self._signer

    def _agree(self) -> int:
        """As `heal`; the lock is held."""
        if self._hub.has_unannounced():
            if self._signer is None:
                return 0  # a process that has the key will do it
            self._hub.refresh([self._signer])
        stamp = self._hub.director.timestamp().version
        with self._database.read() as connection:
            if _counter(connection, _STAMP) == stamp:
                return 0
            rows = connection.execute(select(wishes.c.site, wishes.c.generation))
            told = {row.site: int(row.generation) for row in rows}
        signed = self._hub.generations()
        lost = [site for site, generation in told.items() if signed.get(site, 0) < generation]
        self._database.run(lambda connection: self._lost(connection, lost, told, signed))
        differ = [site for site, generation in signed.items() if told.get(site) != generation]
        for at in range(0, len(differ), _ROWS):
            self._tell([self._hub.state(site) for site in differ[at : at + _ROWS]], "healed", None)
        self._database.run(lambda connection: self._stamped(connection, stamp))
        return len({*differ, *lost})

    def _lost(
        self, connection: Connection, lost: Sequence[str], told: Mapping[str, int], signed: Mapping[str, int]
    ) -> None:
        """The director's files are from an older copy than the database: what sites were told stays a floor."""
        for site in lost:
            self._lifted(connection, site, told[site])
            if site not in signed:
                connection.execute(delete(wishes).where(wishes.c.site == site))

    def _tell(self, states: Iterable[SiteState], why: str, stamp: int | None) -> None:
        """The database has these wishes, and whoever waits for them sees that it has; `stamp`: it lacks nothing."""
        at_s = self._wall_s()
        rows = [
            {
                "site": state.site,
                "generation": state.generation,
                "document": msgspec.json.encode(state),
                "why": why[:WHY_CHARS_MAX],
                "at_s": at_s,
            }
            for state in states
        ]

        def told(connection: Connection) -> None:
            change = self._up(connection, _CHANGES)
            self._put(connection, wishes, [{**row, "change": change} for row in rows])
            if stamp is not None:
                self._stamped(connection, stamp)

        self._database.run(told)

    def _stamped(self, connection: Connection, stamp: int) -> None:
        connection.execute(self._database.upsert(counters, {"name": _STAMP, "value": stamp}, ["name"]))

    def _lifted(self, connection: Connection, site: str, generation: int) -> bool:
        """The floor of the site is no lower than this; whether it was."""
        known = connection.execute(select(floors.c.generation).where(floors.c.site == site)).scalar()
        if known is not None and known >= generation:
            return False
        row = {"site": site, "generation": generation, "at_s": self._wall_s()}
        connection.execute(self._database.upsert(floors, row, ["site"]))
        return True

    def _up(self, connection: Connection, name: str) -> int:
        """The counter, one higher. Writers of wishes hold the hub's lock, so nobody has another one at once."""
        connection.execute(self._database.upsert(counters, {"name": name, "value": 0}, ["name"], only=()))
        connection.execute(counters.update().where(counters.c.name == name).values(value=counters.c.value + 1))
        return _counter(connection, name)

    def _put(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
        for at in range(0, len(rows), _ROWS):
            connection.execute(self._database.upsert(table, rows[at : at + _ROWS], ["site"]))

    def _states(self, sites: Iterable[str]) -> dict[str, SiteState]:
        asked, found = list(sites), {}
        with self._database.read() as connection:
            for at in range(0, len(asked), _ROWS):
                some = select(wishes.c.site, wishes.c.document).where(wishes.c.site.in_(asked[at : at + _ROWS]))
                for row in connection.execute(some):
                    found[row.site] = msgspec.json.decode(bytes(row.document), type=SiteState)
        return found

    def _floors(self, sites: Iterable[str]) -> dict[str, int]:
        asked, found = list(sites), {}
        with self._database.read() as connection:
            for at in range(0, len(asked), _ROWS):
                some = select(floors.c.site, floors.c.generation).where(floors.c.site.in_(asked[at : at + _ROWS]))
                found.update({row.site: int(row.generation) for row in connection.execute(some)})
        return found


def _counter(connection: Connection, name: str) -> int:
    return int(connection.execute(select(counters.c.value).where(counters.c.name == name)).scalar() or 0)
