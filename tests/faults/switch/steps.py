"""A process dies, or its disk is full, at each of its file operations in turn: what is there then, how it goes on."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
from tests.faults.switch.instrument import lose_power
from tests.faults.switch.program import play
from tests.unit.delivery.hubs import FIRST, SECOND, Hub
from tests.unit.transfer.files import gguf

from ecotone import assets
from ecotone.agent import trials
from ecotone.delivery.fetch import FolderSource
from ecotone.delivery.install import install
from ecotone.delivery.versions import collect, in_force, versions
from ecotone.transfer import encode

SCENARIOS: Final = ("good", "bad")
"""The version that comes is good, or does not start and is gone back from."""

HOWS: Final = ("kill", "power", "full")
STEPS_MAX: Final = 600
_PROGRAM: Final = Path(__file__).with_name("program.py")


class Steps(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        operations: On files, from the first to the last.
        tried: At so many of them the process died, or its disk was full.
        old, new: So often `hub:NAME` led to the version before, and to the new one, when it was looked at.
        torn: Files that were torn and names that were undone.
    """

    operations: int
    tried: int
    old: int
    new: int
    torn: int


def every(folder: Path, scenario: str, how: str, stride: int) -> Steps:
    """Plays it at every `stride`th operation.

    Raises:
        AssertionError: a store is not as it should be afterwards, or comes to another end.
    """
    hub, stores = Hub(folder), folder / "stores"
    plain = stores / "plain"
    install(hub.first, [FolderSource(hub.folder)], plain)
    for number in range(stride, STEPS_MAX, stride):
        shutil.copytree(plain, stores / str(number), copy_function=_copied)
    shutil.copytree(plain, stores / "rehearsal")
    (folder / "manifest").write_bytes(encode(hub.second))
    words = [str(folder / "manifest"), str(hub.folder), str(stores), str(stride), scenario]
    done = subprocess.run(
        [sys.executable, str(_PROGRAM), *words, "full" if how == "full" else "kill"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen, torn, dice = [], 0, random.Random(int(done.stdout))
    for number in range(stride, int(done.stdout) + 1, stride):
        store = stores / str(number)
        undone = lose_power(store, dice) if how == "power" else []
        torn += len(undone)
        seen.append(_version(store, f"operation {number}, {undone}"))
        _goes_on(hub, store, scenario, f"operation {number}, {undone}")
    return Steps(int(done.stdout), len(seen), seen.count(1), seen.count(2), torn)


def _goes_on(hub: Hub, store: Path, scenario: str, words: str) -> None:
    """The next start runs what is led to, and comes to the same end as if nothing had been."""
    play(hub.second, hub.folder, store, scenario)
    assert not trials.file(store).with_suffix(".damaged").exists(), words
    standing = trials.read(store).assets["small"]
    assert in_force(store, "small").version == standing.used.version, words
    if scenario == "bad":
        assert _version(store, words) == 1
        assert (standing.lost.version, standing.lost.why) == ("2", "load"), words
        assert trials.read(store).memory.failed(standing.lost.sha256, 0) is not None
    else:
        assert _version(store, words) == 2
        assert standing.used.state == "good", words
        assert [one.version for one in versions(store)] == ["1", "2"], words
    assert list((store / "delivery" / "partial").iterdir()) == [], words
    assert collect(store) == 0, words


def _copied(source: str, target: str) -> None:
    """Model files never change, and are linked."""
    if "sha256" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _version(store: Path, words: str) -> int:
    shelf = assets.open_store(store)
    asset = shelf.resolve("hub:small")
    assert asset is not None, words
    content = shelf.checked_path(asset).read_bytes()
    assert content in (gguf(FIRST), gguf(SECOND)), words
    return 1 if content == gguf(FIRST) else 2
