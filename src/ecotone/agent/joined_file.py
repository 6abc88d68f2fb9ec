"""What a site remembers of having joined a hub: `<store>/hub/joined.json`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final, Literal

import msgspec

from ecotone.values import ConfigError

__all__ = ["Joined", "folder", "is_there", "read", "write"]

_BYTES_MAX: Final = 64 << 10


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """That a site belongs to a hub.

    Attributes:
        url: Where it was joined; the configuration's `hub.url` counts.
        site: The site's name there.
        hub: The hub's own name.
    """

    version: Literal[1] = 1
    url: str
    site: str
    hub: str = ""


def folder(store: Path) -> Path:
    """The folder of all that a site keeps for its hub; made if need be, for this user only.

    Raises:
        ConfigError: `store.path`.
    """
    found = store / "hub"
    try:
        found.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("store.path", f"{found}: {error}; check owner, rights and free space") from error
    return found


def is_there(store: Path) -> bool:
    """Whether the site has joined a hub once."""
    return (store / "hub" / "joined.json").exists()


def read(store: Path) -> Joined | None:
    """What is remembered; None where the site has joined no hub.

    Raises:
        ConfigError: `hub.joined`: the file is damaged.
    """
    path = store / "hub" / "joined.json"
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_BYTES_MAX), type=Joined)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            "hub.joined", f"{path} cannot be read ({error}): join again with a new token (`ecotone enroll URL TOKEN`)"
        ) from error


def write(store: Path, joined: Joined) -> None:
    """Remembers it; after a crash there is the old file or the new one.

    Raises:
        ConfigError: `store.path`.
    """
    path = folder(store) / "joined.json"
    fresh = path.with_name(f".joined.{os.getpid()}.new")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, msgspec.json.format(msgspec.json.encode(joined)))
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
        there = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(there)
        finally:
            os.close(there)
    except OSError as error:
        raise ConfigError("store.path", f"{path}: {error}; check owner, rights and free space") from error
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
