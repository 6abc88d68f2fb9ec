"""Wishes: one new director version for many sites, told after it is announced, healed after any cut between."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tests.unit.trust.made_hub import NOW_S, manifest, refused, walked

from ecotone.assets import StoreError
from ecotone.delivery import hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.hub import wishes as room
from ecotone.hub.database import Database
from ecotone.hub.objects import Objects
from ecotone.hub.tables import counters, wishes
from ecotone.hub.wishes import Wishes
from ecotone.trust import Known, Memory, Roots
from ecotone.values import ConfigError


class World:
    """A hub over any objects and any database, with one small model in two versions."""

    def __init__(self, objects: Objects, database: Database, keys: Path) -> None:
        self.now_s, self.keys, self.objects, self.database = NOW_S, keys, objects, database
        self.hub.create(["models"], keys=keys)
        for version in ("1", "2"):
            self.hub.publish(manifest("smol", version), self.key("publisher-models"))
        self.hub.refresh([self.key("online")])

    @property
    def hub(self) -> Hub:
        return Hub(self.objects, lambda: self.now_s, lock=lambda: self.database.lock("repositories"))

    @property
    def wishes(self) -> Wishes:
        return Wishes(self.database, self.hub, self.key("director"), lambda: self.now_s)

    def key(self, name: str) -> CryptoSigner:
        return hub_keys.read(self.keys / f"{name}.key")

    def set(self, sites: list[str], version: str = "2") -> dict[str, int]:
        return self.wishes.set({site: [self.hub.find("smol", version).asset] for site in sites}, "test")

    def files(self) -> dict[str, bytes]:
        return {one.name: self.objects.get(one.name) for one in self.objects.list("")}

    def memory(self, site: str) -> Memory:
        roots = Roots.decode(self.hub.pins())
        return Memory(
            site=site, catalogue=Known(bytes(roots.catalogue)), director=Known(bytes(roots.director)), pinned="00"
        )


@pytest.fixture
def world(objects: Objects, database: Database, tmp_path: Path) -> World:
    return World(objects, database, tmp_path / "keys")


def test_many_sites_in_one_version(world: World) -> None:
    before = world.hub.director.timestamp().version
    told = world.set(["harbour", "inland"])
    assert told == {"harbour": 1, "inland": 1}
    assert world.hub.director.timestamp().version == before + 1
    own = world.wishes
    assert own.generation("harbour") == 1
    assert own.generation("nowhere") == 0
    assert own.state("nowhere") is None
    state = own.state("inland")
    assert state is not None
    assert [asset.version for asset in state.assets] == ["2"]
    assert own.sites() == ["harbour", "inland"]
    for site in told:
        agreed, _ = walked(world.memory(site), world.files())
        assert (agreed.site, agreed.generation) == (site, 1)


def test_who_waits_sees_only_what_has_changed(world: World) -> None:
    own = world.wishes
    assert own.counter() == 0
    world.set(["harbour", "inland"])
    first = own.counter()
    assert first > 0
    assert own.changed(first) == []
    world.set(["inland"], "1")
    assert own.counter() > first
    assert own.changed(first) == [("inland", 2)]
    assert sorted(own.changed(0)) == [("harbour", 1), ("inland", 2)]


def test_to_wish_the_same_again_is_harmless(world: World) -> None:
    world.set(["harbour"])
    counter, version = world.wishes.counter(), world.hub.director.timestamp().version
    assert world.set(["harbour"]) == {"harbour": 1}
    assert world.set([]) == {}
    assert (world.wishes.counter(), world.hub.director.timestamp().version) == (counter, version)
    assert world.set(["harbour", "inland"]) == {"harbour": 1, "inland": 1}


def test_a_name_that_cannot_be_is_refused_and_nothing_is_signed(world: World) -> None:
    version = world.hub.director.timestamp().version
    with pytest.raises(ConfigError, match=r"hub\.name"):
        world.set(["harbour", "../up"])
    assert world.wishes.sites() == []
    assert world.hub.director.timestamp().version == version
    with pytest.raises(ConfigError, match=r"hub\.keys"):
        Wishes(world.database, world.hub).set({"harbour": []}, "x")


class Cut(BaseException):
    """The process ends here."""


def cut_at(number: int, act: Callable[..., object]) -> Callable[..., object]:
    """The act, and the end of the process in the place of its so-many-th call."""
    left = [number]

    def acted(*given: object, **named: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise Cut
        return act(*given, **named)

    return acted


@pytest.mark.parametrize("number", range(7))
def test_a_cut_between_any_two_writes_heals(world: World, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Documents, list, snapshot, two timestamps, the database: after each of them the process ends once."""
    world.set(["harbour", "inland"], "1")
    memories = {site: walked(world.memory(site), world.files())[1] for site in ("harbour", "inland")}
    kind = type(world.objects)
    if number < 6:
        monkeypatch.setattr(kind, "put", cut_at(number, kind.put))
    else:
        monkeypatch.setattr(Wishes, "_tell", cut_at(0, Wishes._tell))  # the last write
    with pytest.raises(Cut):
        world.set(["harbour", "inland"])
    monkeypatch.undo()
    for memory in memories.values():  # the old wish holds, or the new one
        assert walked(memory, world.files())[0].generation in (1, 2)
    world.wishes.heal()
    for site, memory in memories.items():
        assert world.wishes.generation(site) == walked(memory, world.files())[0].generation
    told = world.set(["harbour", "inland"])
    for site, memory in memories.items():
        agreed, _ = walked(memory, world.files())
        assert agreed.generation == told[site] == world.wishes.generation(site)
        assert agreed.assets[0].asset.version == "2"
    assert world.wishes.heal() == 0


