"""One contract for a folder and a bucket (S3's API, by moto), plain and sealed: whole or not, ranges, bad names."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ecotone.assets import StoreError
from ecotone.delivery.objects import PIECE_BYTES, fresh_name
from ecotone.hub.objects import Bucket, Folder, Objects, open_objects
from ecotone.hub.sealed import Keys, Sealed
from ecotone.values import ConfigError

CONTENT = bytes(range(256)) * 4096


@pytest.fixture(params=["plain", "sealed"])
def objects(request: pytest.FixtureRequest, objects: Objects) -> Objects:
    """Each kind, and each kind encrypted."""
    return objects if request.param == "plain" else Sealed(objects, Keys(b"k" * 32))


def names(objects: Objects, folder: str = "") -> dict[str, int]:
    return {one.name: one.bytes for one in objects.list(folder)}


def test_what_was_put_is_read(objects: Objects) -> None:
    objects.put("packs/aa", CONTENT)
    assert objects.get("packs/aa") == CONTENT
    assert objects.size("packs/aa") == len(CONTENT)
    assert b"".join(objects.stream("packs/aa")) == CONTENT
    objects.put("packs/aa", b"other")
    assert objects.get("packs/aa") == b"other"
    assert (objects.local is None) == objects.where.startswith("s3://")
    objects.put("packs/empty", b"")
    assert objects.get("packs/empty") == b""
    assert list(objects.stream("packs/empty")) == []


@pytest.mark.parametrize(
    ("start", "length"), [(0, 1), (5, 300_000), (len(CONTENT) - 3, 3), (len(CONTENT) - 3, 99), (0, 0), (1000, None)]
)
def test_a_range_is_read(objects: Objects, start: int, length: int | None) -> None:
    objects.put("a", CONTENT)
    end = None if length is None else start + length
    pieces = list(objects.stream("a", start, length))
    assert b"".join(pieces) == CONTENT[start:end]
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)
    if length is not None:
        assert objects.range("a", start, length) == CONTENT[start:end]


def test_a_range_behind_the_end_is_empty(objects: Objects) -> None:
    objects.put("a", b"12345")
    assert objects.range("a", 5, 10) == b""
    assert objects.range("a", 50, 10) == b""


def test_only_one_is_the_first(objects: Objects) -> None:
    told: list[str] = []

    def work(number: int) -> None:
        try:
            objects.put("director/metadata/7.snapshot.json", b"%d" % number, is_new=True)
            told.append("first")
        except FileExistsError:
            told.append("late")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["first", *["late"] * 5]
    with pytest.raises(FileExistsError):
        objects.put("director/metadata/7.snapshot.json", b"x", is_new=True)


def test_a_file_becomes_an_object(objects: Objects) -> None:
    path = fresh_name(objects.scratch("packs/bb"))
    path.write_bytes(CONTENT * 8)  # more than a part of an upload in parts
    objects.take("packs/bb", path)
    assert not path.exists()
    assert objects.size("packs/bb") == 8 * len(CONTENT)
    assert objects.range("packs/bb", 8 * len(CONTENT) - 4, 4) == CONTENT[-4:]
    path.write_bytes(b"again")
    with pytest.raises(FileExistsError):
        objects.take("packs/bb", path, is_new=True)
    objects.take("packs/cc", path, is_new=True)
    assert objects.get("packs/cc") == b"again"
    assert names(objects, "packs/") == {"packs/bb": 8 * len(CONTENT), "packs/cc": 5}


def test_what_is_there_is_listed_and_removed(objects: Objects) -> None:
    for name in ("trust.json", "packs/aa", "director/targets/sites/x.json", "director/metadata/timestamp.json"):
        objects.put(name, name.encode())
    assert set(names(objects)) == {
        "trust.json", "packs/aa", "director/targets/sites/x.json", "director/metadata/timestamp.json"
    }  # fmt: skip
    assert set(names(objects, "director/")) == {"director/targets/sites/x.json", "director/metadata/timestamp.json"}
    assert names(objects, "none/") == {}
    assert all(one.modified_s > 1.7e9 for one in objects.list(""))
    objects.delete("packs/aa")
    objects.delete("packs/aa")
    assert objects.size("packs/aa") is None
    with pytest.raises(FileNotFoundError):
        objects.get("packs/aa")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "a//b", "", ".hidden", "packs/.x", "a\nb", "a/" * 9])
def test_names_that_cannot_be_are_nowhere(objects: Objects, name: str) -> None:
    for act in (objects.get, objects.delete, objects.scratch if isinstance(objects, Folder) else objects.get):
        with pytest.raises(FileNotFoundError):
            act(name)
    with pytest.raises(FileNotFoundError):
        objects.put(name, b"x")
    assert objects.size(name) is None


def test_nothing_is_read_beyond_its_bound(objects: Objects) -> None:
    objects.put("a", CONTENT)
    with pytest.raises(StoreError, match="longer than"):
        objects.get("a", 1000)


def test_a_folder_gives_no_links_pipes_or_folders(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "hub")
    folder.put("packs/aa", b"x")
    (tmp_path / "secret").write_bytes(b"secret")
    (folder.path / "packs" / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder.path / "packs" / "pipe")
    (folder.path / "packs" / "inner").mkdir()
    for name in ("packs/link", "packs/pipe", "packs/inner", "packs/aa/x"):
        with pytest.raises(FileNotFoundError):
            folder.get(name)
    assert names(folder) == {"packs/aa": 1}
    assert folder.size("packs/link") is None


def test_what_killed_writers_left_is_removed_when_it_is_old(objects: Objects, tmp_path: Path) -> None:
    objects.put("packs/aa", b"x")
    if objects.local is None:
        assert objects.tidy() == 0
        return
    old, new, other = fresh_name(objects.local / "packs"), fresh_name(objects.local / "packs"), objects.local / ".keep"
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (1.7e9, 1.7e9))
    assert objects.tidy() == 1
    assert not old.exists()
    assert new.exists()
    assert other.exists()
    assert names(objects) == {"packs/aa": 1}


def test_a_new_folder_is_durable_with_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.assets import files

    synced: list[Path] = []
    monkeypatch.setattr(files, "sync_folder", synced.append)
    Folder(tmp_path / "hub").put("director/targets/sites/x.json", b"x")
    hub = tmp_path / "hub"
    assert synced == [
        tmp_path, hub, hub / "director", hub / "director" / "targets", hub / "director" / "targets" / "sites"
    ]  # fmt: skip


def test_a_full_or_forbidden_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path / "hub")
    folder.put("a", b"old")

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError) as told:
        folder.put("a", b"new")
    assert told.value.code == "asset.disk_full"
    assert folder.get("a") == b"old"
    assert [path.name for path in folder.path.iterdir()] == ["a"]


def test_a_store_that_does_not_do_as_it_is_told(s3_options: dict[str, str]) -> None:
    s3_options.pop("bucket")
    with pytest.raises((StoreError, FileNotFoundError)):
        open_objects("s3://no-such-bucket/x", s3_options).put("a", b"x")
    s3_options["endpoint"] = "http://127.0.0.1:9"
    bucket = Bucket("s3://x/y", {key: "x" if key.startswith("aws_") else value for key, value in s3_options.items()})
    with pytest.raises(StoreError, match="can be reached") as told:
        bucket.size("a")
    assert told.value.code == "hub.objects"


def test_secrets_come_by_reference_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"hub\.secret.*env:NAME") as told:
        open_objects("s3://x", {"aws_secret_access_key": "hunter2"})
    assert "hunter2" not in str(told.value)
    monkeypatch.delenv("NOT_THERE", raising=False)
    for reference in ("env:NOT_THERE", f"file:{tmp_path / 'none'}"):
        with pytest.raises(ConfigError, match=r"config\.secret"):
            open_objects("s3://x", {"aws_secret_access_key": reference})
    (tmp_path / "key").write_text("abc\n")
    open_objects(
        "s3://x", {"aws_secret_access_key": f"file:{tmp_path / 'key'}", "aws_access_key_id": f"file:{tmp_path / 'key'}"}
    )
    for where in ("http://x/y", "ftp://x"):
        with pytest.raises(ConfigError, match=r"hub\.objects"):
            open_objects(where)
    with pytest.raises(ConfigError, match=r"hub\.objects"):
        open_objects("s3://x", {"no_such_option": "1"})


def test_a_file_of_another_disk_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.delivery import objects as room

    monkeypatch.setattr(room, "_is_same_disk", lambda path, folder: False)  # a test has one disk
    folder, path = Folder(tmp_path / "hub"), fresh_name(tmp_path)
    for is_new in (False, True):
        path.write_bytes(CONTENT)
        folder.take(f"packs/{is_new}", path, is_new=is_new)
        assert not path.exists()
        assert folder.get(f"packs/{is_new}") == CONTENT
    path.write_bytes(b"x")
    with pytest.raises(FileExistsError):
        folder.take("packs/True", path, is_new=True)
    assert path.exists()
    assert {one.name for one in folder.list("")} == {"packs/True", "packs/False"}
    assert not list(folder.path.rglob(".*"))


def test_no_file_is_too_long_unseen(
    s3_options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecotone.hub import objects as room

    monkeypatch.setattr(room, "_TAKE_BYTES_MAX", 10)
    bucket = open_objects(f"s3://{s3_options.pop('bucket')}", s3_options)
    path = tmp_path / "x"
    path.write_bytes(b"longer than ten")
    with pytest.raises(StoreError, match="too long"):
        bucket.take("packs/x", path, is_new=True)
    assert path.exists()
