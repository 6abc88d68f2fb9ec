"""The few operations below the ledger."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ecotone.store.disk import Disk, Lock
from ecotone.values import ConfigError


def test_bytes_are_appended_whole_even_where_the_kernel_takes_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, view: write(fd, view[:3]))
    disk = Disk()
    fd = disk.create(tmp_path / "a")
    disk.append(fd, b"0123456789")
    disk.close(fd)
    disk.close(fd)  # what close says is of no use
    assert (tmp_path / "a").read_bytes() == b"0123456789"
    with pytest.raises(FileExistsError):
        disk.create(tmp_path / "a")
    disk.cut(tmp_path / "a", 4)
    fd = disk.reopen(tmp_path / "a")
    disk.append(fd, b"x")
    disk.close(fd)
    assert (tmp_path / "a").read_bytes() == b"0123x"


def test_a_file_that_cannot_be_synchronised_is_not_reopened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"")
    before = len(os.listdir("/proc/self/fd"))

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "made")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="made"):
        Disk().reopen(tmp_path / "a")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_lock_names_its_owner(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    with pytest.raises(ConfigError, match=f"process {os.getpid()}"):
        Lock(tmp_path / "lock")
    lock.release()
    lock.release()
    Lock(tmp_path / "lock").release()
