"""A hub's signed files and packs over a folder and a bucket: the same layout, the same deliveries."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.delivery.hubs import FIRST, SECOND, about
from tests.unit.transfer.files import gguf
from tests.unit.trust.made_hub import NOW_S, walked

from ecotone.assets import StoreError
from ecotone.delivery import hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.delivery.packs import Packed, publish
from ecotone.hub.objects import Objects
from ecotone.transfer import Manifest
from ecotone.trust import Known, Memory, Roots
from ecotone.values import ConfigError, TrustError


def published(objects: Objects, hub: Hub, keys: Path, folder: Path, version: str, content: bytes) -> Manifest:
    path = folder / "m.gguf"
    path.write_bytes(content)
    earlier = [hub.manifest(named.asset) for named in hub.assets()]
    made = publish([path], objects, about(version), earlier=earlier, base=earlier[-1] if earlier else None)
    hub.publish(made, hub_keys.read(keys / "publisher-models.key"))
    return made


def test_a_version_goes_in_and_comes_out_whole(objects: Objects, tmp_path: Path) -> None:
    hub, keys = Hub(objects, NOW_S), tmp_path / "keys"
    paths = hub.create(["models"], keys=keys)
    assert all(path.parent == keys for path in paths)
    published(objects, hub, keys, tmp_path, "1", gguf(FIRST))
    second = published(objects, hub, keys, tmp_path, "2", gguf(SECOND))
    assert any(segment.deltas for segment in second.parts[0].segments)
    online = [hub_keys.read(keys / name) for name in ("online.key", "director.key")]
    hub.assign("harbour", [hub.find("small").asset], online[1])
    hub.refresh(online)
    roots = Roots.decode(hub.pins())
    memory = Memory(
        site="harbour", catalogue=Known(bytes(roots.catalogue)), director=Known(bytes(roots.director)), pinned="00"
    )
    files = {one.name: objects.get(one.name, 64 << 20) for one in objects.list("")}
    agreed, _ = walked(memory, files)
    assert agreed.assets[0].asset.version == "2"
    packed = Packed(objects, second, second.parts[0])
    assert packed.read(0, second.parts[0].bytes) == gguf(SECOND)
    assert packed.read(second.parts[0].bytes - 10, 100) == gguf(SECOND)[-10:]
    packs = [one.name for one in objects.list("packs/")]
    assert sorted(packs) == sorted(
        {f"packs/{pack}" for pack in (*hub.manifest(hub.find("small", "1").asset).packs, *second.packs)}
    )


def test_damaged_and_missing_packs_are_told(objects: Objects, tmp_path: Path) -> None:
    hub, keys = Hub(objects, NOW_S), tmp_path / "keys"
    hub.create(["models"], keys=keys)
    made = published(objects, hub, keys, tmp_path, "1", gguf(FIRST))
    name = f"packs/{made.packs[0]}"
    raw = bytearray(objects.get(name))
    raw[len(raw) // 2] ^= 1
    objects.delete(name)
    objects.put(name, bytes(raw))
    with pytest.raises(TrustError, match=r"delivery\.segment.*damaged"):
        Packed(objects, made, made.parts[0]).read(0, made.parts[0].bytes)
    objects.delete(name)
    with pytest.raises(TrustError, match=r"delivery\.segment.*any more"):
        Packed(objects, made, made.parts[0]).read(0, 1)


def test_a_hub_is_made_once_wherever_it_lies(objects: Objects, tmp_path: Path) -> None:
    hub = Hub(objects, NOW_S)
    with pytest.raises(ConfigError, match=r"hub\.folder"):
        hub.pins()
    hub.create(["models"], keys=tmp_path / "keys")
    assert hub.catalogue.publishers == ["models"]
    with pytest.raises(ConfigError, match=r"hub\.folder.*not empty"):
        hub.create(["models"], keys=tmp_path / "other")
    if not hasattr(objects, "path"):
        with pytest.raises(ConfigError, match="not in a folder of this machine"):
            _ = hub.folder
        with pytest.raises(AssertionError, match="no lock of its own"), hub.locked():
            pass


def test_a_version_is_written_once_though_a_lock_was_lost(objects: Objects, tmp_path: Path) -> None:
    hub = Hub(objects, NOW_S)
    hub.create(["models"], keys=tmp_path / "keys")
    hub.director.put("999999999.snapshot.json", b"first")
    with pytest.raises(StoreError, match="by another process") as told:
        hub.director.put("999999999.snapshot.json", b"second")
    assert told.value.code == "hub.busy"
    hub.director.put("timestamp.json", b"1")
    hub.director.put("timestamp.json", b"2")
