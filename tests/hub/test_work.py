"""The hub's own work on both databases: what is due, one process at a time, and real kills at each step."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text
from tests.hub.work_child import STEPS

from ecotone.hub.database import Database
from ecotone.hub.work import Work
from ecotone.hub.work_tasks import RETRY_S, Failed, Next, Step, Tasks
from ecotone.values import ConfigError

CHILD = Path(__file__).parent / "work_child.py"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tasks(database: Database, clock: Clock) -> Tasks:
    return Tasks(database, clock)


def test_a_task_is_due_when_it_says_so(tasks: Tasks, clock: Clock) -> None:
    tasks.ensure("look", "a", in_s=10)
    tasks.ensure("look", "a", in_s=0)
    assert tasks.due() == []
    assert [task.due_s for task in tasks.every()] == [clock() + 10]
    clock.now_s += 10
    (task,) = tasks.due()
    assert (task.kind, task.subject, task.number, task.id) == ("look", "a", 1, "look:a:1")


def test_the_longest_waiting_comes_first_and_many_are_bounded(tasks: Tasks, clock: Clock) -> None:
    for number in range(5):
        tasks.ensure("look", f"s{number}", in_s=5 - number)
    clock.now_s += 10
    assert [task.subject for task in tasks.due(limit=3)] == ["s4", "s3", "s2"]


def test_a_run_is_noted_once(tasks: Tasks, clock: Clock) -> None:
    tasks.ensure("look", "a")
    assert tasks.finished(("look", "a", 1), tasks.woken("look", "a"), Next(30))
    assert not tasks.finished(("look", "a", 1), 0, Next(30))
    assert tasks.due() == []
    clock.now_s += 30
    assert [task.number for task in tasks.due()] == [2]
    assert tasks.finished(("look", "a", 2), 0, Next())
    assert tasks.every() == []


def test_a_number_is_never_given_twice(tasks: Tasks, clock: Clock) -> None:
    """A run that notes its end twice, as it was killed in between, does not end a newer one of the same subject."""
    tasks.wake("look", "a")
    seen = tasks.woken("look", "a")
    assert tasks.finished(("look", "a", 1), seen, Next())
    assert tasks.due() == []
    tasks.wake("look", "a")
    assert not tasks.finished(("look", "a", 1), seen, Next())
    assert [task.number for task in tasks.due()] == [2]
    tasks.finished(("look", "a", 2), tasks.woken("look", "a"), Next())
    assert tasks.forget() == 0
    clock.now_s += 31 * 86_400
    assert tasks.forget() == 1
    assert tasks.woken("look", "a") == 0


def test_a_failure_is_tried_again_later_and_later_and_forgotten_by_a_success(tasks: Tasks, clock: Clock) -> None:
    tasks.ensure("look", "a")
    waits = []
    for number in range(1, 12):
        assert tasks.finished(("look", "a", number), 0, Failed("hub.database"))
        waits.append(tasks.every()[0].due_s - clock())
        clock.now_s += waits[-1]
    assert waits[:3] == [RETRY_S, 2 * RETRY_S, 4 * RETRY_S]
    assert waits[-1] == 3600
    (task,) = tasks.every()
    assert (task.failures, task.why) == (11, "hub.database")
    tasks.finished(("look", "a", 12), 0, Next(5))
    assert [(one.failures, one.why) for one in tasks.every()] == [(0, "")]


def test_a_wake_up_while_it_works_is_not_lost(tasks: Tasks) -> None:
    tasks.wake("look", "a")
    seen = tasks.woken("look", "a")
    tasks.wake("look", "a")
    tasks.finished(("look", "a", 1), seen, Next())
    assert [task.number for task in tasks.due()] == [2]


def wait_for(is_so: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until_s, what
        time.sleep(0.02)


@pytest.fixture
def working(database: Database) -> Iterator[Callable[..., Work]]:
    begun: list[Work] = []

    def start(jobs: Any, **given: Any) -> Work:
        work = Work(database, jobs, time.time, **given)
        work.start()
        begun.append(work)
        return work

    yield start
    for work in begun:
        work.stop()


def test_work_is_done_and_said(working: Callable[..., Work]) -> None:
    done: list[str] = []

    def job(step: Step, subject: str) -> Next:
        step("note", lambda: done.append(subject))
        return Next()

    work = working({"note": job}, standing={"note": 0.0})
    work.tasks.wake("note", "other")
    wait_for(lambda: not work.tasks.every(), "both are done")
    assert sorted(done) == ["", "other"]
    assert work.is_leader


def test_an_error_is_told_by_its_code_and_a_bug_too(working: Callable[..., Work]) -> None:
    def refused(step: Step, subject: str) -> Next:
        def fails() -> None:
            raise ConfigError("hub.keys", f"no key for {subject}")

        step("sign", fails)
        return Next()

    def wrong(step: Step, subject: str) -> Next:
        raise ZeroDivisionError(subject)

    work = working({"sign": refused, "sum": wrong}, standing={"sign": 0.0, "sum": 0.0})
    wait_for(lambda: sum(one.why != "" for one in work.tasks.every()) == 2, "both have failed")
    assert {one.kind: one.why for one in work.tasks.every()} == {"sign": "hub.keys", "sum": "hub.work"}


def test_one_process_works_and_another_takes_over(working: Callable[..., Work]) -> None:
    at: list[int] = []
    gate = threading.Event()

    def job(step: Step, subject: str) -> Next:
        step("count", lambda: at.append(1))
        gate.wait(20)
        step("end", lambda: at.append(2))
        return Next()

    first = working({"count": job})
    first.tasks.wake("count", "x")
    wait_for(lambda: at == [1], "the first has begun")
    second = working({"count": job})
    assert not second.is_leader
    stopper = threading.Thread(target=first.stop)
    stopper.start()
    wait_for(first._stopping.is_set, "the first is told to stop")
    gate.set()
    stopper.join(30)
    wait_for(lambda: not second.tasks.every(), "the second ends it")
    assert at == [1, 2]


def test_heavy_kinds_are_at_work_alone(working: Callable[..., Work]) -> None:
    at_once: list[int] = []
    running = 0
    lock = threading.Lock()

    def job(step: Step, subject: str) -> Next:
        nonlocal running
        with lock:
            running += 1
            at_once.append(running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return Next()

    work = working({"cut": job, "collect": job}, alone=frozenset({"cut", "collect"}))
    for number in range(3):
        work.tasks.wake("cut", str(number))
        work.tasks.wake("collect", str(number))
    wait_for(lambda: not work.tasks.every(), "all are done")
    assert at_once == [1] * 6


def test_a_leader_that_lost_its_lock_is_followed_by_another_and_nothing_is_done_twice(postgres_url: str) -> None:
    """The server ended the session that held the lock, while a job was at work: it is gone on with elsewhere."""
    effects: list[str] = []
    gate = threading.Event()

    def job(step: Step, subject: str) -> Next:
        step("first", lambda: effects.append("first"))
        gate.wait(30)
        step("second", lambda: effects.append("second"))
        return Next()

    database = Database.open(postgres_url)
    work = Work(database, {"count": job}, time.time)
    work.start()
    work.tasks.wake("count", "x")
    wait_for(lambda: effects == ["first"], "it is at work")
    with database.begin() as c:
        asked = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
        assert (c.execute(text(asked)).scalar() or 0) >= 1
    wait_for(lambda: not work.is_leader, "it has noticed")
    gate.set()
    wait_for(lambda: not work.tasks.every(), "it is done")
    wait_for(lambda: work.is_leader, "it leads again")
    assert effects == ["first", "second"]
    work.stop()
    database.close()


def test_old_runs_are_forgotten_and_those_of_another_version_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecotone.hub import work_durable

    url = database.url.render_as_string(hide_password=False)
    tasks = Tasks(database, time.time)
    gate = threading.Event()
    done: list[str] = []

    def job(step: Step, subject: str) -> Next:
        step("wait", lambda: gate.wait(20) and None)
        step("end", lambda: done.append(subject))
        return Next()

    monkeypatch.setattr(work_durable, "_KEPT", 2)
    gate.set()
    durable = work_durable.Durable(url, {"a": job}, tasks)
    for number in range(5):
        tasks.wake("a", str(number))
        durable.start(tasks.due()[0])
        wait_for(lambda: not tasks.every(), "it is done")
    wait_for(lambda: _runs(database, "SUCCESS") == 5, "all have ended")
    durable.tidy()
    assert _runs(database, "SUCCESS") == 2
    gate.clear()
    tasks.wake("a", "old")
    durable.start(tasks.due()[0])
    stopper = threading.Thread(target=durable.close, args=(5.0,))
    stopper.start()
    gate.set()
    stopper.join(30)
    assert _runs(database, "PENDING") == 1
    assert "old" not in done
    # The order of steps is another one now: the old run is given up, and its task begun anew.
    monkeypatch.setattr(work_durable, "STEPS_VERSION", "2")
    durable = work_durable.Durable(url, {"a": job}, tasks)
    assert _runs(database, "CANCELLED") == 1
    durable.start(tasks.due()[0])

    def is_settled() -> bool:
        durable.settle()
        return not durable.running()

    wait_for(is_settled, "it is seen that it was given up")
    (task,) = tasks.every()
    assert (task.number, task.why) == (2, "hub.work")
    durable.start(task)
    wait_for(lambda: not tasks.every(), "it is done")
    assert done[-1] == "old"
    durable.close(5.0)


def _runs(database: Database, state: str) -> int:
    table = "workflow_status" if database.dialect == "sqlite" else "dbos.workflow_status"
    with database.read() as c:
        return int(c.execute(text(f"SELECT count(*) FROM {table} WHERE status = '{state}'")).scalar() or 0)


def run(url: str, folder: Path, kill_at: str = "") -> int:
    given = [kill_at] if kill_at else []
    return subprocess.run([sys.executable, str(CHILD), url, str(folder), *given], timeout=120, check=False).returncode


@pytest.mark.parametrize(
    "kill_at", [*[f"{name}:{when}" for name in STEPS for when in ("before", "after")], "end:before"]
)
def test_a_killed_run_goes_on_at_the_very_step(database_url: str, tmp_path: Path, kill_at: str) -> None:
    database = Database.open(database_url)
    Tasks(database, time.time).wake("row", "x")
    assert run(database_url, tmp_path, kill_at) == -signal.SIGKILL
    assert run(database_url, tmp_path) == 0
    effects = (tmp_path / "effects").read_text().split()
    step, when = kill_at.split(":")
    # What was at work at the moment of the kill, and not noted yet, is done once more; nothing else is.
    expected = [name for name in STEPS for _ in range(2 if (name, when) == (step, "after") else 1)]
    assert effects == expected
    assert not _pickles(database)
    database.close()


def _pickles(database: Database) -> list[str]:
    """Every text or blob in the tables of DBOS that is, or holds as base64, a pickle."""
    schema = None if database.dialect == "sqlite" else "dbos"
    found, seen = [], 0
    with database.read() as c:
        for table in inspect(database.engine).get_table_names(schema=schema):
            name = f'"{schema}"."{table}"' if schema else f'"{table}"'
            for row in c.execute(text(f"SELECT * FROM {name}")).mappings():
                for column, value in row.items():
                    seen += column in ("output", "inputs")
                    if isinstance(value, str | bytes) and _is_pickle(value):
                        found.append(f"{table}.{column}")
    assert seen > 3, "the outcomes of steps are in the tables"
    return found


def _is_pickle(value: str | bytes) -> bool:
    raw = value.encode() if isinstance(value, str) else value
    try:
        plain = base64.b64decode(raw, validate=True)
    except ValueError:
        plain = b""
    return raw[:1] == b"\x80" or (plain[:1] == b"\x80" and plain[-1:] == b".")


def test_the_instrument_sees_a_pickle() -> None:
    assert _is_pickle(base64.b64encode(b"\x80\x04K\x01."))
    assert _is_pickle(b"\x80\x04K\x01.")
    assert not _is_pickle('{"value":1}')


def test_a_stream_that_is_closed_by_now_stops_no_work(working: Callable[..., Work], tmp_path: Path) -> None:
    import logging

    gone = (tmp_path / "gone").open("w")
    logging.getLogger("dbos").handlers[:] = [logging.StreamHandler(gone)]
    gone.close()
    done: list[str] = []

    def job(step: Step, subject: str) -> Next:
        step("note", lambda: done.append(subject))
        return Next()

    work = working({"note": job})
    work.tasks.wake("note", "one")
    wait_for(lambda: done == ["one"], "it is done")
