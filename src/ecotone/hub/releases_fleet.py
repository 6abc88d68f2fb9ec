"""The sites of a release as the hub knows them now: who belongs to it, what is wished there, and what they told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import msgspec
from sqlalchemy import select

from ecotone.access import Confinement, Good, may_hold
from ecotone.fleet import waves
from ecotone.fleet.accepting import is_pinned_otherwise
from ecotone.fleet.waves import SiteView
from ecotone.hub.database import Database
from ecotone.hub.releases_values import Release, Scope
from ecotone.hub.sites import Sites
from ecotone.hub.sites_shown import Site
from ecotone.hub.tables_releases import pins, release_sites, reports
from ecotone.trust import terms
from ecotone.trust.agreeing import Asset, SiteState
from ecotone.values import ConfigError
from ecotone.values.fleet import Report

__all__ = ["Fleet", "Signing", "folder"]


_ROWS: Final = 500
_SEQS: Final = select(reports.c.site, reports.c.seq, reports.c.came_s)
_decode: Final = msgspec.json.Decoder(Report).decode


class Signing(Protocol):
    """What the director says of each site, as `hub.wishes.Wishes` does."""

    def set(self, wanted: Mapping[str, Sequence[Asset]], why: str) -> Mapping[str, int]:
        """One new version of the director, with these wishes; the generation of each site's."""
        ...

    def changed(self, since: int) -> Iterable[tuple[str, int]]:
        """Sites whose wish is newer than when the counter stood there."""
        ...

    def counter(self) -> int:
        """Goes up with each set."""
        ...

    def state(self, site: str) -> SiteState | None:
        """The newest wish."""
        ...


def folder(kind: str, name: str) -> str:
    """An asset as grants name it, such as `models/clinic-7b`."""
    return f"{terms.FOLDERS[kind]}/{name}"


class Fleet:
    """All that is known of the sites. It keeps wishes and reports that it has read; several threads may ask."""

    def __init__(self, database: Database, sites: Sites, wishes: Signing, clock: Callable[[], float]) -> None:
        """Reads nothing yet."""
        self._database: Final = database
        self._sites: Final = sites
        self._wishes: Final = wishes
        self.clock: Final = clock
        self._lock: Final = threading.Lock()
        self._seen = -1
        self._told: Final[dict[str, Report]] = {}
        self._wished: Final[dict[str, tuple[Asset, ...]]] = {}

    def wished(self, sites: Iterable[str]) -> dict[str, tuple[Asset, ...]]:
        """All assets that the director wants at each of the sites now."""
        with self._lock:
            self._look()
            return {site: self._wished.get(site, ()) for site in sites}

    def wished_anywhere(self) -> set[str]:
        """Digests of the manifests of all that the director wants anywhere."""
        with self._lock:
            self._look()
            return {asset.sha256 for assets in self._wished.values() for asset in assets}

    def site(self, name: str) -> Site:
        """One enrolled site.

        Raises:
            ConfigError: `hub.unknown`.
        """
        site = self._sites.named([name]).get(name)
        if site is None:
            raise ConfigError("hub.unknown", f"no site '{name}' is enrolled here: `ecotone hub sites list` shows them")
        return site

    def rules(self) -> Sequence[Confinement]:
        """Which assets are confined to which sites."""
        return self._sites.rules.all()

    def within(self, scope: Scope, good: Good) -> tuple[dict[str, Site], list[str]]:
        """Enrolled sites of a scope, and those of it where the asset may not be."""
        rules = self.rules()
        inside, outside = {}, []
        for name, site in self._sites.named().items():
            if scope.has(name, site.groups):
                if may_hold(site.place, good, rules):
                    inside[name] = site
                else:
                    outside.append(name)
        return inside, outside

    def told(self, sites: Iterable[str]) -> dict[str, tuple[Report, float]]:
        """The newest report of each of the sites, and when it came (Unix seconds by the hub's clock)."""
        wanted = frozenset(sites)
        with self._lock, self._database.read() as c:
            seen = {row.site: (row.seq, row.came_s) for row in c.execute(_SEQS) if row.site in wanted}
            fresh = [site for site, (seq, _) in seen.items() if site not in self._told or self._told[site].seq != seq]
            for at in range(0, len(fresh), _ROWS):
                some = select(reports.c.site, reports.c.raw).where(reports.c.site.in_(fresh[at : at + _ROWS]))
                for row in c.execute(some):
                    self._told[row.site] = _decode(row.raw)
            return {site: (self._told[site], float(came_s)) for site, (_, came_s) in seen.items()}

    def pinned(self, name: str, otherwise: str = "") -> frozenset[str]:
        """Sites where the hub holds the asset fast; with `otherwise` only at another version than this."""
        with self._database.read() as c:
            rows = c.execute(select(pins.c.site, pins.c.version).where(pins.c.name == name)).all()
        held = [
            row for row in rows if not otherwise or is_pinned_otherwise(name, otherwise, (f"{name}@{row.version}",))
        ]
        return frozenset(row.site for row in held)

    def views(self, release: Release, *, is_without: bool = False) -> list[SiteView]:
        """Every site of a release, as `fleet.waves` looks at it; also those that had belonged to it and have a wish.

        Args:
            is_without: Only sites that have no wish for anything of that name.
        """
        good = Good(folder(release.kind, release.name), release.residency)
        sites, _ = self.within(release.scope, good)
        if is_without:
            has = {site for site, assets in self.wished(sites).items() if any(a.name == release.name for a in assets)}
            sites = {name: site for name, site in sites.items() if name not in has}
            if not sites:
                return []
        former = self._sites.named(sorted(self._wished_for(release.id) - sites.keys()))
        told, wished = self.told({*sites, *former}), self.wished({*sites, *former})
        held = self.pinned(release.name, release.version)
        views = []
        for name, site in {**sites, **former}.items():
            report, heard_s = told.get(name, (None, 0.0))
            view = waves.view(
                release.plan,
                name,
                wished[name],
                report,
                heard_s=heard_s,
                groups=site.groups,
                is_pinned=name in held,
            )
            # A wish with other variants or terms is another wish, though `fleet` would take it for this one.
            mine = tuple(one for one in wished[name] if one.name == release.name)
            view = msgspec.structs.replace(view, is_wished=mine == release.variants)
            if name in sites or view.is_wished:
                views.append(view)
        return views

    def _look(self) -> None:
        """Reads the wishes that are newer than the last look; the lock is held."""
        counter = self._wishes.counter()
        if counter != self._seen:
            for site, _ in self._wishes.changed(self._seen):
                state = self._wishes.state(site)
                self._wished[site] = () if state is None else state.assets
            self._seen = counter

    def _wished_for(self, release: str) -> set[str]:
        with self._database.read() as c:
            return set(c.execute(select(release_sites.c.site).where(release_sites.c.release == release)).scalars())
