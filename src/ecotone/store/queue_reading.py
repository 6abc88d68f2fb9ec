"""Questions about jobs that change nothing; they are asked beside the writer, of what is committed."""

from __future__ import annotations

import sqlite3
from typing import Final

from ecotone.jobs import DEFER_MS_MAX
from ecotone.store.queue_jobs import COLUMNS, JobRows, row
from ecotone.store.sealing import UnsealError
from ecotone.values import Job, JobEvent, JobFilter, JobPage, JobState

__all__ = ["JobReads"]

# One statement for each way through the table; what is not asked for is NULL.
_ASKED: Final = "(?1 IS NULL OR state = ?1) AND (?2 IS NULL OR key = ?2)"
_UP: Final = "(?4 = '' OR seq > (SELECT seq FROM jobs WHERE id = ?4)) ORDER BY seq LIMIT ?5"
_DOWN: Final = "(?4 = '' OR seq < (SELECT seq FROM jobs WHERE id = ?4)) ORDER BY seq DESC LIMIT ?5"
_ALL: Final = f"SELECT {COLUMNS} FROM jobs WHERE ?3 IS NULL AND {_ASKED} AND "  # noqa: S608 - made of constants
_BATCH: Final = f"SELECT {COLUMNS} FROM jobs WHERE batch = ?3 AND batch != '' AND {_ASKED} AND "  # noqa: S608 - made of constants
_LISTS: Final = {
    (False, True): _ALL + _UP,
    (False, False): _ALL + _DOWN,
    (True, True): _BATCH + _UP,
    (True, False): _BATCH + _DOWN,
}
_ENDS: Final = (
    "SELECT min(deadline_at_ms) FROM jobs INDEXED BY jobs_deadline WHERE state = 'waiting'",
    "SELECT min(lease_until_ms) FROM jobs INDEXED BY jobs_running WHERE state = 'running'",
)
_NEXT: Final = (
    f"""SELECT min(CASE WHEN not_before_ms > ?1 + {DEFER_MS_MAX} THEN ?1 ELSE not_before_ms END)
        FROM jobs INDEXED BY jobs_waiting WHERE state = 'waiting'""",  # noqa: S608 - made of constants
    *_ENDS,
)


class JobReads:
    """The reader's side of `JobRows`."""

    def __init__(self, rows: JobRows) -> None:
        self._rows = rows

    def get(self, connection: sqlite3.Connection, name: str) -> Job | None:
        """See `ports.Jobs.get`."""
        held = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (name,)).fetchone()  # noqa: S608 - made of constants
        return self._rows.readable(row(held)) if held is not None else None

    def part(self, connection: sqlite3.Connection, name: str, column: str) -> bytes | None:
        """See `ports.Jobs.body` (`ask`) and `ports.Jobs.answer` (`answer`)."""
        held = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (name,)).fetchone()  # noqa: S608 - made of constants
        try:
            return self._rows.part(connection, row(held), column) if held is not None else None
        except UnsealError:
            return None

    def page(self, connection: sqlite3.Connection, which: JobFilter, limit: int) -> JobPage:
        """See `ports.Jobs.page`."""
        query = _LISTS[which.batch is not None, which.is_oldest_first]
        given = (which.state, which.key, which.batch, which.after, limit + 1)
        found = [self._rows.readable(row(held)) for held in connection.execute(query, given)]
        return JobPage(tuple(found[:limit]), len(found) > limit)

    def counts(self, connection: sqlite3.Connection, batch: str) -> dict[JobState, int]:
        """Jobs of a batch by state."""
        query = "SELECT state, count(*) FROM jobs WHERE batch = ? AND batch != '' GROUP BY state"
        return dict.fromkeys(JobState, 0) | {JobState(state): n for state, n in connection.execute(query, (batch,))}

    def next_due_ms(self, connection: sqlite3.Connection, now_ms: int) -> int | None:
        """See `ports.Jobs.next_due_ms`."""
        found = [connection.execute(query, (now_ms,) if "?1" in query else ()).fetchone()[0] for query in _NEXT]
        return min((at_ms for at_ms in found if at_ms is not None), default=None)

    def next_end_ms(self, connection: sqlite3.Connection) -> int | None:
        """See `ports.Jobs.next_end_ms`."""
        found = [connection.execute(query).fetchone()[0] for query in _ENDS]
        return min((at_ms for at_ms in found if at_ms is not None), default=None)

    def events(self, connection: sqlite3.Connection, since: int, limit: int, key: str | None) -> tuple[JobEvent, ...]:
        """See `ports.Jobs.events`."""
        query = """SELECT seq, job, state, at_ms, key, batch, reason FROM events
            WHERE seq > ?1 AND (?2 IS NULL OR key = ?2) ORDER BY seq LIMIT ?3"""
        return tuple(
            JobEvent(seq=seq, job=job, state=JobState(state), at_ms=at_ms, key=of, batch=batch, reason=reason)
            for seq, job, state, at_ms, of, batch, reason in connection.execute(query, (since, key, limit))
        )
