"""A hub with sites that do as they are wished, for tests of releases; its director is a stand-in, or the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.hub.fleets import enrolled
from tests.hub.members import Clock, Machine, Members

from ecotone import access
from ecotone.fleet.waves import Gate, Wave
from ecotone.hub.database import Database
from ecotone.hub.releases import Releases
from ecotone.hub.releases_fleet import Fleet, Signing
from ecotone.hub.releases_look import Looking
from ecotone.hub.releases_values import Release, Scope, Start
from ecotone.hub.reports import Reports
from ecotone.hub.work_tasks import Next, Tasks
from ecotone.transfer import Manifest, Part
from ecotone.trust.agreeing import Asset, SiteState
from ecotone.values.fleet import AssetReport, AssetState, Figures, MachineReport, Report, Terms

OWNER = access.owner("ann")
QUICK = Gate(hours_min=0, requests_min=0, reports_min=1, hours_max=100)
"""A gate that waits for nothing but for what sites tell."""

Behaviour = Callable[[str, Asset], AssetState]


class Director:
    """A stand-in for the director: keeps wishes in memory."""

    def __init__(self) -> None:
        self.states: dict[str, SiteState] = {}
        self.changes: list[str] = []
        self.signings: list[tuple[str, ...]] = []

    def set(self, wanted: Mapping[str, Sequence[Asset]], why: str) -> Mapping[str, int]:
        for site, assets in wanted.items():
            generation = self.generation(site) + 1
            self.states[site] = SiteState(site=site, generation=generation, assets=tuple(assets))
            self.changes.append(site)
        self.signings.append(tuple(sorted(wanted)))
        return {site: self.generation(site) for site in wanted}

    def changed(self, since: int) -> list[tuple[str, int]]:
        return [(site, self.generation(site)) for site in self.changes[max(since, 0) :]]

    def counter(self) -> int:
        return len(self.changes)

    def state(self, site: str) -> SiteState | None:
        return self.states.get(site)

    def generation(self, site: str) -> int:
        return self.states[site].generation if site in self.states else 0

    def raise_floor(self, site: str, generation: int) -> bool:
        raise AssertionError("no site is above")


class Published:
    """One published version."""

    def __init__(self, asset: Asset) -> None:
        self.asset = asset


class Shelf:
    """A catalogue: versions with nothing in them but a size and where they may rest."""

    def __init__(self) -> None:
        self.versions: dict[tuple[str, str], tuple[Asset, Manifest]] = {}

    def publish(self, name: str, version: str, size: int = 100, residency: tuple[str, ...] = ()) -> Asset:
        number = len(self.versions) + 1
        part = Part(path="x", bytes=size, blake3="0" * 64, sha256="0" * 64, format="text", segments=())
        fields: dict[str, Any] = {"licence": "MIT", "packs": (), "parts": (part,), "residency": residency}
        manifest = Manifest(name=name, version=version, kind="model", **fields)
        made = Asset(name, version, "model", f"{number:064x}", 500)
        self.versions[name, version] = (made, manifest)
        return made

    def assets(self) -> Sequence[Published]:
        return [Published(asset) for asset, _ in self.versions.values()]

    def manifest(self, asset: Asset) -> Manifest:
        return self.versions[asset.name, asset.version][1]


def now(name: str, function: Callable[[], Any]) -> Any:
    """A step that is simply done."""
    return function()


class Rollout:
    """The hub and its sites. `behave` says what a site tells of a version that it is wished."""

    def __init__(self, database: Database, folder: Path, wishes: Any = None) -> None:
        self.clock = Clock()
        self.members = Members(database, folder / "keys", self.clock)
        self.database = database
        self.shelf = Shelf()
        self.wishes: Any = wishes or Director()
        signing: Signing = self.wishes
        self.tasks = Tasks(database, self.clock)
        self.fleet = Fleet(database, self.members.sites, signing, self.clock)
        self.reports = Reports(database, self.wishes, self.clock)
        self.releases = Releases(database, self.members.acts, self.fleet, self.shelf, self.tasks)
        self.looking = Looking(database, self.members.acts, self.fleet, signing)
        self.seq = 0
        self.silent: set[str] = set()
        self.behave: Behaviour = lambda site, asset: "good"
        self.machine = MachineReport(arch="x86_64", memory_bytes=8 << 30)

    def enroll(self, count: int, prefix: str = "s", **fields: Any) -> list[str]:
        names = [f"{prefix}{number}" for number in range(count)]
        enrolled(self.database, *names, **{"key": Machine(prefix).public, **fields})
        for name in names:
            self.report(name)
        return names

    def start(self, version: str, *waves: Wave, **fields: Any) -> Release:
        self.clock.now_s += 1
        asked = Start(name="smol", version=version, waves=waves or (Wave(share=1.0),), gate=QUICK, **fields)
        return self.releases.start(OWNER, asked)

    def look(self, release: Release) -> Release:
        """Looks until there is nothing to do at once."""
        for _ in range(30):
            done = self.looking(now, release.id)
            if done.in_s is None or done.in_s > 1:
                break
        return self.releases.show(release.id)

    def once(self, release: Release) -> Next:
        return self.looking(now, release.id)

    def tell(self, *only: str) -> None:
        """Every site that is not silent reports of all that it is wished."""
        for site in only or self.wished():
            if site not in self.silent:
                self.report(site, *[self.told(site, asset) for asset in self.at(site)])

    def told(self, site: str, asset: Asset) -> AssetReport:
        state = self.behave(site, asset)
        return AssetReport(
            name=asset.name,
            version=asset.version,
            kind=asset.kind,
            sha256=asset.sha256,
            state=state,
            attempt=asset.attempt,
            why="errors" if state == "failed" else "",
            figures=Figures(hours=5, requests=100),
            before=Figures(hours=50, requests=1000),
        )

    def report(self, site: str, *assets: AssetReport, pinned: tuple[str, ...] = ()) -> None:
        self.seq += 1
        made = Report(site=site, seq=self.seq, made_s=self.clock(), assets=assets, pinned=pinned, machine=self.machine)
        self.reports.take(site, [made])

    def at(self, site: str) -> tuple[Asset, ...]:
        state = self.wishes.state(site)
        return () if state is None else state.assets

    def wished(self, version: str = "") -> list[str]:
        sites = self.members.sites.named()
        return sorted(s for s in sites if any(version in ("", one.version) for one in self.at(s)))

    def everywhere(self, version: str, **fields: Any) -> Release:
        """A version that is released to all at once and is good there."""
        release = self.look(self.start(version, **fields))
        self.tell()
        return self.look(release)

    def acts(self) -> list[str]:
        entries = self.members.acts.tail(limit=10_000)
        return [str(entry.body["act"]) for entry in entries if entry.kind == "act"]


__all__ = ["OWNER", "QUICK", "Director", "Rollout", "Scope", "Terms", "Wave", "now"]
