"""Jobs as rows: each method is part of a transaction of the writer (or a read), and knows nothing of threads."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from ecotone.jobs import DEFER_MS_MAX, rank_ms, step
from ecotone.jobs.lifecycle import EVENT_OF, Event
from ecotone.store.queue_limits import QueueLimits
from ecotone.store.queue_tally import QueueTally
from ecotone.store.sealing import Sealer, UnsealError
from ecotone.values import Ending, Endpoint, Job, JobState, Leased, RefusalError, RequestError

__all__ = ["COLUMNS", "DAMAGED", "STEP", "JobRows", "Row", "bare", "row", "unsealed"]

DAMAGED: Final = "store.damaged"
"""Reason of a job that ended because what it asks can no longer be read."""
STEP: Final = 1000
"""So many rows one transaction changes at most, where nobody asked for all at once."""
FULL_RETRY_AFTER_S: Final = 30.0
_DAMAGED_BODY: Final = b'{"error":{"message":"What this job asks can no longer be read.","code":"store.damaged"}}'
_INSERT: Final = """
    INSERT INTO jobs (id, key, idempotency, batch, line, state, rank_ms, deadline_at_ms, not_before_ms, attempts,
        reason, status, target, at, ended_at_ms, lease_until_ms, lease_ms, size, facts)
    VALUES (?, ?, ?, ?, ?, 'waiting', ?, ?, ?, 0, ?, 0, '', '', 0, 0, 0, ?, ?) ON CONFLICT DO NOTHING"""
COLUMNS: Final = "seq, id, state, not_before_ms, attempts, reason, status, target, at, ended_at_ms, size, facts"
_EVENT: Final = "INSERT INTO events (job, key, batch, state, reason, at_ms) VALUES (?, ?, ?, ?, ?, ?)"
_HASTEN: Final = """
    UPDATE jobs SET not_before_ms = 0 WHERE seq IN (SELECT seq FROM jobs INDEXED BY jobs_waiting
        WHERE state = 'waiting' AND not_before_ms > 0 AND reason = ? LIMIT ?)"""
# Also where what was asked is lost, there is a place for the answer.
_ANSWER: Final = """INSERT INTO bodies (seq, ask, answer) VALUES (?, x'', ?)
    ON CONFLICT (seq) DO UPDATE SET answer = excluded.answer"""
_BY_ID: Final = f"SELECT {COLUMNS} FROM jobs WHERE id = ?"  # noqa: S608 - made of constants
_BY_REPEAT: Final = "SELECT id FROM jobs WHERE key = ? AND idempotency = ?"
_BY_NAME: Final = "SELECT id FROM jobs WHERE id = ?"
_BY_TOKEN: Final = f"SELECT {COLUMNS} FROM jobs WHERE token = ? AND state = 'running'"  # noqa: S608 - made of constants
_DUE: Final = f"""
    SELECT {COLUMNS} FROM jobs INDEXED BY jobs_waiting WHERE state = 'waiting' AND deadline_at_ms > ?1
        AND (not_before_ms <= ?1 OR not_before_ms > ?1 + {DEFER_MS_MAX}) ORDER BY rank_ms, seq LIMIT ?2"""  # noqa: S608 - made of constants
_PRESSED: Final = f"""
    SELECT {COLUMNS} FROM jobs INDEXED BY jobs_deadline WHERE state = 'waiting' AND deadline_at_ms > ?1
        AND deadline_at_ms < ?3 AND (not_before_ms <= ?1 OR not_before_ms > ?1 + {DEFER_MS_MAX})
        ORDER BY deadline_at_ms LIMIT ?2"""  # noqa: S608 - made of constants
_LAPSED: Final = f"""
    SELECT {COLUMNS} FROM jobs WHERE state = 'running'
        AND (lease_until_ms <= ?1 OR lease_until_ms > ?1 + 2 * lease_ms) LIMIT ?2"""  # noqa: S608 - made of constants
_LATE: Final = f"""
    SELECT {COLUMNS} FROM jobs INDEXED BY jobs_deadline WHERE state = 'waiting' AND deadline_at_ms <= ?1
        ORDER BY deadline_at_ms LIMIT ?2"""  # noqa: S608 - made of constants
_ENDED_BY_ID: Final = "SELECT seq, id, state, size FROM jobs WHERE id = ? AND ended_at_ms > 0"
_OF_BATCH: Final = f"""
    SELECT {COLUMNS} FROM jobs WHERE batch = ?1 AND batch != '' AND state IN ('waiting', 'running') LIMIT ?2"""  # noqa: S608 - made of constants


class Row(msgspec.Struct):
    """A job's row, without what lies beside it."""

    seq: int
    id: str
    state: JobState
    not_before_ms: int
    attempts: int
    reason: str
    status: int
    target: str
    at: str
    ended_at_ms: int
    size: int
    facts: bytes