def test_a_hub_restored_from_an_old_copy_goes_on_above_its_sites(world: World) -> None:
    """Rule 8: sites refuse to go back, and the hub learns the floor from them."""
    world.set(["harbour"], "1")
    world.now_s += 3600
    old = world.files()
    with world.database.read() as connection:
        rows = connection.execute(wishes.select()).mappings().all()
        counts = connection.execute(counters.select()).mappings().all()
    for version in ("2", "1", "2"):
        world.now_s += 3600
        world.set(["harbour"], version)
    _, memory = walked(world.memory("harbour"), world.files(), world.now_s)
    assert memory.generation == 4
    # The whole hub is put back to where it was, and signs anew, as it does every day.
    for one in list(world.objects.list("")):
        world.objects.delete(one.name)
    for name, raw in old.items():
        world.objects.put(name, raw)
    with world.database.begin() as connection:
        for table, kept in ((wishes, rows), (counters, counts)):
            connection.execute(table.delete())
            connection.execute(table.insert(), [dict(row) for row in kept])
    world.now_s += 3600
    assert world.wishes.refresh([world.key("online")]) == ["catalogue", "director"]
    assert world.wishes.generation("harbour") == 1
    assert refused(memory, world.files(), world.now_s)[0] == "trust.rollback"
    assert world.wishes.raise_floor("harbour", 4)
    assert not world.wishes.raise_floor("harbour", 4)
    assert not world.wishes.raise_floor("harbour", 1)
    assert not world.wishes.raise_floor("harbour", room.FLOOR_STEP_MAX + 2), "no site can know that"
    assert world.wishes.floor("harbour") == 4
    assert world.set(["harbour"], "2") == {"harbour": 5}
    assert walked(memory, world.files(), world.now_s)[0].generation == 5


def test_who_restores_may_go_ahead_of_all(world: World) -> None:
    world.set(["harbour", "inland"], "1")
    assert world.wishes.ahead(by=50) == 2
    assert world.set(["inland"]) == {"inland": 52}
    assert world.wishes.generation("harbour") == 1


def test_a_director_from_an_older_copy_than_the_database(world: World) -> None:
    world.set(["harbour"], "1")
    old = world.files()
    world.now_s += 60
    world.set(["harbour", "inland"], "2")
    for one in list(world.objects.list("director/")):
        world.objects.delete(one.name)
    for name, raw in old.items():
        world.objects.put(name, raw)
    assert world.wishes.heal() == 2
    assert world.wishes.generation("harbour") == 1
    assert world.wishes.generation("inland") == 0
    assert world.set(["harbour", "inland"], "2") == {"harbour": 3, "inland": 2}


def test_what_the_command_line_signed_is_told(world: World) -> None:
    hub = world.hub
    hub.assign("harbour", [hub.find("smol", "1").asset], world.key("director"))
    hub.refresh([world.key("director")])
    assert world.wishes.generation("harbour") == 0
    assert world.wishes.heal() == 1
    assert world.wishes.generation("harbour") == 1


def test_what_is_not_announced_is_left_to_who_has_the_key(world: World) -> None:
    hub = world.hub
    hub.assign("harbour", [hub.find("smol", "1").asset], world.key("director"))
    assert Wishes(world.database, hub).heal() == 0
    assert world.wishes.generation("harbour") == 0
    assert world.wishes.heal() == 1
    assert walked(world.memory("harbour"), world.files())[0].generation == 1


def test_two_never_write_at_once(world: World) -> None:
    with world.hub.locked():
        hub = Hub(world.objects, NOW_S, lock=lambda: world.database.lock("repositories", wait_s=0.1))
        with pytest.raises(StoreError, match=r"(hub|asset)\.busy"):
            Wishes(world.database, hub, world.key("director")).set({"harbour": []}, "x")


SETTER = """
import sys, time
from pathlib import Path
from ecotone.delivery import hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.hub.database import Database
from ecotone.hub.wishes import Wishes
folder, url, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
database = Database.open(url)
hub = Hub(folder, time.time, lock=lambda: database.lock("repositories"))
own = Wishes(database, hub, hub_keys.read(hub_keys.beside(folder) / "director.key"))
asset = hub.find("smol", "2").asset
for number in range(3):
    own.set({f"{name}-{number}": [asset], f"all-{number}-{name}": [asset]}, name)
"""


def test_several_processes_set_wishes(database: Database, database_url: str, tmp_path: Path) -> None:
    hub = Hub(tmp_path / "hub", time.time)
    hub.create(["models"])
    keys = hub_keys.beside(tmp_path / "hub")
    hub.publish(manifest("smol", "2"), hub_keys.read(keys / "publisher-models.key"))
    hub.refresh([hub_keys.read(keys / "online.key")])
    given = [sys.executable, "-c", SETTER, str(tmp_path / "hub"), database_url]
    processes = [subprocess.Popen([*given, name]) for name in ("a", "b", "c")]
    assert [process.wait() for process in processes] == [0, 0, 0]
    own = Wishes(database, hub)
    assert len(own.sites()) == 18
    assert own.heal() == 0
    assert hub.generations() == dict.fromkeys(own.sites(), 1)
