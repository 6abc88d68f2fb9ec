"""Removing what nobody can need any more: marked first, and gone when nothing has needed it for the time of grace.

What is needed is found out anew right before anything is removed, while nobody can publish or sign. What is served to
sites that are in the midst of something is old enough by the grace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from ecotone.delivery.hub_folder import Hub, Named
from ecotone.delivery.objects import Stored
from ecotone.delivery.packs import PACKS
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.releases_fleet import Fleet
from ecotone.hub.tables_releases import garbage, publications, release_sites, releases, report_assets, upload_parts
from ecotone.hub.uploads import FOLDER as UPLOADS
from ecotone.hub.uploads import Uploads
from ecotone.hub.work_tasks import Next, Step
from ecotone.transfer import decode
from ecotone.trust import terms, writing
from ecotone.trust.agreeing import Asset
from ecotone.values.fleet import Digest

__all__ = ["COLLECT", "Collecting", "Found", "Keep"]

COLLECT: Final = "collect"
"""Kind of the task that collects."""
EVERY_S: Final = terms.DAY_S
AT_ONCE: Final = 500
"""Objects that are removed while the lock is held."""
_ROUNDS_MAX: Final = 1000
_REPOSITORIES: Final = (terms.CATALOGUE, terms.DIRECTOR)
_ASSETS = tuple[Asset, ...]


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept though nothing names it, or for how long.

    Attributes:
        grace_s: For so long nothing has needed what is removed, seconds.
        uploads_s: Uploads that nobody went on with for so long are given up, seconds.
        versions: Of each name so many versions keep their packs, newest first, besides those that are wished, reported
            or to be gone back to anywhere; 0: all that are published.
    """

    grace_s: float = 7 * terms.DAY_S
    uploads_s: float = 7 * terms.DAY_S
    versions: int = 0


