"""One signed repository of a hub, as files: `catalogue` or `director`.

A version of a file of metadata is written once, and the timestamp that makes it count is written last: what reads a hub
meanwhile, or after a crash, sees the old state or the new.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from ecotone.assets import StoreError
from ecotone.delivery.objects import SEALED, Objects, placed
from ecotone.trust import terms, writing
from ecotone.values import ConfigError, TrustError

__all__ = ["Repository"]

_Signed = TypeVar("_Signed", bound=Signed)
_AT_ONCE: Final = 8
_VERSIONED: Final = re.compile(r"([1-9][0-9]{0,11})\.([a-z0-9-]{1,40})\.json")


class Repository:
    """Reads and writes the newest of every role."""

    def __init__(self, hub: Path | Objects, name: str) -> None:
        """Looks at nothing yet."""
        self.name: Final = name
        self._objects: Final = placed(hub)
        self._folder: Final = f"{name}/metadata/"

    @property
    def root(self) -> Root:
        """The newest root."""
        return self._signed("root", Root)

    @property
    def targets(self) -> Targets:
        """The newest top-level targets."""
        return self.publisher("targets")

    @property
    def publishers(self) -> list[str]:
        """Who is trusted with something."""
        return writing.delegates(self.targets)

    def publisher(self, role: str, version: int = 0) -> Targets:
        """The newest targets of a role, or of the version that is known to be."""
        return self._signed(role, Targets, version)

    def timestamp(self) -> Timestamp:
        """The one for links."""
        return _parsed(self._read("timestamp.json"), Timestamp, "timestamp")

    def snapshot(self) -> Snapshot:
        """The one that the timestamp for links announces."""
        return self._signed("snapshot", Snapshot, self.timestamp().snapshot_meta.version)

    def versions(self) -> dict[str, int]:
        """The newest version of every role: one look at all files, for who asks for many."""
        found: dict[str, int] = {}
        for one in self._objects.list(self._folder):
            if name := _VERSIONED.fullmatch(one.name.removeprefix(self._folder)):
                found[name[2]] = max(found.get(name[2], 0), int(name[1]))
        return found

    def version(self, role: str) -> int:
        """The newest version of a role; 0: none."""
        return self.versions().get(role, 0)

    def content(self, role: str, version: int = 0) -> bytes:
        """The newest file of a role, or the one of a version."""
        return self._read(f"{version or self.version(role)}.{role}.json")

    def files(self) -> list[str]:
        """Names of what a site may ask for of the roots."""
        return [f"{version}.root.json" for version in range(1, self.version("root") + 1)]

    def write(self, role: str, content: Signed, signers: Sequence[CryptoSigner], now_s: float, *by: Any) -> bytes:
        """Signs the next version of a role and writes it.

        Args:
            role: `root`, `targets`, or a publisher.
            content: With its version.
            signers: Whoever may sign it.
            now_s: Unix seconds.
            by: Those by whose keys a site will check it.

        Raises:
            ConfigError: `hub.keys`.
        """
        data = self.signed(role, content, signers, now_s, *by)
        self.put(f"{content.version}.{role}.json", data)
        return data

    def signed(self, role: str, content: Signed, signers: Sequence[CryptoSigner], now_s: float, *by: Any) -> bytes:
        """As `write`, and nothing is written."""
        kind = role if role in ("root", "targets") else "publisher"
        metadata = writing.signed(content, _needed(role, signers, by), now_s, terms.LIFETIME_S[kind])
        return writing.dumped(metadata, role, *by)

    def put(self, name: str, data: bytes) -> None:
        """Writes a file of metadata. What has a version in its name is written once.

        Raises:
            StoreError: `hub.busy`: another process has written that version, though this one holds the lock.
        """
        try:
            self._objects.put(f"{self._folder}{name}", data, is_new=_VERSIONED.fullmatch(name) is not None)
        except FileExistsError as error:
            raise StoreError(
                "hub.busy", f"{self._objects.where}/{self._folder}{name} was written by another process: do it again"
            ) from error

    def add_document(self, path: str, content: bytes, now_s: float, generation: int = 0) -> TargetFile:
        """Writes a document under its digest, and gives what is to be signed of it."""
        self.put_documents({path: content})
        return writing.target(path, content, now_s, generation)

    def put_documents(self, documents: Mapping[str, bytes]) -> None:
        """Writes documents (by their paths) under their digests, some at once: each waits for a disk or a store."""

        def put(path: str) -> None:
            sha256 = hashlib.sha256(documents[path]).hexdigest()
            self._objects.put(terms.target(self.name, path, sha256), documents[path])

        if len(documents) == 1:
            put(*documents)
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(put, documents):
                pass

    def document(self, path: str, target: TargetFile) -> bytes:
        """A document that is named; what was changed on the disk is refused.

        Raises:
            ConfigError: `hub.encrypt`.
            TrustError: `trust.digest`, `trust.missing`.
        """
        where = terms.target(self.name, path, target.hashes["sha256"])
        try:
            content = self._objects.get(where)
            target.verify_length_and_hashes(content)
        except FileNotFoundError as error:
            raise TrustError("trust.missing", f"{self._objects.where}/{where} is not there") from error
        except RepositoryError as error:
            if content.startswith(SEALED):
                raise ConfigError(
                    "hub.encrypt",
                    f"what lies in {self._objects.where} is encrypted: name the hub's configuration, `-c hub.yaml`",
                ) from error
            raise TrustError("trust.digest", f"{self._objects.where}/{where} is not what was signed") from error
        return content

    def refresh(self, signer: CryptoSigner, now_s: float) -> None:
        """Announces the newest targets: a snapshot and both timestamps.

        Raises:
            ConfigError: `hub.keys`, if it is not the key for that, or a role's newest file is not signed as it must be.
        """
        newest = self.versions()
        root = self._signed("root", Root, newest.get("root", 0))
        top = self.publisher("targets", newest.get("targets", 0))
        old = self._signed("snapshot", Snapshot, newest["snapshot"]) if "snapshot" in newest else None
        contents: dict[str, bytes] = {}
        versions: dict[str, int] = {}
        for role in ("targets", *writing.delegates(top)):
            version = newest.get(role, 0)
            known = old.meta.get(f"{role}.json") if old else None
            if known is not None and known.version == version and writing.is_bin(top, role):
                continue  # a bin that has not changed: what the last snapshot says of it holds
            contents[role] = self.content(role, version)
            metadata: Metadata[Any] = Metadata.from_bytes(contents[role])
            writing.dumped(metadata, role, root if role == "targets" else top)
            versions[role] = metadata.signed.version
        number = writing.next_version(newest.get("snapshot", 0), now_s)
        made = writing.snapshot(number, contents, versions, old)
        metadata = writing.signed(made, [signer], now_s, terms.LIFETIME_S["snapshot"])
        snapshot = writing.dumped(metadata, "snapshot", root)
        stamped = 0 if self._objects.size(f"{self._folder}timestamp.json") is None else self.timestamp().version
        stamps = {}
        for grade, name in ((terms.BUNDLE, "bundle.json"), (terms.ONLINE, "timestamp.json")):
            stamp = writing.timestamp(writing.next_version(stamped, now_s), number, snapshot, grade)
            metadata = writing.signed(stamp, [signer], now_s, terms.LIFETIME_S[grade])
            stamps[name] = writing.dumped(metadata, "timestamp", root)
        self.put(f"{number}.snapshot.json", snapshot)
        for name, data in stamps.items():
            self.put(name, data)

    def _signed(self, role: str, kind: type[_Signed], version: int = 0) -> _Signed:
        return _parsed(self.content(role, version), kind, role)

    def _read(self, name: str) -> bytes:
        try:
            return self._objects.get(f"{self._folder}{name}")
        except FileNotFoundError as error:
            raise ConfigError(
                "hub.folder",
                f"{self._objects.where} is no hub's folder ({self._folder}{name}): `ecotone hub init` makes one",
            ) from error


def _needed(role: str, signers: Sequence[CryptoSigner], delegators: Sequence[Any]) -> list[CryptoSigner]:
    """Of the keys at hand those that count for the role, so that no stray signature is written."""
    roles = [delegator.get_delegated_role(role) for delegator in delegators]
    ids = {keyid for one in roles for keyid in one.keyids}
    return [signer for signer in signers if signer.public_key.keyid in ids]


def _parsed(raw: bytes, kind: type[_Signed], what: str) -> _Signed:
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(raw)
    except (RepositoryError, ValueError) as error:
        raise ConfigError("hub.folder", f"the hub's {what} cannot be read: restore it from a copy") from error
    signed = metadata.signed
    if not isinstance(signed, kind):
        raise ConfigError("hub.folder", f"the hub's {what} is another kind of file: restore it from a copy")
    return signed
