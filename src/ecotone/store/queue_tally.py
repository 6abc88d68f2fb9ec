"""What the queue's writer counts along with the rows, so that bounds and `status` cost no query."""

from __future__ import annotations

import sqlite3

import msgspec

from ecotone.values import ENDED, JobState

__all__ = ["Counted", "QueueTally"]


class Counted(msgspec.Struct, frozen=True):
    """The counts at one instant.

    Attributes:
        states: Jobs by state.
        waiting_bytes: Of the bodies of jobs that have not ended.
        events: Number of the last event.
    """

    states: dict[JobState, int]
    waiting_bytes: int
    events: int


class QueueTally:
    """The counts as they change; belongs to the writer thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Counts what is there."""
        self._states = dict.fromkeys(JobState, 0)
        self._bytes = 0
        for state, number, size in connection.execute("SELECT state, count(*), sum(size) FROM jobs GROUP BY state"):
            self._states[JobState(state)] = number
            self._bytes += 0 if JobState(state) in ENDED else size
        last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
        self._events = int(last[0]) if last else 0

    @property
    def unended(self) -> int:
        """Jobs that have not ended."""
        return self._states[JobState.WAITING] + self._states[JobState.RUNNING]

    @property
    def unended_bytes(self) -> int:
        """Bytes of their bodies."""
        return self._bytes

    def save(self) -> Counted:
        """As it is now."""
        return Counted(dict(self._states), self._bytes, self._events)

    def restore(self, saved: Counted) -> None:
        """As it was."""
        self._states, self._bytes, self._events = dict(saved.states), saved.waiting_bytes, saved.events

    def moved(self, before: JobState | None, after: JobState | None, size: int, event: int) -> None:
        """A job of that many bytes came (`before` is None), changed, or was removed (`after` is None)."""
        if before is not None:
            self._states[before] -= 1
            self._bytes -= 0 if before in ENDED else size
        if after is not None:
            self._states[after] += 1
            self._bytes += 0 if after in ENDED else size
        self._events = max(self._events, event)
