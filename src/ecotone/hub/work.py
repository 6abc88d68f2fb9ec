"""The hub's own work: one process of all does what is due; when it dies, another goes on at the very step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import sqlalchemy.orm  # noqa: F401 -- DBOS imports it in a thread, and queries in others would meet it half made

from ecotone.assets import StoreError
from ecotone.hub.database import Database
from ecotone.hub.work_leading import leading
from ecotone.hub.work_tasks import Job, Tasks

if TYPE_CHECKING:
    from ecotone.hub.work_durable import Durable

__all__ = ["Work"]

log = logging.getLogger(__name__)

STANDBY_S: Final = 2.0
LOOK_S: Final = 1.0
AT_ONCE: Final = 8
"""Runs at the same time; of kinds in `alone` one."""

_TIDY_EVERY: Final = 600


class Work:
    """What runs jobs in this process, if no other process does. Start it in every process that serves."""

    def __init__(
        self,
        database: Database,
        jobs: Mapping[str, Job],
        clock: Callable[[], float],
        *,
        standing: Mapping[str, float] | None = None,
        alone: frozenset[str] = frozenset(),
    ) -> None:
        """Starts nothing.

        Args:
            database: The hub's.
            jobs: Kind -> what is done for a subject.
            clock: Gives Unix seconds.
            standing: Kinds that there is always one task of (subject `''`) -> seconds until it is first due.
            alone: Kinds of which only one task is at work at a time, as they are heavy.
        """
        self.tasks: Final = Tasks(database, clock)
        self._database: Final = database
        self._jobs: Final = jobs
        self._standing: Final = dict(standing or {})
        self._alone: Final = alone
        self._stopping: Final = threading.Event()
        self._is_leader = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins in a thread of its own; returns at once."""
        self._thread = threading.Thread(target=self._live, name="hub-work", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float = 10.0) -> None:
        """Ends it: what is at work stops after its step, and is gone on with by another process or the next start."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(wait_s)

    @property
    def is_leader(self) -> bool:
        """Whether this process is the one that works."""
        return self._is_leader

    def _live(self) -> None:
        while not self._stopping.is_set():
            try:
                with leading(self._database) as still:
                    self._lead(still)
            except StoreError as error:
                if error.code != "hub.busy":
                    log.warning("hub: its work waits for the database: %s", error)
            except Exception:  # the supervisor of the hub's work: it begins anew, and never ends by an error
                log.exception("hub: its work failed, and begins anew")
            self._stopping.wait(STANDBY_S)

    def _lead(self, still: Callable[[], None]) -> None:
        from ecotone.hub.work_durable import Durable

        durable = Durable(self._database.url.render_as_string(hide_password=False), self._jobs, self.tasks)
        self._is_leader = True
        try:
            for kind, in_s in self._standing.items():
                self.tasks.ensure(kind, "", in_s)
            looks = 0
            while not self._stopping.is_set():
                still()
                self._begin(durable)
                looks += 1
                if looks % _TIDY_EVERY == 0:
                    durable.tidy()
                self._stopping.wait(LOOK_S)
        finally:
            self._is_leader = False
            durable.close(5.0)

    def _begin(self, durable: Durable) -> None:
        durable.settle()
        for task in self.tasks.due():
            running = durable.running()
            busy = {kind for kind, _ in running}
            if len(running) >= AT_ONCE:
                return
            if (task.kind, task.subject) in running or (task.kind in self._alone and busy & self._alone):
                continue
            if task.kind in self._jobs:
                durable.start(task)
