"""Which versions of a hub's assets are at this site, which of them is used, and which must stay.

    <store>/delivery/installed.json        the versions that came; of each name those that were used in their order
    <store>/assets/index.json              what `hub:NAME` leads to: this alone says which version is in force

A version that was used stays here until another two have been; what the site's trials name stays as well.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from ecotone.agent import trials
from ecotone.assets import StoreError, files, open_store
from ecotone.delivery.running import is_open, site_running
from ecotone.values import ConfigError

__all__ = ["Installed", "collect", "in_force", "remove", "switch", "switch_back", "versions", "withdraw"]

INSTALL_WAIT_S = 3600.0
VERSIONS_WAIT_S = 60.0
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
        state: `used`: now, or before. `ready`: not yet. `left`: it failed, and another one was gone back to.
    """

    name: str
    version: str
    manifest: str
    files: dict[str, str]
    replaced_under: str = ""
    state: Literal["used", "ready", "left"] = "used"

    @property
    def refs(self) -> dict[str, str]:
        """Where `hub:NAME` and its files lead when this version is in force."""
        first = next(iter(self.files.values()))
        return {f"hub:{self.name}": first} | {f"hub:{self.name}/{path}": one for path, one in self.files.items()}

    @property
    def pinned_refs(self) -> dict[str, str]:
        """Where `hub:NAME@VERSION` and its files lead for as long as it is here."""
        whole = f"hub:{self.name}@{self.version}"
        first = next(iter(self.files.values()))
        return {whole: first} | {f"{whole}/{path}": one for path, one in self.files.items()}


class _Memory(msgspec.Struct, frozen=True):
    version: Literal[1]
    installed: list[Installed]


