"""What a hub says, signed: each function gives the bytes of one file. Keys come as signers, time as `now_s`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from securesystemslib.signer import Key, Signer
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from ecotone.trust import terms
from ecotone.values import ConfigError

__all__ = [
    "bin_of",
    "binned",
    "bits",
    "delegated",
    "delegates",
    "dumped",
    "is_bin",
    "next_version",
    "root",
    "signed",
    "snapshot",
    "target",
    "timestamp",
    "undelegated",
]

ROOT_THRESHOLD: Final = 2

Delegator = Root | Targets


def signed(content: Signed, signers: Iterable[Signer], now_s: float, lifetime_s: float) -> Metadata[Any]:
    """The content with when it was signed, until when it holds, and the signatures."""
    content.unrecognized_fields[terms.ISSUED_AT] = int(now_s)
    content.expires = datetime.fromtimestamp(int(now_s), UTC) + timedelta(seconds=lifetime_s)
    metadata: Metadata[Any] = Metadata(content)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata


def dumped(metadata: Metadata[Any], role: str, *delegators: Delegator) -> bytes:
    """The file.

    Args:
        metadata: What was signed.
        role: Whose it is.
        delegators: Those by whose keys a site will check it.

    Raises:
        ConfigError: `hub.keys`, if a site would refuse it.
    """
    for delegator in delegators:
        try:
            delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        except UnsignedMetadataError as error:
            raise ConfigError(
                "hub.keys",
                f"the keys that were given are not the ones (or not as many) that '{role}' needs: nothing was written. "
                "`ecotone hub show` says which they are",
            ) from error
    return metadata.to_bytes(JSONSerializer(compact=True))


def root(version: int, keys: Sequence[Key], roles: Mapping[str, Sequence[Key]]) -> Root:
    """A root: any two of `keys` may change it.

    Args:
        version: One more than the last.
        keys: The keys of the root, kept offline.
        roles: `timestamp`, `snapshot` and `targets` -> their keys; of `targets` as many as of the root must sign where
            they are the root's own.
    """
    offline = [key.keyid for key in keys]
    made: dict[str, Role] = {Root.type: Role(offline, min(ROOT_THRESHOLD, len(offline)))}
    every = {key.keyid: key for key in keys}
    for role, holders in roles.items():
        ids = [key.keyid for key in holders]
        every.update({key.keyid: key for key in holders})
        made[role] = Role(ids, made[Root.type].threshold if ids == offline else 1)
    return Root(version=version, keys=every, roles=made, consistent_snapshot=True)


def delegated(targets: Targets, publisher: str, key: Key, kinds: Iterable[str]) -> None:
    """The publisher is trusted with these kinds of assets, by this key alone."""
    if targets.delegations is None:
        targets.delegations = Delegations({}, {})
    assert targets.delegations.roles is not None
    undelegated(targets, publisher)
    paths = [f"{terms.FOLDERS[kind]}/*" for kind in kinds]
    targets.delegations.roles[publisher] = DelegatedRole(publisher, [], 1, False, paths)
    targets.add_key(key, publisher)


def undelegated(targets: Targets, publisher: str) -> None:
    """The publisher is trusted with nothing."""
    delegations = targets.delegations
    if delegations is None or delegations.roles is None or publisher not in delegations.roles:
        return
    for keyid in list(delegations.roles[publisher].keyids):
        targets.revoke_key(keyid, publisher)
    del delegations.roles[publisher]


def binned(targets: Targets, bit_length: int, key: Key) -> None:
    """All that the targets name themselves is named by bins instead, by the first bits of a path's SHA-256.

    Source: TAP 15 (succinct hash bin delegations).
    """
    # The prefix tells layouts apart: a bin of one never stands for a bin of another.
    succinct = SuccinctRoles([key.keyid], 1, bit_length, f"b{bit_length}")
    targets.targets.clear()
    targets.delegations = Delegations({key.keyid: key}, succinct_roles=succinct)


def bits(targets: Targets) -> int:
    """By how many bits of a path's digest its bin is found; 0: there are no bins."""
    found = targets.delegations.succinct_roles if targets.delegations else None
    return found.bit_length if found else 0


def is_bin(targets: Targets, role: str) -> bool:
    """Whether a role is one of the bins."""
    found = targets.delegations.succinct_roles if targets.delegations else None
    return found is not None and found.is_delegated_role(role)


def bin_of(targets: Targets, path: str) -> str:
    """The bin that names a path; there are bins."""
    assert targets.delegations is not None
    assert targets.delegations.succinct_roles is not None
    return targets.delegations.succinct_roles.get_role_for_target(path)


def delegates(targets: Targets) -> list[str]:
    """Who is trusted with something: publishers, or bins."""
    delegations = targets.delegations
    if delegations is None:
        return []
    return list(delegations.roles or ()) + list(
        delegations.succinct_roles.get_roles() if delegations.succinct_roles else ()
    )


def next_version(newest: int, now_s: float) -> int:
    """The version after the newest: never below the hundredths of a second since November 2026.

    So a hub that was restored from an old copy goes on above all that its sites have seen, and needs no report for it:
    none signs as often as that.
    """
    return max(newest + 1, int((now_s - terms.VERSIONS_FROM_S) * 100))


def target(path: str, content: bytes, now_s: float, generation: int = 0) -> TargetFile:
    """What is signed of a document; of a site's also its generation, so that nobody need open it for that."""
    made = TargetFile.from_data(path, content, ["sha256"])
    said = {"generation": generation} if generation else {}
    made.unrecognized_fields["custom"] = {"published_s": int(now_s), **said}
    return made


def snapshot(version: int, files: Mapping[str, bytes], versions: Mapping[str, int], old: Snapshot | None) -> Snapshot:
    """A snapshot of the newest targets; what was ever in one stays in it.

    Args:
        version: One more than the last.
        files: Role -> its newest file.
        versions: Role -> the version in that file.
        old: The last snapshot.
    """
    meta = dict(old.meta) if old else {}
    for role, content in files.items():
        meta[f"{role}.json"] = MetaFile.from_data(versions[role], content, ["sha256"])
    return Snapshot(version=version, meta=meta)


def timestamp(version: int, snapshot_version: int, content: bytes, grade: str) -> Timestamp:
    """A timestamp of one grade: `online` or `bundle`."""
    made = Timestamp(version=version, snapshot_meta=MetaFile.from_data(snapshot_version, content, ["sha256"]))
    made.unrecognized_fields[terms.GRADE] = grade
    return made
