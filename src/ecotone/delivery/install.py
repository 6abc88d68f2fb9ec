"""A signed version becomes the site's own: planned, fetched, put together, checked, and switched to in one moment.

    <store>/delivery/partial/<manifest>/   the files being put together
    <store>/delivery/segments.sqlite       which segments lie where on this machine; only a memory
    <store>/delivery/installed.json        the versions that came, for the garbage collection

The caller has verified the manifest: both of the hub's repositories name its digest (`ecotone.trust`).
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ecotone.assets import Arrival, Asset, NoProgress, Progress, StoreError, files, open_store
from ecotone.delivery.begun import Begun
from ecotone.delivery.chunks import Holdings, Staging, candidates, unfinished
from ecotone.delivery.fetch import Patience, Source, Tally, gather
from ecotone.delivery.running import is_open, site_running
from ecotone.transfer import Manifest, encode
from ecotone.values import TrustError

__all__ = ["Installed", "collect", "install", "remove", "versions"]

LOCK_WAIT_S = 3600.0
_UNKNOWN = "unknown"
UNFINISHED_AGE_S = 30 * 86400.0
KEPT = 2  # versions of a name: the one in force, and the one to go back to


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A version that came.

    Attributes:
        name: The asset.
        version: Its version.
        manifest: SHA-256 of its manifest.
        files: SHA-256 of each file by its name.
        replaced_under: The site's process that ran when another version took its place; empty: none, or none did.
    """

    name: str
    version: str
    manifest: str
    files: dict[str, str]
    replaced_under: str = ""


class _Memory(msgspec.Struct, frozen=True):
    version: Literal[1]
    installed: list[Installed]


class _Shelf:
    """See `fetch.Shelf`: the unfinished files, then the whole ones of this machine."""

    def __init__(self, staging: Staging, holdings: Holdings) -> None:
        self._staging, self._holdings = staging, holdings

    @property
    def missing(self) -> set[str]:
        return self._staging.missing

    def read(self, name: str) -> bytes | None:
        content = self._staging.read(name)
        return self._holdings.read(name) if content is None else content

    def __contains__(self, name: object) -> bool:
        return self._staging.has(str(name)) or name in self._holdings

    def put(self, name: str, content: bytes) -> None:
        self._staging.put(name, content)


def install(
    manifest: Manifest,
    sources: Sequence[Source],
    store: Path,
    *,
    patience: Patience | None = None,
    progress: Progress | None = None,
    tally: Tally | None = None,
) -> list[Asset]:
    """`hub:NAME`, `hub:NAME@VERSION` and their further files lead to this version; before, nothing had changed.

    Args:
        manifest: The version, verified.
        sources: Where its packs may be, the best first.
        store: The site's store folder.
        patience: How long each source is tried.
        progress: Told of all steps.
        tally: Filled with what it cost.

    Raises:
        FetchError: `asset.unreachable` ..., what has arrived is kept; `delivery.window`.
        StoreError: `asset.disk_full` (before the first byte), `asset.io`, `asset.busy`, `asset.index`.
        TrustError: `delivery.segment`; `delivery.manifest`, if the manifest contradicts itself.
    """
    progress, root = progress or NoProgress(), store / "delivery"
    identity = hashlib.sha256(encode(manifest)).hexdigest()
    folder = root / "partial" / identity
    with files.durably(f"using {root}"):
        files.folder(root / "partial")
        said = "another process is installing; waiting for it"
        with files.locked(root / "install.lock", LOCK_WAIT_S, lambda: progress.step(said)):
            if (done := _switched_to_what_is_here(manifest, identity, store, progress)) is not None:
                _dropped(folder)
                return done
            cost = _put_together(manifest, folder, store, sources, patience, progress)
            if tally is not None:
                _add(tally, cost)
            progress.step(f"checking the SHA-256 of {manifest.name} {manifest.version}")
            try:
                done = _switched(manifest, identity, store, folder)
            except TrustError as error:
                raise TrustError(
                    "delivery.manifest",
                    f"{manifest.name} {manifest.version}: all its segments are what was signed, and the whole is not "
                    f"({error.message}). It was thrown away; ask who published it",
                ) from error
            finally:
                _dropped(folder)
            _superseded(manifest, folder)
            progress.step(f"hub:{manifest.name} is {manifest.version} now")
            return done


