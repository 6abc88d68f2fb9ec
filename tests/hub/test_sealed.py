"""What rests encrypted: nothing is read that was changed, cut, swapped or sealed by a key that is not here."""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.delivery.hubs import FIRST, about
from tests.unit.transfer.files import gguf
from tests.unit.trust.made_hub import NOW_S

from ecotone.assets import StoreError
from ecotone.delivery import hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.delivery.packs import Packed, publish
from ecotone.hub.objects import Folder, Objects
from ecotone.hub.sealed import FRAME_BYTES, Keys, Sealed, is_sealed
from ecotone.values import ConfigError

KEY, OTHER = b"1" * 32, b"2" * 32
CONTENT = random.Random(7).randbytes(3 * FRAME_BYTES + 1234)
HEAD, FRAME = 48, FRAME_BYTES + 16


@pytest.fixture
def inner(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "hub")


@pytest.fixture
def sealed(inner: Folder) -> Sealed:
    made = Sealed(inner, Keys(KEY))
    made.put("packs/aa", CONTENT)
    made.put("packs/bb", bytes(len(CONTENT)))
    return made


def code(act: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as told:
        act()
    return told.value.code


def test_what_rests_is_not_what_was_put(sealed: Sealed, inner: Folder, tmp_path: Path) -> None:
    raw = inner.get("packs/aa")
    assert CONTENT[:100] not in raw
    assert CONTENT[-100:] not in raw
    assert len(raw) == HEAD + len(CONTENT) + 4 * 16
    assert inner.get("packs/bb").count(bytes(16)) == 0, "zeros do not show"
    sealed.put("packs/aa", CONTENT)
    assert inner.get("packs/aa") != raw, "the same again is sealed by another key"
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    sealed.take("packs/cc", path)
    assert not path.exists()
    assert CONTENT[:100] not in inner.get("packs/cc")
    assert sealed.get("packs/cc") == CONTENT
    assert not list((tmp_path / "hub").rglob(".*")), "nothing is left beside"


def test_signed_metadata_stays_as_it_is(sealed: Sealed, inner: Folder, tmp_path: Path) -> None:
    for name in ("trust.json", "catalogue/metadata/1.root.json"):
        sealed.put(name, b"public")
        assert inner.get(name) == sealed.get(name) == b"public"
        assert not is_sealed(name)
        assert sealed.size(name) == 6
        path = sealed.scratch(name) / "x"
        path.write_bytes(b"again")
        sealed.take(name, path)
        assert inner.get(name) == b"again"
    assert is_sealed("director/targets/sites/x.json")


def changed(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.parametrize("at", [8 + 8, 8 + 8 + 23, HEAD - 1, HEAD, HEAD + FRAME - 1, HEAD + FRAME, -1])
def test_a_changed_byte_is_refused(sealed: Sealed, inner: Folder, at: int) -> None:
    raw = inner.get("packs/aa")
    inner.put("packs/aa", changed(raw, at % len(raw)))
    assert code(lambda: sealed.get("packs/aa")) == "hub.sealed"
    assert code(lambda: Sealed(inner, Keys(KEY)).get("packs/aa")) == "hub.sealed"


def test_what_is_before_a_changed_frame_can_be_read(sealed: Sealed, inner: Folder) -> None:
    raw = inner.get("packs/aa")
    inner.put("packs/aa", changed(raw, HEAD + 2 * FRAME))
    assert sealed.range("packs/aa", 5, 2 * FRAME_BYTES - 5) == CONTENT[5 : 2 * FRAME_BYTES]
    pieces = sealed.stream("packs/aa")
    given = b"".join(next(pieces) for _ in range(2))
    with pytest.raises(StoreError, match="frame 2 does not open"):
        next(pieces)
    assert given == CONTENT[: 2 * FRAME_BYTES], "nothing of a frame is given before its tag holds"


@pytest.mark.parametrize("length", [0, 10, HEAD, HEAD + 10, HEAD + FRAME, HEAD + 3 * FRAME, -17, -1])
def test_a_cut_object_is_refused(sealed: Sealed, inner: Folder, length: int) -> None:
    inner.put("packs/aa", inner.get("packs/aa")[:length])
    assert code(lambda: sealed.get("packs/aa")) == "hub.sealed"
    assert code(lambda: Sealed(inner, Keys(KEY)).get("packs/aa")) == "hub.sealed"


def test_frames_do_not_change_places(sealed: Sealed, inner: Folder) -> None:
    raw = inner.get("packs/aa")
    frames = [raw[HEAD + n * FRAME : HEAD + (n + 1) * FRAME] for n in range(4)]
    inner.put("packs/aa", raw[:HEAD] + frames[1] + frames[0] + frames[2] + frames[3])
    assert code(lambda: sealed.get("packs/aa")) == "hub.sealed"
    other = inner.get("packs/bb")
    inner.put("packs/aa", raw[: HEAD + FRAME] + other[HEAD + FRAME :])
    assert code(lambda: sealed.get("packs/aa")) == "hub.sealed"


def test_objects_do_not_change_names(sealed: Sealed, inner: Folder) -> None:
    inner.put("packs/aa", inner.get("packs/bb"))
    assert code(lambda: sealed.get("packs/aa")) == "hub.sealed"
    inner.put("packs/zz", inner.get("packs/bb"))
    assert code(lambda: sealed.get("packs/zz")) == "hub.sealed"
    sealed.put("packs/empty", b"")
    inner.put("packs/other", inner.get("packs/empty"))
    assert sealed.get("packs/empty") == b""
    assert code(lambda: sealed.get("packs/other")) == "hub.sealed"


def test_without_its_key_nothing_opens(inner: Folder, sealed: Sealed) -> None:
    assert sealed.size("packs/aa") == len(CONTENT)
    with pytest.raises(StoreError, match=r"encrypt\.earlier") as told:
        Sealed(inner, Keys(OTHER)).get("packs/aa")
    assert told.value.code == "hub.key"
    inner.put("packs/plain", b"from before there was a key")
    assert code(lambda: sealed.get("packs/plain")) == "hub.sealed"


def test_a_new_key_takes_over(inner: Folder, sealed: Sealed) -> None:
    inner.put("packs/plain", b"from before there was a key")
    inner.put("trust.json", b"public")
    both = Sealed(inner, Keys(OTHER, [KEY]))
    assert both.get("packs/aa") == CONTENT, "an earlier key still opens"
    both.put("packs/new", b"new")
    running = Sealed(inner, Keys(OTHER, [KEY]))
    assert running.range("packs/aa", 0, 4) == CONTENT[:4]  # it remembers the old head
    told = both.reseal()
    assert (told.done, told.left) == (3, 1)
    assert both.reseal().done == 0
    assert running.get("packs/aa") == CONTENT, "a process that serves meanwhile looks again"
    fresh = Sealed(inner, Keys(OTHER))
    assert fresh.get("packs/aa") == CONTENT
    assert fresh.get("packs/plain") == b"from before there was a key"
    assert inner.get("trust.json") == b"public"
    assert code(lambda: Sealed(inner, Keys(KEY)).get("packs/aa")) == "hub.key"


def test_a_change_of_keys_may_be_cut_off(inner: Folder, sealed: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    both = Sealed(inner, Keys(OTHER, [KEY]))
    take, left = Folder.take, [1]

    def cut(self: Folder, name: str, path: Path, *, is_new: bool = False) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        take(self, name, path, is_new=is_new)

    monkeypatch.setattr(Folder, "take", cut)
    with pytest.raises(KeyboardInterrupt):
        both.reseal()
    monkeypatch.undo()
    assert both.get("packs/aa") == CONTENT
    assert both.get("packs/bb") == bytes(len(CONTENT))
    told = both.reseal()
    assert (told.done, told.left) == (1, 1)
    assert not list(inner.path.rglob(".*"))


def test_keys_as_they_are_written() -> None:
    for text in (base64.b64encode(KEY).decode(), KEY.hex(), f" {KEY.hex()}\n"):
        assert Keys.parsed(text).current == Keys(KEY).current
    for text in ("", "short", "ab" * 31, "hunter2" * 10, base64.b64encode(b"x" * 31).decode()):
        with pytest.raises(ConfigError, match=r"hub\.encrypt") as told:
            Keys.parsed(KEY.hex(), [text])
        assert not text or text not in str(told.value)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_range_of_any_length_is_what_was_put(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    edge = st.sampled_from([0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES, 2 * FRAME_BYTES + 7])
    content = os.urandom(data.draw(edge))
    own = Sealed(Folder(tmp_path_factory.mktemp("sealed")), Keys(KEY))
    own.put("a", content)
    assert own.size("a") == len(content)
    start, length = data.draw(st.integers(0, len(content) + 5)), data.draw(st.none() | edge | st.integers(0, 99))
    end = None if length is None else start + length
    assert b"".join(own.stream("a", start, length)) == content[start:end]


def test_a_hub_lies_sealed_and_is_read_as_any_other(objects: Objects, tmp_path: Path) -> None:
    own = Sealed(objects, Keys(KEY))
    hub, keys = Hub(own, NOW_S), tmp_path / "keys"
    hub.create(["models"], keys=keys)
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(FIRST))
    made = publish([path], own, about("1"))
    hub.publish(made, hub_keys.read(keys / "publisher-models.key"))
    assert Packed(own, made, made.parts[0]).read(0, made.parts[0].bytes) == gguf(FIRST)
    assert hub.manifest(hub.find("small").asset) == made
    for one in objects.list(""):
        raw = objects.get(one.name)
        assert (b"ecotone-manifest" in raw or FIRST[0][2][:64] in raw) is False


def test_heads_are_remembered_and_not_without_end(inner: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.hub import sealed as room

    monkeypatch.setattr(room, "_HEADS_MAX", 2)
    own = Sealed(inner, Keys(KEY))
    for name in "abcd":
        own.put(f"packs/{name}", name.encode())
    reads: list[str] = []
    stream = Folder.stream

    def counted(self: Folder, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        reads.append(name)
        return stream(self, name, start, length)

    monkeypatch.setattr(Folder, "stream", counted)
    for name in "abcddd":
        assert own.get(f"packs/{name}") == name.encode()
    assert len(reads) == 4 * 2 + 2, "what is known needs one read"
    assert own.get("packs/a") == b"a"
    assert len(reads) == 12, "what was forgotten is read again"


def test_what_is_removed_while_keys_change_is_left_out(
    sealed: Sealed, inner: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Sealed(inner, Keys(OTHER, [KEY]))
    resealed = Sealed._resealed

    def late(self: Sealed, name: str, pieces: Iterator[bytes]) -> None:
        inner.delete(name)
        resealed(self, name, pieces)

    monkeypatch.setattr(Sealed, "_resealed", late)
    both.reseal()
    assert list(inner.list("")) == []
