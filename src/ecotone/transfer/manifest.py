"""What a published version is made of: the small document that is signed in place of the weights.

A manifest is a few thousandths of what it describes. It says of every file which segments it is put together from, by
BLAKE3, and where each lies in the hub's packs. A delta is a shorter way to a segment and never another segment: what it
gives must have the segment's own digest.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ecotone.values import TrustError

__all__ = [
    "MANIFEST_BYTES_MAX",
    "PACK_BYTES_MAX",
    "SEGMENT_BYTES_MAX",
    "Delta",
    "Manifest",
    "Part",
    "Requires",
    "Segment",
    "decode",
    "encode",
]

MANIFEST_BYTES_MAX: Final = 16 << 20
PACK_BYTES_MAX: Final = 64 << 20
SEGMENT_BYTES_MAX: Final = 1 << 20
"""Longest segment, bytes: what is held in memory at once, and the most that a crash costs."""

_PART_BYTES_MAX: Final = 1 << 42

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=0, le=1 << 30)]
Length = Annotated[int, Meta(ge=1, le=SEGMENT_BYTES_MAX)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")]
Version = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}\Z")]
Path = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}\Z")]
Word = Annotated[str, Meta(max_length=256)]
Card = Annotated[str, Meta(max_length=1 << 16)]


class Delta(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A segment as the difference to one of an earlier version: XOR of the two, packed with zstd.

    Attributes:
        base: BLAKE3 of the segment that it starts from, which has the same length.
        pack: Index into `Manifest.packs`.
        offset: First byte in the pack.
        length: Bytes of the packed difference.
    """

    base: Digest
    pack: Count
    offset: Count
    length: Length


class Segment(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A run of bytes of a file; a file is its segments one after the other.

    Attributes:
        blake3: Its digest, and its name.
        length: Bytes.
        pack: Index into `Manifest.packs`.
        offset: First byte in the pack.
        deltas: Shorter ways to it, for a site that has what they start from.
    """

    blake3: Digest
    length: Length
    pack: Count
    offset: Count
    deltas: Annotated[tuple[Delta, ...], Meta(max_length=8)] = ()


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of the version.

    Attributes:
        path: Its name, without folders.
        bytes: Its size.
        format: What it was found to be at publishing, by its content.
    """

    path: Path
    bytes: Annotated[int, Meta(ge=0, le=_PART_BYTES_MAX)]
    blake3: Digest
    sha256: Digest
    format: Literal["gguf", "safetensors", "onnx", "parquet", "npy", "text"]
    segments: tuple[Segment, ...]


class Requires(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine must have: memory in bytes, and features of its processor."""

    memory_bytes: Annotated[int, Meta(ge=0, le=_PART_BYTES_MAX)] = 0
    cpu: Annotated[tuple[Word, ...], Meta(max_length=16)] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of one asset.

    Attributes:
        card: The model card: data, evaluation, limits.
        lineage: What it was made from, as `NAME@VERSION` or in words.
        residency: Regions where it may rest; empty: anywhere.
        packs: BLAKE3 of the packs that hold its segments.
        parts: Its files; the first is the one that the bare name means.
    """

    type: Literal["ecotone-manifest"] = "ecotone-manifest"
    format: Literal[1] = 1
    name: Name
    version: Version
    kind: Literal["model", "adapter", "dataset", "policy", "labels", "prior"]
    licence: Word
    card: Card = ""
    lineage: Annotated[tuple[Word, ...], Meta(max_length=64)] = ()
    requires: Requires = Requires()
    residency: Annotated[tuple[Word, ...], Meta(max_length=64)] = ()
    packs: Annotated[tuple[Digest, ...], Meta(max_length=1 << 17)]
    parts: Annotated[tuple[Part, ...], Meta(min_length=1, max_length=256)]

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(part.bytes for part in self.parts)


def encode(manifest: Manifest) -> bytes:
    """The manifest as it is signed: the same for the same manifest."""
    return msgspec.json.encode(manifest)


def decode(raw: bytes) -> Manifest:
    """The manifest, every number and name of it within its bounds.

    Raises:
        TrustError: `delivery.manifest`.
    """
    if len(raw) > MANIFEST_BYTES_MAX:
        raise _bad(f"it is longer than {MANIFEST_BYTES_MAX} bytes")
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _bad(str(error)[:200]) from error
    if len({part.path for part in manifest.parts}) != len(manifest.parts):
        raise _bad("two of its files have the same name")
    for part in manifest.parts:
        _sound(part, len(manifest.packs))
    return manifest


def _sound(part: Part, packs: int) -> None:
    if sum(segment.length for segment in part.segments) != part.bytes:
        raise _bad(f"the segments of {part.path} do not make up its size")
    for segment in part.segments:
        places = [(one.pack, one.offset + one.length) for one in segment.deltas]
        places.append((segment.pack, segment.offset + segment.length))
        if any(pack >= packs or end > PACK_BYTES_MAX for pack, end in places):
            raise _bad(f"a segment of {part.path} lies outside its packs")


def _bad(why: str) -> TrustError:
    return TrustError(
        "delivery.manifest", f"the manifest cannot be used: {why}. Nothing of it is installed; ask who published it"
    )
