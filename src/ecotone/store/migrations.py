"""The shape of `jobs.db`, version by version. A version that was ever released is never edited; a new one is added."""

from __future__ import annotations

import sqlite3
from typing import Final

from ecotone.values import ConfigError

__all__ = ["LATEST", "MIGRATIONS", "migrate", "version"]

_V1: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    # What is searched for is a column; all else of a job is in `facts`, sealed. `size` is the body's.
    """CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL,
        idempotency BLOB,
        batch TEXT NOT NULL,
        line INTEGER NOT NULL,
        state TEXT NOT NULL,
        rank_ms INTEGER NOT NULL,
        deadline_at_ms INTEGER NOT NULL,
        not_before_ms INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        reason TEXT NOT NULL,
        status INTEGER NOT NULL,
        target TEXT NOT NULL,
        at TEXT NOT NULL,
        ended_at_ms INTEGER NOT NULL,
        token TEXT,
        lease_until_ms INTEGER NOT NULL,
        lease_ms INTEGER NOT NULL,
        size INTEGER NOT NULL,
        facts BLOB NOT NULL
    )""",
    "CREATE UNIQUE INDEX jobs_idempotency ON jobs (key, idempotency) WHERE idempotency IS NOT NULL",
    "CREATE INDEX jobs_waiting ON jobs (rank_ms, seq, not_before_ms, deadline_at_ms) WHERE state = 'waiting'",
    "CREATE INDEX jobs_deadline ON jobs (deadline_at_ms) WHERE state = 'waiting'",
    "CREATE INDEX jobs_running ON jobs (lease_until_ms, token) WHERE state = 'running'",
    "CREATE INDEX jobs_batch ON jobs (batch, seq, state) WHERE batch != ''",
    "CREATE INDEX jobs_ended ON jobs (ended_at_ms) WHERE ended_at_ms > 0",
    "CREATE INDEX jobs_state ON jobs (state, size)",
    "CREATE TABLE bodies (seq INTEGER PRIMARY KEY, ask BLOB NOT NULL, answer BLOB)",
    """CREATE TABLE files (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL,
        size INTEGER NOT NULL,
        is_whole INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        facts BLOB NOT NULL
    )""",
    # `start` is the offset of a piece in its file.
    "CREATE TABLE pieces (file INTEGER NOT NULL, start INTEGER NOT NULL, content BLOB NOT NULL)",
    "CREATE UNIQUE INDEX pieces_of ON pieces (file, start)",
    """CREATE TABLE batches (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL,
        state TEXT NOT NULL,
        expires_at_ms INTEGER NOT NULL,
        facts BLOB NOT NULL
    )""",
)
_V2: Final = (
    # Who follows jobs (`/v1/jobs/events`, `Prefer: wait`) reads on from a number.
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        job TEXT NOT NULL,
        key TEXT NOT NULL,
        batch TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        at_ms INTEGER NOT NULL
    )""",
    "CREATE INDEX events_of ON events (job)",
    # Jobs of an older store are told about too: one event for what each is now.
    """INSERT INTO events (job, key, batch, state, reason, at_ms)
        SELECT id, key, batch, state, reason, ended_at_ms FROM jobs ORDER BY seq""",
)

MIGRATIONS: Final = (_V1, _V2)
"""Statements that lead from each version to the next, from the empty file (version 0) on."""
LATEST: Final = len(MIGRATIONS)


def version(connection: sqlite3.Connection) -> int:
    """The version of a file's shape; 0 where it is empty."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, *, to: int = LATEST) -> int:
    """Leads a file forward, each version in a transaction of its own; the version that it had.

    Raises:
        ConfigError: `store.version`: a newer Ecotone made it.
        sqlite3.Error: the file, or the disk.
    """
    had = version(connection)
    if had > LATEST:
        message = f"jobs.db: of version {had}, and this Ecotone reads up to {LATEST}; use the newer Ecotone again"
        raise ConfigError("store.version", message)
    for number in range(had, to):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return had