def _put_together(
    manifest: Manifest,
    folder: Path,
    store: Path,
    sources: Sequence[Source],
    patience: Patience | None,
    progress: Progress,
) -> Tally:
    """The version's files are whole in the folder; what it took."""
    holdings = Holdings(store / "delivery" / "segments.sqlite")
    try:
        with contextlib.closing(Staging(folder, manifest)) as staging:
            holdings.look(candidates(store), progress)
            for other in _others(folder):
                holdings.look_unfinished(other)
            what = f"{manifest.name} {manifest.version}"
            files.free_space(folder, staging.needed_bytes(), what)
            staging.allocate()
            shelf = _Shelf(staging, holdings)
            with contextlib.closing(Begun(folder / "begun")) as begun:
                return gather(manifest, shelf, sources, begun=begun, patience=patience, progress=progress)
    finally:
        holdings.close()


def _dropped(folder: Path) -> int:
    """Removes the folder, where there is one, and its files; bytes freed."""
    freed = 0
    if not folder.exists():
        return freed
    with files.durably(f"removing {folder}"):
        for path in folder.iterdir():
            freed += path.lstat().st_blocks * 512
            path.unlink()
        folder.rmdir()
    return freed


def _others(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.parent.iterdir()) if path != folder]


def _superseded(manifest: Manifest, folder: Path) -> None:
    """Unfinished deliveries of other versions of the same asset go."""
    for other in _others(folder):
        try:
            name = unfinished(other).name
        except (OSError, TrustError):
            continue  # it says no more what it is: `collect` takes it when it is old
        if name == manifest.name:
            _dropped(other)


def _switched_to_what_is_here(manifest: Manifest, identity: str, store: Path, progress: Progress) -> list[Asset] | None:
    """As `_switched`, where the store has all files of the version, and they are what they should be."""
    if not _is_here(manifest, store):
        return None
    try:
        return _switched(manifest, identity, store, store / "delivery" / "nothing")
    except TrustError as error:
        progress.step(f"{error.message}; it is put together anew")
        return None


def _is_here(manifest: Manifest, store: Path) -> bool:
    return all((store / "assets" / "sha256" / part.sha256[:2] / part.sha256).exists() for part in manifest.parts)


def _switched(manifest: Manifest, identity: str, store: Path, folder: Path) -> list[Asset]:
    """One change of the index: until then the names lead to the old version, from then on to the new one."""
    found = []
    for number, part in enumerate(manifest.parts):
        refs = [f"hub:{manifest.name}/{part.path}", f"hub:{manifest.name}@{manifest.version}/{part.path}"]
        if number == 0:
            refs = [f"hub:{manifest.name}", f"hub:{manifest.name}@{manifest.version}", *refs]
        found.append(Arrival(folder / str(number), part.sha256, tuple(refs)))
    fresh = Installed(
        name=manifest.name,
        version=manifest.version,
        manifest=identity,
        files={part.path: part.sha256 for part in manifest.parts},
    )
    # Remembered before the names move: a crash in between leaves nothing that is never collected.
    before = versions(store)
    _remember(store, fresh)
    try:
        done = open_store(store).adopt(found)
    except TrustError:
        _write(store, before)
        raise
    return [asset for asset in done if "@" not in asset.name]


def versions(store: Path) -> list[Installed]:
    """The versions that came and are still here; of each name the last is the one in force.

    Raises:
        StoreError: `asset.index`, `asset.io`.
    """
    path = store / "delivery" / "installed.json"
    with files.durably(f"reading {path}"):
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Memory).installed
        except FileNotFoundError:
            return []
        except msgspec.DecodeError as error:
            raise StoreError(
                "asset.index", f"{path} is damaged ({error}). Move it away: what it lists is then never collected"
            ) from error


