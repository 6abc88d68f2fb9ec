"""Small documents that are replaced whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec
import pytest

from ecotone.store.disk import Disk
from ecotone.store.state import State
from ecotone.values import EcotoneError


class Speeds(msgspec.Struct):
    small: float


class FullDisk(Disk):
    """No room for anything."""

    def append(self, fd: int, content: bytes) -> None:
        os.write(fd, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "full")


def test_a_document_is_read_back_and_private(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.read("speeds", Speeds) is None
    state.write("speeds", Speeds(1.5))
    state.write("speeds", Speeds(2.5))
    assert State(tmp_path).read("speeds", Speeds) == Speeds(2.5)
    path = tmp_path / "state" / "speeds.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [item.name for item in path.parent.iterdir()] == ["speeds.json"]


@pytest.mark.parametrize("broken", [b"", b'{"small":', b'{"small":"fast"}', b"\xff\xfe"])
def test_a_broken_document_is_set_aside(tmp_path: Path, broken: bytes) -> None:
    state = State(tmp_path)
    state.write("speeds", Speeds(1.0))
    path = tmp_path / "state" / "speeds.json"
    path.write_bytes(broken)
    assert state.read("speeds", Speeds) is None
    assert path.with_name("speeds.json.broken-1").read_bytes() == broken
    assert state.read("speeds", Speeds) is None
    state.write("speeds", Speeds(3.0))
    assert state.read("speeds", Speeds) == Speeds(3.0)


def test_only_so_many_broken_documents_are_kept(tmp_path: Path) -> None:
    state = State(tmp_path)
    (tmp_path / "state").mkdir()
    for number in range(12):
        (tmp_path / "state" / "speeds.json").write_text(f"broken {number}")
        assert state.read("speeds", Speeds) is None
    assert len(list((tmp_path / "state").iterdir())) == 9
    assert (tmp_path / "state" / "speeds.json.broken-9").read_text() == "broken 11"


def test_on_a_full_disk_the_old_document_stands(tmp_path: Path) -> None:
    State(tmp_path).write("speeds", Speeds(1.0))
    with pytest.raises(EcotoneError, match=r"store\.state"):
        State(tmp_path, FullDisk()).write("speeds", Speeds(2.0))
    assert State(tmp_path).read("speeds", Speeds) == Speeds(1.0)


def test_a_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        State(tmp_path).read("../etc", Speeds)
