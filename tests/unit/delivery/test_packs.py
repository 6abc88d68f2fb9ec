"""Publishing writes nothing twice, refuses what is unsafe, and says exactly what the file is."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path

import pytest
from tests.unit.delivery.hubs import FIRST, SECOND, Hub, about, weights
from tests.unit.transfer.files import gguf

from ecotone.delivery.packs import About, Packed, publish
from ecotone.transfer.manifest import PACK_BYTES_MAX
from ecotone.values import ConfigError, TrustError


def test_a_published_file_is_read_back_out_of_the_packs(hub: Hub) -> None:
    for manifest, tensors in ((hub.first, FIRST), (hub.second, SECOND)):
        part, content = manifest.parts[0], gguf(tensors)
        assert (part.path, part.bytes, part.format) == ("m.gguf", len(content), "gguf")
        assert part.sha256 == hashlib.sha256(content).hexdigest()
        packed = Packed(hub.folder, manifest, part)
        assert packed.read(0, len(content) + 5) == content
        assert packed.read(150_000, 300_000) == content[150_000:450_000]


def test_what_an_earlier_version_has_is_not_written_again(hub: Hub) -> None:
    fresh = sum((hub.folder / "packs" / pack).stat().st_size for pack in set(hub.second.packs) - set(hub.first.packs))
    assert 400_000 < fresh < 450_000, "two tensors, a short delta, and the header"
    with_delta = [segment for segment in hub.second.parts[0].segments if segment.deltas]
    assert sum(segment.length for segment in with_delta) == 200_000
    assert sum(segment.deltas[0].length for segment in with_delta) < 0.15 * 200_000


def test_the_same_file_again_adds_no_bytes(hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(SECOND))
    before = {pack.name for pack in (hub.folder / "packs").iterdir()}
    again = publish([path], hub.folder, about("3"), earlier=(hub.first, hub.second), base=hub.first)
    assert {pack.name for pack in (hub.folder / "packs").iterdir()} == before
    assert again.parts == hub.second.parts


def test_packs_have_the_name_of_their_bytes_and_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from blake3 import blake3

    monkeypatch.setattr("ecotone.delivery.packs.PACK_BYTES_MAX", 300_000)
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(FIRST))
    manifest = publish([path], tmp_path / "hub", about("1"))
    packs = sorted((tmp_path / "hub" / "packs").iterdir())
    assert {pack.name for pack in packs} == set(manifest.packs)
    assert len(packs) >= 6
    for pack in packs:
        assert pack.stat().st_size <= 300_000 <= PACK_BYTES_MAX
        assert blake3(pack.read_bytes()).hexdigest() == pack.name


def test_equal_tensors_of_one_file_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf([("a", (200_000,), weights(1)), ("b", (200_000,), weights(1))]))
    publish([path], tmp_path / "hub", about("1"))
    assert sum(pack.stat().st_size for pack in (tmp_path / "hub" / "packs").iterdir()) < 210_000


def test_several_files_are_one_version(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf(FIRST[:1]))
    (tmp_path / "card.md").write_text("what it is")
    (tmp_path / "empty.txt").write_text("")
    paths = [tmp_path / name for name in ("m.gguf", "card.md", "empty.txt")]
    manifest = publish(paths, tmp_path / "hub", about("1"))
    assert [(part.path, part.format) for part in manifest.parts] == [
        ("m.gguf", "gguf"),
        ("card.md", "text"),
        ("empty.txt", "text"),
    ]


def test_a_base_of_another_format_gives_no_deltas(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    shutil.copytree(hub.folder, folder)
    (tmp_path / "words.txt").write_text("words " * 50_000)
    manifest = publish([tmp_path / "words.txt"], folder, about("3"), earlier=(hub.first,), base=hub.first)
    assert not any(segment.deltas for segment in manifest.parts[0].segments)


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("m.safetensors", pickle.dumps({"a": 1}), "delivery.unsafe"),
        ("m.gguf", b"<html>log in</html>", "delivery.unsafe"),
        ("m.gguf", b"GGUF" + b"\xff" * 40, "delivery.malformed"),
    ],
)
def test_what_is_unsafe_or_malformed_leaves_nothing_behind(
    tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    (tmp_path / "good.gguf").write_bytes(gguf(FIRST[:1]))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TrustError, match=code):
        publish([tmp_path / "good.gguf", tmp_path / name], tmp_path / "hub", about("1"))
    assert not list((tmp_path / "hub" / "packs").iterdir())


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real.gguf").write_bytes(gguf(FIRST[:1]))
    (tmp_path / "m.gguf").symlink_to(tmp_path / "real.gguf")
    with pytest.raises(TrustError, match=r"asset\.changed"):
        publish([tmp_path / "m.gguf"], tmp_path / "hub", about("1"))


@pytest.mark.parametrize(("name", "version", "file"), [("Up", "1", "m"), ("a", "", "m"), ("a", "1", ".hidden")])
def test_a_name_that_no_site_would_take_is_refused(tmp_path: Path, name: str, version: str, file: str) -> None:
    (tmp_path / file).write_text("x")
    with pytest.raises(ConfigError, match=r"delivery\.name"):
        publish([tmp_path / file], tmp_path / "hub", About(name=name, version=version, licence="MIT"))


def test_a_damaged_pack_is_no_base(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "hub"
    shutil.copytree(hub.folder, folder)
    for pack in hub.first.packs:
        path = folder / "packs" / pack
        path.chmod(0o600)
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(TrustError, match=r"delivery\.segment"):
        publish([hub.made / "m.gguf"], folder, about("3"), base=hub.first)