def versions(store: Path) -> list[Installed]:
    """The versions that came and are still here; of each name those that were used in their order, the last one last.

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


def in_force(store: Path, name: str) -> Installed | None:
    """The version that `hub:NAME` leads to; None where there is none.

    Raises:
        StoreError: `asset.index`, `asset.io`.
    """
    asset = open_store(store).resolve(f"hub:{name}")
    if asset is None:
        return None
    found = [one for one in versions(store) if one.name == name and one.refs[f"hub:{name}"] == asset.digest]
    return found[-1] if found else None


def switch(store: Path, name: str, version: str, *, is_followed: bool = False) -> Installed:
    """`hub:NAME` leads to this version, from one moment to the next; what it led to stays here.

    It does not wait for a delivery that is on its way, and reads no file: that is done at every load.

    Args:
        store: The site's store folder.
        name: The asset.
        version: One of it that is here.
        is_followed: Whether the site that runs goes over to it by itself, and will not load the one before again.

    Raises:
        ConfigError: `asset.unknown`, if that version is not here.
        StoreError: `asset.index`, `asset.io`, `asset.busy`, `asset.disk_full`: then nothing has changed.
    """
    return _switched(store, name, version, is_followed=is_followed, left="used")


def switch_back(store: Path, name: str, version: str, *, is_followed: bool = False) -> Installed:
    """As `switch`; the version that is left is of no use any more, and `collect` takes it.

    Raises:
        ConfigError, StoreError: As `switch`.
    """
    return _switched(store, name, version, is_followed=is_followed, left="left")


def withdraw(store: Path, name: str) -> None:
    """`hub:NAME` leads nowhere any more, as if it had never come.

    Raises:
        StoreError: As `switch`.
    """
    with locked(store):
        before = in_force(store, name)
        known = [msgspec.structs.replace(one, state="left") if one == before else one for one in versions(store)]
        write(store, known)
        refs = {ref for one in known if one.name == name for ref in one.refs}
        open_store(store).release(refs, ())


def _switched(store: Path, name: str, version: str, *, is_followed: bool, left: Literal["used", "left"]) -> Installed:
    with locked(store):
        before = in_force(store, name)
        known = [one for one in versions(store) if (one.name, one.version) == (name, version)]
        if not known or not is_whole(known[0], store):
            raise ConfigError("asset.unknown", f"hub:{name}@{version} is not on this machine, or not all of it")
        fresh = msgspec.structs.replace(known[0], state="used", replaced_under="")
        if before is not None and before.version != version and left == "left":
            write(
                store, [msgspec.structs.replace(one, state=left) if one == before else one for one in versions(store)]
            )
        remember(store, fresh, is_followed=is_followed)
        open_store(store).lead(fresh.refs, f"hub:{name}/")
        return fresh


@contextlib.contextmanager
def locked(store: Path) -> Iterator[None]:
    """Only one process at a time changes what is remembered of versions; each is done within moments.

    Raises:
        StoreError: `asset.busy`, `asset.io`, `asset.disk_full`.
    """
    with files.durably(f"using {store / 'delivery'}"):
        files.folder(store / "delivery")
        with files.locked(store / "delivery" / "versions.lock", VERSIONS_WAIT_S):
            yield


def remember(store: Path, fresh: Installed, *, is_followed: bool = False) -> None:
    """A version that is used now is the last of its name, and the one before is marked with the site that runs now.

    One that is not used yet stands before those that were; where the same one was used already, it stays so.
    The caller has `locked`.
    """
    known = versions(store)
    same = [
        one for one in known if (one.name, one.version, one.manifest) == (fresh.name, fresh.version, fresh.manifest)
    ]
    others = [one for one in known if (one.name, one.version) != (fresh.name, fresh.version)]
    if fresh.state == "ready":
        if not [one for one in same if one.state == "used"]:
            write(store, [fresh, *others])
        return
    if known and [one for one in known if one.name == fresh.name][-1:] == [fresh]:
        return
    running = "" if is_followed else site_running(store)
    mark = _UNKNOWN if running is None else running
    marked = [
        msgspec.structs.replace(one, replaced_under=one.replaced_under or mark) if one.name == fresh.name else one
        for one in others
    ]
    write(store, [*marked, fresh])


def write(store: Path, installed: list[Installed]) -> None:
    """Replaces what is remembered. The caller has `locked`."""
    path = store / "delivery" / "installed.json"
    with files.durably(f"writing {path}"):
        files.folder(path.parent)
        files.written(path, msgspec.json.encode(_Memory(1, installed)))


def is_whole(one: Installed, store: Path) -> bool:
    """Whether all its files are there; none is read."""
    return all(path.exists() for path in _paths([one], store))


def collect(store: Path, in_use: Collection[str] = ()) -> int:
    """Removes versions that nothing can need any more, and deliveries left unfinished for a month; bytes freed.

    What stays: of each name the version in force, the one used before it and the one that came last for use; what
    `in_use` and the site's trials name; what any process of this machine has open; and what was replaced while the site
    that runs now was running already, which may load it again.

    Args:
        store: The site's store folder.
        in_use: References of the configuration, such as `hub:NAME@VERSION`.

    Raises:
        StoreError: `asset.index`, `asset.io`, `asset.busy`.
    """
    with files.durably(f"using {store / 'delivery'}"):
        files.folder(store / "delivery")
        with files.locked(store / "delivery" / "install.lock", INSTALL_WAIT_S):
            with locked(store):
                known = versions(store)
                named = {*in_use, *(f"hub:{one}" for one in trials.named(store))}
                old = [one for one in known if not _stays(one, known, store, named)]
                write(store, [one for one in known if one not in old])
                kept = {sha256 for one in known if one not in old for sha256 in one.files.values()}
                freed = sum(_released(one, store, kept) for one in old)
            stale_s = time.time() - UNFINISHED_AGE_S
            stale = [path for path in (store / "delivery").glob("partial/*") if path.stat().st_mtime < stale_s]
            return freed + sum(dropped(path) for path in stale)


def remove(store: Path, name: str) -> int:
    """No version of the asset is on this machine any more, but for files that something else names; bytes freed.

    Raises:
        StoreError: `asset.in_use`, if a process has one of its files open; `asset.index`, `asset.io`, `asset.busy`.
    """
    with files.durably(f"using {store / 'delivery'}"):
        files.folder(store / "delivery")
        with files.locked(store / "delivery" / "install.lock", INSTALL_WAIT_S), locked(store):
            known = versions(store)
            gone = [one for one in known if one.name == name]
            if is_open(_paths(gone, store)):
                raise StoreError("asset.in_use", f"hub:{name} is in use: stop its target first")
            rest = [one for one in known if one.name != name]
            write(store, rest)
            refs = {f"hub:{name}", *(f"hub:{name}/{path}" for one in gone for path in one.files)}
            open_store(store).release(refs, ())
            kept = {sha256 for one in rest for sha256 in one.files.values()}
            return sum(_released(one, store, kept) for one in gone)


def dropped(folder: Path) -> int:
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


def _released(one: Installed, store: Path, kept: Collection[str]) -> int:
    return open_store(store).release(set(one.pinned_refs), set(one.files.values()) - set(kept))


def _paths(some: Sequence[Installed], store: Path) -> list[Path]:
    return [store / "assets" / "sha256" / sha256[:2] / sha256 for one in some for sha256 in one.files.values()]


def _stays(one: Installed, known: list[Installed], store: Path, in_use: Collection[str]) -> bool:
    of_name = [other for other in known if other.name == one.name]
    used = [other for other in of_name if other.state == "used"]
    ready = [other for other in of_name if other.state == "ready"]
    if one in used[-KEPT:] or one in ready[:1] or one == in_force(store, one.name):
        return True
    if set(one.pinned_refs) & {text.partition("#")[0] for text in in_use} or set(one.files.values()) & set(in_use):
        return True
    running = site_running(store)
    if running is None or (running and one.replaced_under in (running, _UNKNOWN)):
        return True
    return is_open(_paths([one], store))
