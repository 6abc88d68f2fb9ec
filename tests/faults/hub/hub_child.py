"""A hub's process that only works, and dies by its own hand where it is told: `hub_child.py FOLDER URL KIND/STEP:WHEN`.

It does all the work that `ecotone hub up` does, until the file FOLDER/stop is there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ecotone.hub import settings, work, work_durable, work_jobs
from ecotone.hub.serving import opened
from ecotone.hub.settings import Database, Settings


def chosen(folder: Path, url: str) -> Settings:
    """Settings of the hub in `folder/hub`."""
    given = settings.filled(settings.HubFile(), folder / "hub")
    return msgspec.structs.replace(given, database=Database(url=url), listen=settings.Listen(port=0))


def kill_at(where: str) -> None:
    """Has this process killed before or after a step of a kind of job, at its first time."""
    kind, _, rest = where.partition("/")
    wanted, _, when = rest.partition(":")
    durable: Any = work_durable.Durable
    run, step = durable._run, durable._step
    current: list[str] = []

    def running(self: Any, *task: Any) -> str:
        current[:] = [task[0]]
        return str(run(self, *task))

    def stepping(self: Any, name: str, function: Callable[[], Any]) -> Any:
        is_here = current == [kind] and name == wanted

        def done() -> Any:
            if is_here and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            value = function()
            if is_here and when == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return step(self, name, done)

    durable._run, durable._step = running, stepping
    work_jobs._ALONE = frozenset({"look", "publish", "collect", "resign"})  # type: ignore[misc] # one at a time


def main(folder: Path, url: str, where: str = "") -> None:
    """Works until it is told to stop."""
    if where:
        kill_at(where)
    work.LOOK_S = 0.05  # type: ignore[misc] # tests need not wait
    with opened(chosen(folder, url)) as hub:
        working = work_jobs.work(hub)
        working.start()
        while not (folder / "stop").exists():
            time.sleep(0.02)
        working.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *sys.argv[3:])