def collect(store: Path, in_use: Collection[str] = ()) -> int:
    """Removes versions that nothing can need any more, and deliveries left unfinished for a month; bytes freed.

    What stays: of each name the version in force and the one before it; what `in_use` names; what any process of this
    machine has open; and what was replaced while the site that runs now was running already, which may load it again.

    Args:
        store: The site's store folder.
        in_use: References of the configuration, such as `hub:NAME@VERSION`.

    Raises:
        StoreError: `asset.index`, `asset.io`, `asset.busy`.
    """
    with files.durably(f"using {store / 'delivery'}"):
        files.folder(store / "delivery")
        with files.locked(store / "delivery" / "install.lock", LOCK_WAIT_S):
            known = versions(store)
            old = [one for one in known if not _stays(one, known, store, in_use)]
            _write(store, [one for one in known if one not in old])
            kept = {sha256 for one in known if one not in old for sha256 in one.files.values()}
            freed = sum(_released(one, store, kept) for one in old)
            stale_s = time.time() - UNFINISHED_AGE_S
            stale = [path for path in (store / "delivery").glob("partial/*") if path.stat().st_mtime < stale_s]
            return freed + sum(_dropped(path) for path in stale)


def remove(store: Path, name: str) -> int:
    """No version of the asset is on this machine any more, but for files that something else names; bytes freed.

    Raises:
        StoreError: `asset.in_use`, if a process has one of its files open; `asset.index`, `asset.io`, `asset.busy`.
    """
    with files.durably(f"using {store / 'delivery'}"):
        files.folder(store / "delivery")
        with files.locked(store / "delivery" / "install.lock", LOCK_WAIT_S):
            known = versions(store)
            gone = [one for one in known if one.name == name]
            if is_open(_paths(gone, store)):
                raise StoreError("asset.in_use", f"hub:{name} is in use: stop its target first")
            rest = [one for one in known if one.name != name]
            _write(store, rest)
            refs = {f"hub:{name}", *(f"hub:{name}/{path}" for one in gone for path in one.files)}
            open_store(store).release(refs, ())
            kept = {sha256 for one in rest for sha256 in one.files.values()}
            return sum(_released(one, store, kept) for one in gone)


def _released(one: Installed, store: Path, kept: Collection[str]) -> int:
    return open_store(store).release(_pinned(one), set(one.files.values()) - set(kept))


def _pinned(one: Installed) -> set[str]:
    return {f"hub:{one.name}@{one.version}", *(f"hub:{one.name}@{one.version}/{path}" for path in one.files)}


def _paths(some: Sequence[Installed], store: Path) -> list[Path]:
    return [store / "assets" / "sha256" / sha256[:2] / sha256 for one in some for sha256 in one.files.values()]


def _stays(one: Installed, known: list[Installed], store: Path, in_use: Collection[str]) -> bool:
    of_name = [other for other in known if other.name == one.name]
    if one in of_name[-KEPT:]:
        return True
    if _pinned(one) & {text.partition("#")[0] for text in in_use} or set(one.files.values()) & set(in_use):
        return True
    running = site_running(store)
    if running is None or (running and one.replaced_under in (running, _UNKNOWN)):
        return True
    return is_open(_paths([one], store))


def _remember(store: Path, fresh: Installed) -> None:
    """`fresh` is the last of its name; the one before it is marked with the site that runs now."""
    known = versions(store)
    if known and [one for one in known if one.name == fresh.name][-1:] == [fresh]:
        return
    running = site_running(store)
    mark = _UNKNOWN if running is None else running
    done = [
        msgspec.structs.replace(one, replaced_under=one.replaced_under or mark) if one.name == fresh.name else one
        for one in known
        if (one.name, one.version) != (fresh.name, fresh.version)
    ]
    _write(store, [*done, fresh])


def _write(store: Path, installed: list[Installed]) -> None:
    path = store / "delivery" / "installed.json"
    with files.durably(f"writing {path}"):
        files.folder(path.parent)
        files.written(path, msgspec.json.encode(_Memory(1, installed)))


def _add(tally: Tally, cost: Tally) -> None:
    for field in Tally.__struct_fields__:
        setattr(tally, field, getattr(tally, field) + getattr(cost, field))
