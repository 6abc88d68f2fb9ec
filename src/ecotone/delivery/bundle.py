"""One file for a stick: what a site lacks, with the metadata that says so. It is read in place and never unpacked.

    ECOTONE-BUNDLE/1\n
    entries: length of the name (2 bytes), of the content (8 bytes, both big-endian), name, content
    the end: 0 as the length of a name, and the number of entries in place of the length of a content

The first entry is `bundle.json`; the others are a hub's files under their own paths, packs in part as
`packs/<id>.d/<offset>-<length>`. Nothing of the container is trusted: what is in it is checked like any other
copy of a hub.
"""

from __future__ import annotations

import os
import re
import struct
from bisect import bisect_right
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

import msgspec
from msgspec import Meta

from ecotone.assets import FetchError, StoreError, files
from ecotone.delivery.hub_folder import Hub
from ecotone.delivery.sources import CHUNK_BYTES, FolderSource, SourceMissing
from ecotone.transfer import Range, plan
from ecotone.trust import terms
from ecotone.trust.agreeing import Asset
from ecotone.values import ConfigError, TrustError

__all__ = ["BundleSource", "Heading", "Made", "export"]

_MAGIC: Final = b"ECOTONE-BUNDLE/1\n"
_ENTRY: Final = struct.Struct(">HQ")
_HEADING: Final = "bundle.json"
_HEADING_BYTES_MAX: Final = 4_096
_NAME_BYTES_MAX: Final = 400
ENTRIES_MAX: Final = 400_000
_PATH: Final = re.compile(
    r"bundle\.json|(?:catalogue|director)/(?:metadata/[a-z0-9.-]{1,80}\.json"
    r"|targets/[a-z]{1,20}/[0-9a-f]{64}\.[A-Za-z0-9._+@-]{1,140})|packs/[0-9a-f]{64}\.d/[0-9]{1,10}-[0-9]{1,10}"
)
_EXTENT: Final = re.compile(r"packs/([0-9a-f]{64})\.d/([0-9]{1,10})-([0-9]{1,10})")


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself: for people, and for a refusal that says why. Nothing rests on it.

    Attributes:
        site: For whom it was made.
        generation: Of what the site shall have.
        since: The generation that the site has; 0: nothing.
        made_s: When, Unix seconds.
    """

    type: Literal["ecotone-bundle"] = "ecotone-bundle"
    format: Literal[1] = 1
    site: Annotated[str, Meta(max_length=40)]
    generation: int
    since: int
    made_s: int


class Made(msgspec.Struct, frozen=True):
    """What came of an export; `bytes` is the file's size, `packs_bytes` the weights in it."""

    heading: Heading
    assets: tuple[Asset, ...]
    path: str
    bytes: int
    packs_bytes: int


def export(hub: Hub, site: str, since: int, to: Path, now_s: float) -> Made:
    """Writes a bundle: all that `site` shall have and did not have in generation `since`.

    Args:
        hub: The hub.
        site: The site.
        since: The generation that it has; 0: nothing of this hub's.
        to: A new file.
        now_s: Unix seconds.

    Raises:
        ConfigError: `hub.unknown`; `hub.file`, if there is such a file.
        TrustError: `trust.digest`, `trust.missing`, if the hub's folder is damaged.
        StoreError: `asset.disk_full`, `asset.io`.
    """
    state = hub.state(site)
    held: set[str] = set()
    for asset in hub.earlier_state(site, since).assets if since else ():
        parts = hub.manifest(asset).parts
        held.update(segment.blake3 for part in parts for segment in part.segments)
    ranges: dict[tuple[str, int, int], Range] = {}
    for asset in state.assets:
        found = plan(hub.manifest(asset), held).ranges
        ranges.update({(one.pack, one.offset, one.length): one for one in found})
    heading = Heading(site=site, generation=state.generation, since=since, made_s=int(now_s))
    if to.exists():
        raise ConfigError("hub.file", f"{to} is there already: give the name of a new file")
    fresh = to.with_name(f".{to.name}.{os.getpid()}.new")
    try:
        with files.durably(f"writing {to}"):
            with fresh.open("xb") as file:
                _write(file, hub, heading, state.assets, list(ranges.values()))
            size = fresh.stat().st_size
            files.moved(fresh, to, 0o644)
    finally:
        fresh.unlink(missing_ok=True)
    return Made(heading, state.assets, str(to), size, sum(one.length for one in ranges.values()))


def _write(file: BinaryIO, hub: Hub, heading: Heading, assets: Sequence[Asset], ranges: Sequence[Range]) -> None:
    source = FolderSource(hub.folder)
    file.write(_MAGIC)
    _put(file, _HEADING, msgspec.json.encode(heading))
    paths = _metadata(hub)
    paths += [_document(terms.CATALOGUE, terms.asset_path(a.kind, a.name, a.version), a.sha256) for a in assets]
    target = hub.director.targets.targets[terms.site_path(heading.site)]
    paths.append(_document(terms.DIRECTOR, terms.site_path(heading.site), target.hashes["sha256"]))
    for path in paths:
        _put(file, path, source.document(path, terms.DOCUMENT_BYTES_MAX))
    for one in ranges:
        name = f"packs/{one.pack}.d/{one.offset}-{one.length}".encode()
        file.write(_ENTRY.pack(len(name), one.length) + name)
        for piece in source.run(one.pack, one.offset, one.length):
            file.write(piece)
    file.write(_ENTRY.pack(0, 1 + len(paths) + len(ranges)))


