"""What a site trusts, and what it therefore takes: pinned roots, remembered versions, and what a hub wants here.

    <store>/trust/trust.json            everything that was verified, and the time floor
    <store>/trust/manifests/<sha256>    manifests that came, so that a slow link brings each once

None of this is needed to run: what is installed is checked by its own SHA-256 and goes on without a hub for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ecotone.assets import Asset, FetchError, NoProgress, Progress, files
from ecotone.assets.web import Cut
from ecotone.delivery.choosing import one_of_each
from ecotone.delivery.install import install
from ecotone.delivery.sources import Source, SourceMissing
from ecotone.transfer import Manifest, decode
from ecotone.trust import Agreed, Assigned, Known, Memory, Refresh, Roots, Wanted, terms
from ecotone.trust.reading import Reader
from ecotone.values import ConfigError, TrustError

__all__ = ["Delivered", "deliver", "desired", "manifest_of", "memory", "pin"]

LOCK_WAIT_S: Final = 600.0
TRIES: Final = 4
_MEMORY_BYTES_MAX: Final = 64 << 20


class Delivered(msgspec.Struct, frozen=True):
    """What came of a delivery."""

    site: str
    generation: int
    assets: tuple[Asset, ...]


def memory(store: Path) -> Memory:
    """What the site remembers.

    Raises:
        TrustError: `trust.unpinned`, `trust.memory`.
    """
    try:
        with _file(store).open("rb") as file:
            return Memory.decode(file.read(_MEMORY_BYTES_MAX))
    except FileNotFoundError as error:
        raise TrustError(
            "trust.unpinned",
            "this site trusts no hub yet: nothing can be taken from one. Pin its roots: `ecotone trust trust.json "
            "--site NAME`",
        ) from error


def pin(raw: bytes, site: str, store: Path, *, is_replaced: bool = False) -> Memory:
    """The site trusts what these roots lead to, and calls itself `site`.

    Args:
        raw: The hub's `trust.json`.
        site: Its name at the hub.
        store: The site's store folder.
        is_replaced: Whether other roots may be forgotten, and with them everything that is remembered.

    Raises:
        ConfigError: `trust.site`.
        TrustError: `trust.malformed`, `trust.signature`; `trust.pinned`, if others are pinned.
    """
    if not terms.ROLE.fullmatch(site):
        raise ConfigError("trust.site", f"'{site[:80]}' cannot be a site's name: small letters, digits and '-'")
    roots = Roots.decode(raw)
    fresh = Memory(
        site=site,
        catalogue=Known(bytes(roots.catalogue)),
        director=Known(bytes(roots.director)),
        pinned=hashlib.sha256(raw).hexdigest(),
    )
    for name, known in ((terms.CATALOGUE, fresh.catalogue), (terms.DIRECTOR, fresh.director)):
        Reader(name, known, terms.RELEASED_S, is_import=False)
    with _locked(store, NoProgress()):
        if _file(store).exists() and not is_replaced:
            known_already = memory(store)
            if (known_already.pinned, known_already.site) == (fresh.pinned, site):
                return known_already
            raise TrustError(
                "trust.pinned",
                f"this site trusts another hub, or is called '{known_already.site}' there: nothing was changed. A hub "
                "changes its roots by itself; only for another one say --replace",
            )
        _keep(store, fresh)
    return fresh


def desired(
    source: Source, store: Path, *, is_import: bool, progress: Progress | None = None, clock_s: float | None = None
) -> Agreed:
    """What both repositories of the hub want here; what was verified is remembered, also when something is refused.

    Args:
        source: Where the hub's files are. It is not trusted.
        store: The site's store folder.
        is_import: Whether it is a stick, a folder or a bundle: their timestamps hold longer.
        progress: Told when another process is waited for.
        clock_s: What the clock says, Unix seconds; default: this machine's.

    Raises:
        TrustError: `trust.*`.
        FetchError: `asset.unreachable`, `asset.refused`, `asset.too_large`.
    """
    with _locked(store, progress or NoProgress()):
        refresh = Refresh(memory(store), time.time() if clock_s is None else clock_s, is_import=is_import)
        try:
            return _walked(refresh, source, store)
        finally:
            _keep(store, refresh.memory)


def deliver(
    metadata: Source,
    packs: Sequence[Source],
    store: Path,
    *,
    is_import: bool,
    names: Sequence[str] = (),
    progress: Progress | None = None,
) -> Delivered:
    """Takes what the hub wants here, or those of it that are named.

    Args:
        metadata: Where the signed files are.
        packs: Where weights may be, the best first.
        store: The site's store folder.
        is_import: As `desired` has it.
        names: `NAME` or `NAME@VERSION`; none: everything. Of several variants of a name the first that this machine
            can run, unless one is named.
        progress: Told of all steps.

    Raises:
        TrustError: As `desired` does, `trust.not_assigned` for a name; `delivery.*`.
        FetchError, StoreError: As `install` does.
    """
    progress = progress or NoProgress()
    agreed = desired(metadata, store, is_import=is_import, progress=progress)
    chosen = agreed.assets if not names else tuple(one for name in names for one in _named(agreed, name))
    manifests = [manifest_of(assigned) for assigned in chosen]
    done: list[Asset] = []
    for _, manifest in one_of_each(list(zip(chosen, manifests, strict=True)), store):
        done += install(manifest, packs, store, progress=progress)
    return Delivered(agreed.site, agreed.generation, tuple(done))


def _named(agreed: Agreed, name: str) -> list[Assigned]:
    wanted, _, version = name.partition("@")
    found = [one for one in agreed.assets if one.asset.name == wanted and version in ("", one.asset.version)]
    if found:
        return found
    raise TrustError(
        "trust.not_assigned",
        f"the hub does not want '{name[:130]}' at '{agreed.site}': `ecotone hub assign` there says what it wants",
    )


def manifest_of(assigned: Assigned) -> Manifest:
    """The manifest, which says of itself what was signed of it.

    Raises:
        TrustError: `delivery.manifest`.
    """
    manifest, asset = decode(assigned.manifest), assigned.asset
    if (manifest.name, manifest.version, manifest.kind) != (asset.name, asset.version, asset.kind):
        raise TrustError(
            "delivery.manifest", f"the manifest of {asset.name} {asset.version} is another one's: nothing is installed"
        )
    return manifest


def _walked(refresh: Refresh, source: Source, store: Path) -> Agreed:
    """Gives the walk what it wants, until it comes to its end."""
    walk = refresh.walk()
    wanted = next(walk)
    while True:
        try:
            wanted = walk.send(_answered(wanted, source, store))
        except StopIteration as end:
            agreed: Agreed = end.value
            return agreed


def _answered(wanted: Wanted, source: Source, store: Path) -> bytes | None:
    kept = store / "trust" / "manifests" / wanted.sha256 if wanted.sha256 else None
    if kept is not None:
        with contextlib.suppress(OSError):
            content = kept.read_bytes()
            if hashlib.sha256(content).hexdigest() == wanted.sha256:
                return content
    found = _fetched(wanted, source)
    if kept is not None and found is not None and hashlib.sha256(found).hexdigest() == wanted.sha256:
        with files.durably(f"writing {kept}"):
            files.folder(kept.parent)
            files.written(kept, found)
    return found


def _fetched(wanted: Wanted, source: Source) -> bytes | None:
    for left in range(TRIES - 1, -1, -1):
        try:
            return source.document(wanted.path, wanted.bytes_max)
        except SourceMissing:
            return None
        except Cut as cut:
            if not left:
                raise FetchError("asset.unreachable", f"{source.name} does not give {wanted.path}: {cut}") from cut
            time.sleep(min(cut.retry_after_s or 0.2, 5.0))
    raise AssertionError("the last try returns or raises")


@contextlib.contextmanager
def _locked(store: Path, progress: Progress) -> Iterator[None]:
    with files.durably(f"using {store}"):
        folder = files.folder(store / "trust")
    said = "another process talks with the hub; waiting for it"
    with files.locked(folder / "lock", LOCK_WAIT_S, lambda: progress.step(said)):
        yield


def _keep(store: Path, kept: Memory) -> None:
    path = _file(store)
    with files.durably(f"writing {path}"):
        files.written(path, kept.encode())


def _file(store: Path) -> Path:
    return store / "trust" / "trust.json"
