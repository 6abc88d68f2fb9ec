"""Reports that wait for the link: durable, numbered for ever, bounded; the oldest goes first.

    <store>/hub/outbox.sqlite

Each call opens the file anew, so that a command and the running site can both use it. A report of kind `level` replaces
an older one of that kind which has not gone yet: it says all that the older one said. Those of kind `state` tell of a
change and are kept, as long as there is room.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from ecotone.values import EcotoneError

__all__ = ["Counts", "Outbox", "Sent", "Waiting"]

BYTES_MAX: Final = 2 << 20
"""Reports that wait, bytes; beyond, the oldest go."""
AGE_S_MAX: Final = 90 * 86_400.0
FILE_BYTES_MAX: Final = 12 << 20
"""The whole file; SQLite itself refuses to grow beyond."""
SENT_KEPT: Final = 50
"""Reports that went, kept for the site's owner to read."""
BATCH_BYTES_MAX: Final = 512 << 10
BUSY_S: Final = 5.0
_PAGE_BYTES: Final = 4096
_BROKEN_MAX: Final = 9
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (
  seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, made_s REAL NOT NULL, raw BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS sent (seq INTEGER PRIMARY KEY, sent_s REAL NOT NULL, entry INTEGER, raw BLOB NOT NULL);
"""

Kind = Literal["state", "level"]
Make = Callable[[int, int], bytes]
"""(seq, dropped) -> the report's bytes."""


class Waiting(msgspec.Struct, frozen=True):
    """A report that has not been acknowledged."""

    seq: int
    raw: bytes


class Sent(msgspec.Struct, frozen=True):
    """A report that went.

    Attributes:
        sent_s: Unix seconds by the site's clock.
        entry: Position in the ledger of the entry that stood there before it went; None: the answer never came.
    """

    seq: int
    sent_s: float
    entry: int | None
    raw: bytes


class Counts(msgspec.Struct, frozen=True):
    """How the outbox is.

    Attributes:
        waiting: Reports that wait, and bytes of them.
        dropped: Reports that never went, as there was no room, or they were too old.
        last_seq: Number of the newest report.
        acked_seq: The hub has all up to this one.
        boot: Starts of the site.
    """

    waiting: int = 0
    bytes: int = 0
    dropped: int = 0
    last_seq: int = 0
    acked_seq: int = 0
    boot: int = 0


class Outbox:
    """See the module. All methods block, and raise EcotoneError `hub.outbox` where the disk refuses."""

    def __init__(self, path: Path, *, bytes_max: int = BYTES_MAX, age_s_max: float = AGE_S_MAX) -> None:
        """Opens nothing yet."""
        self._path, self._bytes_max, self._age_s_max = path, bytes_max, age_s_max

    def began(self) -> int:
        """The site starts: counts it, and gives the number. A file that is broken is put aside first."""
        try:
            with self._open() as db:
                return _raise(db, "boot", _read(db, "boot") + 1)
        except EcotoneError as error:
            if type(error.__cause__) is not sqlite3.DatabaseError:  # the more special ones speak of the disk
                raise
            self._put_aside()
            with self._open() as db:
                return _raise(db, "boot", _read(db, "boot") + 1)

    def put(self, make: Make, kind: Kind, made_s: float) -> int:
        """A new report waits; its number. It is durable when this returns."""
        with self._open() as db:
            seq = _read(db, "last_seq") + 1
            if kind == "level":
                db.execute("DELETE FROM waiting WHERE kind = 'level'")
            self._make_room(db, made_s)
            raw = make(seq, _read(db, "dropped"))
            db.execute("INSERT INTO waiting VALUES (?, ?, ?, ?)", (seq, kind, made_s, raw))
            _raise(db, "last_seq", seq)
            return seq

    def unsent(self, bytes_max: int = BATCH_BYTES_MAX) -> list[Waiting]:
        """What waits, the oldest first; at least one where any waits, else no more bytes than this."""
        found: list[Waiting] = []
        size = 0
        with self._open() as db:
            for seq, raw in db.execute("SELECT seq, raw FROM waiting ORDER BY seq"):
                size += len(raw)
                if found and size > bytes_max:
                    break
                found.append(Waiting(seq, raw))
        return found

    def sending(self, reports: Sequence[Waiting], now_s: float) -> None:
        """Remembers what goes now, for the site's owner; before it goes."""
        with self._open() as db:
            for one in reports:
                db.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, NULL, ?)", (one.seq, now_s, one.raw))
            db.execute(
                "DELETE FROM sent WHERE seq NOT IN (SELECT seq FROM sent ORDER BY seq DESC LIMIT ?)", (SENT_KEPT,)
            )

    def acked(self, seq: int, entry: int | None = None) -> None:
        """The hub has all up to this one. A number that is higher than any of ours is one that the hub knows of a time
        that this store has forgotten: the next report is numbered above it.

        Args:
            entry: Position in the ledger of the entry under which those went that were sent last.
        """
        with self._open() as db:
            db.execute("DELETE FROM waiting WHERE seq <= ?", (seq,))
            if entry is not None:
                db.execute("UPDATE sent SET entry = ? WHERE entry IS NULL AND seq <= ?", (entry, seq))
            _raise(db, "last_seq", seq)
            _raise(db, "acked_seq", seq)

    def sent(self, last: int = SENT_KEPT) -> list[Sent]:
        """What went, the newest last."""
        with self._open() as db:
            rows = db.execute("SELECT seq, sent_s, entry, raw FROM sent ORDER BY seq DESC LIMIT ?", (last,)).fetchall()
        return [Sent(*row) for row in reversed(rows)]

    def counts(self) -> Counts:
        """How it is."""
        with self._open() as db:
            waiting, size = db.execute("SELECT count(*), coalesce(sum(length(raw)), 0) FROM waiting").fetchone()
            names = ("dropped", "last_seq", "acked_seq", "boot")
            return Counts(waiting, size, *(_read(db, name) for name in names))

    def _make_room(self, db: sqlite3.Connection, now_s: float) -> None:
        """Drops what is too old, and the oldest until a new report has room."""
        gone = db.execute("DELETE FROM waiting WHERE made_s < ?", (now_s - self._age_s_max,)).rowcount
        size = db.execute("SELECT coalesce(sum(length(raw)), 0) FROM waiting").fetchone()[0]
        for seq, length in db.execute("SELECT seq, length(raw) FROM waiting ORDER BY seq").fetchall():
            if size <= self._bytes_max:
                break
            db.execute("DELETE FROM waiting WHERE seq = ?", (seq,))
            size, gone = size - length, gone + 1
        if gone:
            _raise(db, "dropped", _read(db, "dropped") + gone)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction that is durable at its end."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
            try:
                self._prepare(db)
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            finally:
                db.close()
        except (OSError, sqlite3.Error) as error:
            raise EcotoneError(
                "hub.outbox", f"{self._path}: {error}; check rights and free space. The site goes on without reports"
            ) from error

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA max_page_count = {FILE_BYTES_MAX // _PAGE_BYTES}")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            db.execute("PRAGMA auto_vacuum = FULL")
            db.executescript(_SCHEMA)
            db.execute("PRAGMA user_version = 1")
            self._path.chmod(0o600)
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = FULL")

    def _put_aside(self) -> None:
        """The broken file gets another name."""
        for number in range(1, _BROKEN_MAX + 1):
            aside = self._path.with_name(f"{self._path.name}.broken-{number}")
            if not aside.exists() or number == _BROKEN_MAX:
                with contextlib.suppress(OSError):
                    self._path.replace(aside)
                return


def _read(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def _raise(db: sqlite3.Connection, name: str, value: int) -> int:
    """The value, and never a lower one than before."""
    db.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        (name, value),
    )
    return value
