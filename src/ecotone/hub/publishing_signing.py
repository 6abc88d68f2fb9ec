"""What a publisher signs, at its own machine, and what the hub sees to before it takes it in.

The publisher's key never comes to the hub. The hub gives what it has made of the files (the manifest) and the
publisher's newest metadata; the publisher looks whether both are what it thinks, signs the next metadata, and sends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Targets

from ecotone.transfer import Manifest, decode
from ecotone.trust import terms, writing
from ecotone.values import RequestError, TrustError

__all__ = ["checked", "compare", "next_signed"]

AHEAD_S: Final = 600.0
"""How far ahead of the hub's clock a publisher's may be: what is signed raises the time floor of every site."""

Content = Callable[[int, int], bytes]
"""`content(at, n)`: so many bytes of a file from there."""


def next_signed(current: bytes, publisher: str, manifest: bytes, signer: CryptoSigner, now_s: float) -> bytes:
    """The publisher's next metadata: what it has signed before, and this manifest.

    Args:
        current: Its newest, as the hub gave it.
        publisher: Who signs.
        manifest: As the hub gave it, compared already.
        signer: The publisher's key.
        now_s: Unix seconds.

    Raises:
        TrustError: `hub.signed`: the newest was not signed by this key, or is no publisher's.
    """
    metadata = _metadata(current, publisher)
    try:
        signer.public_key.verify_signature(metadata.signatures[signer.public_key.keyid], metadata.signed_bytes)
    except Exception as error:  # no signature, or any kind of a wrong one
        raise TrustError(
            "hub.signed",
            f"what the hub gave as the newest of '{publisher}' is not signed by this key: give the right one",
        ) from error
    found = decode(manifest)
    path = terms.asset_path(found.kind, found.name, found.version)
    targets: Targets = metadata.signed
    targets.targets[path] = writing.target(path, manifest, now_s)
    targets.version = writing.next_version(targets.version, now_s)
    fresh = writing.signed(targets, [signer], now_s, terms.LIFETIME_S["publisher"])
    return fresh.to_bytes()


def checked(current: bytes, fresh: bytes, publisher: str, manifest: bytes, by: Targets, now_s: float) -> int:
    """The version of metadata that a publisher sent, if it may be announced.

    Args:
        current: The newest that the hub has.
        fresh: What came.
        publisher: Whose it is.
        manifest: What it shall name, and nothing else that is new.
        by: Who says which key the publisher has.
        now_s: Unix seconds by the hub's clock.

    Raises:
        TrustError: `hub.signed`: it is not signed as it must be, or says something else.
        RequestError: `hub.stale`, 409: the publisher has signed something else meanwhile: it signs again.
    """
    metadata, known = _metadata(fresh, publisher), _metadata(current, publisher)
    try:
        by.verify_delegate(publisher, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise _refused(f"it is not signed by the key of '{publisher}'") from error
    targets = metadata.signed
    if targets.version <= known.signed.version:
        raise RequestError("hub.stale", f"'{publisher}' has signed something newer meanwhile: sign again", status=409)
    issued_s = targets.unrecognized_fields.get(terms.ISSUED_AT)
    if not isinstance(issued_s, int) or issued_s > now_s + AHEAD_S:
        raise _refused("its clock is ahead of the hub's, or it does not say when it was signed")
    if targets.expires.timestamp() < now_s + terms.DAY_S or targets.delegations is not None:
        raise _refused("it ends within a day, or delegates")
    found = decode(manifest)
    path = terms.asset_path(found.kind, found.name, found.version)
    named, before = dict(targets.targets), dict(known.signed.targets)
    mine, had = named.pop(path, None), before.pop(path, None)
    if mine is None or mine.length != len(manifest) or mine.hashes != {"sha256": hashlib.sha256(manifest).hexdigest()}:
        raise _refused(f"it does not name {path} as it was prepared here")
    if had is not None and had.hashes != mine.hashes:
        raise _refused(f"{path} is published already, and is another: a version is never changed")
    if {name: one.to_dict() for name, one in named.items()} != {name: one.to_dict() for name, one in before.items()}:
        raise RequestError(
            "hub.stale", f"it names other versions of '{publisher}' than the hub: sign again", status=409
        )
    if set(mine.unrecognized_fields) - {"custom"} or set(mine.custom or {}) - {"published_s"}:
        raise _refused(f"it says more of {path} than when it was published")
    return int(targets.version)


def compare(manifest: Manifest, about: dict[str, Any], paths: Sequence[Path], read: Callable[[Path], Content]) -> None:
    """Goes on only if a manifest is of these files, byte for byte, and says what was asked.

    Args:
        manifest: As the hub made it.
        about: Fields that were asked for.
        paths: The publisher's own files, in order.
        read: Gives a file's content.

    Raises:
        TrustError: `hub.prepared`: it is of something else. Nothing is to be signed.
    """
    from blake3 import blake3

    for field, value in about.items():
        if getattr(manifest, field) != value:
            raise _prepared(f"its {field} is another than was asked for")
    if [part.path for part in manifest.parts] != [path.name for path in paths]:
        raise _prepared("it is of other files")
    for part, path in zip(manifest.parts, paths, strict=True):
        content, at = read(path), 0
        for segment in part.segments:
            if blake3(content(at, segment.length)).hexdigest() != segment.blake3:
                raise _prepared(f"{path.name} is another from byte {at} on")
            at += segment.length
        if content(at, 1):
            raise _prepared(f"{path.name} goes on behind byte {at}")


def _metadata(raw: bytes, publisher: str) -> Metadata[Targets]:
    if len(raw) > terms.TARGETS_BYTES_MAX:
        raise _refused(f"it is longer than {terms.TARGETS_BYTES_MAX} bytes")
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(raw)
    except (RepositoryError, ValueError) as error:
        raise _refused(f"this is no metadata of '{publisher}'") from error
    if not isinstance(metadata.signed, Targets):
        raise _refused(f"this is no metadata of '{publisher}', but of another kind")
    return metadata


def _refused(why: str) -> TrustError:
    return TrustError("hub.signed", f"what was signed is not taken: {why}")


def _prepared(why: str) -> TrustError:
    return TrustError(
        "hub.prepared", f"the hub has prepared something else than was sent: {why}. Nothing was signed; find out why"
    )