DEFAULT: Final = Keep()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is not needed: all of it, and what may go by now.

    Attributes:
        kinds: (Folder, objects, bytes) of what may go.
    """

    objects: int
    bytes: int
    ripe_objects: int
    ripe_bytes: int
    kinds: tuple[tuple[str, int, int], ...]


class Collecting:
    """The job `collect`. One process at a time does it."""

    def __init__(
        self, database: Database, acts: Acts, hub: Hub, uploads: Uploads, fleet: Fleet, keep: Keep = DEFAULT
    ) -> None:
        """Reads nothing yet."""
        self._database: Final = database
        self._acts: Final = acts
        self._hub: Final = hub
        self._uploads: Final = uploads
        self._fleet: Final = fleet
        self._keep: Final = keep
        self._clock: Final[Callable[[], float]] = uploads.clock

    def __call__(self, step: Step, subject: str) -> Next:
        """Marks what nothing needs, and removes what was marked long ago."""
        step("uploads", self.give_up)
        step("tidy", self._hub.objects.tidy)
        marked = step("mark", self.mark)
        if marked["ripe_objects"]:
            step("act", lambda: self._act(marked))
        for number in range(_ROUNDS_MAX):
            if not step(f"sweep-{number}", self.sweep):
                break
        return Next(EVERY_S)

    def look(self) -> Found:
        """What would be removed now; nothing is changed.

        Raises:
            StoreError: `hub.objects`, `hub.database` ...
        """
        return self._found(list(self._unneeded()))

    def give_up(self) -> list[str]:
        """Ends uploads and publications that nobody goes on with; gives which uploads."""
        before_s = self._clock() - self._keep.uploads_s
        told = {"state": "refused", "why": "hub.expired", "message": "it was not signed in time: publish it anew"}
        old = publications.c.touched_s < before_s
        with self._database.begin() as c:
            c.execute(update(publications).where(publications.c.state == "unsigned", old).values(told))
        stale = self._uploads.stale(before_s)
        with self._database.read() as c:
            rows = c.execute(select(publications.c.uploads).where(publications.c.state == "cutting")).scalars()
            used = {one for raw in rows for one in msgspec.json.decode(raw, type=list[str])}
        gone = [one for one in stale if one not in used]
        if gone:
            self._acts.write("hub", "upload.expire", f"{len(gone)} uploads", uploads=len(gone))
            self._uploads.ended(tuple(gone))
        return gone

    def mark(self) -> dict[str, Any]:
        """Notes since when each object is not needed; forgets those that are needed again or are gone."""
        unneeded = {one.name: one for one in self._unneeded()}
        now_s = self._clock()
        with self._database.begin() as c:
            known = set(c.execute(select(garbage.c.object)).scalars())
            for gone in _some(sorted(known - unneeded.keys())):
                c.execute(delete(garbage).where(garbage.c.object.in_(gone)))
            for fresh in _some(sorted(unneeded.keys() - known)):
                c.execute(insert(garbage), [{"object": name, "seen_s": now_s} for name in fresh])
        told: dict[str, Any] = msgspec.to_builtins(self._found(list(unneeded.values())))
        return told

    def sweep(self) -> int:
        """Removes some of what was marked before the grace, and is still not needed; gives how many were looked at."""
        with self._database.read() as c:
            ripe = list(c.execute(self._ripe().limit(AT_ONCE)).scalars())
        if not ripe:
            return 0
        before_s = self._clock() - self._keep.grace_s
        with self._hub.locked():
            needed = self._needed()
            # Written anew since: somebody publishes the same content, and no manifest names it yet.
            needed |= {one.name for one in self._hub.objects.list(f"{PACKS}/") if one.modified_s > before_s}
            for name in ripe:
                if name not in needed:
                    self._hub.objects.delete(name)
        with self._database.begin() as c:
            c.execute(delete(garbage).where(garbage.c.object.in_(ripe)))
        return len(ripe)

    def _act(self, marked: Mapping[str, Any]) -> int:
        bytes_, objects = marked["ripe_bytes"], marked["ripe_objects"]
        return self._acts.write("hub", "hub.collect", "garbage", objects=objects, bytes=bytes_)

    def _found(self, unneeded: Sequence[Stored]) -> Found:
        with self._database.read() as c:
            ripe = set(c.execute(self._ripe()).scalars())
        gone = [one for one in unneeded if one.name in ripe]
        objects: Counter[str] = Counter(one.name.partition("/")[0] for one in gone)
        sizes: Counter[str] = Counter()
        for one in gone:
            sizes[one.name.partition("/")[0]] += one.bytes
        return Found(
            objects=len(unneeded),
            bytes=sum(one.bytes for one in unneeded),
            ripe_objects=len(gone),
            ripe_bytes=sizes.total(),
            kinds=tuple((kind, n, sizes[kind]) for kind, n in sorted(objects.items())),
        )

    def _ripe(self) -> Any:
        return select(garbage.c.object).where(garbage.c.seen_s <= self._clock() - self._keep.grace_s)

    def _unneeded(self) -> Iterator[Stored]:
        needed = self._needed()
        folders = (f"{PACKS}/", UPLOADS, *(f"{name}/" for name in _REPOSITORIES))
        for folder in folders:
            for one in self._hub.objects.list(folder):
                if one.name not in needed:
                    yield one

    def _needed(self) -> set[str]:
        """Names of all objects that somebody may ask for. What is missing here is lost: look twice."""
        needed = set(self._published()) | set(self._waiting())
        for repository in (self._hub.catalogue, self._hub.director):
            newest, snapshot = repository.versions(), repository.snapshot()
            names = {f"{number}.root.json" for number in range(1, newest["root"] + 1)} | {
                "timestamp.json",
                "bundle.json",
            }
            names |= {f"{number}.{role}.json" for role, number in newest.items()}
            names |= {f"{meta.version}.{file}" for file, meta in snapshot.meta.items()}
            names.add(f"{repository.timestamp().snapshot_meta.version}.snapshot.json")
            needed |= {terms.metadata(repository.name, name) for name in names}
        director = self._hub.director
        top = director.targets
        for content in (top, *(director.publisher(role) for role in writing.delegates(top))):
            for path, target in content.targets.items():
                needed.add(terms.target(terms.DIRECTOR, path, target.hashes["sha256"]))
        return needed

    def _published(self) -> Iterator[str]:
        """Manifests of all published versions, and packs of those that are kept."""
        named = self._hub.assets()
        kept = self._kept(named)
        for one in named:
            asset = one.asset
            path = terms.asset_path(asset.kind, asset.name, asset.version)
            yield terms.target(terms.CATALOGUE, path, asset.sha256)
            if asset.sha256 in kept:
                yield from (f"{PACKS}/{pack}" for pack in self._hub.manifest(asset).packs)

    def _kept(self, named: Sequence[Named]) -> set[Digest]:
        if not self._keep.versions:
            return {one.asset.sha256 for one in named}
        count: Counter[str] = Counter()
        kept = set()
        for one in reversed(named):
            count[one.asset.name] += 1
            if count[one.asset.name] <= self._keep.versions:
                kept.add(one.asset.sha256)
        with self._database.read() as c:
            kept |= set(c.execute(select(report_assets.c.sha256).distinct()).scalars())
            kept |= set(_former(c))
        return kept | self._fleet.wished_anywhere()

    def _waiting(self) -> Iterator[str]:
        """What publications and uploads that are under way need."""
        with self._database.read() as c:
            yield from c.execute(select(upload_parts.c.object)).scalars()
            asked = select(publications.c.manifest).where(publications.c.state.in_(("unsigned", "signed", "written")))
            for raw in c.execute(asked).scalars():
                yield from (f"{PACKS}/{pack}" for pack in decode(bytes(raw)).packs)


def _former(c: Connection) -> Iterator[str]:
    """Manifests of what the newest release of each asset would go back to."""
    rows = c.execute(select(releases.c.name, releases.c.id).order_by(releases.c.created_s)).all()
    newest = {row.name: row.id for row in rows}
    asked = select(release_sites.c.before).where(release_sites.c.release.in_(sorted(newest.values()))).distinct()
    for raw in c.execute(asked).scalars():
        yield from (one.sha256 for one in msgspec.json.decode(raw, type=_ASSETS))


def _some(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(names), AT_ONCE):
        yield names[at : at + AT_ONCE]
