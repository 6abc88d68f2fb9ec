"""`jobs.db` at start: checked within a time limit, put aside and salvaged if broken, led forward to the latest shape.

A broken file never keeps a site from starting; a wrong key, or a file of a newer Ecotone, does.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store import salvage
from ecotone.store.database import Connect, keep_wal
from ecotone.store.disk import Disk
from ecotone.store.migrations import migrate, version
from ecotone.store.queue_limits import QueueLimits
from ecotone.store.sealing import Sealer, UnsealError
from ecotone.values import ConfigError

__all__ = ["FILE", "QUEUE_LOCK", "Recovered", "check", "check_key", "opened"]

FILE: Final = "jobs.db"
QUEUE_LOCK: Final = "jobs.lock"
_HEADER: Final = b"SQLite format 3\x00"
_CHECK: Final = b"ecotone"
_OPS: Final = 20_000
"""The clock is asked after so many steps of SQLite's machine: about a millisecond."""
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SAMPLE: Final = 64


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """What a start found; the ledger owes an entry where it is not plain.

    Attributes:
        released: Jobs that somebody worked on when the last process ended; they wait again.
        unfinished: Files that were not whole, and were removed.
        loss: What became of a broken file; None where it was whole.
        had_version: Of the file's shape, before it was led forward; 0 where it is new.
        is_checked: Whether all of the file was checked, or only what the time limit allowed.
    """

    released: int = 0
    unfinished: int = 0
    loss: salvage.Loss | None = None
    had_version: int = 0
    is_checked: bool = True


def opened(
    store: Path, sealer: Sealer, limits: QueueLimits, disk: Disk, connect: Connect
) -> tuple[sqlite3.Connection, Recovered]:
    """A connection to a file that is fit for use.

    Raises:
        ConfigError: `store.key`: another key made it; `store.version`: a newer Ecotone did.
        OSError, sqlite3.Error: the disk.
    """
    path = store / FILE
    keep_wal(path)
    loss = salvage.quarantine(path, disk) if salvage.is_pending(path) else None
    is_new = not path.exists()
    if is_new:  # for its user only from the first byte on, and so is its WAL, which gets the same rights
        disk.close(disk.create(path))
        disk.sync_folder(store)
    problem, is_whole = check(path, limits.check_s)
    if problem:
        loss, is_whole = salvage.quarantine(path, disk), True
    connection = None
    try:
        connection, had = _ready(path, sealer, limits, connect)
    except sqlite3.DatabaseError as error:
        # The check had no time to see it, or it lies where only a change of the shape looks.
        if loss is not None or getattr(error, "sqlite_errorcode", 0) & 0xFF not in _BROKEN:
            raise
        loss, is_whole = salvage.quarantine(path, disk), True
        connection, had = _ready(path, sealer, limits, connect)
    return connection, Recovered(loss=loss, had_version=0 if is_new else had, is_checked=is_whole)


def check(path: Path, limit_s: float) -> tuple[str, bool]:
    """(What is broken, or `''`; whether all was checked within the limit). A missing or empty file is whole.

    Raises:
        OSError, sqlite3.Error: it cannot be read for another reason than that it is broken.
    """
    if not path.exists() or path.stat().st_size == 0:
        return "", True
    with path.open("rb") as file:
        # With a WAL, its pages count and not the file's: who lost power in a checkpoint may have a torn first page.
        if file.read(len(_HEADER)) != _HEADER and not _has_wal(path):
            return "it does not begin as SQLite's files do", True
    # Only for reading: what is broken stays as it is, and what is whole is not put in order here, which takes its time.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    until_s = time.monotonic() + limit_s
    connection.set_progress_handler(lambda: time.monotonic() > until_s, _OPS)
    try:
        found = [str(one) for (one,) in connection.execute("PRAGMA quick_check(3)")]
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_INTERRUPT:
            return "", False
        if code in _BROKEN:
            return "SQLite cannot read it", True
        raise
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.close()
    return ("", True) if found == ["ok"] else (f"{len(found)} faults", True)


def _has_wal(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _ready(path: Path, sealer: Sealer, limits: QueueLimits, connect: Connect) -> tuple[sqlite3.Connection, int]:
    """(A connection, the version that the file had): the key is the file's, and its shape is the latest."""
    connection = connect(path, busy_s=limits.busy_s)
    try:
        if version(connection):
            check_key(connection, sealer)
        had = migrate(connection)
        connection.execute(
            "INSERT OR IGNORE INTO meta (name, value) VALUES ('check', ?)", (sealer.seal(_CHECK, "meta", "check"),)
        )
    except (sqlite3.Error, ConfigError):
        connection.close()
        raise
    return connection, had


def check_key(connection: sqlite3.Connection, sealer: Sealer) -> None:
    """The key is the one that sealed this file. Where the file's own word for it is lost, its jobs are tried.

    Raises:
        ConfigError: `store.key`: it is another one.
    """
    sealed: list[tuple[bytes, tuple[str, ...]]] = [
        (value, ("meta", "check")) for (value,) in connection.execute("SELECT value FROM meta WHERE name = 'check'")
    ]
    if not sealed:
        query = "SELECT facts, id FROM jobs ORDER BY seq DESC LIMIT ?"
        sealed = [(facts, ("jobs", name, "facts")) for facts, name in connection.execute(query, (_SAMPLE,))]
    for piece, about in sealed:
        with contextlib.suppress(UnsealError):
            sealer.unseal(piece, *about)
            return
    if sealed:
        message = "store.key: another key sealed the queue of this store; give that one back (`store.key`, or the \
configured secret), or move jobs.db away to begin with an empty queue"
        raise ConfigError("store.key", message)
