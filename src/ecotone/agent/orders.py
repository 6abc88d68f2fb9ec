"""What somebody at the site decides about versions, whatever the hub wants: held fast, or gone back from.

<store>/hub/orders.json    written by commands, carried out by the site: within seconds, or at its next start
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ecotone.agent.trials import replaced
from ecotone.values import ConfigError

__all__ = ["Orders", "go_back", "pin", "read", "stamp", "unpin"]

FILE_BYTES_MAX: Final = 1 << 20
NAMES_MAX: Final = 256


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """All that was ordered and holds.

    Attributes:
        pinned: The version that is held fast, by name.
        back: How often it was ordered to go back, by name: the site counts how often it did.
    """

    version: Literal[1] = 1
    pinned: Annotated[dict[str, str], Meta(max_length=NAMES_MAX)] = {}
    back: Annotated[dict[str, int], Meta(max_length=NAMES_MAX)] = {}


def read(store: Path) -> Orders:
    """What was ordered.

    Raises:
        ConfigError: `hub.orders`, for a damaged file, or one that cannot be read.
    """
    path = _file(store)
    try:
        with path.open("rb") as content:
            return msgspec.json.decode(content.read(FILE_BYTES_MAX), type=Orders)
    except FileNotFoundError:
        return Orders()
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            "hub.orders", f"{path} cannot be read ({error}). Move it away, and say again what shall be held fast"
        ) from error


def stamp(store: Path) -> tuple[int, int, int]:
    """Changes with the file."""
    try:
        found = _file(store).stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def pin(store: Path, name: str, version: str) -> None:
    """The version is held fast, and switched to where another one is used.

    Raises:
        ConfigError: `hub.orders`.
    """
    with _changing(store) as orders:
        _write(store, msgspec.structs.replace(orders, pinned={**orders.pinned, name: version}))


def unpin(store: Path, name: str) -> bool:
    """No version of it is held fast any more; whether one was.

    Raises:
        ConfigError: `hub.orders`.
    """
    with _changing(store) as orders:
        left = {other: version for other, version in orders.pinned.items() if other != name}
        _write(store, msgspec.structs.replace(orders, pinned=left))
        return name in orders.pinned


def go_back(store: Path, name: str) -> None:
    """The site goes back to the version before, and does not take this one again by itself.

    Raises:
        ConfigError: `hub.orders`.
    """
    with _changing(store) as orders:
        _write(store, msgspec.structs.replace(orders, back={**orders.back, name: orders.back.get(name, 0) + 1}))


def _file(store: Path) -> Path:
    return store / "hub" / "orders.json"


@contextlib.contextmanager
def _changing(store: Path) -> Iterator[Orders]:
    path = _file(store)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)  # held for one small write
            yield read(store)
        finally:
            os.close(fd)
    except OSError as error:
        raise ConfigError("hub.orders", f"{path} cannot be written: {error.strerror}") from error


def _write(store: Path, orders: Orders) -> None:
    replaced(_file(store), msgspec.json.encode(orders))
