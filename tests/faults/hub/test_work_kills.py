"""Real kills at each step of a hub's work, on both databases: afterwards all is done, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests.faults.hub.hub_child import chosen
from tests.hub.fleets import enrolled
from tests.hub.members import Machine
from tests.hub.press import pieces
from tests.hub.press import text as made_text
from tests.hub.rollout import OWNER, QUICK
from tests.hub.served import made

from ecotone.delivery import hub_keys
from ecotone.delivery.packs import Packed
from ecotone.fleet.waves import Wave
from ecotone.hub import tables_releases
from ecotone.hub.database import Database
from ecotone.hub.publications import About, Ask
from ecotone.hub.publishing_signing import next_signed
from ecotone.hub.releases import LOOK
from ecotone.hub.releases_values import Release, Start
from ecotone.hub.serving import Hub, opened
from ecotone.hub.uploads import Begin
from ecotone.trust.agreeing import Asset
from ecotone.values.fleet import AssetReport, AssetState, Report

CHILD = Path(__file__).parent / "hub_child.py"
SITES = [f"s{number}" for number in range(6)]
ROUNDS = int(os.environ.get("ECOTONE_FAULT_ROUNDS", "0"))
WHEN = ("before", "after")
ALWAYS = (
    "look/note_wishes:after", "look/sign:after", "publish/cut:after", "publish/write:after", "publish/announce:before",
    "collect/sweep-0:after", "resign/sign:after",
)  # fmt: skip
"""Where the most is at stake; `make faults` kills everywhere."""


def everywhere(*places: str) -> list[Any]:
    """Parameters: places to kill at, the others only where there is time."""
    rest = pytest.mark.skipif(not ROUNDS, reason="`make faults` kills here too (ECOTONE_FAULT_ROUNDS)")
    return [pytest.param(place, marks=() if place in ALWAYS else rest) for place in dict.fromkeys(places)]


class Killed:
    """A hub whose working process dies at one place and is started again; this process is its people and sites."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.kills = folder, url, 0
        made(folder, url)
        self.child: subprocess.Popen[bytes] | None = None
        self.seq = 0
        self.told: dict[str, tuple[AssetReport, ...]] = {}

    def start(self, where: str = "") -> None:
        given = [where] if where else []
        self.child = subprocess.Popen([sys.executable, str(CHILD), str(self.folder), self.url, *given])

    def keep(self) -> None:
        """A process that died by the kill is followed by another."""
        assert self.child is not None
        code = self.child.poll()
        if code is not None:
            assert code == -signal.SIGKILL
            self.kills += 1
            self.start()

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + 60
        while not is_so():
            self.keep()
            assert time.monotonic() < until_s, f"{what}: {self.state()}"
            time.sleep(0.03)

    def state(self) -> list[object]:
        """What the database says of the work, for a failure."""
        database = Database.open(self.url)
        runs = "workflow_status" if database.dialect == "sqlite" else "dbos.workflow_status"
        with database.read() as c:
            told = c.execute(text(f"SELECT workflow_uuid, status, recovery_attempts, queue_name FROM {runs}")).all()
            every = c.execute(tables_releases.tasks.select()).all()
        database.close()
        return [*map(tuple, told), *map(tuple, every)]

    def stop(self) -> None:
        if self.child is not None:
            (self.folder / "stop").touch()
            self.child.wait(30)

    def tell(self, hub: Hub, state: Callable[[str], AssetState]) -> None:
        """Sites that have a wish report of it, when there is something new to tell."""
        for site in SITES:
            wish = hub.wishes.state(site)
            told = tuple(_told(asset, state(asset.version)) for asset in (() if wish is None else wish.assets))
            if told != self.told.get(site, ()):
                self.told[site] = told
                self.seq += 1
                hub.reports.take(site, [Report(site=site, seq=self.seq, made_s=time.time(), assets=told)])


def _told(asset: Asset, state: AssetState) -> AssetReport:
    return AssetReport(
        name=asset.name,
        version=asset.version,
        kind=asset.kind,
        sha256=asset.sha256,
        attempt=asset.attempt,
        state=state,
    )


