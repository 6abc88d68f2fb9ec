"""A hub for tests: its keys, its files, and a site that walks over them with no link between."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata

from ecotone.delivery import hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.transfer import Manifest, Part, Segment
from ecotone.trust import Agreed, Known, Memory, Refresh, Roots, Wanted, terms
from ecotone.values import TrustError

DAY_S = terms.DAY_S
NOW_S = terms.RELEASED_S + 100 * DAY_S

Files = dict[str, bytes]


def manifest(name: str, version: str, kind: Any = "model") -> Manifest:
    """One of a file that is made of its name and version."""
    content = f"{name} {version}".encode()
    digest = hashlib.sha256(content).hexdigest()
    part = Part(
        path="file.txt",
        bytes=len(content),
        blake3=digest,
        sha256=digest,
        format="text",
        segments=(Segment(digest, len(content), 0, 0),),
    )
    return Manifest(name=name, version=version, kind=kind, licence="MIT", packs=(digest,), parts=(part,))


class World:
    """A hub in a folder, and what time it is."""

    def __init__(self, folder: Path, now_s: float = NOW_S) -> None:
        self.folder, self.now_s = folder, now_s
        self.hub.create(["models", "policies"])

    @property
    def hub(self) -> Hub:
        return Hub(self.folder, self.now_s)

    def key(self, name: str) -> CryptoSigner:
        return hub_keys.read(hub_keys.beside(self.folder) / f"{name}.key")

    @property
    def roots(self) -> list[CryptoSigner]:
        return [self.key("root-1"), self.key("root-3")]

    @property
    def online(self) -> list[CryptoSigner]:
        return [self.key("online"), self.key("director")]

    def publish(self, name: str, version: str, publisher: str = "models") -> None:
        self.hub.publish(manifest(name, version), self.key(f"publisher-{publisher}"))
        self.hub.refresh(self.online)

    def assign(self, site: str, *names: str) -> None:
        wanted = [self.hub.find(*name.split("@")).asset for name in names]
        self.hub.assign(site, wanted, self.key("director"))
        self.hub.refresh(self.online)

    def files(self) -> Files:
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*.*")}

    def copied(self, to: Path) -> World:
        """The same hub elsewhere: a backup, or the hands of a thief."""
        shutil.copytree(self.folder, to)
        shutil.copytree(hub_keys.beside(self.folder), hub_keys.beside(to))
        other = object.__new__(World)
        other.folder, other.now_s = to, self.now_s
        return other

    def memory(self, site: str = "harbour") -> Memory:
        """A site's, that has just pinned this hub."""
        roots = Roots.decode(self.hub.pins())
        known = (Known(bytes(roots.catalogue)), Known(bytes(roots.director)))
        return Memory(site=site, catalogue=known[0], director=known[1], pinned="00")


def answer(files: Files, wanted: Wanted) -> bytes | None:
    return files.get(wanted.path)


def walked(memory: Memory, files: Files, clock_s: float = NOW_S, *, is_import: bool = False) -> tuple[Agreed, Memory]:
    """What a site makes of a copy of a hub, and what it remembers."""
    refresh = Refresh(memory, clock_s, is_import=is_import)
    walk = refresh.walk()
    wanted = next(walk)
    while True:
        try:
            wanted = walk.send(answer(files, wanted))
        except StopIteration as end:
            # As it is kept: through the file and back.
            return end.value, Memory.decode(refresh.memory.encode())


def refused(memory: Memory, files: Files, clock_s: float = NOW_S, *, is_import: bool = False) -> tuple[str, Memory]:
    """The code of the refusal, and what the site remembers all the same."""
    refresh = Refresh(memory, clock_s, is_import=is_import)
    walk = refresh.walk()
    try:
        wanted = next(walk)
        while True:
            wanted = walk.send(answer(files, wanted))
    except TrustError as error:
        return error.code, Memory.decode(refresh.memory.encode())
    except StopIteration as end:
        raise AssertionError(f"taken: {end.value}") from end


def resigned(raw: bytes, signers: list[CryptoSigner], **changes: Any) -> bytes:
    """A file of metadata with something changed, signed by these."""
    tree = msgspec.json.decode(raw)
    for key, value in changes.items():
        tree["signed"][key] = value
    tree["signatures"] = []
    metadata: Metadata[Any] = Metadata.from_dict(tree)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes()
