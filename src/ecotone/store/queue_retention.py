"""What the queue forgets by age, in steps that keep nobody waiting for long."""

from __future__ import annotations

import sqlite3
from typing import Final

from ecotone.store.queue_files import FileRows
from ecotone.store.queue_jobs import JobRows

__all__ = ["delete_step"]

_STEP: Final = 500
_PAGES: Final = 2_000
"""So many free pages go back to the disk in one step."""


def delete_step(
    connection: sqlite3.Connection, jobs: JobRows, files: FileRows, *, before_ms: int, now_ms: int
) -> tuple[int, bool]:
    """(How many jobs one step removed, whether it was the last one)."""
    removed = jobs.drop_ended(connection, before_ms, _STEP)
    if removed == _STEP:
        return removed, False
    files.drop_expired(connection, now_ms)
    files.drop_batches(connection, before_ms)
    jobs.drop_events(connection)
    _shrink(connection)
    return removed, True


def _shrink(connection: sqlite3.Connection) -> None:
    """Gives unused pages back to the disk, one a call: Python's `sqlite3` steps through this pragma only once."""
    unused = connection.execute("PRAGMA freelist_count").fetchone()[0]
    for _ in range(min(unused, _PAGES)):
        connection.execute("PRAGMA incremental_vacuum(1)")
