"""A hub with real files, and a site that has the first version from it."""

from __future__ import annotations

import random
import time
from pathlib import Path

from tests.unit.trust.made_hub import World

from ecotone.assets import Asset, open_store
from ecotone.delivery import packs, site_trust
from ecotone.delivery.bundle import export
from ecotone.delivery.sources import FolderSource

FIRST = random.Random(1).randbytes(300_000).hex().encode()
SECOND = FIRST[:400_000] + random.Random(2).randbytes(100_000).hex().encode()


class Site:
    """`harbour`, with `smol` 1 installed, and version 2 wanted."""

    def __init__(self, folder: Path, now_s: float | None = None) -> None:
        self.folder, self.store = folder, folder / "store"
        self.world = World(folder / "hub", time.time() if now_s is None else now_s)
        self.publish("1", FIRST)
        self.world.assign("harbour", "smol")
        site_trust.pin(self.world.hub.pins(), "harbour", self.store)
        self.take()
        self.bundle("one", 0)
        self.first = folder / "first"
        self.world.copied(self.first)
        self.publish("2", SECOND)
        self.world.assign("harbour", "smol")

    def publish(self, version: str, content: bytes) -> None:
        path = self.folder / "smol.txt"
        path.write_bytes(content)
        hub = self.world.hub
        earlier = [hub.manifest(named.asset) for named in hub.assets()]
        about = packs.About(name="smol", version=version, licence="MIT")
        base = earlier[-1] if earlier else None
        made = packs.publish([path], self.world.folder, about, earlier=earlier, base=base)
        hub.publish(made, self.world.key("publisher-models"))
        hub.refresh(self.world.online)

    def take(self, folder: Path | None = None, *, is_import: bool = False) -> site_trust.Delivered:
        source = FolderSource(folder or self.world.folder)
        return site_trust.deliver(source, [source], self.store, is_import=is_import)

    def bundle(self, name: str, since: int, site: str = "harbour") -> Path:
        path = self.folder / f"{name}.bundle"
        export(self.world.hub, site, since, path, self.world.now_s)
        return path

    def installed(self) -> bytes:
        """What `hub:smol` leads to, as it is checked before a load."""
        store = open_store(self.store)
        asset = store.resolve("hub:smol")
        assert isinstance(asset, Asset)
        return store.checked_path(asset).read_bytes()
