"""A hub that is killed while it enrols sites and changes keys: the ledger says what was done, and nothing else."""

from __future__ import annotations

import collections
import random
import subprocess
import sys
from pathlib import Path

from tests.hub.members import OWNER, Members

from ecotone.hub.database import Database
from ecotone.hub.sites_tokens import TokenAsked

ROOT = Path(__file__).parents[2]
CHILD = """
import sys
from pathlib import Path
from tests.hub.members import Machine, Members
from ecotone.hub.database import Database
members = Members(Database.open(sys.argv[1]), Path(sys.argv[2]))
for number in range(10_000):
    name = f"{sys.argv[4]}-{number}"
    machine, following = Machine(name), Machine(name)
    members.sites.enroll(sys.argv[3], name, machine.public)
    machine.session(members.sites, next_key=following.public)
    following.session(members.sites)
    print(name, flush=True)
"""


def test_acts_and_what_they_did_are_one(database_url: str, tmp_path: Path) -> None:
    database, dice = Database.open(database_url), random.Random(7)
    members = Members(database, tmp_path / "keys")
    _, token = members.sites.tokens.new(OWNER, TokenAsked(site="*", uses=100_000))
    told: list[str] = []
    for number in range(4):
        run = [sys.executable, "-c", CHILD, database_url, str(tmp_path / "keys"), token, f"r{number}"]
        child = subprocess.Popen(run, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert child.stdout is not None
        for _ in range(dice.randint(2, 12)):
            told.append(child.stdout.readline().strip())
        child.kill()
        told += child.stdout.read().split()[:-1]
        child.wait(60)
        child.stdout.close()
    acts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    after = -1
    while entries := members.acts.tail(after):
        for entry in entries:
            if entry.kind == "act":
                acts[entry.body["act"]][entry.body["subject"].removeprefix("site:")] += 1
        after = entries[-1].seq
    assert members.acts.verify().is_whole
    sites = members.sites.named()
    assert set(told) <= set(sites), "what was acknowledged is there"
    assert acts["site.enroll"] == dict.fromkeys(sites, 1)
    for name, site in sites.items():
        assert acts["site.key_changed"][name] == site.key_generation - 1
        assert acts["site.key_next"][name] == site.key_generation - 1 + site.is_changing_key
    used = members.sites.tokens.all(OWNER)[0].uses_left
    assert used == 100_000 - len(sites), "no use of the token was lost or counted twice"
    database.close()
