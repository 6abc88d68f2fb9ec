"""A broken `jobs.db` is put aside, and what can still be read of it goes row by row into a new one.

Nothing of the broken file is changed: it is only renamed, with its WAL, to `jobs.db.broken-N`, and read. A note
(`jobs.db.salvaging`) is durable first and goes last, so that a crash in between is found and gone on with.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from ecotone.store.disk import Disk
from ecotone.store.migrations import migrate

__all__ = ["Loss", "is_pending", "quarantine"]

_NOTE: Final = ".salvaging"
_SIDES: Final = ("", "-wal", "-shm")
_TABLES: Final = ("meta", "jobs", "bodies", "files", "pieces", "batches", "events")
_INDEXES: Final = ("jobs_state", "sqlite_autoindex_jobs_1")
_GAP_MAX: Final = 1 << 16
"""So many rows that cannot be found are tried one by one behind the last one that could be read."""
_STEP: Final = 512


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a broken file.

    Attributes:
        path: Where it is now.
        jobs: Jobs that could be read.
        lost: Jobs of which it is known that they were there and that they cannot be read.
        is_lower_bound: True where there may have been more: the file could not be opened, or only as it was before
            the last changes, or its lists of jobs were broken too.
    """

    path: str
    jobs: int
    lost: int
    is_lower_bound: bool


def is_pending(path: Path) -> bool:
    """Whether a salvage was begun and not finished."""
    return _beside(path, _NOTE).exists()


def quarantine(path: Path, disk: Disk) -> Loss:
    """Puts a broken file aside and makes a new one of what can be read; goes on where a crash interrupted it.

    Raises:
        OSError, sqlite3.Error: the disk; the next start goes on.
    """
    note = _beside(path, _NOTE)
    if note.exists():
        broken = path.with_name(note.read_text().strip())
    else:
        broken = _free_name(path)
        disk.save(note, broken.name.encode())
    if not (path.exists() and broken.exists()):
        # The file goes first: a WAL without its file is then known to belong to the broken one.
        for side in _SIDES:
            if _beside(path, side).exists():
                disk.move(_beside(path, side), _beside(broken, side))
        disk.sync_folder(path.parent)
        loss = _salvaged(broken, path, disk)
    else:
        loss = Loss(path=str(broken), jobs=0, lost=0, is_lower_bound=True)
    disk.remove(note)
    disk.sync_folder(path.parent)
    return loss


def _salvaged(broken: Path, path: Path, disk: Disk) -> Loss:
    """A new file at `path` with what can be read of the broken one."""
    fresh = _beside(path, ".new")
    for side in (*_SIDES, "-journal"):
        disk.remove(_beside(fresh, side))
    new = sqlite3.connect(fresh, isolation_level=None)
    known: set[int] = set()
    is_bound = True
    try:
        new.execute("PRAGMA auto_vacuum = INCREMENTAL")
        new.execute("PRAGMA synchronous = FULL")
        migrate(new)
        new.execute("BEGIN")
        with _reading(broken) as (old, is_older):
            if old is not None:
                known, is_bound = _known(old)
                is_bound = is_bound or is_older
                for table in _TABLES:
                    _copy(old, new, table)
        new.execute("DELETE FROM bodies WHERE seq NOT IN (SELECT seq FROM jobs)")
        new.execute("DELETE FROM pieces WHERE file NOT IN (SELECT seq FROM files)")
        jobs = {seq for (seq,) in new.execute("SELECT seq FROM jobs")}
        _keep_numbers(new)
        new.execute("COMMIT")
    finally:
        new.close()
    fresh.chmod(0o600)
    disk.move(fresh, path)
    disk.sync_folder(path.parent)
    return Loss(path=str(broken), jobs=len(jobs), lost=len(known - jobs), is_lower_bound=is_bound)


@contextlib.contextmanager
def _reading(broken: Path) -> Iterator[tuple[sqlite3.Connection | None, bool]]:
    """(The broken file, open for reading; whether without its WAL); (None, True) where SQLite cannot read it at all."""
    for mode, is_older in (("mode=ro", False), ("mode=ro&immutable=1", True)):
        connection = sqlite3.connect(f"{broken.absolute().as_uri()}?{mode}", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            connection.close()
            continue
        try:
            yield connection, is_older
        finally:
            connection.close()
        return
    yield None, True


def _known(old: sqlite3.Connection) -> tuple[set[int], bool]:
    """Numbers of the jobs that some index still names; whether there may be more."""
    known: set[int] = set()
    is_bound = False
    for index in _INDEXES:
        try:
            rows = old.execute(f"SELECT seq FROM jobs INDEXED BY {index}")  # noqa: S608 - a constant
            while found := rows.fetchmany(_STEP):
                known |= {seq for (seq,) in found}
        except sqlite3.Error:
            is_bound = True
    return known, is_bound


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    """All rows of a table that can be read, with the columns that both files know."""
    try:
        theirs = [found[1] for found in old.execute(f"PRAGMA table_info({table})")]
    except sqlite3.Error:
        return
    names = ", ".join(found[1] for found in new.execute(f"PRAGMA table_info({table})") if found[1] in theirs)
    if not names:
        return
    rows = _rows(old, table, names) if table != "meta" else _plain(old, f"SELECT {names} FROM meta")  # noqa: S608 - names of columns
    marks = ", ".join("?" * len(names.split(",")))
    for found in rows:
        with contextlib.suppress(sqlite3.IntegrityError):
            new.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", found)  # noqa: S608 - names of columns


def _plain(old: sqlite3.Connection, query: str) -> Iterator[tuple[Any, ...]]:
    with contextlib.suppress(sqlite3.Error):
        yield from old.execute(query).fetchall()


def _rows(old: sqlite3.Connection, table: str, names: str) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of their numbers; where some cannot be read, the next one that can."""
    after, last = 0, _last(old, table)
    many = f"SELECT rowid, {names} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608 - constants and names of columns
    while True:
        try:
            found = old.execute(many, (after, _STEP)).fetchall()
        except sqlite3.Error:
            found = [one for seq in range(after + 1, after + 1 + _STEP) for one in _one(old, table, names, seq)]
            if not found:
                after += _STEP
                if after > last:
                    return
                continue
        if not found:
            return
        yield from (row[1:] for row in found)
        after = found[-1][0]


def _one(old: sqlite3.Connection, table: str, names: str, seq: int) -> list[tuple[Any, ...]]:
    """The row of this number, if it is there and can be read."""
    try:
        return old.execute(f"SELECT rowid, {names} FROM {table} WHERE rowid = ?", (seq,)).fetchall()  # noqa: S608 - constants and names of columns
    except sqlite3.Error:
        return []


def _last(old: sqlite3.Connection, table: str) -> int:
    """The highest number that a row may have."""
    for query in (
        "SELECT seq FROM sqlite_sequence WHERE name = ?",
        f"SELECT max(rowid) FROM {table} WHERE ? = ?1",  # noqa: S608 - a constant
    ):
        with contextlib.suppress(sqlite3.Error):
            found = old.execute(query, (table if table != "bodies" else "jobs",)).fetchone()
            if found is not None and found[0] is not None:
                return int(found[0])
    return _GAP_MAX


def _keep_numbers(new: sqlite3.Connection) -> None:
    """Numbers of events go on behind the last one: who follows them sees no number twice."""
    new.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'events'", (_GAP_MAX,))


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _free_name(path: Path) -> Path:
    number = 1
    while any(_beside(path, f".broken-{number}{side}").exists() for side in _SIDES):
        number += 1
    return _beside(path, f".broken-{number}")
