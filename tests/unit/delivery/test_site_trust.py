"""What a site pins, remembers and takes."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest
from tests.unit.delivery.made_site import FIRST, SECOND, Site
from tests.unit.trust.made_hub import World, manifest, resigned

from ecotone.assets import FetchError
from ecotone.assets.web import Cut
from ecotone.delivery import site_trust, versions
from ecotone.delivery.sources import FolderSource
from ecotone.transfer import encode
from ecotone.trust import Roots
from ecotone.values import ConfigError, EcotoneError, TrustError


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_pin_is_made_once(site: Site, tmp_path: Path) -> None:
    pins = site.world.hub.pins()
    before = site_trust.memory(site.store)
    assert site_trust.pin(pins, "harbour", site.store) == before
    other = World(tmp_path / "other")
    for raw, name in ((other.hub.pins(), "harbour"), (pins, "inland")):
        with pytest.raises(TrustError, match=r"trust\.pinned"):
            site_trust.pin(raw, name, site.store)
    assert site_trust.memory(site.store) == before
    fresh = site_trust.pin(other.hub.pins(), "inland", site.store, is_replaced=True)
    assert (fresh.site, fresh.generation) == ("inland", 0)
    assert site_trust.memory(site.store) == fresh


def test_what_cannot_be_pinned(site: Site, tmp_path: Path) -> None:
    roots = Roots.decode(site.world.hub.pins())
    weak = msgspec.Raw(resigned(bytes(roots.director), site.world.roots[:1]))
    with pytest.raises(TrustError, match=r"trust\.signature"):
        site_trust.pin(msgspec.structs.replace(roots, director=weak).encode(), "harbour", tmp_path / "s")
    with pytest.raises(TrustError, match=r"trust\.malformed"):
        site_trust.pin(b"{}", "harbour", tmp_path / "s")
    with pytest.raises(ConfigError, match=r"trust\.site"):
        site_trust.pin(site.world.hub.pins(), "../up", tmp_path / "s")
    with pytest.raises(TrustError, match=r"trust\.unpinned"):
        site_trust.memory(tmp_path / "s")


def test_what_is_named_is_taken_and_nothing_else(site: Site) -> None:
    source = FolderSource(site.world.folder)
    site.world.publish("other", "1")
    site.world.assign("harbour", "other", "smol")
    done = site_trust.deliver(source, [source], site.store, is_import=False, names=["smol@2"])
    assert {asset.name for asset in done.assets} == {"hub:smol", "hub:smol/smol.txt"}
    assert site.installed() == SECOND
    assert {one.name for one in versions.versions(site.store)} == {"smol"}
    for name in ("smol@1", "nothing"):
        with pytest.raises(TrustError, match=r"trust\.not_assigned"):
            site_trust.deliver(source, [source], site.store, is_import=False, names=[name])


def test_a_manifest_must_say_of_itself_what_was_signed_of_it(site: Site) -> None:
    hub, path = site.world.hub, "models/smol@3"
    targets = hub.catalogue.publisher("models")
    targets.targets[path] = hub.catalogue.add_document(path, encode(manifest("other", "3")), site.world.now_s)
    targets.version += 1
    hub.catalogue.write(
        "models", targets, [site.world.key("publisher-models")], site.world.now_s, hub.catalogue.targets
    )
    hub.refresh(site.world.online)
    site.world.assign("harbour", "smol@3")
    with pytest.raises(TrustError, match=r"delivery\.manifest"):
        site.take()
    assert site.installed() == FIRST


def test_a_manifest_travels_once(site: Site) -> None:
    site.take()
    document = next((site.world.folder / "catalogue" / "targets" / "models").glob("*.smol@2"))
    document.unlink()
    assert site.take().generation == 2
    kept = site.store / "trust" / "manifests" / document.name.partition(".")[0]
    kept.write_bytes(b"damaged")
    with pytest.raises(TrustError, match=r"trust\.missing"):
        site.take()


class Shaky:
    """A source whose first answers are cut."""

    name = "shaky"

    def __init__(self, folder: Path, cuts: int) -> None:
        self._inner, self.cuts = FolderSource(folder), cuts

    def document(self, path: str, bytes_max: int) -> bytes:
        if self.cuts:
            self.cuts -= 1
            raise Cut("cut", retry_after_s=0.001)
        return self._inner.document(path, bytes_max)

    def run(self, pack: str, offset: int, length: int) -> Generator[bytes, None, None]:
        yield from self._inner.run(pack, offset, length)


def test_a_cut_is_tried_again_and_not_for_ever(site: Site) -> None:
    assert site_trust.desired(Shaky(site.world.folder, 3), site.store, is_import=False).generation == 2
    with pytest.raises(FetchError, match=r"asset\.unreachable"):
        site_trust.desired(Shaky(site.world.folder, 4), site.store, is_import=False)


def test_what_held_is_remembered_also_when_the_rest_is_refused(site: Site) -> None:
    """A root that was rotated counts, though the copy is frozen."""
    before = site_trust.memory(site.store)
    world = site.world
    world.now_s -= 30 * 86_400
    world.hub.rotate_online("director", world.roots, world.key("director"))
    world.hub.refresh(world.online)
    with pytest.raises(EcotoneError, match=r"trust\.expired"):
        site.take()
    after = site_trust.memory(site.store)
    assert after.director.root == before.director.root
    assert (after.generation, after.floor_s) == (before.generation, before.floor_s)