@pytest.fixture
def killed(tmp_path: Path, database_url: str) -> Iterator[Killed]:
    world = Killed(tmp_path, database_url)
    with opened(chosen(tmp_path, database_url)) as hub:
        hub.prepare()
        enrolled(hub.database, *SITES, key=Machine("s").public)
        for site in SITES:
            world.seq += 1
            hub.reports.take(site, [Report(site=site, seq=world.seq, made_s=1.0)])
    yield world
    world.stop()


def acts(hub: Hub) -> list[str]:
    return [str(entry.body["act"]) for entry in hub.acts.tail(limit=1000) if entry.kind == "act"]


def rolled(world: Killed, hub: Hub, version: str, state: Callable[[str], AssetState], ends: str) -> Release:
    """A release to its end; sites tell what they are wished all the time."""
    asked = Start(name="smol", version=version, waves=(Wave(count=4), Wave(share=1.0)), gate=QUICK)
    release = hub.releases.start(OWNER, asked)

    def is_over() -> bool:
        world.tell(hub, state)
        hub.tasks.wake(LOOK, release.id)
        return hub.releases.show(release.id).state == ends

    world.until(is_over, f"the release is {ends}")
    return hub.releases.show(release.id)


LOOKS = [f"look/{step}:{when}" for step in ("woken", "decide", "note_wishes", "sign", "note", "noted") for when in WHEN]


@pytest.mark.parametrize("where", everywhere(*LOOKS))
def test_a_release_goes_on_at_the_very_step(killed: Killed, where: str) -> None:
    with opened(chosen(killed.folder, killed.url)) as hub:
        killed.start(where)
        release = rolled(killed, hub, "1", lambda version: "good", "done")
        assert killed.kills == 1
        # Each site was wished once, each wave was noted once, and the ledger holds.
        assert [hub.wishes.generation(site) for site in SITES] == [1] * len(SITES)
        assert acts(hub).count("release.wish") == 2
        assert acts(hub).count("release.done") == 1
        assert release.looks == 2
        assert hub.acts.verify().bad is None


BACK = [f"look/{step}:{when}" for step in ("decide", "note_wishes", "sign", "note") for when in WHEN]


@pytest.mark.parametrize("where", everywhere(*BACK))
def test_a_bad_release_is_taken_back_whatever_is_killed(killed: Killed, where: str) -> None:
    with opened(chosen(killed.folder, killed.url)) as hub:
        killed.start()
        rolled(killed, hub, "1", lambda version: "good", "done")
        assert killed.child is not None
        killed.child.kill()
        killed.child.wait()
        killed.start(where)
        rolled(killed, hub, "2", lambda version: "good" if version == "1" else "failed", "halted")
        wished = {site: [asset.version for asset in hub.wishes.state(site).assets] for site in SITES}  # type: ignore[union-attr] # each has one
        assert wished == {site: ["1"] for site in SITES}
        # Four sites had it: there and back. The others never heard of it.
        assert sorted(hub.wishes.generation(site) for site in SITES) == [1, 1, 3, 3, 3, 3]
        assert [act for act in acts(hub) if act in ("release.back", "release.halted")] == [
            "release.back",
            "release.halted",
        ]


CUTS = [f"publish/{step}:{when}" for step in ("look", "cut", "clear") for when in WHEN]
SIGNS = [f"publish/{step}:{when}" for step in ("look", "write", "announce", "noted") for when in WHEN]


