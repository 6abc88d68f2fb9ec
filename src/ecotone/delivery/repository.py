"""One signed repository of a hub, as files: `catalogue` or `director`.

A version of a file of metadata is written once, and the timestamp that makes it count is written last: what reads a hub
meanwhile, or after a crash, sees the old state or the new.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from ecotone.assets import files
from ecotone.trust import terms, writing
from ecotone.values import ConfigError, TrustError

__all__ = ["Repository"]

_Signed = TypeVar("_Signed", bound=Signed)
_VERSIONED: Final = re.compile(r"([1-9][0-9]{0,8})\.([a-z0-9-]{1,40})\.json")


class Repository:
    """Reads and writes the newest of every role."""

    def __init__(self, hub: Path, name: str) -> None:
        """Looks at nothing yet."""
        self.name: Final = name
        self._hub: Final = hub
        self._folder: Final = hub / name / "metadata"

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
        delegations = self.targets.delegations
        return list(delegations.roles or ()) if delegations else []

    def publisher(self, role: str) -> Targets:
        """The newest targets of a role."""
        return self._signed(role, Targets)

    def timestamp(self) -> Timestamp:
        """The one for links."""
        return _parsed(self._read("timestamp.json"), Timestamp, "timestamp")

    def version(self, role: str) -> int:
        """The newest version of a role; 0: none."""
        return max(self._versions().get(role, [0]))

    def content(self, role: str) -> bytes:
        """The newest file of a role."""
        return self._read(f"{self.version(role)}.{role}.json")

    def files(self) -> list[str]:
        """Names of what a site may ask for of the roots."""
        return [f"{version}.root.json" for version in sorted(self._versions().get("root", []))]

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
        """Writes a file of metadata."""
        with files.durably(f"writing {self._folder / name}"):
            files.folder(self._folder)
            files.written(self._folder / name, data)
            (self._folder / name).chmod(0o644)

    def add_document(self, path: str, content: bytes, now_s: float) -> TargetFile:
        """Writes a document under its digest, and gives what is to be signed of it."""
        target = writing.target(path, content, now_s)
        where = self._hub / terms.target(self.name, path, target.hashes["sha256"])
        with files.durably(f"writing {where}"):
            files.folder(where.parent)
            files.written(where, content)
            where.chmod(0o644)
        return target

    def document(self, path: str, target: TargetFile) -> bytes:
        """A document that is named; what was changed on the disk is refused.

        Raises:
            TrustError: `trust.digest`, `trust.missing`.
        """
        where = self._hub / terms.target(self.name, path, target.hashes["sha256"])
        try:
            content = where.read_bytes()
            target.verify_length_and_hashes(content)
        except OSError as error:
            raise TrustError("trust.missing", f"{where} cannot be read: {error.strerror}") from error
        except RepositoryError as error:
            raise TrustError("trust.digest", f"{where} is not what was signed") from error
        return content

    def refresh(self, signer: CryptoSigner, now_s: float) -> None:
        """Announces the newest targets: a snapshot and both timestamps.

        Raises:
            ConfigError: `hub.keys`, if it is not the key for that, or a role's newest file is not signed as it must be.
        """
        root, top = self.root, self.targets
        contents: dict[str, bytes] = {}
        versions: dict[str, int] = {}
        for role in ("targets", *self.publishers):
            metadata: Metadata[Any] = Metadata.from_bytes(self.content(role))
            writing.dumped(metadata, role, root if role == "targets" else top)
            contents[role], versions[role] = self.content(role), metadata.signed.version
        number = self.version("snapshot")
        old = self._signed("snapshot", Snapshot) if number else None
        made = writing.snapshot(number + 1, contents, versions, old)
        metadata = writing.signed(made, [signer], now_s, terms.LIFETIME_S["snapshot"])
        snapshot = writing.dumped(metadata, "snapshot", root)
        stamped = self.timestamp().version if (self._folder / "timestamp.json").exists() else 0
        stamps = {}
        for grade, name in ((terms.BUNDLE, "bundle.json"), (terms.ONLINE, "timestamp.json")):
            stamp = writing.timestamp(stamped + 1, number + 1, snapshot, grade)
            metadata = writing.signed(stamp, [signer], now_s, terms.LIFETIME_S[grade])
            stamps[name] = writing.dumped(metadata, "timestamp", root)
        self.put(f"{number + 1}.snapshot.json", snapshot)
        for name, data in stamps.items():
            self.put(name, data)

    def _signed(self, role: str, kind: type[_Signed]) -> _Signed:
        return _parsed(self.content(role), kind, role)

    def _read(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except OSError as error:
            raise ConfigError(
                "hub.folder",
                f"{self._hub} is no hub's folder ({self.name}/metadata/{name}): `ecotone hub init` makes one",
            ) from error

    def _versions(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if name := _VERSIONED.fullmatch(path.name):
                    found.setdefault(name[2], []).append(int(name[1]))
        return found


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
