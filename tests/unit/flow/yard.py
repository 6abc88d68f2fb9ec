"""A stage with a queue behind it: jobs of scripted targets on virtual time. Instruments of the tests of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from ecotone.flow.accepting import Terms
from ecotone.flow.draining import Drain, Drains
from ecotone.flow.news import News
from ecotone.jobs import Backoff
from ecotone.ports import Queue
from ecotone.sim.queue import MemoryQueue
from ecotone.sim.scripted import ScriptedTarget, Stage
from ecotone.sim.time import START_WALL_S
from ecotone.values import Endpoint, Job, RefusalError

T = TypeVar("T")
BODY = b'{"model":"auto","messages":[{"role":"user","content":"hello"}]}'
HOUR_MS = 3_600_000


class Yard:
    """One site with a queue and a worker on it."""

    def __init__(self, *targets: ScriptedTarget, drains: Drains | None = None, **site: Any) -> None:
        self.stage = Stage(*targets, **site)
        self.queue = MemoryQueue()
        self.drains = drains or Drains(backoff=Backoff(attempts_max=3, first_ms=1_000, most_ms=4_000))
        self.drain = Drain(lambda: self.stage.site, self.queue, Random(0), drains=lambda: self.drains)
        self.news = News(self.queue)
        self.tasks: list[asyncio.Task[Any]] = []

    @property
    def now_ms(self) -> int:
        """Unix milliseconds."""
        return int((START_WALL_S + self.stage.loop.now_s) * 1e3)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something on the yard's loop."""
        return self.stage.loop.run_until_complete(work)

    def start(self, *more: Awaitable[None]) -> None:
        """The workers begin."""
        works = [self.news.forever(), self.drain.forever(), *more]
        self.tasks += [self.stage.loop.create_task(work) for work in works]  # type: ignore[arg-type]
        self.news.on_end(self.drain.told)

    def job(self, **changes: Any) -> Job:
        """A job that is accepted now."""
        base: dict[str, Any] = {
            "id": f"job-{self.stage.loop.now_s}-{Random().random()}", "endpoint": Endpoint.CHAT, "model": "auto",
            "created_at_ms": self.now_ms, "deadline_at_ms": self.now_ms + HOUR_MS, "reason": "deferred.asked",
        }  # fmt: skip
        return Job(**base | changes)

    def put(self, body: bytes = BODY, **changes: Any) -> str:
        """The id of a new job in the queue."""
        return self.run(self.queue.put([(self.job(**changes), body)]))[0]

    def get(self, job: str) -> Job:
        """A job as it is now."""
        found = self.run(self.queue.get(job))
        assert found is not None
        return found

    def until(self, condition: Callable[[], bool], within_s: float = 7_200.0) -> None:
        """Lets time pass until something is so."""

        async def wait() -> None:
            async with asyncio.timeout(within_s):
                while not condition():
                    await asyncio.sleep(0.01)

        self.run(wait())

    def ended(self, job: str, within_s: float = 7_200.0) -> Job:
        """A job, once it has ended."""
        self.until(lambda: self.get_now(job).ended_at_ms > 0, within_s)
        return self.get(job)

    def get_now(self, job: str) -> Job:
        """As `get`, from within the loop."""
        return self.queue._kept[job].job

    def terms(self, **changes: Any) -> Terms:
        """Terms of a job."""
        base: dict[str, Any] = {"id": "job-1", "deadline_at_ms": self.now_ms + HOUR_MS}
        return Terms(**base | changes)

    def close(self) -> None:
        """Ends the workers."""

        async def end() -> None:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

        self.run(end())
        self.stage.close()
        for target in self.stage.targets:
            assert target.active == 0, f"{target.spec.name} still at work"


class Refusing:
    """A queue of which some calls refuse, so many times."""

    def __init__(self, queue: Queue, **times: int) -> None:
        self._queue = queue
        self.times = times

    def __getattr__(self, name: str) -> Any:
        if self.times.get(name, 0) > 0:
            self.times[name] -= 1

            async def refuse(*given: Any, **more: Any) -> None:
                raise RefusalError("refused.store", "made", status=503)

            return refuse
        return getattr(self._queue, name)
