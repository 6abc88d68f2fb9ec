"""Proof that one entry is in a ledger, for somebody who does not get the rest of it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store import chain, merkle, notes
from ecotone.store.signing import Verifier
from ecotone.store.verifying import Report, Trust, verify

__all__ = ["FORMAT", "Proof", "checked", "proofs"]

FORMAT: Final = "ecotone-proof-1"
_PROOFS_MAX: Final = 1000


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry, the way from it to a root, and the signature on that root.

    Attributes:
        entry: The line, without its newline.
        index: Its position in the ledger.
        path: Hashes from the leaf to the root, base64 (RFC 9162, 2.1.3).
        checkpoint: The signed note, as it is: its size and root end the path.
    """

    format: str
    index: int
    entry: str
    path: tuple[str, ...]
    checkpoint: str


def proofs(folder: Path, is_wanted: Callable[[bytes, chain.Link], bool], trust: Trust) -> tuple[list[Proof], Report]:
    """Proofs for the wanted entries under the newest checkpoint, and the report on the ledger that they are from.

    Entries behind that checkpoint get none.

    Raises:
        ConfigError: `store.public_key`: a key of `trust` is none.
        OSError: the ledger cannot be read.
    """
    path = folder / notes.CHECKPOINTS
    newest = notes.last(path, lambda _: True) if path.exists() else None
    found: list[tuple[int, bytes, merkle.Path]] = []

    def visit(text: bytes, link: chain.Link, tree: merkle.Tree | None) -> None:
        if found:
            node = merkle.leaf(text[:-1])
            for _, _, way in found:
                way.push(node)
        if newest is None or tree is None or tree.size >= newest.size or len(found) == _PROOFS_MAX:
            return
        if is_wanted(text, link):
            found.append((link.seq, text, merkle.Path(tree, newest.size)))

    report = verify(folder, trust=trust, visit=visit)
    if newest is None or not report.is_whole:
        return [], report
    return [
        Proof(
            FORMAT,
            seq,
            text[:-1].decode(),
            tuple(base64.b64encode(node).decode() for node in way.hashes()),
            newest.raw.decode(),
        )
        for seq, text, way in found
    ], report


def checked(proof: Proof, keys: Sequence[bytes]) -> str:
    """Why a proof does not hold under these public keys; `''` where it does.

    Raises:
        ConfigError: `store.public_key`: one of the keys is none.
    """
    verifier = Verifier(keys)
    note = notes.parse(proof.checkpoint.encode())
    line = proof.entry.encode()
    entry = chain.entry(line)
    try:
        path = [base64.b64decode(node, validate=True) for node in proof.path]
    except (binascii.Error, ValueError):
        path = []
    if proof.format != FORMAT or note is None or entry is None:
        return "it is not a proof that is known here"
    if not chain.intact(line + b"\n") or entry.seq != proof.index:
        return "the entry was changed"
    if not verifier.is_signed(note):
        return "the checkpoint is not signed by the given key"
    if merkle.root_by(merkle.leaf(line), proof.index, note.size, path) != note.root:
        return "the path does not lead to the checkpoint's root"
    return ""
