"""Publishing: files into a hub's packs. Nothing is written twice, and a pack never changes once it has its name."""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec

from ecotone.assets import NoProgress, Progress, digest, files
from ecotone.delivery.objects import Objects, fresh_name, placed
from ecotone.transfer import Delta, Manifest, Part, Requires, Segment, decode, deltas, encode, formats, layout
from ecotone.transfer.layout import Read, Tensor
from ecotone.transfer.manifest import PACK_BYTES_MAX
from ecotone.values import ConfigError, TrustError

__all__ = ["PACKS", "About", "Packed", "publish"]

PACKS: Final = "packs"
_AHEAD_BYTES: Final = 4 << 20
"""A pack is read in runs of so much: what comes next is as a rule what is asked for next."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the publisher says of a version; see `transfer.Manifest`."""

    name: str
    version: str
    kind: Literal["model", "adapter", "dataset", "policy", "labels", "prior"] = "model"
    licence: str
    card: str = ""
    lineage: tuple[str, ...] = ()
    requires: Requires = Requires()
    residency: tuple[str, ...] = ()


def publish(
    paths: Sequence[Path],
    hub: Path | Objects,
    about: About,
    *,
    earlier: Sequence[Manifest] = (),
    base: Manifest | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """The files' manifest; what it needs of packs is in the hub's and durable. No metadata is written.

    Args:
        paths: The files; the first is the one that the bare name means.
        hub: The hub's folder, or what else its files lie in.
        about: What they are.
        earlier: What the hub has: segments of these are not written again.
        base: The version against which deltas are made.
        progress: Told of each file.

    Raises:
        ConfigError: `asset.file`; `delivery.name`, for a name, version or file name that no manifest can have.
        StoreError: `asset.disk_full`, `asset.io`, `hub.objects`.
        TrustError: `delivery.unsafe`, `delivery.malformed`; `asset.changed`, for a link, or a file that is being
            written; `delivery.segment`, if the hub's own packs are damaged.
    """
    progress = progress or NoProgress()
    _named(about, paths)
    objects = placed(hub)
    with _Writing(objects, earlier) as writing:
        parts = []
        for path in paths:
            progress.step(f"cutting {path.name}")
            parts.append(_part(path, writing, objects, base))
        packs, parts = writing.closed(parts)
    fields = {field: getattr(about, field) for field in about.__struct_fields__}
    # Read back as a site reads it: what a site would refuse must not be signed.
    return decode(encode(Manifest(**fields, packs=packs, parts=tuple(parts))))


def _named(about: About, paths: Sequence[Path]) -> None:
    trial = [
        Part(path=path.name, bytes=0, blake3="0" * 64, sha256="0" * 64, format="text", segments=()) for path in paths
    ]
    fields = {field: getattr(about, field) for field in about.__struct_fields__}
    try:
        decode(encode(Manifest(**fields, packs=(), parts=tuple(trial))))
    except TrustError as error:
        raise ConfigError("delivery.name", f"this cannot be published under that name: {error.message}") from error


def _part(path: Path, writing: _Writing, hub: Objects, base: Manifest | None) -> Part:
    from blake3 import blake3

    with digest.held(path, is_link_allowed=False) as held:

        def read(at: int, n: int) -> bytes:
            return os.pread(held.fd, n, at)

        kind = formats.found(read, held.bytes)
        table = layout.tensors(read, held.bytes, kind)
        pieces = _pieces(hub, base, kind) if table else {}
        whole, segments = blake3(), []
        for span in layout.cuts(read, held.bytes, table):
            content = read(span.at, span.length)
            whole.update(content)
            known = pieces.get(span.piece) if span.piece else None
            segments.append(writing.put(content, known))
        held.confirm()
        return Part(
            path=path.name,
            bytes=held.bytes,
            blake3=whole.hexdigest(),
            sha256=held.sha256,
            format=kind,
            segments=tuple(segments),
        )


class _Piece(msgspec.Struct, frozen=True):
    """A piece of a tensor of an earlier version."""

    packed: Packed
    at: int
    segment: Segment

    def read(self) -> bytes:
        return self.packed.read(self.at, self.segment.length)


def _pieces(hub: Objects, base: Manifest | None, kind: str) -> dict[tuple[str, ...], _Piece]:
    """Pieces of tensors of the base by what must be equal for a delta."""
    found: dict[tuple[str, ...], _Piece] = {}
    for part in base.parts if base else ():
        assert base is not None
        if part.format != kind:
            continue
        packed = Packed(hub, base, part)
        segments = dict(zip(packed.starts, part.segments, strict=True))
        table: tuple[Tensor, ...] = layout.tensors(packed.read, part.bytes, kind)
        for span in layout.cuts(_after_header(packed.read, table), part.bytes, table):
            segment = segments.get(span.at)
            if span.piece and segment is not None and segment.length == span.length:
                found[span.piece] = _Piece(packed, span.at, segment)
    return found


def _after_header(read: Read, table: tuple[Tensor, ...]) -> Read:
    # The header is cut by its content, and nobody asks where: zeros do, and nothing is read.
    return read if not table else lambda _, n: bytes(n)


class Packed:
    """A file as it lies in a hub's packs, to be read from anywhere in it."""

    def __init__(self, hub: Path | Objects, manifest: Manifest, part: Part) -> None:
        """Opens nothing yet."""
        self._objects, self._packs, self._segments = placed(hub), manifest.packs, part.segments
        self._run, self._run_pack, self._run_at = b"", "", 0
        self.starts = [0, *accumulate(segment.length for segment in part.segments)][:-1]

    def read(self, at: int, n: int) -> bytes:
        """The bytes, or fewer where the file ends; each segment's digest is checked.

        Raises:
            TrustError: `delivery.segment`.
            StoreError: `asset.io`.
        """
        found = bytearray()
        number = max(bisect_right(self.starts, at) - 1, 0)
        while len(found) < n and number < len(self._segments):
            skip = at + len(found) - self.starts[number]
            found += self._segment(self._segments[number])[skip : skip + n - len(found)]
            number += 1
        return bytes(found)

    def _segment(self, segment: Segment) -> bytes:
        from blake3 import blake3

        name = f"{PACKS}/{self._packs[segment.pack]}"
        content = self._bytes(name, segment.offset, segment.length)
        if blake3(content).hexdigest() != segment.blake3:
            where = f"{self._objects.where}/{name}"
            raise TrustError(
                "delivery.segment", f"{where} is damaged: a segment of it has not the digest that its manifest says"
            )
        return content

    def _bytes(self, name: str, offset: int, length: int) -> bytes:
        at = offset - self._run_at
        if name != self._run_pack or at < 0 or at + length > len(self._run):
            try:
                run = self._objects.range(name, offset, max(length, _AHEAD_BYTES))
            except FileNotFoundError as error:
                raise TrustError("delivery.segment", f"{self._objects.where}/{name} is not there any more") from error
            self._run, self._run_pack, self._run_at, at = run, name, offset, 0
        return self._run[at : at + length]


class _Spot(msgspec.Struct, frozen=True):
    """Where a run of bytes went: in a pack of this run (by number) or in an earlier one (by name)."""

    pack: int | str
    offset: int
    length: int


class _Writing:
    """Packs being filled: whole segments in one row of packs, deltas in another, so that each is read in one go."""

    def __init__(self, objects: Objects, earlier: Sequence[Manifest]) -> None:
        self._wholes, self._patches = _Row(objects), _Row(objects)
        self._known: dict[str, _Spot] = {}
        self._deltas: dict[tuple[str, str], _Spot | None] = {}
        for manifest in earlier:
            here = [objects.size(f"{PACKS}/{pack}") is not None for pack in manifest.packs]
            for one in [one for part in manifest.parts for one in part.segments]:
                if here[one.pack]:
                    self._known.setdefault(one.blake3, _Spot(manifest.packs[one.pack], one.offset, one.length))
                for way in [way for way in one.deltas if here[way.pack]]:
                    self._deltas[one.blake3, way.base] = _Spot(manifest.packs[way.pack], way.offset, way.length)
        self._wanted: dict[str, tuple[_Spot, tuple[tuple[str, _Spot], ...]]] = {}

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self._wholes.drop()
        self._patches.drop()

    def put(self, content: bytes, base: _Piece | None) -> Segment:
        """The segment; its packs are numbered at the end, by `closed`."""
        from blake3 import blake3

        name = blake3(content).hexdigest()
        if name not in self._known:
            self._known[name] = self._wholes.add(content)
        ways = self._wanted[name][1] if name in self._wanted else ()
        if base is not None and base.segment.blake3 != name and all(way[0] != base.segment.blake3 for way in ways):
            patch = self._patch(name, content, base)
            ways = ways if patch is None else (*ways, (base.segment.blake3, patch))
        self._wanted[name] = (self._known[name], ways[:8])
        return Segment(name, len(content), 0, 0)

    def _patch(self, name: str, content: bytes, base: _Piece) -> _Spot | None:
        key = (name, base.segment.blake3)
        if key not in self._deltas:
            patch = deltas.made(content, base.read())
            self._deltas[key] = None if patch is None else self._patches.add(patch)
        return self._deltas[key]

    def closed(self, parts: list[Part]) -> tuple[tuple[str, ...], list[Part]]:
        """All packs durable under their names; the names, and the parts with their places filled in."""
        rows = {False: self._wholes.closed(), True: self._patches.closed()}
        numbers: dict[str, int] = {}

        def place(spot: _Spot, *, is_patch: bool) -> tuple[int, int]:
            pack = spot.pack if isinstance(spot.pack, str) else rows[is_patch][spot.pack]
            return numbers.setdefault(pack, len(numbers)), spot.offset

        def filled(segment: Segment) -> Segment:
            spot, ways = self._wanted[segment.blake3]
            patches = tuple(Delta(base, *place(way, is_patch=True), way.length) for base, way in ways)
            return Segment(segment.blake3, segment.length, *place(spot, is_patch=False), patches)

        done = [
            msgspec.structs.replace(part, segments=tuple(filled(segment) for segment in part.segments))
            for part in parts
        ]
        return tuple(numbers), done


class _Row:
    """Packs filled one after the other."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._fresh = fresh_name(objects.scratch(f"{PACKS}/new"))
        self._names: list[str] = []
        self._size = 0

    def add(self, content: bytes) -> _Spot:
        if self._size + len(content) > PACK_BYTES_MAX:
            self._finish()
        with _appended(self._fresh) as out:
            out.write(content)
        spot = _Spot(len(self._names), self._size, len(content))
        self._size += len(content)
        return spot

    def closed(self) -> list[str]:
        if self._size:
            self._finish()
        return self._names

    def drop(self) -> None:
        self._fresh.unlink(missing_ok=True)

    def _finish(self) -> None:
        from blake3 import blake3

        name = blake3(max_threads=1).update_mmap(self._fresh).hexdigest()
        self._objects.take(f"{PACKS}/{name}", self._fresh)
        self._names.append(name)
        self._size = 0


@contextlib.contextmanager
def _appended(path: Path) -> Iterator[BinaryIO]:
    with files.durably(f"writing {path}"), path.open("ab") as out:
        yield out
