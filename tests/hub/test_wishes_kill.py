"""SIGKILL while wishes are signed: every site finds the old wish or the new one, and the database agrees after it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.trust.made_hub import manifest, walked

from ecotone.delivery import assigning, hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.wishes import Wishes
from ecotone.trust import Known, Memory, Roots

ROUNDS = 8
SITES = [f"site-{n:02}" for n in range(30)]
SIGNING = """
import random, sys, time
from pathlib import Path
from ecotone.delivery import assigning, hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.wishes import Wishes
folder, url, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
assigning.LIST_MAX, assigning.BITS_MIN = 8, 1
dice = random.Random(seed)
database = Database.open(url)
hub = Hub(folder, time.time, lock=lambda: database.lock("repositories"))
own = Wishes(database, hub, hub_keys.read(hub_keys.beside(folder) / "director.key"))
acts = Acts(database)
assets = [hub.find("smol", version).asset for version in "12"]
print("ready", flush=True)
while True:
    sites = dice.sample([f"site-{n:02}" for n in range(30)], dice.randint(1, 12))
    acts.write("process", "wishes.set", "smol", sites=len(sites))
    own.set({site: [dice.choice(assets)] for site in sites}, "test")
    acts.checkpoint()
"""


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json")} | {
        str(path.relative_to(folder)): path.read_bytes() for path in (folder / "catalogue" / "targets").rglob("*@*")
    }


def test_killed_while_wishes_are_signed(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assigning, "LIST_MAX", 8)
    monkeypatch.setattr(assigning, "BITS_MIN", 1)
    folder, dice = tmp_path / "hub", random.Random(3)
    database = Database.open(database_url)
    hub = Hub(folder, time.time, lock=lambda: database.lock("repositories"))
    hub.create(["models"])
    keys = hub_keys.beside(folder)
    for version in "12":
        hub.publish(manifest("smol", version), hub_keys.read(keys / "publisher-models.key"))
    hub.refresh([hub_keys.read(keys / "online.key")])
    roots = Roots.decode(hub.pins())
    pinned = (Known(bytes(roots.catalogue)), Known(bytes(roots.director)))
    memories = {site: Memory(site=site, catalogue=pinned[0], director=pinned[1], pinned="00") for site in SITES}
    own = Wishes(database, hub, hub_keys.read(keys / "director.key"))
    seen = 0
    for number in range(ROUNDS):
        process = subprocess.Popen(
            [sys.executable, "-c", SIGNING, str(folder), database_url, str(number)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(dice.uniform(0, 0.25))  # where in its work it dies is the point
        process.kill()
        process.communicate()
        # What sites find before anybody has healed anything.
        copy = files(folder)
        for site, generation in hub.generations().items():
            if own.generation(site) == generation:
                agreed, memories[site] = walked(memories[site], copy, time.time())
                assert agreed.generation >= generation - 1
        own.heal()
        copy = files(folder)
        for site, generation in hub.generations().items():
            agreed, memories[site] = walked(memories[site], copy, time.time())
            assert agreed.generation == generation == own.generation(site)
            seen += 1
    assert seen > ROUNDS
    assert Acts(database).verify().is_whole
    database.close()
