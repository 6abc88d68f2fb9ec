"""SIGKILL, loss of power and a full disk at every file operation of delivery, switch, trial and way back."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
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

PROGRAM = Path(__file__).with_name("program.py")
STEPS_MAX = 600
STRIDE = 1 if "ECOTONE_FAULT_ROUNDS" in os.environ else 13


@pytest.mark.parametrize("scenario", ["good", "bad"])
@pytest.mark.parametrize("how", ["kill", "power", "full"])
def test_at_any_step_the_old_version_runs_or_the_new_one_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, how: str
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "none"))
    hub, stores = Hub(tmp_path), tmp_path / "stores"
    plain = stores / "plain"
    install(hub.first, [FolderSource(hub.folder)], plain)
    for number in range(STRIDE, STEPS_MAX, STRIDE):
        shutil.copytree(plain, stores / str(number), copy_function=_copied)
    shutil.copytree(plain, stores / "rehearsal")
    (tmp_path / "manifest").write_bytes(encode(hub.second))
    words = [str(tmp_path / "manifest"), str(hub.folder), str(stores), str(STRIDE), scenario]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words, "full" if how == "full" else "kill"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    steps = int(done.stdout)
    assert steps > 60
    seen, dice = set(), random.Random(steps)
    for number in range(STRIDE, steps + 1, STRIDE):
        store = stores / str(number)
        torn = lose_power(store, dice) if how == "power" else []
        words_ = f"operation {number}, {torn}"
        seen.add(_version(store, words_))
        _goes_on(hub, store, scenario, words_)
    assert seen == {1, 2}


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
