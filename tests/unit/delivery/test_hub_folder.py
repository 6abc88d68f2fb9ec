"""What an operator does with a hub's folder, and what is refused there before anything is written."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.trust.made_hub import NOW_S, World, manifest

from ecotone.delivery import hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.delivery.repository import Repository
from ecotone.trust import terms
from ecotone.values import ConfigError, TrustError


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path / "hub")
    made.publish("smol", "1")
    made.now_s += 60
    made.publish("smol", "2")
    made.assign("harbour", "smol@2")
    return made


def state(world: World) -> dict[str, bytes]:
    return world.files()


def refused(world: World, code: str, act: Callable[[], object]) -> None:
    """Refused, and every file is as it was."""
    before = state(world)
    with pytest.raises(ConfigError, match=code.replace(".", r"\.")):
        act()
    assert state(world) == before


def test_private_keys_are_beside_the_folder_and_for_their_owner_alone(world: World) -> None:
    keys = hub_keys.beside(world.folder)
    assert keys.name == "hub.keys"
    assert keys.parent == world.folder.parent
    for path in keys.glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        private = path.read_bytes()
        assert not [name for name, raw in world.files().items() if private[30:90] in raw], "a key is in what is served"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700


def test_a_hub_is_made_once(world: World) -> None:
    refused(world, "hub.folder", lambda: world.hub.create(["models"]))
    other = Hub(world.folder.parent / "other", NOW_S)
    for name in ("Models", "root", "../x", ""):
        with pytest.raises(ConfigError, match=r"hub\.name"):
            other.create([name])
    assert not other.folder.exists()


def test_a_version_is_published_once(world: World) -> None:
    hub, key = world.hub, world.key("publisher-models")
    changed = manifest("smol", "2")
    refused(world, "hub.version", lambda: hub.publish(type(changed)(**_fields(changed, licence="BSD")), key))
    assert hub.publish(changed, key) == "models"
    adapter = type(changed)(**_fields(manifest("smol", "9"), kind="adapter"))
    refused(world, "hub.kind", lambda: hub.publish(adapter, key))
    with pytest.raises(ConfigError, match=r"hub\.keys"):
        hub.publish(manifest("smol", "3"), world.key("director"))


def _fields(made: object, **changes: object) -> dict[str, object]:
    fields = {name: getattr(made, name) for name in made.__struct_fields__}  # type: ignore[attr-defined]  # a struct
    return {**fields, **changes}


def test_the_newest_is_what_was_published_last(world: World) -> None:
    hub = world.hub
    assert hub.find("smol").asset.version == "2"
    assert [one.asset.version for one in hub.assets()] == ["1", "2"]
    assert hub.manifest(hub.find("smol", "1").asset) == manifest("smol", "1")
    for name, version in (("smol", "3"), ("other", "")):
        with pytest.raises(ConfigError, match=r"hub\.unknown"):
            hub.find(name, version)


def test_generations_are_counted_and_kept(world: World) -> None:
    world.assign("harbour", "smol@1")
    world.assign("harbour")
    hub = world.hub
    assert [hub.earlier_state("harbour", n).generation for n in (1, 2, 3)] == [1, 2, 3]
    assert [one.version for one in hub.earlier_state("harbour", 2).assets] == ["1"]
    assert hub.state("harbour").assets == ()
    assert [one.site for one in hub.sites()] == ["harbour"]
    for act in (lambda: hub.state("inland"), lambda: hub.earlier_state("harbour", 4)):
        with pytest.raises(ConfigError, match=r"hub\.unknown"):
            act()
    with pytest.raises(ConfigError, match=r"hub\.name"):
        hub.assign("../up", [], world.key("director"))


def test_nothing_is_signed_with_a_key_that_a_site_would_refuse(world: World) -> None:
    hub, one = world.hub, world.roots[:1]
    fresh = [hub_keys.made() for _ in range(3)]
    refused(world, "hub.keys", lambda: hub.rotate_root(one, fresh))
    refused(world, "hub.keys", lambda: hub.rotate_root(fresh, fresh))
    for role in ("online", "director"):
        refused(world, "hub.keys", lambda role=role: hub.rotate_online(role, one, fresh[0]))
    refused(world, "hub.keys", lambda: hub.trust_publisher("models", one, fresh[0]))
    refused(world, "hub.keys", lambda: hub.revoke_publisher("models", one))
    refused(world, "hub.unknown", lambda: hub.revoke_publisher("nobody", world.roots))
    refused(world, "hub.keys", lambda: hub.refresh([world.key("publisher-models")]))
    refused(world, "hub.keys", lambda: hub.catalogue.refresh(world.key("director"), NOW_S))


def test_a_new_publisher_is_added(world: World) -> None:
    fresh = hub_keys.made()
    world.hub.trust_publisher("vision", world.roots, fresh)
    assert world.hub.publish(manifest("eyes", "1"), fresh) == "vision"
    world.hub.refresh(world.online)
    world.assign("harbour", "eyes")
    assert world.hub.catalogue.publishers == ["models", "policies", "vision"]


def test_a_publisher_withdraws_only_its_own(world: World) -> None:
    with pytest.raises(ConfigError, match=r"hub\.keys"):
        world.hub.withdraw("smol", "2", world.key("publisher-policies"))
    world.hub.withdraw("smol", "2", world.key("publisher-models"))
    assert world.hub.find("smol").asset.version == "1"


def test_one_repository_may_be_signed_alone(world: World) -> None:
    before = world.hub.director.timestamp().version
    assert world.hub.refresh([world.key("online")]) == [terms.CATALOGUE]
    assert world.hub.director.timestamp().version == before
    assert world.hub.refresh(world.online) == [terms.CATALOGUE, terms.DIRECTOR]


def test_what_was_changed_on_the_disk_is_not_announced(world: World) -> None:
    hub = world.hub
    path = next((world.folder / "catalogue" / "targets" / "models").glob("*.smol@2"))
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"MIT", b"BSD"))
    with pytest.raises(TrustError, match=r"trust\.digest"):
        hub.manifest(hub.find("smol").asset)
    path.unlink()
    with pytest.raises(TrustError, match=r"trust\.missing"):
        hub.manifest(hub.find("smol").asset)
    number = hub.catalogue.version("models")
    metadata = world.folder / "catalogue" / "metadata" / f"{number}.models.json"
    metadata.write_bytes(metadata.read_bytes().replace(b'"version":%d' % number, b'"version":9'))
    refused(world, "hub.keys", lambda: hub.refresh(world.online))


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"signed": 1}'])
def test_a_folder_that_is_no_hub(world: World, tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(ConfigError, match=r"hub\.folder"):
        Hub(tmp_path / "none", NOW_S).assets()
    metadata = world.folder / "director" / "metadata"
    (metadata / "999999999.targets.json").write_bytes(raw)
    with pytest.raises(ConfigError, match=r"hub\.folder"):
        _ = Repository(world.folder, "director").targets
    shutil.copy(metadata / "1.root.json", metadata / "999999999.targets.json")
    with pytest.raises(ConfigError, match="another kind"):
        _ = Repository(world.folder, "director").targets


def test_keys_that_are_none(world: World, tmp_path: Path) -> None:
    path = tmp_path / "x.key"
    path.write_bytes(b"not a key")
    rsa = tmp_path / "rsa.key"
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    curve = generate_private_key(SECP256R1())
    rsa.write_bytes(curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for wrong in (path, rsa, tmp_path / "none"):
        with pytest.raises(ConfigError, match=r"hub\.keys"):
            hub_keys.read(wrong)
    with pytest.raises(ConfigError, match="never written over"):
        hub_keys.written(hub_keys.made(), path)
    root = hub_keys.beside(world.folder) / "root-1.key"
    assert len(hub_keys.every([root, root])) == 1


def test_one_process_writes_at_a_time(world: World) -> None:
    with world.hub.locked():
        assert (hub_keys.beside(world.folder) / ".lock").exists()