def published(world: Killed, hub: Hub, content: bytes, where: str) -> str:
    """A publication from its upload to its announcement; killed in its first half or its second."""
    import hashlib

    said = Begin(file="smol.txt", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    upload = hub.uploads.begin(OWNER, said)
    hub.uploads.append(OWNER, upload.id, 0, pieces(content))
    is_first = where in CUTS
    world.start(where if is_first else "")
    asked = Ask(about=About(name="smol", version="9", licence="MIT"), publisher="models", uploads=(upload.id,))
    known = hub.publications.begin(OWNER, asked)

    def state() -> str:
        return hub.publications.show(OWNER, known.id).state

    world.until(lambda: state() == "unsigned" and not hub.uploads.list(OWNER), "it is cut")
    if not is_first:
        assert world.child is not None
        world.child.kill()
        world.child.wait()
        world.start(where)
    key = hub_keys.read(hub.settings.keys / "publisher-models.key")
    manifest = hub.publications.manifest(OWNER, known.id)
    signed = next_signed(hub.publications.newest(OWNER, "models"), "models", manifest, key, time.time())
    hub.publications.sign(OWNER, known.id, signed)
    world.until(lambda: state() == "announced", "it is announced")
    return known.id


@pytest.mark.parametrize("where", everywhere(*CUTS, *SIGNS))
def test_publishing_goes_on_at_the_very_step(killed: Killed, where: str) -> None:
    content = made_text(9)
    with opened(chosen(killed.folder, killed.url)) as hub:
        known = published(killed, hub, content, where)
        killed.until(lambda: not any(task.subject == known for task in hub.tasks.every()), "it is noted")
        killed.until(lambda: killed.kills == 1, "it was killed")
        manifest = hub.repositories.manifest(hub.repositories.find("smol", "9").asset)
        assert Packed(hub.objects, manifest, manifest.parts[0]).read(0, len(content)) == content
        assert acts(hub).count("publish.announce") == 1
        snapshot = hub.repositories.catalogue.snapshot()
        assert snapshot.meta["models.json"].version == hub.repositories.catalogue.version("models")


DAILY = [f"collect/{step}:{when}" for step in ("uploads", "mark", "act", "sweep-0", "noted") for when in WHEN]
DAILY += [f"resign/{step}:{when}" for step in ("act", "sign", "announced", "noted") for when in WHEN]


@pytest.mark.parametrize("where", everywhere(*DAILY))
def test_daily_work_goes_on_at_the_very_step(killed: Killed, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(chosen(killed.folder, killed.url)) as hub:
        # Something that nobody has needed for long.
        hub.objects.put(f"packs/{'0' * 64}", b"nobody's")
        os.utime(hub.settings.folder / "packs" / ("0" * 64), (1e9, 1e9))
        clock = hub.clock
        from ecotone.hub import work_jobs

        collecting = work_jobs.collecting(hub)
        monkeypatch.setattr(collecting, "_clock", lambda: clock() - 30 * 86_400)
        collecting.mark()
        before = hub.repositories.catalogue.timestamp().version
        hub.tasks.wake("collect", "")
        killed.start(where)
        killed.until(lambda: killed.kills == 1, "it was killed")

        def is_done() -> bool:
            every = {task.kind: task for task in hub.tasks.every()}
            return all(every[kind].number > 1 for kind in ("collect", "resign") if kind in every) and len(every) == 2

        killed.until(is_done, "both are done")
        assert hub.objects.size(f"packs/{'0' * 64}") is None
        assert hub.repositories.catalogue.timestamp().version > before
        for version in ("1", "2"):
            manifest = hub.repositories.manifest(hub.repositories.find("smol", version).asset)
            assert Packed(hub.objects, manifest, manifest.parts[0]).read(0, 100)


@pytest.mark.skipif(not ROUNDS, reason="`make faults` kills at random instants, ECOTONE_FAULT_ROUNDS times")
def test_kills_at_any_instant(killed: Killed) -> None:
    import random

    dice = random.Random(ROUNDS)
    with opened(chosen(killed.folder, killed.url)) as hub:
        killed.start()
        for number in range(ROUNDS):
            version = "12"[number % 2]
            asked = Start(name="smol", version=version, waves=(Wave(count=2), Wave(share=1.0)), gate=QUICK)
            release = hub.releases.start(OWNER, asked)
            kill_s = time.monotonic() + dice.uniform(0.0, 2.0)

            def is_over(release: Release = release, kill_s: float = kill_s) -> bool:
                if killed.child is not None and kill_s < time.monotonic() < kill_s + 0.1:
                    killed.child.kill()
                    killed.child.wait()
                killed.tell(hub, lambda version: "good")
                hub.tasks.wake(LOOK, release.id)
                return hub.releases.show(release.id).state == "done"

            killed.until(is_over, f"release {number} is done")
            assert all(
                [asset.version for asset in hub.wishes.state(site).assets] == [version]  # type: ignore[union-attr] # each has one
                for site in SITES
            )
        assert hub.acts.verify().bad is None
        assert [hub.wishes.generation(site) for site in SITES] == [ROUNDS] * len(SITES)
