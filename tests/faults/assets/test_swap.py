"""Somebody changes or replaces the file after, or while, it is checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecotone import assets
from ecotone.assets import digest
from ecotone.values import ConfigError, TrustError

REF = "hf:someone/tiny/model.gguf"
GOOD = b"good " * 100_000
EVIL = b"evil " * 100_000


@pytest.fixture
def store(origin, made, tmp_path):
    origin.files["/someone/tiny/resolve/main/model.gguf"] = GOOD
    return assets.open_store(tmp_path, made.sources_of(origin))


def replaced(path):
    other = Path(f"{path}.other")
    other.write_bytes(EVIL)
    other.replace(path)


def written_over(path):
    """In place, its size, times of access and of change set back."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.write(EVIL)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [replaced, written_over])
def test_a_stored_file_that_changed_is_not_loaded_and_a_pull_mends_it(store, change):
    asset = store.pull(REF)
    change(asset.path)
    with pytest.raises(TrustError, match="ecotone models pull") as caught:
        store.checked_path(asset)
    assert caught.value.code == "asset.digest"
    assert store.checked_path(store.pull(REF)).read_bytes() == GOOD


def test_what_is_handed_out_is_what_was_hashed_even_if_its_name_is_given_away(store):
    asset = store.pull(REF)
    with store.hold(asset) as held:
        replaced(held.path)
        assert Path(held.fd_path).read_bytes() == GOOD
        with pytest.raises(TrustError, match="changed or replaced"):
            held.confirm()


def test_a_change_in_place_while_loading_is_noticed(store):
    asset = store.pull(REF)
    with store.hold(asset) as held:
        held.confirm()
        tick(held.path)
        written_over(held.path)
        with pytest.raises(TrustError) as caught:
            held.confirm()
    assert caught.value.code == "asset.changed"


def tick(path):
    """Returns when the file system's clock has moved on from the file's ctime."""
    probe = Path(f"{path}.probe")
    while True:
        probe.write_bytes(b"")
        if probe.stat().st_ctime_ns > os.stat(path).st_ctime_ns:
            break
    probe.unlink()


def test_a_file_that_is_removed_while_loading_is_noticed(store):
    with store.hold(store.pull(REF)) as held:
        held.path.unlink()
        with pytest.raises(TrustError):
            held.confirm()


@pytest.mark.parametrize("change", [replaced, written_over])
def test_a_swap_while_hashing_is_noticed(store, monkeypatch, change):
    asset = store.pull(REF)
    tick(asset.path)
    real = digest.sha256_of

    def slow(fd):
        found = real(fd)
        change(asset.path)
        return found

    monkeypatch.setattr(digest, "sha256_of", slow)
    with pytest.raises(TrustError) as caught:
        store.checked_path(asset)
    assert caught.value.code == "asset.changed"


def test_a_link_in_the_store_is_not_followed(store, tmp_path):
    asset = store.pull(REF)
    (tmp_path / "good").write_bytes(GOOD)
    Path(asset.path).unlink()
    Path(asset.path).symlink_to(tmp_path / "good")
    with pytest.raises(TrustError, match="symbolic link"):
        store.checked_path(asset)


def test_a_fifo_in_the_files_place_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(ConfigError, match="not a regular file"):
        assets.open_store(tmp_path).resolve(f"file:{tmp_path}/model.gguf")


def test_a_file_that_is_gone_is_said(store):
    asset = store.pull(REF)
    Path(asset.path).unlink()
    with pytest.raises(ConfigError) as caught:
        store.checked_path(asset)
    assert caught.value.code == "asset.file"
    assert store.resolve(REF) is None