def row(found: Sequence[Any]) -> Row:
    """A row of `COLUMNS`."""
    seq, name, state, *rest = found
    return Row(seq, name, JobState(state), *rest)


def unsealed(sealer: Sealer, found: Row) -> Job:
    """The job of a row.

    Raises:
        UnsealError: it was changed.
    """
    facts = sealer.unseal(found.facts, "jobs", found.id, "facts")
    try:
        job = msgspec.json.decode(facts, type=Job)
    except msgspec.DecodeError as error:
        raise UnsealError("facts") from error
    return msgspec.structs.replace(
        job, state=found.state, not_before_ms=found.not_before_ms, attempts=found.attempts, reason=found.reason,
        status=found.status, target=found.target, at=found.at, ended_at_ms=found.ended_at_ms,
    )  # fmt: skip


class JobRows:
    """What the writer does to jobs. Every change of state goes through `_move`, by the table of `jobs.lifecycle`."""

    def __init__(self, sealer: Sealer, tally: QueueTally, limits: QueueLimits) -> None:
        self._sealer, self._tally, self._limits = sealer, tally, limits

    def put(self, connection: sqlite3.Connection, jobs: Sequence[tuple[Job, bytes]]) -> tuple[str, ...]:
        """See `ports.Jobs.put`."""
        return tuple(self._put(connection, job, body) for job, body in jobs)

    def _put(self, connection: sqlite3.Connection, job: Job, body: bytes) -> str:
        tally, limits, sealer = self._tally, self._limits, self._sealer
        if len(body) > limits.body_bytes_max:
            message = f"The request is longer than a job may be ({limits.body_bytes_max} bytes)."
            raise RequestError("request.too_large", message, status=413)
        known = sealer.digest(job.idempotency) if job.idempotency else None
        facts = sealer.seal(msgspec.json.encode(job), "jobs", job.id, "facts")
        done = connection.execute(
            _INSERT,
            (job.id, job.key, known, job.batch, job.line, rank_ms(job), job.deadline_at_ms, job.not_before_ms,
             job.reason, len(body), facts),
        )  # fmt: skip
        if not done.rowcount:
            return str(self._first(connection, job))
        # Asked after the insertion, so that a repeat is answered also when the queue is full.
        if tally.unended >= limits.waiting_max or tally.unended_bytes + len(body) > limits.waiting_bytes_max:
            message = "Too many jobs wait at this site; try again when some have ended."
            raise RefusalError("refused.queue_full", message, status=429, retry_after_s=FULL_RETRY_AFTER_S)
        ask = sealer.seal(body, "jobs", job.id, "ask")
        connection.execute("INSERT INTO bodies (seq, ask) VALUES (?, ?)", (done.lastrowid, ask))
        event = _tell(connection, (job.id, job.key, job.batch, JobState.WAITING, job.reason, job.created_at_ms))
        tally.moved(None, JobState.WAITING, len(body), event)
        return job.id

    def known(self, connection: sqlite3.Connection, jobs: Sequence[tuple[Job, bytes]]) -> tuple[str, ...] | None:
        """The ids that repeats get; None where one of them is new."""
        found = [self._first(connection, job) for job, _ in jobs]
        names = tuple(name for name in found if name is not None)
        return names if len(names) == len(found) else None

    def _first(self, connection: sqlite3.Connection, job: Job) -> str | None:
        """The id of the job that this one repeats, if it does."""
        known = self._sealer.digest(job.idempotency) if job.idempotency else None
        for query, given in ((_BY_REPEAT, (job.key, known)), (_BY_NAME, (job.id,))):
            held = connection.execute(query, given).fetchone()
            if held is not None:
                return str(held[0])
        return None

    def due(self, connection: sqlite3.Connection, n: int, now_ms: int, before_ms: int | None) -> tuple[Job, ...]:
        """See `ports.Jobs.due`."""
        if before_ms is None:
            return self._jobs(connection.execute(_DUE, (now_ms, n)))
        return self._jobs(connection.execute(_PRESSED, (now_ms, n, before_ms)))

    def defer(self, connection: sqlite3.Connection, ids: Sequence[str], not_before_ms: int, reason: str) -> int:
        """See `ports.Jobs.defer`."""
        change = "UPDATE jobs SET not_before_ms = ?, reason = ? WHERE id = ? AND state = 'waiting'"
        return connection.executemany(change, [(not_before_ms, reason, name) for name in ids]).rowcount if ids else 0

    def hasten(self, connection: sqlite3.Connection, reason: str, n: int) -> int:
        """Up to n waiting jobs that were put off for a reason are due now; how many."""
        return connection.execute(_HASTEN, (reason, n)).rowcount

    def lease(
        self, connection: sqlite3.Connection, n: int, now_ms: int, lease_ms: int, ids: Sequence[str] | None
    ) -> tuple[Leased, ...]:
        """See `ports.Jobs.lease`."""
        self.lapse(connection, now_ms, STEP)
        if ids is None:
            rows = [row(found) for found in connection.execute(_DUE, (now_ms, n))]
        else:
            rows = [row(found) for name in ids[:n] for found in connection.execute(_BY_ID, (name,))]
            rows = [found for found in rows if found.state is JobState.WAITING]
        leased = (self._lease(connection, found, now_ms, lease_ms) for found in rows)
        return tuple(one for one in leased if one is not None)

    def _lease(self, connection: sqlite3.Connection, found: Row, now_ms: int, lease_ms: int) -> Leased | None:
        token, until_ms = secrets.token_hex(12), now_ms + lease_ms
        self._move(connection, found, Event.LEASED, now_ms, "")
        change = """UPDATE jobs SET token = ?, lease_until_ms = ?, lease_ms = ?, attempts = attempts + 1,
            not_before_ms = 0 WHERE seq = ?"""
        connection.execute(change, (token, until_ms, lease_ms, found.seq))
        try:
            job = unsealed(self._sealer, row(connection.execute(_BY_ID, (found.id,)).fetchone()))
            body = self.part(connection, found, "ask")
        except UnsealError:
            body = None
        if body is None:
            ending = Ending(state=JobState.FAILED, status=500, reason=DAMAGED, body=_DAMAGED_BODY)
            self.settle(connection, token, ending, now_ms)
            return None
        return Leased(job, token, until_ms, body)

    def extend(self, connection: sqlite3.Connection, token: str, now_ms: int, lease_ms: int) -> bool:
        """See `ports.Jobs.extend`."""
        change = "UPDATE jobs SET lease_until_ms = ?, lease_ms = ? WHERE token = ? AND state = 'running'"
        return bool(connection.execute(change, (now_ms + lease_ms, lease_ms, token)).rowcount)

    def settle(self, connection: sqlite3.Connection, token: str, ending: Ending, now_ms: int) -> bool:
        """See `ports.Jobs.settle`."""
        held = connection.execute(_BY_TOKEN, (token,)).fetchone()
        if held is None:
            return False
        found = row(held)
        self._move(connection, found, EVENT_OF[ending.state], now_ms, ending.reason)
        connection.execute(
            "UPDATE jobs SET status = ?, target = ?, at = ? WHERE seq = ?",
            (ending.status, ending.target, ending.at, found.seq),
        )
        sealed = self._sealer.seal(ending.body, "jobs", found.id, "answer")
        connection.execute(_ANSWER, (found.seq, sealed))
        return True

    def release(
        self, connection: sqlite3.Connection, token: str, now_ms: int, *, later: tuple[int, str], is_attempt: bool
    ) -> bool:
        """See `ports.Jobs.release`; `later` is (not_before_ms, reason)."""
        held = connection.execute(_BY_TOKEN, (token,)).fetchone()
        if held is None:
            return False
        found = row(held)
        self._move(connection, found, Event.RELEASED, now_ms, later[1])
        change = "UPDATE jobs SET not_before_ms = ?, attempts = attempts - ? WHERE seq = ?"
        connection.execute(change, (later[0], 0 if is_attempt else 1, found.seq))
        return True

    def label(self, connection: sqlite3.Connection, name: str, labels: Sequence[str]) -> bool:
        """See `ports.Jobs.label`."""
        held = connection.execute(_BY_ID, (name,)).fetchone()
        try:
            job = unsealed(self._sealer, row(held)) if held is not None else None
        except UnsealError:
            return False
        if job is None:
            return False
        all_labels = tuple(dict.fromkeys((*job.labels, *labels)))
        if all_labels != job.labels:
            facts = msgspec.json.encode(msgspec.structs.replace(job, labels=all_labels))
            sealed = self._sealer.seal(facts, "jobs", name, "facts")
            connection.execute("UPDATE jobs SET facts = ? WHERE id = ?", (sealed, name))
        return True

    def cancel(self, connection: sqlite3.Connection, name: str, now_ms: int) -> JobState | None:
        """See `ports.Jobs.cancel`."""
        held = connection.execute(_BY_ID, (name,)).fetchone()
        if held is None:
            return None
        found = row(held)
        self._move(connection, found, Event.CANCELLED, now_ms, "")
        return found.state

    def cancel_batch(self, connection: sqlite3.Connection, batch: str, now_ms: int) -> int:
        """Cancels all jobs of a batch that have not ended; how many."""
        rows = [row(found) for found in connection.execute(_OF_BATCH, (batch, -1))]
        return sum(self._move(connection, found, Event.CANCELLED, now_ms, "") for found in rows)

    def lapse(self, connection: sqlite3.Connection, now_ms: int, n: int) -> int:
        """Up to n leases that have run out, or that the clock left behind, go; the jobs wait again."""
        rows = [row(found) for found in connection.execute(_LAPSED, (now_ms, n))]
        return sum(self._move(connection, found, Event.LAPSED, now_ms, "") for found in rows)

    def lapse_all(self, connection: sqlite3.Connection, now_ms: int) -> int:
        """At start: whoever held a lease is gone."""
        held = f"SELECT {COLUMNS} FROM jobs WHERE state = 'running'"  # noqa: S608 - made of constants
        rows = [row(found) for found in connection.execute(held)]
        return sum(self._move(connection, found, Event.LAPSED, now_ms, "") for found in rows)

    def expire(self, connection: sqlite3.Connection, now_ms: int, n: int) -> tuple[str, ...]:
        """Up to n jobs whose deadline has passed have ended; their ids."""
        self.lapse(connection, now_ms, STEP)
        rows = [row(found) for found in connection.execute(_LATE, (now_ms, n))]
        for found in rows:
            self._move(connection, found, Event.EXPIRED, now_ms, "refused.deadline")
        return tuple(found.id for found in rows)

    def drop_ended(self, connection: sqlite3.Connection, before_ms: int, n: int) -> int:
        """Up to n jobs that ended before an instant are gone, with their bodies and events; how many."""
        query = "SELECT seq, id, state, size FROM jobs WHERE ended_at_ms > 0 AND ended_at_ms < ? LIMIT ?"
        rows = connection.execute(query, (before_ms, n)).fetchall()
        for gone in rows:
            self._drop(connection, gone)
        return len(rows)

    def drop(self, connection: sqlite3.Connection, name: str) -> bool:
        """See `ports.Jobs.delete`."""
        gone = connection.execute(_ENDED_BY_ID, (name,)).fetchone()
        if gone is not None:
            self._drop(connection, gone)
        return gone is not None

    def _drop(self, connection: sqlite3.Connection, gone: tuple[int, str, str, int]) -> None:
        seq, name, state, size = gone
        connection.execute("DELETE FROM jobs WHERE seq = ?", (seq,))
        connection.execute("DELETE FROM bodies WHERE seq = ?", (seq,))
        connection.execute("DELETE FROM events WHERE job = ?", (name,))
        self._tally.moved(JobState(state), None, size, 0)

    def drop_events(self, connection: sqlite3.Connection) -> None:
        """The oldest events beyond the bound are gone."""
        change = "DELETE FROM events WHERE seq <= (SELECT max(seq) FROM events) - ?"
        connection.execute(change, (self._limits.events_max,))

    def part(self, connection: sqlite3.Connection, found: Row, column: str) -> bytes | None:
        """What a job asks (`ask`) or was answered (`answer`); None where it is not there.

        Raises:
            UnsealError: it was changed.
        """
        query = "SELECT ask FROM bodies WHERE seq = ?" if column == "ask" else "SELECT answer FROM bodies WHERE seq = ?"
        held = connection.execute(query, (found.seq,)).fetchone()
        if held is None or held[0] is None:
            return None
        return self._sealer.unseal(held[0], "jobs", found.id, column)

    def _move(self, connection: sqlite3.Connection, found: Row, event: Event, now_ms: int, reason: str) -> bool:
        """A job's state after an event; False: it came late, and nothing changed. `found.state` is kept up to date."""
        after = step(found.state, event)
        if after is None:
            return False
        ended_at_ms = now_ms if after in EVENT_OF else 0
        change = """UPDATE jobs SET state = ?, reason = ?, token = NULL, lease_until_ms = 0, ended_at_ms = ?
            WHERE seq = ? RETURNING key, batch"""
        [(key, batch)] = connection.execute(change, (after, reason, ended_at_ms, found.seq)).fetchall()
        number = _tell(connection, (found.id, key, batch, after, reason, now_ms))
        self._tally.moved(found.state, after, found.size, number)
        found.state = after
        return True

    def _jobs(self, rows: Iterable[Sequence[Any]]) -> tuple[Job, ...]:
        """The jobs of rows; those that cannot be read are left for `lease`, which ends them."""
        return tuple(self.readable(row(found)) for found in rows)

    def readable(self, found: Row) -> Job:
        """The job of a row; one whose facts cannot be read has only what the row says."""
        try:
            return unsealed(self._sealer, found)
        except UnsealError:
            return bare(found)


def _tell(connection: sqlite3.Connection, event: tuple[str, str, str, JobState, str, int]) -> int:
    """Writes an event: job, key, batch, state, reason, instant; its number."""
    return connection.execute(_EVENT, event).lastrowid or 0


def bare(found: Row) -> Job:
    """What the row of a job whose facts are lost still says of it: enough to end it, or to see how it ended."""
    return Job(
        id=found.id, endpoint=Endpoint.CHAT, model="", created_at_ms=0, deadline_at_ms=0, state=found.state,
        not_before_ms=found.not_before_ms, attempts=found.attempts, reason=found.reason or DAMAGED, status=found.status,
        target=found.target, at=found.at, ended_at_ms=found.ended_at_ms,
    )  # fmt: skip
