"""Copies of `jobs.db`: made beside a running site, checked, and put back into an empty store.

A copy is one snapshot, page by page: the reader's transaction keeps it still, and in WAL nobody who writes waits for a
reader. What it holds is sealed as in the store; without the store's key it is worth nothing.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store.disk import Disk, Lock
from ecotone.store.migrations import LATEST, version
from ecotone.store.opening import FILE, QUEUE_LOCK, check, check_key
from ecotone.store.sealing import Sealer, UnsealError
from ecotone.values import ConfigError, EcotoneError

__all__ = ["Condition", "Copied", "backup", "examined", "restore"]

_PAGES: Final = 512
_PAUSE_S: Final = 0.002
_BUSY_S: Final = 5.0
_WHOLE_S: Final = 3600.0
_SEALED: Final = (
    ("jobs", "SELECT id, facts FROM jobs", lambda row: ("jobs", row[0], "facts")),
    ("asks", "SELECT id, ask FROM bodies JOIN jobs USING (seq)", lambda row: ("jobs", row[0], "ask")),
    (
        "answers",
        "SELECT id, answer FROM bodies JOIN jobs USING (seq) WHERE answer IS NOT NULL",
        lambda row: ("jobs", row[0], "answer"),
    ),
    ("files", "SELECT id, facts FROM files", lambda row: ("files", row[0])),
    (
        "pieces",
        "SELECT id, content, start FROM pieces JOIN files ON files.seq = pieces.file",
        lambda row: ("pieces", row[0], str(row[2])),
    ),
    ("batches", "SELECT id, facts FROM batches", lambda row: ("batches", row[0])),
)


class Copied(msgspec.Struct, frozen=True):
    """A copy that was made, and what is in it."""

    path: str
    size: int
    jobs: int


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What an examination found.

    Attributes:
        faults: What SQLite says is broken, in words.
        version: Of the file's shape.
        states: Jobs by state.
        unreadable: Pieces that the key does not open, by kind; empty where no key was given.
    """

    path: str
    faults: tuple[str, ...] = ()
    version: int = 0
    states: dict[str, int] = {}
    unreadable: dict[str, int] = {}

    @property
    def is_whole(self) -> bool:
        """Whether nothing is broken."""
        return not self.faults and not any(self.unreadable.values())


def backup(store: Path, to: Path, *, pages: int = _PAGES, pause_s: float = _PAUSE_S) -> Copied:
    """Copies the queue of a store to a new file, also while a site writes to it.

    Args:
        pages: So many pages are copied at a time, with `pause_s` in between.

    Raises:
        ConfigError: `store.backup`: there is no queue in the store, or the file is there already.
        EcotoneError: `store.failed`: the disk, or the queue is broken.
    """
    source = store / FILE
    if not source.exists():
        raise ConfigError("store.backup", f"{source}: there is no queue here")
    if to.exists():
        raise ConfigError("store.backup", f"{to}: is there already; name a file that is not")
    with _told(to):
        jobs = _copied(source, to, pages, pause_s)
        return Copied(str(to), to.stat().st_size, jobs)


def restore(source: Path, store: Path, sealer: Sealer) -> Copied:
    """Puts a copy into a store that has no queue.

    Jobs that ended after the copy was made are as they were then: they run again.

    Raises:
        ConfigError: `store.restore`: a site uses the store, it has a queue already, or the copy is broken;
            `store.key`: another key sealed it; `store.version`: a newer Ecotone made it.
        EcotoneError: `store.failed`: the disk.
    """
    target = store / FILE
    if not source.is_file():
        raise ConfigError("store.restore", f"{source}: there is no such file")
    with _told(target):
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _taken(store)
        try:
            if target.exists():
                raise ConfigError("store.restore", f"{target}: there is a queue already; move it away first")
            problem, _ = check(source, _WHOLE_S)
            if problem:
                raise ConfigError("store.restore", f"{source}: broken ({problem}); use another copy")
            with _reading(source) as connection:
                _fitting(connection, source, sealer)
            jobs = _copied(source, target, -1, 0.0)
        finally:
            lock.release()
        return Copied(str(target), target.stat().st_size, jobs)


def examined(path: Path, sealer: Sealer | None) -> Condition:
    """Looks at every page, and opens every sealed piece if there is a key. Beside a running site it is a snapshot.

    Raises:
        ConfigError: `store.backup`: there is no such file; `store.key`: the key is another one.
        EcotoneError: `store.failed`: the disk.
    """
    if not path.is_file():
        raise ConfigError("store.backup", f"{path}: there is no queue here")
    with _told(path):
        problem, _ = check(path, _WHOLE_S)
        if problem:
            return Condition(path=str(path), faults=(problem,))
        with _reading(path) as connection:
            faults = [str(one) for (one,) in connection.execute("PRAGMA integrity_check(20)")]
            states = dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
            if sealer is not None:
                check_key(connection, sealer)
            return Condition(
                path=str(path),
                faults=() if faults == ["ok"] else tuple(faults),
                version=version(connection),
                states=states,
                unreadable=_unreadable(connection, sealer) if sealer is not None else {},
            )


def _unreadable(connection: sqlite3.Connection, sealer: Sealer) -> dict[str, int]:
    """Pieces that the key does not open, by kind."""
    found = dict.fromkeys((name for name, _, _ in _SEALED), 0)
    for name, query, about in _SEALED:
        for row in connection.execute(query):
            try:
                sealer.unseal(row[1], *about(row))
            except UnsealError:
                found[name] += 1
    return found


def _fitting(connection: sqlite3.Connection, source: Path, sealer: Sealer) -> None:
    """A copy that this Ecotone and this key can use.

    Raises:
        ConfigError: it is none.
    """
    if not 0 < version(connection) <= LATEST:
        raise ConfigError("store.version", f"{source}: not a queue that this Ecotone can read")
    check_key(connection, sealer)


def _copied(source: Path, to: Path, pages: int, pause_s: float) -> int:
    """A durable copy in one file, or none; how many jobs are in it."""
    disk, temp = Disk(), to.with_name(f"{to.name}.tmp")
    disk.remove(temp)
    disk.close(disk.create(temp))
    try:
        with _reading(source) as old, contextlib.closing(sqlite3.connect(temp, isolation_level=None)) as new:
            old.execute("BEGIN")
            old.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on the snapshot stands still
            old.backup(new, pages=pages, progress=lambda *_: time.sleep(pause_s))
            new.execute("PRAGMA journal_mode = DELETE")
            jobs = int(new.execute("SELECT count(*) FROM jobs").fetchone()[0])
        disk.close(disk.reopen(temp))
        disk.move(temp, to)
        disk.sync_folder(to.parent)
    finally:
        disk.remove(temp)
    return jobs


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=_BUSY_S)
    with contextlib.closing(connection):
        yield connection


def _taken(store: Path) -> Lock:
    """The lock of a store's queue.

    Raises:
        ConfigError: `store.restore`: a site has it.
    """
    try:
        return Lock(store / QUEUE_LOCK)
    except ConfigError as error:
        raise ConfigError("store.restore", f"{store}: a site uses this store; stop it first") from error


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the disk or SQLite says becomes an error that somebody can act on."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise EcotoneError("store.failed", f"{path}: {error}; check owner, rights and free space") from error
