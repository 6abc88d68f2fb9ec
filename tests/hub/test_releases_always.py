"""What holds of releases whatever people and sites do, in any order: drawn by chance, many times."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub.rollout import OWNER, Rollout, Wave

from ecotone.fleet.waves import Gate
from ecotone.hub.database import Database
from ecotone.hub.releases_values import Release, Start
from ecotone.trust.agreeing import Asset
from ecotone.values import ConfigError
from ecotone.values.fleet import AssetState

VERSIONS = ("1", "2", "3")
STATES: tuple[AssetState, ...] = ("fetching", "ready", "trying", "good", "good", "failed", "refused")


class History:
    """One history: a hub, eight sites, and dice."""

    def __init__(self, database: Database, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.rollout = Rollout(database, folder)
        for version in VERSIONS:
            self.rollout.shelf.publish("smol", version)
        self.rollout.enroll(8)
        self.states: dict[tuple[str, str, int], AssetState] = {}
        self.failed: set[tuple[str, str, int]] = set()
        self.had: dict[str, set[str]] = {}
        self.rollout.behave = self.behave

    def behave(self, site: str, asset: Asset) -> AssetState:
        """A site goes forward, and what failed or is good stays so."""
        key = (site, asset.sha256, asset.attempt)
        now: AssetState = self.states.get(key, "wanted")
        if now not in ("good", "failed", "refused"):
            self.states[key] = now = self.dice.choice(STATES)
        if now == "failed":
            self.failed.add(key)
        return now

    def releases(self) -> list[Release]:
        return list(self.rollout.releases.list())

    def step(self) -> None:
        """Somebody does something, or the hub looks."""
        what = self.dice.choice(["start", "look", "look", "look", "tell", "tell", "people", "silence", "enroll", "pin"])
        before = {one.id: one.state for one in self.releases()}
        wished = {site: self.rollout.at(site) for site in self.rollout.members.sites.named()}
        # Much of it cannot be done as things are, and is refused.
        with contextlib.suppress(ConfigError):
            getattr(self, what)()
        self.holds(before, wished)
        self.rollout.clock.now_s += self.dice.choice([1, 60, 3600, 100_000])

    def start(self) -> None:
        waves = self.dice.choice(
            [(Wave(share=1.0),), (Wave(count=2), Wave(share=1.0)), (Wave(share=0.25), Wave(count=5))]
        )
        gate = Gate(hours_min=0, requests_min=0, reports_min=1, bad_max=2, bad_share=0.3)
        self.rollout.clock.now_s += 1
        asked = Start(name="smol", version=self.dice.choice(VERSIONS), waves=waves, gate=gate)
        self.rollout.releases.start(OWNER, asked)

    def look(self) -> None:
        for one in self.releases():
            self.rollout.once(one)

    def tell(self) -> None:
        names = self.rollout.wished()
        if names:
            self.rollout.tell(*self.dice.sample(names, self.dice.randint(1, len(names))))

    def people(self) -> None:
        one = self.dice.choice(self.releases() or [None])
        if one is not None:
            act = self.dice.choice(["pause", "resume", "resume", "abort"])
            getattr(self.rollout.releases, act)(OWNER, one.id)

    def silence(self) -> None:
        self.rollout.silent = {f"s{n}" for n in range(8) if self.dice.random() < 0.3}

    def enroll(self) -> None:
        self.rollout.enroll(1, f"late{self.rollout.seq}x")

    def pin(self) -> None:
        site = f"s{self.dice.randrange(8)}"
        if self.dice.random() < 0.5:
            self.rollout.releases.pin(OWNER, site, "smol")
        else:
            self.rollout.releases.unpin(OWNER, site, "smol")

    def holds(self, before: dict[str, str], wished: dict[str, tuple[Asset, ...]]) -> None:
        states = {one.id: one for one in self.releases()}
        going = [one for one in states.values() if one.state in ("rolling", "waiting", "rolling_back")]
        assert len(going) <= 1, "two releases of one name pull at the sites"
        pinned = {pin.site: pin.version for pin in self.rollout.releases.pins()}
        for site, old in wished.items():
            new = self.rollout.at(site)
            if new == old:
                continue
            for asset in new:
                key = (site, asset.sha256, asset.attempt)
                is_back = asset.version in self.had.get(site, set())
                assert is_back or key not in self.failed, "what failed is wished again at the same attempt"
            active = {before.get(one.id, "draft") for one in states.values()} & {
                "rolling",
                "waiting",
                "rolling_back",
                "done",
            }
            assert active, "a wish was signed though no release was going on"
            assert site not in pinned or pinned[site] in {asset.version for asset in new}, "a pinned site was changed"
        for site in wished:
            self.had.setdefault(site, set()).update(asset.version for asset in self.rollout.at(site))


@pytest.fixture
def history(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[History]:
    database = Database.open(str(tmp_path / "hub.db"))
    yield History(database, tmp_path, request.param)
    database.close()


@pytest.mark.parametrize("history", range(12), indirect=True)
def test_whatever_people_and_sites_do(history: History) -> None:
    for _ in range(50):
        history.step()
    # In the end everybody is good: the newest release comes to its end, and all that nobody holds have it.
    rollout = history.rollout
    rollout.silent = set()
    rollout.behave = lambda site, asset: "good"
    for pin in rollout.releases.pins():
        rollout.releases.unpin(OWNER, pin.site, "smol")
    for one in history.releases():
        rollout.look(one)
    last = rollout.start("3")
    for _ in range(6):
        rollout.tell(*rollout.members.sites.named())
        last = rollout.look(last)
    assert last.state == "done"
    assert rollout.wished("3") == sorted(rollout.members.sites.named())
    assert rollout.members.acts.verify().bad is None
