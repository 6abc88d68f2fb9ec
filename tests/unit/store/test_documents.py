"""Sealed documents that are replaced whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ecotone.store.disk import Disk
from ecotone.store.documents import Documents
from ecotone.values import EcotoneError

KEY = bytes(range(32))


class FullDisk(Disk):
    """No room for anything, and nothing can be removed."""

    def append(self, fd: int, content: bytes) -> None:
        os.write(fd, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "full")

    def remove(self, path: Path) -> None:
        raise OSError(errno.EROFS, "read only")


def files(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "sealed").iterdir())


def test_a_document_is_read_back_sealed_and_private(tmp_path: Path) -> None:
    documents = Documents(tmp_path, KEY)
    assert documents.read("lessons") is None
    documents.write("lessons", b"first words")
    documents.write("lessons", b"later words")
    assert Documents(tmp_path, KEY).read("lessons") == b"later words"
    path = tmp_path / "sealed" / "lessons.sealed"
    assert b"words" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert files(tmp_path) == ["lessons.sealed"]


def test_an_empty_document_is_one(tmp_path: Path) -> None:
    documents = Documents(tmp_path, KEY)
    documents.write("lessons", b"")
    assert documents.read("lessons") == b""


@pytest.mark.parametrize("harm", ["empty", "flipped", "cut", "long"])
def test_a_broken_document_is_set_aside(tmp_path: Path, harm: str) -> None:
    documents = Documents(tmp_path, KEY, bytes_max=64)
    documents.write("lessons", b"x" * 64)
    path = tmp_path / "sealed" / "lessons.sealed"
    whole = path.read_bytes()
    broken = {
        "empty": b"", "flipped": whole[:-1] + bytes([whole[-1] ^ 1]), "cut": whole[:40], "long": whole + b"x",
    }[harm]  # fmt: skip
    path.write_bytes(broken)
    assert documents.read("lessons") is None
    assert path.with_name("lessons.sealed.broken-1").read_bytes() == broken
    assert documents.read("lessons") is None
    documents.write("lessons", b"new")
    assert documents.read("lessons") == b"new"


def test_with_another_key_it_is_set_aside_and_opens_again_with_its_own(tmp_path: Path) -> None:
    Documents(tmp_path, KEY).write("lessons", b"words")
    assert Documents(tmp_path, bytes(32)).read("lessons") is None
    (tmp_path / "sealed" / "lessons.sealed.broken-1").replace(tmp_path / "sealed" / "lessons.sealed")
    assert Documents(tmp_path, KEY).read("lessons") == b"words"


def test_a_document_opens_under_its_own_name_only(tmp_path: Path) -> None:
    documents = Documents(tmp_path, KEY)
    documents.write("lessons", b"words")
    (tmp_path / "sealed" / "lessons.sealed").replace(tmp_path / "sealed" / "others.sealed")
    assert documents.read("others") is None


def test_only_so_many_broken_documents_are_kept(tmp_path: Path) -> None:
    documents = Documents(tmp_path, KEY)
    (tmp_path / "sealed").mkdir()
    for number in range(12):
        (tmp_path / "sealed" / "lessons.sealed").write_text(f"broken {number}")
        assert documents.read("lessons") is None
    assert len(files(tmp_path)) == 9
    assert (tmp_path / "sealed" / "lessons.sealed.broken-9").read_text() == "broken 11"


def test_what_is_too_long_is_refused_and_the_old_document_stands(tmp_path: Path) -> None:
    documents = Documents(tmp_path, KEY, bytes_max=4)
    documents.write("lessons", b"four")
    with pytest.raises(EcotoneError, match="too many"):
        documents.write("lessons", b"five!")
    assert documents.read("lessons") == b"four"


def test_on_a_full_disk_the_old_document_stands(tmp_path: Path) -> None:
    Documents(tmp_path, KEY).write("lessons", b"old")
    with pytest.raises(EcotoneError, match=r"store\.document") as told:
        Documents(tmp_path, KEY, disk=FullDisk()).write("lessons", b"new")
    assert told.value.code == "store.document"
    assert Documents(tmp_path, KEY).read("lessons") == b"old"


def test_removing_leaves_nothing_and_may_be_done_twice(tmp_path: Path) -> None:
    documents = Documents(tmp_path, KEY)
    documents.remove("lessons")
    documents.write("lessons", b"words")
    (tmp_path / "sealed" / "lessons.sealed").write_bytes(b"broken")
    assert documents.read("lessons") is None
    documents.write("lessons", b"words")
    documents.write("others", b"words")
    documents.remove("lessons")
    documents.remove("lessons")
    assert files(tmp_path) == ["others.sealed"]
    assert documents.read("lessons") is None


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    with pytest.raises(EcotoneError, match="read only"):
        Documents(tmp_path, KEY, disk=FullDisk()).remove("lessons")


def test_a_name_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        Documents(tmp_path, KEY).read("../etc")
