"""Releases as people handle them: started, shown, paused, resumed, aborted; and versions that are pinned at a site.

What a release then does by itself is `releases_look`. Each act is in the hub's ledger with what it changes, or neither
is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.engine import Connection

from ecotone.access import Act, Actor, Good, Subject, demand, demand_hold
from ecotone.fleet import waves
from ecotone.fleet.standing import ENDED
from ecotone.fleet.waves import Plan, Standing, Tally
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.releases_fleet import Fleet, folder
from ecotone.hub.releases_rows import LOCK, LOCK_WAIT_S, found, put, read, row_of
from ecotone.hub.releases_values import Pin, Release, Scope, Start, base, digest, new_id
from ecotone.hub.sites_shown import Site
from ecotone.hub.tables_releases import pins, releases, report_assets
from ecotone.hub.work_tasks import Tasks
from ecotone.transfer import Manifest
from ecotone.trust.agreeing import Asset
from ecotone.values import ConfigError
from ecotone.values.fleet import AssetReport

__all__ = ["LOOK", "Catalogue", "Releases"]

LOOK: Final = "look"
"""Kind of the task that looks after a release."""
ATTEMPT_STEP_MAX: Final = 1 << 20
"""So far above what was ever released an attempt may be that a site tells of; else one site could use them all up."""


class Named(Protocol):
    """One published version."""

    @property
    def asset(self) -> Asset:
        """As a wish names it."""


class Catalogue(Protocol):
    """What is published, as `delivery.hub_folder.Hub` knows it."""

    def assets(self) -> Sequence[Named]:
        """All published versions."""

    def manifest(self, asset: Asset) -> Manifest:
        """Of one."""


class Releases:
    """What people do with releases. Several threads and processes may."""

    def __init__(self, database: Database, acts: Acts, fleet: Fleet, catalogue: Catalogue, tasks: Tasks) -> None:
        """Reads nothing yet."""
        self._database: Final = database
        self._acts: Final = acts
        self._fleet: Final = fleet
        self._catalogue: Final = catalogue
        self._tasks: Final = tasks

    def start(self, actor: Actor, asked: Start) -> Release:
        """Starts a release; an older one of the same asset ends by it, and its sites keep what they have meanwhile.

        Raises:
            RefusalError: `hub.may`; `hub.residency`, `hub.confined`: of a site that was named.
            ConfigError: `hub.unknown`: no such version, or no site; `release.state`: the older one is being taken back.
        """
        variants, residency = self._variants(asked)
        good = Good(folder(variants[0].kind, asked.name), residency)
        sites = self._scope(asked.scope, good)
        for subject in {_subject(site, good.asset) for site in sites}:
            demand(actor, "release.start", subject)
        now_s = self._fleet.clock()
        digests = tuple(one.sha256 for one in variants)
        plan = Plan(
            id=new_id("r"),
            name=asked.name,
            version=asked.version,
            digests=digests,
            attempt=self._attempt(asked.name, digests, {site.name for site in sites}),
            waves=asked.waves,
            gate=asked.gate,
            terms=asked.terms,
        )
        wished = tuple(
            msgspec.structs.replace(
                one, attempt=plan.attempt, terms=plan.terms, decode_tok_s_min=asked.decode_tok_s_min
            )
            for one in variants
        )
        draft = self._draft(plan, asked.scope, wished, actor, now_s)
        draft = msgspec.structs.replace(draft, residency=residency)
        views = self._fleet.views(draft)
        draft = msgspec.structs.replace(draft, standing=waves.start(plan, views, now_s))
        with self._database.lock(LOCK, LOCK_WAIT_S), self._database.begin() as c:
            self._supersede(c, draft, now_s)
            named, n = f"{draft.id} {asked.name}@{asked.version}", len(sites)
            self._acts.write(actor.name, "release.start", named, digest(asked), at=c, attempt=plan.attempt, sites=n)
            c.execute(insert(releases).values(row_of(draft)))
            self._tasks.wake(LOOK, draft.id, connection=c)
        return self.show(draft.id)

    def list(self, limit: int = 50, offset: int = 0, name: str = "") -> Sequence[Release]:
        """Releases, newest first."""
        asked = select(releases).order_by(releases.c.created_s.desc(), releases.c.id).limit(limit).offset(offset)
        if name:
            asked = asked.where(releases.c.name == name)
        with self._database.read() as c:
            return [read(row) for row in c.execute(asked)]

    def show(self, release: str) -> Release:
        """One release.

        Raises:
            ConfigError: `hub.unknown`.
        """
        with self._database.read() as c:
            return found(c, release)

    def pause(self, actor: Actor, release: str) -> Release:
        """Nothing more is wished for it. What is wished stays so, and sites end their trials.

        Raises:
            RefusalError: `hub.may`.
            ConfigError: `hub.unknown`; `release.state`, here and below.
        """
        return self._moved(actor, release, "release.pause", waves.pause)

    def resume(self, actor: Actor, release: str) -> Release:
        """It goes on where it was paused."""
        return self._moved(actor, release, "release.resume", waves.resume)

    def abort(self, actor: Actor, release: str, *, is_back: bool = True) -> Release:
        """It ends. `is_back`: every site that has a wish for it gets the version before; else each keeps its wish.

        Raises:
            ConfigError: `release.state` also where a newer one of the same asset goes on: that one is to be aborted.
        """

        def aborted(standing: Standing, now_s: float) -> Standing:
            if is_back:
                self._alone(release)
            return waves.abort(standing, now_s, is_back=is_back)

        return self._moved(actor, release, "release.abort", aborted, "back" if is_back else "stay")

    def pins(self) -> Sequence[Pin]:
        """What the hub holds fast. What people at the sites hold fast is in their reports."""
        with self._database.read() as c:
            rows = c.execute(select(pins).order_by(pins.c.name, pins.c.site)).mappings()
            return [Pin(**row) for row in rows]

    def pin(self, actor: Actor, site: str, name: str, version: str = "") -> Pin:
        """No release changes the asset at that site until it is unpinned. What is wished there stays wished.

        Args:
            version: The one that is held; default: what is wished there now.

        Raises:
            RefusalError: `hub.may`.
            ConfigError: `hub.unknown`: no such site, or nothing of that name is wished; `hub.pin`: another is.
        """
        self._demand_at(actor, site, name)
        wished = {base(one.version) for one in self._fleet.wished([site])[site] if one.name == name}
        if not wished:
            raise ConfigError("hub.unknown", f"no '{name}' is wished at {site}: release it there first")
        if version and base(version) not in wished:
            has = ", ".join(sorted(wished))
            raise ConfigError("hub.pin", f"{site} shall have {name} {has}: release {version} there, then pin it")
        made = Pin(site=site, name=name, version=version or min(wished), by=actor.name, at_s=self._fleet.clock())
        with self._database.begin() as c:
            self._acts.write(actor.name, "site.pin", f"{site} {name}@{made.version}", at=c)
            c.execute(self._database.upsert(pins, msgspec.structs.asdict(made), ["site", "name"]))
        return made

    def unpin(self, actor: Actor, site: str, name: str) -> bool:
        """Releases may change the asset there again; whether it was pinned.

        Raises:
            RefusalError: `hub.may`.
            ConfigError: `hub.unknown`.
        """
        self._demand_at(actor, site, name)
        here = (pins.c.site == site, pins.c.name == name)
        with self._database.begin() as c:
            if c.execute(select(pins.c.site).where(*here)).first() is None:
                return False
            self._acts.write(actor.name, "site.unpin", f"{site} {name}", at=c)
            c.execute(delete(pins).where(*here))
            return True

    def _variants(self, asked: Start) -> tuple[tuple[Asset, ...], tuple[str, ...]]:
        """The assets to wish, best first, and where all of them may rest."""
        named = [one.asset for one in self._catalogue.assets() if one.asset.name == asked.name]
        known = {one.version: one for one in named if base(one.version) == asked.version}
        missing = [version for version in asked.variants if version not in known]
        if missing or not known:
            what = ", ".join(missing) or asked.version
            raise ConfigError("hub.unknown", f"{asked.name} {what} is not published here: publish it first")
        manifests = {version: self._catalogue.manifest(one) for version, one in known.items()}
        order = asked.variants or sorted(known, key=lambda version: -manifests[version].bytes)
        regions = [set(manifests[version].residency) for version in order if manifests[version].residency]
        residency = tuple(sorted(set.intersection(*regions))) if regions else ()
        if regions and not residency:
            raise ConfigError("hub.residency", f"the variants of {asked.name} {asked.version} share no region")
        return tuple(known[version] for version in order), residency

    def _scope(self, scope: Scope, good: Good) -> Sequence[Site]:
        inside, outside = self._fleet.within(scope, good)
        for name in scope.sites:
            if name in outside:
                demand_hold(self._fleet.site(name).place, good, self._fleet.rules())
            if name not in inside:
                raise ConfigError("hub.unknown", f"no site '{name}' is enrolled here")
        if not inside:
            why = "none of them may hold it" if outside else "no site is enrolled in that scope"
            raise ConfigError("hub.unknown", f"there is no site to release {good.asset} to: {why}")
        return list(inside.values())

    def _attempt(self, name: str, digests: Sequence[str], sites: set[str]) -> int:
        fields = [report_assets.c[field] for field in ("site", "name", "version", "kind", "sha256", "state", "attempt")]
        with self._database.read() as c:
            rows = c.execute(select(*fields).where(report_assets.c.sha256.in_(digests))).mappings().all()
            plans = c.execute(select(releases.c.plan).where(releases.c.name == name)).scalars().all()
        released = max((msgspec.json.decode(plan, type=Plan).attempt for plan in plans), default=0)
        most = released + ATTEMPT_STEP_MAX
        told = ({**row} for row in rows if row["site"] in sites and row["attempt"] <= most)
        return waves.attempt(digests, (_told(row) for row in told))

    def _draft(self, plan: Plan, scope: Scope, variants: tuple[Asset, ...], actor: Actor, now_s: float) -> Release:
        return Release(
            id=plan.id,
            name=plan.name,
            version=plan.version,
            state="draft",
            why="",
            by=actor.name,
            created_s=now_s,
            looked_s=0.0,
            ended_s=0.0,
            looks=0,
            scope=scope,
            residency=(),
            plan=plan,
            variants=variants,
            standing=Standing(),
            tally=Tally(),
        )

    def _supersede(self, c: Connection, newer: Release, now_s: float) -> None:
        """Every older release of the asset ends, whatever sites it goes over: two would pull at one site."""
        older = select(releases).where(releases.c.name == newer.name, releases.c.state.not_in(sorted(ENDED)))
        for row in c.execute(older).all():
            if row.state == "rolling_back":
                raise ConfigError(
                    "release.state",
                    f"{row.id} of {newer.name} is being taken back: wait until that is done, some seconds",
                )
            standing = waves.supersede(read(row).standing, now_s)
            self._acts.write("hub", "release.superseded", f"{row.id} by {newer.id}", at=c)
            put(c, row.id, standing, now_s)

    def _moved(
        self, actor: Actor, release: str, act: Act, how: Callable[[Standing, float], Standing], how_far: str = ""
    ) -> Release:
        known = self.show(release)
        self._demand(actor, act, known)
        with self._database.lock(LOCK, LOCK_WAIT_S), self._database.begin() as c:
            now_s = self._fleet.clock()
            standing = how(found(c, release).standing, now_s)
            self._acts.write(actor.name, act, f"{release} {known.name}@{known.version}", at=c, how=how_far)
            put(c, release, standing, now_s)
            self._tasks.wake(LOOK, release, connection=c)
        return self.show(release)

    def _alone(self, release: str) -> None:
        """No newer release of the asset goes on: what it would go back to must not be taken back under it."""
        known = self.show(release)
        newer = [one for one in self.list(name=known.name) if one.created_s > known.created_s]
        going = [one.id for one in newer if one.state not in ENDED]
        if going:
            raise ConfigError(
                "release.state", f"{going[0]} of {known.name} is newer and goes on: abort that one, or wait for its end"
            )

    def _demand(self, actor: Actor, act: Act, release: Release) -> None:
        """Whoever may do so at every site of the release may do so with the release."""
        asset = folder(release.kind, release.name)
        sites, _ = self._fleet.within(release.scope, Good(asset))
        demand(actor, act, *({_subject(site, asset) for site in sites.values()} or {Subject(asset)}))

    def _demand_at(self, actor: Actor, site: str, name: str) -> None:
        place = self._fleet.site(site)
        kinds = {one.kind for one in self._fleet.wished([site])[site] if one.name == name} or {"model"}
        demand(actor, "site.pin", *(_subject(place, folder(kind, name)) for kind in kinds))


def _subject(site: Site, asset: str) -> Subject:
    return Subject(asset, groups=site.groups, region=site.region)


def _told(row: Mapping[str, Any]) -> AssetReport:
    return AssetReport(**{name: value for name, value in row.items() if name != "site"})
