"""Rule 8, over the wire: a hub that was put back to an old copy, and a site that knows more than it."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from tests.hub import served as room
from tests.hub.test_carrying import _Over
from tests.unit.trust.made_hub import refused, walked

from ecotone.hub.serving import opened
from ecotone.hub.settings import Settings
from ecotone.trust import Known, Memory, Roots


class Copy:
    """What an operator keeps of a hub: its folder, and its database as SQLite copies it while it is used."""

    def __init__(self, chosen: Settings, to: Path) -> None:
        self._chosen, self._to = chosen, to
        self._database = Path(chosen.database_url().removeprefix("sqlite:///"))
        shutil.copytree(chosen.folder, to / "hub")
        with sqlite3.connect(self._database) as source, sqlite3.connect(to / "db") as target:
            source.backup(target)
        source.close()
        target.close()

    def restore(self) -> None:
        shutil.rmtree(self._chosen.folder)
        shutil.copytree(self._to / "hub", self._chosen.folder)
        for path in self._database.parent.glob(f"{self._database.name}*"):
            if path.is_file():
                path.unlink()
        shutil.copy(self._to / "db", self._database)


def first(site: room.Site) -> Memory:
    roots = Roots.decode(site.get("/trust.json").body)
    pinned = (Known(bytes(roots.catalogue)), Known(bytes(roots.director)))
    return Memory(site=site.name, catalogue=pinned[0], director=pinned[1], pinned="00")


def wanted(site: room.Site, after: int, wait_s: int = 0) -> tuple[int, int]:
    answer = site.get(f"/v1/sites/{site.name}/desired?after={after}&wait={wait_s}")
    return answer.status, answer.json["generation"] if answer.status == 200 else 0


def test_a_site_is_not_led_back_and_the_hub_learns_from_it(tmp_path: Path) -> None:
    chosen = room.made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")
    with room.serving(chosen) as at:
        site = room.joined(at, "harbour")
        room.assign(at, "harbour", "smol@1")
        (tmp_path / "copy").mkdir()
        copy = Copy(chosen, tmp_path / "copy")
        for version in ("2", "1", "2"):
            room.assign(at, "harbour", f"smol@{version}")
        agreed, memory = walked(first(site), _Over(site), time.time())
        assert agreed.generation == 4
    copy.restore()
    with room.serving(chosen) as at:
        site.served = at
        with opened(chosen) as hub:
            hub.wishes.refresh()
        assert site.sign_in().status == 200
        # The copy holds generation 1, signed anew: the site takes none of it, and is told of nothing new.
        assert refused(memory, _Over(site), time.time())[0] in ("trust.rollback", "trust.not_in_both")
        assert wanted(site, 4) == (304, 0)
        with opened(chosen) as hub:
            assert hub.wishes.generation("harbour") == 1
            assert hub.wishes.floor("harbour") == 4
        assert room.assign(at, "harbour", "smol@2") == 5
        assert wanted(site, 1, wait_s=20) == (200, 5), "by then the process that answers has seen it"
        assert wanted(site, 4) == (200, 5)
        agreed, memory = walked(memory, _Over(site), time.time())
        assert (agreed.generation, memory.generation) == (5, 5)


@pytest.mark.parametrize("lie", [1 << 53, (1 << 20) + 5])
def test_a_site_that_lies_of_what_it_knows_leaves_room(tmp_path: Path, lie: int) -> None:
    chosen = room.made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")
    with room.serving(chosen) as at:
        site = room.joined(at, "harbour")
        assert room.assign(at, "harbour", "smol@1") == 1
        assert wanted(site, lie)[0] in (304, 400)
        assert room.assign(at, "harbour", "smol@2") == 2
