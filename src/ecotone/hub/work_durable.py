"""Durable runs of jobs on DBOS: each step's outcome is written, and a run that was killed goes on at its next step."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from dbos import DBOS, DBOSConfig, Serializer
from dbos import SetWorkflowID as Named

from ecotone.hub.work_tasks import Failed, Job, Next, Task, Tasks
from ecotone.values import EcotoneError

__all__ = ["Durable", "Stopped"]

log = logging.getLogger(__name__)

STEPS_VERSION: Final = "1"
"""Of the order of steps in all jobs: a run that an earlier one began is given up, and its task begun anew."""

EXECUTOR: Final = "hub"
"""One name for whoever holds the lock: it takes over what the one before it had begun."""

_ENDED: Final = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_KEPT: Final = 500
_WORKFLOW: Final = "ecotone.hub.run"


class Stopped(BaseException):
    """The process is to end: the run stays as it is, to be gone on with. It is no failure."""


class StepError(EcotoneError):
    """An error that a step had ended with, as it was read back: its code and words, not its class."""


class _Json(Serializer):
    """JSON and nothing else: what came from a database is never unpickled."""

    def name(self) -> str:
        return "ecotone_json"

    def serialize(self, data: Any) -> str:
        if isinstance(data, BaseException):
            code = data.code if isinstance(data, EcotoneError) else "hub.work"
            return json.dumps({"error": code, "message": str(data)[:500]})
        return json.dumps({"value": data}, separators=(",", ":"), allow_nan=False)

    def deserialize(cls, serialized_data: str) -> Any:
        found = json.loads(serialized_data)
        if "error" in found:
            return StepError(found["error"], found["message"])
        return found["value"]


class Durable:
    """DBOS over the hub's own database. At most one of it works at a time, in all processes: see `Work`."""

    def __init__(self, url: str, jobs: Mapping[str, Job], tasks: Tasks) -> None:
        """Launches it, and goes on with what was begun.

        Args:
            url: The database, as SQLAlchemy writes it.
            jobs: Kind -> what is done.
            tasks: Where it is noted how a run ended.
        """
        self._jobs: Final = jobs
        self._tasks: Final = tasks
        self._stop: Final = threading.Event()
        self._lock: Final = threading.Lock()
        self._running: Final[set[tuple[str, str]]] = set()
        self._begun: Final[dict[tuple[str, str], tuple[Task, Any]]] = {}
        _speak_as_we_do()
        DBOS.destroy(destroy_registry=True)
        DBOS(config=_config(url))

        @DBOS.workflow(name=_WORKFLOW)
        def run(kind: str, subject: str, number: int) -> str:
            return self._run_from(kind, subject, number)

        self._workflow: Final = run
        DBOS.launch()
        for other in DBOS.list_workflows(status=["PENDING", "ENQUEUED"], load_input=False, load_output=False):
            if other.app_version != STEPS_VERSION:
                DBOS.cancel_workflow(other.workflow_id)

    def start(self, task: Task) -> None:
        """Begins a run, or finds that it has begun: a run has one id, whoever starts it."""
        with Named(task.id):
            handle = DBOS.start_workflow(self._workflow, task.kind, task.subject, task.number)
        with self._lock:
            self._begun[task.kind, task.subject] = (task, handle)

    def settle(self) -> None:
        """Looks after runs that were begun and are not at work here: they wait for their turn, or have ended."""
        with self._lock:
            waiting = [one for key, one in self._begun.items() if key not in self._running]
        for task, handle in waiting:
            if handle.get_status().status in _ENDED:
                # Without a note it was given up, or had killed its process again and again; with one this does nothing.
                self._tasks.finished((task.kind, task.subject, task.number), -1, Failed("hub.work"))
                self._forget(task.kind, task.subject)

    def running(self) -> frozenset[tuple[str, str]]:
        """Kind and subject of what is at work in this process, or waits for its turn."""
        with self._lock:
            return frozenset(self._running | self._begun.keys())

    def tidy(self) -> None:
        """Forgets runs that ended long ago: what they did is written elsewhere."""
        ended = DBOS.list_workflows(
            status=list(_ENDED), offset=_KEPT, limit=1000, sort_desc=True, load_input=False, load_output=False
        )
        if ended:
            DBOS.delete_workflows([one.workflow_id for one in ended])
        self._tasks.forget()

    def close(self, wait_s: float) -> None:
        """Ends it: a run stops after the step that it is at, and is gone on with by whoever comes next."""
        self._stop.set()
        waiting = threading.Event()
        for _ in range(int(wait_s / 0.05)):
            with self._lock:
                if not self._running:
                    break
            waiting.wait(0.05)
        DBOS.destroy(destroy_registry=True)

    def _run_from(self, kind: str, subject: str, number: int) -> str:
        with self._lock:
            self._running.add((kind, subject))
        try:
            return self._run(kind, subject, number)
        finally:
            self._forget(kind, subject)

    def _forget(self, kind: str, subject: str) -> None:
        with self._lock:
            self._running.discard((kind, subject))
            self._begun.pop((kind, subject), None)

    def _run(self, kind: str, subject: str, number: int) -> str:
        woken = int(self._step("woken", lambda: self._tasks.woken(kind, subject)))
        outcome: Next | Failed
        try:
            outcome = self._jobs[kind](self._step, subject)
        except EcotoneError as error:
            log.warning("hub: %s of '%s' failed: %s", kind, subject, error)
            outcome = Failed(error.code)
        except Exception:  # a supervisor: whatever a job did wrong, it is tried again later and told
            log.exception("hub: %s of '%s' failed", kind, subject)
            outcome = Failed("hub.work")
        self._step("noted", lambda: self._tasks.finished((kind, subject, number), woken, outcome))
        return "ok" if isinstance(outcome, Next) else outcome.why

    def _step(self, name: str, function: Callable[[], Any]) -> Any:
        if self._stop.is_set():
            raise Stopped
        return DBOS.run_step({"name": name}, function)


def _speak_as_we_do() -> None:
    """DBOS's lines, from errors on, go where the hub's go: its own handler keeps a stream that may long be closed."""
    lines = logging.getLogger("dbos")
    lines.setLevel(logging.ERROR)
    lines.handlers[:] = [logging.NullHandler()]  # where there is one it makes none
    lines.propagate = True


def _config(url: str) -> DBOSConfig:
    return cast(
        DBOSConfig,
        {
            "name": "ecotone-hub",
            "system_database_url": url,
            "serializer": _Json(),
            "application_version": STEPS_VERSION,
            "executor_id": EXECUTOR,
            "log_level": "ERROR",
            "enable_otlp": False,
            "sys_db_pool_size": 4,
            "max_executor_threads": 16,
            "scheduler_polling_interval_sec": 3600.0,
        },
    )
