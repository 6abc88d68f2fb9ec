"""A signed version becomes the site's own: planned, fetched, put together, checked, and switched to in one moment.

    <store>/delivery/partial/<manifest>/   the files being put together
    <store>/delivery/segments.sqlite       which segments lie where on this machine; only a memory

Which versions are here, and which of them is used, is the business of `versions`.
The caller has verified the manifest: both of the hub's repositories name its digest (`ecotone.trust`).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path

from ecotone.assets import Arrival, Asset, NoProgress, Progress, files, open_store
from ecotone.delivery.begun import Begun
from ecotone.delivery.chunks import Holdings, Staging, candidates, unfinished
from ecotone.delivery.fetch import Patience, Source, Tally, gather
from ecotone.delivery.versions import Installed, collect, dropped, locked, remember, remove, versions, write
from ecotone.transfer import Manifest, encode
from ecotone.values import TrustError

__all__ = ["Installed", "collect", "install", "remove", "versions"]

LOCK_WAIT_S = 3600.0


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


def install(  # noqa: PLR0913 - four of them have a default, and one is only for who measures
    manifest: Manifest,
    sources: Sequence[Source],
    store: Path,
    *,
    patience: Patience | None = None,
    progress: Progress | None = None,
    tally: Tally | None = None,
    is_switched: bool = True,
) -> list[Asset]:
    """`hub:NAME`, `hub:NAME@VERSION` and their further files lead to this version; before, nothing had changed.

    Args:
        manifest: The version, verified.
        sources: Where its packs may be, the best first.
        store: The site's store folder.
        patience: How long each source is tried.
        progress: Told of all steps.
        tally: Filled with what it cost.
        is_switched: Without, only `hub:NAME@VERSION` leads to it, and it waits for `versions.switch`.

    Raises:
        FetchError: `asset.unreachable` ..., what has arrived is kept; `delivery.window`.
        StoreError: `asset.disk_full` (before the first byte), `asset.io`, `asset.busy`, `asset.index`.
        TrustError: `delivery.segment`; `delivery.manifest`, if the manifest contradicts itself.
    """
    progress, root = progress or NoProgress(), store / "delivery"
    fresh = _fresh(manifest, is_switched=is_switched)
    folder = root / "partial" / fresh.manifest
    with files.durably(f"using {root}"):
        files.folder(root / "partial")
        said = "another process is installing; waiting for it"
        with files.locked(root / "install.lock", LOCK_WAIT_S, lambda: progress.step(said)):
            if (done := _took_what_is_here(manifest, fresh, store, progress)) is not None:
                dropped(folder)
                return done
            cost = _put_together(manifest, folder, store, sources, patience, progress)
            if tally is not None:
                _add(tally, cost)
            progress.step(f"checking the SHA-256 of {manifest.name} {manifest.version}")
            try:
                done = _taken(fresh, store, folder)
            except TrustError as error:
                raise TrustError(
                    "delivery.manifest",
                    f"{manifest.name} {manifest.version}: all its segments are what was signed, and the whole is not "
                    f"({error.message}). It was thrown away; ask who published it",
                ) from error
            finally:
                dropped(folder)
            _superseded(manifest, folder)
            progress.step(f"hub:{manifest.name} {'is' if is_switched else 'can be'} {manifest.version} now")
            return done


def _fresh(manifest: Manifest, *, is_switched: bool) -> Installed:
    return Installed(
        name=manifest.name,
        version=manifest.version,
        manifest=hashlib.sha256(encode(manifest)).hexdigest(),
        files={part.path: part.sha256 for part in manifest.parts},
        state="used" if is_switched else "ready",
    )


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
            dropped(other)


def _took_what_is_here(manifest: Manifest, fresh: Installed, store: Path, progress: Progress) -> list[Asset] | None:
    """As `_taken`, where the store has all files of the version, and they are what they should be."""
    if not _is_here(manifest, store):
        return None
    try:
        return _taken(fresh, store, store / "delivery" / "nothing")
    except TrustError as error:
        progress.step(f"{error.message}; it is put together anew")
        return None


def _is_here(manifest: Manifest, store: Path) -> bool:
    return all((store / "assets" / "sha256" / part.sha256[:2] / part.sha256).exists() for part in manifest.parts)


def _taken(fresh: Installed, store: Path, folder: Path) -> list[Asset]:
    """One change of the index: until then the names lead to the old version, from then on to the new one."""
    refs = fresh.pinned_refs | (fresh.refs if fresh.state == "used" else {})
    found = [
        Arrival(folder / str(number), sha256, tuple(ref for ref, wanted in refs.items() if wanted == sha256))
        for number, sha256 in enumerate(fresh.files.values())
    ]
    # Remembered before the names move: a crash in between leaves nothing that is never collected.
    with locked(store):
        before = versions(store)
        remember(store, fresh)
    try:
        done = open_store(store).adopt(found)
    except TrustError:
        with locked(store):
            write(store, before)
        raise
    return [asset for asset in done if ("@" not in asset.name) is (fresh.state == "used")]


def _add(tally: Tally, cost: Tally) -> None:
    for field in Tally.__struct_fields__:
        setattr(tally, field, getattr(tally, field) + getattr(cost, field))
