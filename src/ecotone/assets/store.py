"""The store of local model files: content-addressed, and checked before every load.

    <store>/assets/sha256/<aa>/<digest>   the files, read-only, named by their SHA-256
    <store>/assets/index.json             reference -> digest
    <store>/assets/partial/               what is being fetched

A file is in the store whole or not at all: it is written elsewhere, synced, checked, and only then given its name.
A `file:` stays where its owner has it; only its digest is remembered.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from ecotone.assets import catalogue, digest, files
from ecotone.assets.errors import StoreError
from ecotone.assets.index import Index, Record
from ecotone.assets.progress import NoProgress, Progress
from ecotone.assets.reference import FileRef, HubRef, NameRef, Reference, as_sha256, parse
from ecotone.assets.resume import Wanted
from ecotone.values import ConfigError, TrustError

if TYPE_CHECKING:
    from ecotone.assets.pull import Sources

__all__ = ["Arrival", "Asset", "AssetStore", "open_store"]

PULL_WAIT_S = 3600.0
PARTIAL_AGE_S = 7 * 86400.0


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """A model file on this machine.

    Attributes:
        name: How the user calls it: the catalogue's name, or the reference in its canonical form.
        ref: Where it came from; for a file in several parts, the first.
        digest: SHA-256 that it must have, in hexadecimal.
        bytes: Its size.
        path: Where it is. Load only what `AssetStore.checked_path` or `hold` gives.
        is_own_file: True for a `file:`, which the store neither copied nor removes.
        is_first_use: True if nobody stated the digest; it was taken from the file when it was first seen.
        licence: As the catalogue states it; empty where it is not known.
        kind: `chat`, `completion`, or empty where it is not known.
        context_tokens: The model's own limit; None where it is not known.
        has_chat_template: None where it is not known.
        prompt_forms: For a task, the form that measured best (see `catalogue.Entry`).
    """

    name: str
    ref: str
    digest: str
    bytes: int
    path: str
    is_own_file: bool = False
    is_first_use: bool = False
    licence: str = ""
    licence_note: str = ""
    description: str = ""
    kind: Literal["chat", "completion", ""] = ""
    context_tokens: int | None = None
    has_chat_template: bool | None = None
    prompt_forms: dict[str, catalogue.PromptForm] = {}


class Arrival(msgspec.Struct, frozen=True):
    """A file that came by other ways than `pull`.

    Attributes:
        path: Where it is, in the store's file system; it is moved. Where it is not, the store has it already.
        sha256: What it must have.
        refs: References that shall lead to it.
    """

    path: Path
    sha256: str
    refs: tuple[str, ...]


class _Meant(msgspec.Struct, frozen=True):
    """A reference, understood: its entry in the catalogue, and the digest that is known before."""

    ref: Reference
    entry: catalogue.Entry | None
    sha256: str | None


def open_store(path: str | os.PathLike[str], sources: Sources | None = None) -> AssetStore:
    """The store in the site's folder; nothing is made or read before it is used.

    Args:
        path: The site's store folder; assets lie in `assets/` below it.
        sources: Where to fetch from; by default as pip's configuration and the environment say.
    """
    return AssetStore(Path(path).expanduser().absolute() / "assets", sources)


class AssetStore:
    """Model files by reference. Its methods block: call them from a command or from a thread."""

    def __init__(self, root: Path, sources: Sources | None = None) -> None:
        """See `open_store`."""
        self.root = root
        self._sources = sources
        self._index = Index(root / "index.json")
        self._work = root / "partial"

    def list(self) -> list[Asset]:
        """All assets on this machine, by name; no file is read.

        Raises:
            StoreError: `asset.index`.
        """
        found: dict[str, Asset] = {}
        for key in [*self._index.records(), *catalogue.entries()]:
            asset = self._known(_meant(key, None))
            if asset is not None:
                found[asset.name] = asset
        return sorted(found.values(), key=lambda asset: asset.name)

    def resolve(self, text: str, sha256: str | None = None, progress: Progress | None = None) -> Asset | None:
        """The asset if it is on this machine, else None: then `pull` gets it. Uses no network.

        A `file:` whose digest nobody stated is hashed at its first use and trusted from then on, in words.

        Raises:
            ConfigError: `asset.name`, `asset.sha256`, `asset.unknown`; `asset.file` for a `file:` that is not
                there.
            StoreError: `asset.index`, `asset.io`.
        """
        meant = _asked(text, sha256)
        known = self._known(meant)
        if known is None and isinstance(meant.ref, FileRef):
            return self._seen_first(meant, progress or NoProgress())
        return known

    def pull(self, text: str, sha256: str | None = None, progress: Progress | None = None) -> Asset:
        """The asset, fetched if it is not there yet, and checked.

        Args:
            text: A catalogue name or a reference.
            sha256: The digest that it must have; may stand behind the reference as well.
            progress: Told of all steps.

        Raises:
            ConfigError: `asset.name`, `asset.sha256`, `asset.unknown`, `asset.not_found`, `asset.file`, ...
            FetchError: `asset.unreachable`, `asset.refused`, `asset.too_large`, `asset.tls`, `asset.bad_archive`.
            StoreError: `asset.disk_full`, `asset.io`, `asset.busy`, `asset.index`.
            TrustError: `asset.digest`, `asset.changed`.
        """
        progress = progress or NoProgress()
        meant = _asked(text, sha256)
        if isinstance(meant.ref, FileRef):
            return self._own_file(meant, progress)
        if isinstance(meant.ref, HubRef):
            raise ConfigError(
                "asset.hub", f"{meant.ref} comes signed from a hub: pin the hub's keys (`ecotone trust`), then pull it"
            )
        with files.durably(f"using {self.root}"):
            files.folder(self._work)
            lock = self._work / f"{_lock_name(meant)}.lock"
            said = f"another process is fetching {meant.ref}; waiting for it"
            with files.locked(lock, PULL_WAIT_S, lambda: progress.step(said)):
                return self._sound(meant, progress) or self._fetched(meant, progress)

    def adopt(self, found: Collection[Arrival]) -> tuple[Asset, ...]:
        """The files, checked, are in the store, and all their references lead to them from one moment to the next.

        What a reference led to before stays until `release` or `prune`.

        Raises:
            ConfigError: `asset.name`, `asset.file`.
            StoreError: `asset.disk_full`, `asset.io`, `asset.busy`, `asset.index`.
            TrustError: `asset.digest`, `asset.changed`: then no reference leads anywhere new.
        """
        assets: dict[str, Asset] = {}
        for one in found:
            path = self.root / "sha256" / one.sha256[:2] / one.sha256
            source = one.path if one.path.exists() else path
            with digest.held(source, is_link_allowed=False) as held:
                if held.sha256 != one.sha256:
                    raise TrustError(
                        "asset.digest", f"{source} has SHA-256 {held.sha256}, and {one.sha256} was signed: not used"
                    )
                if source != path:
                    with files.durably(f"writing {path}"):
                        files.folder(path.parent)
                        files.moved(source, path, 0o444)
                        files.sync_folder(path.parent.parent)
                record = Record(sha256=one.sha256)
                for meant in [_meant(text, one.sha256) for text in one.refs]:
                    assets[str(meant.ref)] = _asset(meant, record, path, held.bytes)
        self._index.change(
            lambda records: records.update({ref: Record(sha256=asset.digest) for ref, asset in assets.items()})
        )
        return tuple(assets.values())

    def lead(self, refs: Mapping[str, str], prefix: str) -> None:
        """References lead to files that are in the store, all from one moment to the next. No file is read.

        Args:
            refs: SHA-256 by reference.
            prefix: Other references that begin so are forgotten in the same moment.

        Raises:
            StoreError: `asset.disk_full`, `asset.io`, `asset.busy`, `asset.index`: then nothing has changed.
        """

        def edit(records: dict[str, Record]) -> None:
            _dropped(records, *[ref for ref in records if ref.startswith(prefix)])
            records.update({ref: Record(sha256=sha256) for ref, sha256 in refs.items()})

        self._index.change(edit)

    def release(self, refs: Collection[str], digests: Collection[str]) -> int:
        """Forgets the references, then removes those of the files that no other reference names; bytes freed.

        Raises:
            StoreError: `asset.index`, `asset.io`, `asset.busy`.
        """
        self._index.change(lambda records: _dropped(records, *refs))
        freed = 0
        for sha256 in set(digests) - {asset.digest for asset in self.list()}:
            path = self.root / "sha256" / sha256[:2] / sha256
            if path.exists():
                freed += path.stat().st_size
                self._remove(path)
        return freed

    def rm(self, text: str, in_use: Collection[str] = ()) -> Asset:
        """Forgets the asset and removes its file; a `file:` of the user's own is only forgotten.

        Args:
            text: A name, a reference or a digest.
            in_use: Names, references or digests that running engines use.

        Raises:
            ConfigError: `asset.unknown`, if it is not here.
            StoreError: `asset.in_use`, `asset.index`, `asset.io`.
        """
        asset = self._listed(text)
        if {asset.name, asset.ref, asset.digest} & set(in_use):
            raise StoreError(
                "asset.in_use", f"{asset.name} is in use: stop its target or take it out of the configuration first"
            )
        self._index.change(lambda records: _dropped(records, asset.name))
        shared = any(other.digest == asset.digest for other in self.list() if other.name != asset.name)
        if not asset.is_own_file and not shared:
            self._remove(Path(asset.path))
        return asset

    def prune(self, in_use: Collection[str] = ()) -> int:
        """Removes files that no reference names any more, and downloads left alone for a week; bytes freed.

        Raises:
            StoreError: `asset.index`, `asset.io`.
        """
        kept = {asset.digest for asset in self.list()} | set(in_use)
        old_s = time.time() - PARTIAL_AGE_S
        freed = 0
        with files.durably(f"pruning {self.root}"):
            stale = [path for path in self._work.glob("*") if path.stat().st_mtime < old_s]
            for path in [*stale, *(path for path in self.root.glob("sha256/??/*") if path.name not in kept)]:
                freed += path.stat().st_size
                path.unlink(missing_ok=True)
        return freed

    def checked_path(self, asset: Asset) -> Path:
        """The file's path, after its digest was found right: to be called before every load.

        The file is opened once and hashed through that descriptor, and the path is found to name the same,
        unchanged file afterwards. Who wants the same certainty up to the end of loading uses `hold`.

        Raises:
            ConfigError: `asset.file`, if it is gone.
            TrustError: `asset.digest`, `asset.changed`.
        """
        with self.hold(asset) as held:
            return held.path

    @contextlib.contextmanager
    def hold(self, asset: Asset) -> Iterator[digest.Held]:
        """The checked file, open: give a worker `held.fd_path` with `pass_fds=[held.fd]`, and call
        `held.confirm()` when it has loaded.

        Raises:
            ConfigError, TrustError: As `checked_path` does.
        """
        with digest.held(Path(asset.path), is_link_allowed=asset.is_own_file) as held:
            if held.sha256 != asset.digest:
                raise _wrong(asset, held.sha256)
            yield held

    def verify(self, path: str | os.PathLike[str]) -> str:
        """SHA-256 of any file, with bounded memory.

        Raises:
            ConfigError: `asset.file`.
            TrustError: `asset.changed`, if it is being written.
        """
        with digest.held(Path(path)) as held:
            return held.sha256

    def _known(self, meant: _Meant) -> Asset | None:
        """What is here, by digest where that is stated (so that a lost index costs nothing), else by record."""
        record = None
        if meant.sha256 is None:
            record = self._index.records().get(str(meant.ref))
            if record is None:
                return None
        sha256 = meant.sha256 or (record.sha256 if record else "")
        path = self._path_of(meant, sha256)
        try:
            size = path.stat().st_size
        except OSError:
            return None
        return _asset(meant, Record(sha256=sha256, is_first_use=bool(record and record.is_first_use)), path, size)

    def _seen_first(self, meant: _Meant, progress: Progress) -> Asset:
        """A `file:` without a record: present, hashed and remembered."""
        path = self._path_of(meant, "")
        with digest.held(path) as held:
            record = Record(sha256=meant.sha256 or held.sha256, is_first_use=meant.sha256 is None)
            size = held.bytes
        if record.is_first_use:
            self._index.change(lambda records: records.update({str(meant.ref): record}))
            progress.step(_trusted(meant.ref, record.sha256))
        return _asset(meant, record, path, size)

    def _own_file(self, meant: _Meant, progress: Progress) -> Asset:
        asset = self._known(meant) or self._seen_first(meant, progress)
        self.checked_path(asset)
        self._record(asset)
        return asset

    def _sound(self, meant: _Meant, progress: Progress) -> Asset | None:
        asset = self._known(meant)
        if asset is None:
            return None
        try:
            self.checked_path(asset)
        except TrustError as error:
            progress.step(f"{error.message}; it is removed and fetched again")
            self._remove(Path(asset.path))
            return None
        self._record(asset)
        return asset

    def _fetched(self, meant: _Meant, progress: Progress) -> Asset:
        # Imported here: a site that starts offline needs neither HTTP nor zip.
        from ecotone.assets import pull

        sources = self._sources or pull.Sources.from_environment(os.environ)
        refs: tuple[Reference, ...] = (meant.ref,)
        size: int | None = None
        if meant.entry is not None:
            refs, size = meant.entry.parts(), meant.entry.bytes
            if meant.entry.licence_note:
                progress.step(f"licence of {meant.entry.name}: {meant.entry.licence}. {meant.entry.licence_note}")
        wanted = Wanted(
            url="", what=str(meant.ref), sha256=meant.sha256, bytes=size, bytes_max=size or sources.bytes_max
        )
        whole = pull.gathered(refs, wanted, self._work, sources, progress)
        return self._taken_in(meant, whole, progress)

    def _taken_in(self, meant: _Meant, whole: Path, progress: Progress) -> Asset:
        """Checks the fetched file and gives it its name."""
        progress.step(f"checking the SHA-256 of {meant.ref}")
        try:
            with digest.held(whole, is_link_allowed=False) as held:
                record = Record(sha256=held.sha256, is_first_use=meant.sha256 is None)
                if meant.sha256 not in (None, held.sha256):
                    raise TrustError(
                        "asset.digest",
                        f"{meant.ref} has SHA-256 {held.sha256}, and {meant.sha256} was expected: it was thrown away. "
                        "The source gives another file than it promised; do not use it before you know why",
                    )
                path = self._path_of(meant, held.sha256)
                files.folder(path.parent)
                files.moved(whole, path, 0o444)
                asset = _asset(meant, record, path, held.bytes)
        finally:
            whole.unlink(missing_ok=True)
        files.sync_folder(path.parent.parent)
        self._record(asset)
        progress.step(_trusted(meant.ref, asset.digest) if record.is_first_use else f"{meant.ref} is here and checked")
        return asset

    def _record(self, asset: Asset) -> None:
        record = Record(sha256=asset.digest, is_first_use=asset.is_first_use)
        if self._index.records().get(asset.name) != record:
            self._index.change(lambda records: records.update({asset.name: record}))

    def _listed(self, text: str) -> Asset:
        wanted = text if text in {asset.digest for asset in self.list()} else str(_meant(text, None).ref)
        for asset in self.list():
            if wanted in (asset.name, asset.digest):
                return asset
        raise ConfigError("asset.unknown", f"'{text}' is not in {self.root}: `ecotone models list` shows what is")

    def _path_of(self, meant: _Meant, sha256: str) -> Path:
        if isinstance(meant.ref, FileRef):
            return Path(meant.ref.path)
        return self.root / "sha256" / sha256[:2] / sha256

    def _remove(self, path: Path) -> None:
        with files.durably(f"removing {path}"):
            path.unlink(missing_ok=True)
            files.sync_folder(path.parent)


def _asked(text: str, sha256: str | None) -> _Meant:
    """As `_meant`, and a plain name is in the catalogue."""
    meant = _meant(text, sha256)
    if isinstance(meant.ref, NameRef):
        catalogue.find(meant.ref.name)
    return meant


def _meant(text: str, sha256: str | None) -> _Meant:
    ref, written = parse(text)
    entry = catalogue.entries().get(ref.name) if isinstance(ref, NameRef) else None
    stated = {as_sha256(one) for one in (sha256, written, entry and entry.sha256) if one}
    if len(stated) > 1:
        raise ConfigError(
            "asset.sha256",
            f"{ref}: different SHA-256 are stated for it: {', '.join(sorted(stated))}. Keep the right one",
        )
    return _Meant(ref, entry, stated.pop() if stated else None)


def _asset(meant: _Meant, record: Record, path: Path, size: int) -> Asset:
    entry = meant.entry
    plain = Asset(
        name=str(meant.ref),
        ref=str(meant.ref) if entry is None else entry.sources[0],
        digest=record.sha256,
        bytes=size,
        path=str(path),
        is_own_file=isinstance(meant.ref, FileRef),
        is_first_use=record.is_first_use,
    )
    if entry is None:
        return plain
    return msgspec.structs.replace(
        plain,
        licence=entry.licence,
        licence_note=entry.licence_note,
        description=entry.description,
        kind=entry.kind,
        context_tokens=entry.context_tokens,
        has_chat_template=entry.has_chat_template,
        prompt_forms=entry.prompt_forms,
    )


def _dropped(records: dict[str, Record], *names: str) -> None:
    for name in names:
        records.pop(name, None)


def _lock_name(meant: _Meant) -> str:
    return digest.sha256_of_text(str(meant.ref))[:32]


def _trusted(ref: Reference, sha256: str) -> str:
    return (
        f"nobody stated a SHA-256 for {ref}: its present one, {sha256}, is trusted from now on; a later change "
        "will be refused"
    )


def _wrong(asset: Asset, found: str) -> TrustError:
    what = f"{asset.path} has SHA-256 {found}, and {asset.digest} is expected: it is not loaded. "
    if not asset.is_own_file:
        return TrustError("asset.digest", what + f"`ecotone models pull {asset.name}` removes it and fetches it again")
    if asset.is_first_use:
        mend = f"If you changed it on purpose: `ecotone models rm {asset.name}`, then use it again"
    else:
        mend = "If it is the right file, correct the SHA-256 that you stated for it"
    return TrustError("asset.digest", what + mend)
