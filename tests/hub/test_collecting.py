"""Garbage of a hub, and signing anew: what anybody may need stays, what nobody needs goes after the grace."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.hub.fleets import enrolled
from tests.hub.members import Machine
from tests.hub.press import Press, text
from tests.hub.rollout import OWNER, now

from ecotone.delivery.objects import Folder, Objects
from ecotone.delivery.packs import Packed
from ecotone.hub.database import Database
from ecotone.hub.resigning import due
from ecotone.hub.uploads import Begin
from ecotone.trust import terms
from ecotone.values import ConfigError

DAY_S = 86_400.0


@pytest.fixture
def press(database: Database, objects: Objects, tmp_path: Path) -> Press:
    return Press(database, objects, tmp_path)


def collect(press: Press, days: float = 8, **keep: Any) -> None:
    """A look, the grace, and another look."""
    collecting = press.collecting(**keep)
    collecting(now, "")
    press.clock.now_s += days * DAY_S
    collecting(now, "")


def is_whole(press: Press, version: str) -> bool:
    """Whether a site could fetch all of a version."""
    manifest = press.hub.manifest(press.hub.find("smol", version).asset)
    return all(len(Packed(press.objects, manifest, part).read(0, part.bytes)) == part.bytes for part in manifest.parts)


def test_what_is_published_stays_and_what_was_withdrawn_goes_after_the_grace(press: Press) -> None:
    press.publish("1", ("smol.txt", text(1)))
    press.publish("2", ("smol.txt", text(2)))
    packs = press.names("packs/")
    with press.hub.locked():
        press.clock.now_s += 1
        press.hub.withdraw("smol", "1", press.key("publisher-models"))
        press.hub.refresh([press.key("online")])
    collecting = press.collecting()
    collecting(now, "")
    assert press.names("packs/") == packs
    press.clock.now_s += 6 * DAY_S
    collecting(now, "")
    assert press.names("packs/") == packs
    press.clock.now_s += 2 * DAY_S
    assert collecting.look().ripe_objects > 0
    collecting(now, "")
    assert len(press.names("packs/")) == len(packs) - 1
    assert is_whole(press, "2")
    assert press.written()[-1] == "hub.collect"
    # Nothing is left to go, and nothing is noted for it.
    count = len(press.written())
    collecting(now, "")
    assert len(press.written()) == count


def test_old_metadata_goes_and_sites_can_still_refresh(press: Press) -> None:
    enrolled(press.database, "s0", key=Machine("s0").public)
    for version in ("1", "2", "3"):
        made = press.publish(version, ("smol.txt", text(int(version))))
        press.clock.now_s += 1
        press.wishes.set({"s0": [press.hub.find("smol", made.version).asset]}, "test")
    before = {name: press.names(f"{name}/") for name in ("catalogue", "director")}
    collect(press)
    after = {name: press.names(f"{name}/") for name in ("catalogue", "director")}
    assert all(after[name] < before[name] for name in after)
    press.resigning(now, "")
    # Whatever the announced snapshot names is there, and so are all roots and the wish.
    for repository in (press.hub.catalogue, press.hub.director):
        names = {f"{meta.version}.{file}" for file, meta in repository.snapshot().meta.items()}
        names |= set(repository.files())
        held = press.names(f"{repository.name}/metadata/")
        assert {terms.metadata(repository.name, name) for name in names} <= held
    state = press.hub.state("s0")
    assert state.generation == 3
    assert [asset.version for asset in state.assets] == ["3"]


def test_what_waits_for_a_signature_is_kept_and_what_nobody_goes_on_with_is_not(press: Press) -> None:
    made = press.work(press.ask("1", ("smol.txt", text(1))))
    half = press.uploads.begin(OWNER, Begin(file="a.txt", bytes=10, sha256="0" * 64))
    press.uploads.append(OWNER, half.id, 0, iter([b"12345"]))
    packs = press.names("packs/")
    collect(press, days=6)
    assert press.names("packs/") == packs
    assert press.uploads.at(OWNER, half.id).offset == 5
    collect(press, days=8)
    with pytest.raises(ConfigError):
        press.uploads.at(OWNER, half.id)
    assert press.names("uploads/") == set()
    press.clock.now_s += 8 * DAY_S
    press.collecting()(now, "")
    assert press.publications.show(OWNER, made.id).why == "hub.expired"
    assert press.names("packs/") == set()


def test_uploads_that_are_being_cut_are_not_given_up(press: Press) -> None:
    made = press.ask("1", ("smol.txt", text(1)))
    press.clock.now_s += 30 * DAY_S
    assert press.collecting().give_up() == []
    assert press.work(made).state == "unsigned"


def test_of_many_versions_those_stay_that_are_newest_or_wished_or_run(press: Press) -> None:
    enrolled(press.database, "s0", key=Machine("s0").public)
    for number in range(1, 6):
        press.publish(str(number), ("smol.txt", text(number)))
        press.clock.now_s += 1
    press.wishes.set({"s0": [press.hub.find("smol", "1").asset]}, "test")
    collect(press, versions=2)
    kept = {version for version in "12345" if _has_packs(press, version)}
    assert kept == {"1", "4", "5"}
    # What is published after it knows what is gone: it stores anew what it needs.
    press.publish("6", ("smol.txt", text(2)))
    assert is_whole(press, "6")


def _has_packs(press: Press, version: str) -> bool:
    manifest = press.hub.manifest(press.hub.find("smol", version).asset)
    return all(press.objects.size(f"packs/{pack}") is not None for pack in manifest.packs)


def test_what_is_needed_again_before_it_is_removed_stays(press: Press) -> None:
    """A pack that nobody needed is published again: it stays, also when that comes in the very last moment."""
    files = ("smol.txt", text(1))
    made = press.publish("1", files)
    with press.hub.locked():
        press.clock.now_s += 1
        press.hub.withdraw("smol", "1", press.key("publisher-models"))
        press.hub.refresh([press.key("online")])
    collecting = press.collecting()
    collecting(now, "")
    press.clock.now_s += 8 * DAY_S

    def published_meanwhile(name: str, function: Callable[[], Any]) -> Any:
        value = function()
        if name == "mark":
            press.publish("2", files)
        return value

    collecting(published_meanwhile, "")
    assert is_whole(press, "2")
    assert press.publications.show(OWNER, made.id).state == "announced"


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_every_published_version_can_be_fetched(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    database = Database.open(str(tmp_path / "hub.db"))
    press = Press(database, Folder(tmp_path / "objects"), tmp_path)
    alive: set[str] = set()
    for number in range(12):
        chosen = dice.choice(["publish", "publish", "withdraw", "collect", "wait"])
        if chosen == "publish":
            alive.add(press.publish(f"v{number}", ("smol.txt", text(dice.randint(1, 4), 400))).version)
        elif chosen == "withdraw" and alive:
            gone = dice.choice(sorted(alive))
            alive.remove(gone)
            with press.hub.locked():
                press.hub.withdraw("smol", gone, press.key("publisher-models"))
                press.hub.refresh([press.key("online")])
        elif chosen == "collect":
            press.collecting()(now, "")
        press.clock.now_s += dice.choice([1, DAY_S, 8 * DAY_S])
        assert all(is_whole(press, version) for version in alive)
    collect(press)
    assert all(is_whole(press, version) for version in alive)
    database.close()


def test_a_day_is_what_signing_anew_is_for(press: Press) -> None:
    def soonest() -> dict[tuple[str, str], bool]:
        found = due(press.hub, press.clock())
        return {(one.repository, one.role): one.is_overdue for one in found}

    fresh = soonest()
    assert len(fresh) == 9
    assert not any(fresh.values())
    press.clock.now_s += 3 * DAY_S
    assert [key for key, is_overdue in soonest().items() if is_overdue] == [
        ("catalogue", "timestamp"),
        ("director", "timestamp"),
    ]
    assert press.resigning(now, "").in_s == DAY_S
    assert not any(soonest().values())
    press.clock.now_s += 8 * DAY_S
    assert {one.role for one in due(press.hub, press.clock()) if one.is_expired} == {"timestamp"}


def test_a_missing_key_is_an_alarm_and_the_other_repository_is_signed_all_the_same(press: Press) -> None:
    press.has_online = False
    press.clock.now_s += 3 * DAY_S
    with pytest.raises(ConfigError) as found:
        press.resigning(now, "")
    assert found.value.code == "hub.keys"
    assert "catalogue" in found.value.message
    overdue = {(one.repository, one.role) for one in due(press.hub, press.clock()) if one.is_overdue}
    assert overdue == {("catalogue", "timestamp")}


def test_a_pack_that_is_written_anew_by_who_is_still_cutting_stays(tmp_path: Path) -> None:
    """No manifest names it yet: that it was written lately is all that says that somebody needs it."""
    database = Database.open(str(tmp_path / "hub.db"))
    press = Press(database, Folder(tmp_path / "objects"), tmp_path)
    press.objects.put(f"packs/{'0' * 64}", b"nobody's")
    path = tmp_path / "objects" / "packs" / ("0" * 64)
    os.utime(path, (1e9, 1e9))
    collecting = press.collecting()
    collecting(now, "")
    press.clock.now_s += 8 * DAY_S
    os.utime(path, (press.clock(), press.clock()))
    collecting(now, "")
    assert path.exists()
    os.utime(path, (1e9, 1e9))
    collecting(now, "")
    press.clock.now_s += 8 * DAY_S
    collecting(now, "")
    assert not path.exists()
    database.close()
