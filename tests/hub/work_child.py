"""A process that works for a hub, for tests that kill it: `work_child.py URL FOLDER [STEP:before|after]`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ecotone.hub.database import Database
from ecotone.hub.work import Work
from ecotone.hub.work_tasks import Next, Step

STEPS = ("first", "second", "third")


def main(url: str, folder: Path, kill_at: str = "") -> int:
    """Does the task `row` of the subject `x` until it is done; dies by its own hand at the step that is named."""

    def killed(where: str) -> None:
        if where == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def effect(name: str) -> Callable[[], int]:
        def write() -> int:
            killed(f"{name}:before")
            with (folder / "effects").open("a") as out:
                out.write(f"{name}\n")
                out.flush()
                os.fsync(out.fileno())
            killed(f"{name}:after")
            return len(name)

        return write

    def row(step: Step, subject: str) -> Next:
        assert subject == "x"
        assert sum(step(name, effect(name)) for name in STEPS) == sum(map(len, STEPS))
        killed("end:before")
        return Next()

    database = Database.open(url)
    work = Work(database, {"row": row}, time.time)
    work.start()
    until_s = time.monotonic() + 60
    while work.tasks.every() and time.monotonic() < until_s:
        time.sleep(0.02)
    left = len(work.tasks.every())
    work.stop()
    database.close()
    return left


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
