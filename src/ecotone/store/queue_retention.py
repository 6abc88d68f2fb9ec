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
    connection.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
    return removed, True
