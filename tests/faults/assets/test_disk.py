"""A disk that fills: refused before the first byte where that can be known, else stopped cleanly and gone on with."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from ecotone import assets
from ecotone.assets import StoreError

BODY = random.Random(4).randbytes(3_000_000)
REF = "hf:someone/tiny/model.gguf"
FILE = "/someone/tiny/resolve/main/model.gguf"


@pytest.fixture
def hub(origin):
    origin.files[FILE] = BODY
    origin.acted = FILE
    return origin


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 2 MB."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_without_room_is_known_before_the_first_byte(hub, made, small_disk):
    with pytest.raises(StoreError) as caught:
        assets.open_store(small_disk, made.sources_of(hub)).pull(REF)
    assert caught.value.code == "asset.disk_full"
    assert "MB are free" in caught.value.message
    assert not list((small_disk / "assets" / "partial").glob("*.part"))


def test_a_disk_that_fills_while_fetching_keeps_what_fits_and_goes_on(hub, made, small_disk, monkeypatch):
    monkeypatch.setattr("ecotone.assets.files.free_space", lambda path, needed, what: None)
    store = assets.open_store(small_disk, made.sources_of(hub))
    digest = made.sha256(BODY)
    with pytest.raises(StoreError) as caught:
        store.pull(REF, digest)
    assert caught.value.code == "asset.disk_full"
    assert store.resolve(REF, digest) is None
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    asset = store.pull(REF, digest)
    assert store.checked_path(asset).read_bytes() == BODY
    assert int(hub.asked(FILE)[1].removeprefix("bytes=").removesuffix("-")) > 1_000_000


def test_a_file_size_limit_is_said_like_a_full_disk(hub, made, tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000))\n"
        "from ecotone import assets\n"
        "from ecotone.assets.pull import Sources\n"
        "try: assets.open_store(sys.argv[1], Sources(hf_base=sys.argv[2])).pull(sys.argv[3])\n"
        "except assets.StoreError as error: print(error.code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), hub.url, REF], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "asset.disk_full\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to drop rights")
def test_a_folder_that_may_not_be_written_is_said(hub, made, tmp_path):
    (tmp_path / "assets").write_text("a file where the folder should be")
    with pytest.raises(StoreError) as caught:
        assets.open_store(tmp_path, made.sources_of(hub)).pull(REF)
    assert caught.value.code == "asset.io"