def _metadata(hub: Hub) -> list[str]:
    """The newest of everything, and every root, for a site that was away while keys were changed."""
    found = []
    for repository in (hub.catalogue, hub.director):
        roles = ("targets", *(repository.publishers if repository is hub.catalogue else ()))
        names = [*repository.files(), "bundle.json", f"{repository.version('snapshot')}.snapshot.json"]
        names += [f"{repository.version(role)}.{role}.json" for role in roles]
        found += [terms.metadata(repository.name, name) for name in names]
    return found


def _document(repository: str, path: str, sha256: str) -> str:
    return terms.target(repository, path, sha256)


def _put(file: BinaryIO, name: str, content: bytes) -> None:
    raw = name.encode()
    file.write(_ENTRY.pack(len(raw), len(content)) + raw + content)


class BundleSource:
    """A bundle as a source (`sources.Source`). Close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        """Reads what is in it, but no content.

        Raises:
            ConfigError: `hub.file`, if it cannot be read.
            TrustError: `bundle.malformed`, `bundle.truncated`.
        """
        self._path: Final = path
        self._documents: dict[str, tuple[int, int]] = {}
        self._extents: dict[str, list[tuple[int, int, int]]] = {}
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ConfigError("hub.file", f"{path} cannot be read: {error.strerror}") from error
        try:
            self._index()
            raw = self.document(_HEADING, _HEADING_BYTES_MAX)
            self.heading: Final = msgspec.json.decode(raw, type=Heading)
        except (msgspec.DecodeError, SourceMissing) as error:
            self.close()
            raise _malformed(path, "it does not say what it is") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BundleSource:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def name(self) -> str:
        """See `Source`."""
        return str(self._path)

    def document(self, path: str, bytes_max: int) -> bytes:
        """See `Source`."""
        if path not in self._documents:
            raise SourceMissing("asset.refused", f"{self._path} has no {path}")
        at, length = self._documents[path]
        if length > bytes_max:
            raise FetchError("asset.too_large", f"{path} in {self._path} is longer than {bytes_max} bytes")
        return self._read(at, length)

    def run(self, pack: str, offset: int, length: int) -> Generator[bytes, None, None]:
        """See `Source`."""
        end = offset + length
        while offset < end:
            at, there = self._holding(pack, offset)
            n = min(CHUNK_BYTES, end - offset, there)
            yield self._read(at, n)
            offset += n

    def _holding(self, pack: str, offset: int) -> tuple[int, int]:
        """Where in the file the byte of the pack is, and how many bytes follow there."""
        extents = self._extents.get(pack, [])
        index = bisect_right(extents, offset, key=lambda extent: extent[0]) - 1
        if index >= 0:
            first, length, at = extents[index]
            if offset < first + length:
                return at + offset - first, first + length - offset
        raise SourceMissing(
            "asset.refused",
            f"{self._path} has not all that this site lacks: it was made for one that has generation "
            f"{self.heading.since}. Export it again with an earlier --since, or without",
        )

    def _index(self) -> None:
        size, at = os.fstat(self._fd).st_size, len(_MAGIC)
        if self._read(0, min(size, at)) != _MAGIC:
            raise _malformed(self._path, "it does not begin like one")
        for count in range(ENTRIES_MAX):
            if at + _ENTRY.size > size:
                raise _truncated(self._path)
            name_bytes, content_bytes = _ENTRY.unpack(self._read(at, _ENTRY.size))
            at += _ENTRY.size
            if not name_bytes:
                if content_bytes != count or at != size:
                    raise _malformed(self._path, "its end is not where it should be")
                self._sort()
                return
            if name_bytes > _NAME_BYTES_MAX:
                raise _malformed(self._path, "a name in it is too long")
            if at + name_bytes + content_bytes > size:
                raise _truncated(self._path)
            self._enter(self._read(at, name_bytes), at + name_bytes, content_bytes)
            at += name_bytes + content_bytes
        raise _malformed(self._path, f"it has more than {ENTRIES_MAX} entries")

    def _enter(self, raw: bytes, at: int, length: int) -> None:
        name = raw.decode("ascii", "replace")
        if not _PATH.fullmatch(name) or name in self._documents:
            raise _malformed(self._path, "a name in it is none of a hub's files, or stands twice")
        extent = _EXTENT.fullmatch(name)
        if extent is None:
            self._documents[name] = (at, length)
        elif int(extent[3]) != length:
            raise _malformed(self._path, "a piece of a pack has another length than its name says")
        else:
            self._extents.setdefault(extent[1], []).append((int(extent[2]), length, at))

    def _sort(self) -> None:
        for extents in self._extents.values():
            extents.sort()

    def _read(self, at: int, length: int) -> bytes:
        try:
            content = os.pread(self._fd, length, at)
        except OSError as error:
            raise StoreError("asset.io", f"{self._path} cannot be read: {error.strerror}. Check the stick") from error
        if len(content) < length:
            raise _truncated(self._path)
        return content


def _malformed(path: Path, why: str) -> TrustError:
    return TrustError("bundle.malformed", f"{path} is no bundle of a hub: {why}. Nothing of it is used")


def _truncated(path: Path) -> TrustError:
    return TrustError("bundle.truncated", f"{path} ends too early: copy it again. Nothing of it is used")
