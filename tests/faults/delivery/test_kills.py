"""SIGKILL at every step of an installation: the old version is there or the new one, whole, and it goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.delivery.hubs import FIRST, SECOND, Hub
from tests.unit.transfer.files import gguf

from ecotone import assets
from ecotone.delivery.fetch import FolderSource
from ecotone.delivery.install import collect, install, versions
from ecotone.transfer import encode

_PROGRAM = """
import os, signal, sys
from pathlib import Path
from ecotone.delivery.fetch import FolderSource
from ecotone.delivery.install import install
from ecotone.transfer import decode

manifest, hub, stores = decode(Path(sys.argv[1]).read_bytes()), Path(sys.argv[2]), Path(sys.argv[3])
install(manifest, [FolderSource(hub)], stores / "rehearsal")  # all is imported before the steps are counted

def stepping(last):
    left = last
    def step(*_):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def hook(event, args):
        if event in ("open", "sqlite3.connect") or event.startswith("os."):
            step()
    sys.addaudithook(hook)
    for name in ("pwrite", "fsync", "ftruncate", "close"):
        def counted(*args, plain=getattr(os, name)):
            step()
            return plain(*args)
        setattr(os, name, counted)

stride = int(sys.argv[4])
last = 0
while True:
    last += stride
    store = stores / str(last)
    if not store.exists():
        sys.exit("more steps than there are stores")
    child = os.fork()
    if child == 0:
        stepping(last)
        install(manifest, [FolderSource(hub)], store)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        print(last - stride)
        sys.exit(0)
    assert os.WTERMSIG(status) == signal.SIGKILL
"""
STEPS_MAX = 400
STRIDE = 1 if "ECOTONE_FAULT_ROUNDS" in os.environ else 5


def test_a_kill_at_any_step_leaves_the_old_version_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "none"))
    hub, stores = Hub(tmp_path), tmp_path / "stores"
    plain = stores / "plain"
    install(hub.first, [FolderSource(hub.folder)], plain)
    for number in range(STRIDE, STEPS_MAX, STRIDE):
        shutil.copytree(plain, stores / str(number), copy_function=_copied)
    shutil.copytree(plain, stores / "rehearsal")
    (tmp_path / "manifest").write_bytes(encode(hub.second))
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path / "manifest"), str(hub.folder), str(stores), str(STRIDE)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps > 50
    seen = set()
    for number in range(STRIDE, steps + 1, STRIDE):
        store = stores / str(number)
        seen.add(_version(store))
        install(hub.second, [FolderSource(hub.folder)], store)
        assert _version(store) == 2
        assert [one.version for one in versions(store)] == ["1", "2"]
        assert list((store / "delivery" / "partial").iterdir()) == []
        assert collect(store) == 0
    assert seen == {1, 2}


def _copied(source: str, target: str) -> None:
    """Model files never change, and are linked."""
    if "sha256" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _version(store: Path) -> int:
    shelf = assets.open_store(store)
    asset = shelf.resolve("hub:small")
    assert asset is not None
    content = shelf.checked_path(asset).read_bytes()
    assert content in (gguf(FIRST), gguf(SECOND))
    return 1 if content == gguf(FIRST) else 2
