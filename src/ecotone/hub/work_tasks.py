"""What the hub has to do by itself, as rows that say when it is due: a level, so that no wake-up can be lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from ecotone.hub.database import Database
from ecotone.hub.tables_releases import tasks

__all__ = ["Failed", "Job", "Next", "Step", "Task", "Tasks", "within"]

RETRY_S: Final = 15.0
RETRY_S_MAX: Final = 3600.0
ASLEEP_S: Final = 1e11
"""Added to the instant at which a task was done for good. Its row stays: were its number ever given anew, a run that
was killed while it noted its end would end the newer one."""
FORGET_S: Final = 30 * 86_400.0
"""So long after that nothing of an old run can be about any more."""


class Step(Protocol):
    """Runs one step of a job once: after a crash what it gave is read and not made again."""

    def __call__(self, name: str, function: Callable[[], Any]) -> Any:
        """What the function gave: JSON types only. It may run twice if the process dies at its very end."""
        ...


class Next(msgspec.Struct, frozen=True):
    """What a job leaves: when it is due again.

    Attributes:
        in_s: Seconds from now; None: never again.
    """

    in_s: float | None = None


Job = Callable[[Step, str], Next]
"""A job does its steps on a subject, in the same order whenever the steps before gave the same."""


class Failed(msgspec.Struct, frozen=True):
    """A job that ended by an error: its code. It is tried again, later and later."""

    why: str


class Task(msgspec.Struct, frozen=True):
    """One row of what is due."""

    kind: str
    subject: str
    number: int
    due_s: float
    failures: int
    why: str

    @property
    def id(self) -> str:
        """Name of this run of it."""
        return f"{self.kind}:{self.subject}:{self.number}"


class Tasks:
    """The rows. Every method is one short transaction; any process of the hub may call it."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._database: Final = database
        self.clock: Final = clock

    def ensure(self, kind: str, subject: str, in_s: float = 0.0, connection: Connection | None = None) -> None:
        """There is such a task; one that is there already is not changed."""
        with within(self._database, connection) as c:
            if self._row(c, kind, subject) is None:
                fresh = {"number": 1, "due_s": self.clock() + in_s, "woken": 0, "failures": 0, "why": ""}
                c.execute(insert(tasks).values(kind=kind, subject=subject, **fresh))

    def wake(self, kind: str, subject: str, connection: Connection | None = None) -> None:
        """The task is due now, and once more if it is at work at this moment; it is made where there is none."""
        with within(self._database, connection) as c:
            self.ensure(kind, subject, connection=c)
            due = {"due_s": self.clock(), "woken": tasks.c.woken + 1}
            c.execute(update(tasks).where(tasks.c.kind == kind, tasks.c.subject == subject).values(due))

    def due(self, limit: int = 16) -> list[Task]:
        """What is due, longest waiting first."""
        found = select(tasks).where(tasks.c.due_s <= self.clock()).order_by(tasks.c.due_s).limit(limit)
        with self._database.read() as c:
            return [_task(row) for row in c.execute(found)]

    def every(self) -> list[Task]:
        """All that will be due."""
        awake = select(tasks).where(tasks.c.due_s < ASLEEP_S)
        with self._database.read() as c:
            return [_task(row) for row in c.execute(awake.order_by(tasks.c.kind, tasks.c.subject))]

    def forget(self) -> int:
        """Removes tasks that were done for good long ago; gives how many."""
        with self._database.begin() as c:
            old = tasks.c.due_s.between(ASLEEP_S, ASLEEP_S + self.clock() - FORGET_S)
            return int(c.execute(delete(tasks).where(old)).rowcount)

    def woken(self, kind: str, subject: str) -> int:
        """How often it was woken so far; to be read before the work, and given to `finished`."""
        with self._database.read() as c:
            row = self._row(c, kind, subject)
            return 0 if row is None else int(row.woken)

    def finished(self, task: tuple[str, str, int], woken: int, outcome: Next | Failed) -> bool:
        """Notes how one run ended, once: False where that was noted before.

        Args:
            task: Kind, subject and number of the run.
            woken: What `woken` gave before it.
            outcome: When it is due again, or why it failed.
        """
        kind, subject, number = task
        here = (tasks.c.kind == kind, tasks.c.subject == subject, tasks.c.number == number)
        with self._database.begin() as c:
            row = c.execute(select(tasks).where(*here)).first()
            if row is None:
                return False
            again = int(row.woken) != woken
            values: dict[str, Any] = {"failures": 0, "why": ""}
            if isinstance(outcome, Failed):
                wait_s = min(RETRY_S * 2.0 ** min(row.failures, 16), RETRY_S_MAX)
                values = {"failures": row.failures + 1, "why": outcome.why[:64]}
            else:
                wait_s = ASLEEP_S if outcome.in_s is None else outcome.in_s
            due_s = self.clock() + (0.0 if again else wait_s)
            c.execute(update(tasks).where(*here).values(number=number + 1, due_s=due_s, **values))
            return True

    @staticmethod
    def _row(c: Connection, kind: str, subject: str) -> Any:
        return c.execute(select(tasks).where(tasks.c.kind == kind, tasks.c.subject == subject)).first()


def within(database: Database, connection: Connection | None) -> AbstractContextManager[Connection]:
    """The transaction that is open already, or a new one."""
    return database.begin() if connection is None else nullcontext(connection)


def _task(row: Any) -> Task:
    return Task(row.kind, row.subject, int(row.number), float(row.due_s), int(row.failures), row.why)
