"""Durable replacement and locks."""

from __future__ import annotations

import errno

import pytest

from ecotone.assets import files
from ecotone.assets.errors import StoreError


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    target = tmp_path / "a"
    files.written(target, b"one")
    files.written(target, b"two")
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_replacement_leaves_the_old_content(tmp_path, monkeypatch):
    target = tmp_path / "a"
    files.written(target, b"one")

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError) as caught, files.durably("writing a"):
        files.written(target, b"two")
    assert caught.value.code == "asset.disk_full"
    assert target.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [target]


def test_a_lock_is_waited_for_so_long_and_then_said(tmp_path):
    waits = []
    with files.locked(tmp_path / "l", 1.0):
        with pytest.raises(StoreError) as caught, files.locked(tmp_path / "l", 0.0, lambda: waits.append(1)):
            pass
        assert caught.value.code == "asset.busy"
        assert waits == [1]
    with files.locked(tmp_path / "l", 0.0):
        pass


def test_space_that_is_not_there_is_refused(tmp_path):
    files.free_space(tmp_path, 1, "a")
    with pytest.raises(StoreError, match="MB are free"):
        files.free_space(tmp_path, 1 << 60, "a")
