"""Jobs of a made afternoon: who asks for them, the workers on their queue, and what befalls both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from random import Random
from typing import Any, Final, cast

import msgspec

from ecotone.flow.accepting import Terms, accept
from ecotone.flow.draining import Drain, Drains
from ecotone.flow.news import News
from ecotone.flow.site import Site
from ecotone.jobs import Backoff, Patience
from ecotone.ports import Queue
from ecotone.sim.detectors import planted
from ecotone.sim.time import VirtualClock
from ecotone.sim.watched import Door, WatchedQueue
from ecotone.sim.world import Link
from ecotone.values import EcotoneError, Endpoint, Job, JobState, Wish
from ecotone.wire.request import Head, decode

QUIET_S: Final = 8.0
"""Where nothing has begun or ended for so long, whatever can be done is done."""

QUIET_S_MAX: Final = 40.0
"""Some are tried again and again."""

NIGHT_S: Final = 2 * 86_400.0
"""Then the clock is set ahead: all deadlines are over."""

DEADLINES_S: Final = (0.5, 3.0, 10.0, 40.0, 600.0, 600.0, 14_400.0)
JUMPS_S: Final = (-7_200.0, -1_200.0, -5.0, 5.0, 1_200.0, 7_200.0)
TROUBLES: Final = ("jump", "jump", "restart", "worker", "lapse")
LEASE_S: Final = 3.0


Trouble = tuple[float, str, float]
"""(virtual instant, what, seconds)."""


class Errand(msgspec.Struct):
    """One job as its caller knows it.

    Attributes:
        repeats: The caller asks for it again so many seconds after the time before.
        names: What each ask that was taken was told.
        refusals: What each other one was told.
        state_told: State that the answer to the cancelling told; None where there was none.
        took_s: The longest that an ask took.
    """

    id: str
    body: bytes
    at_s: float
    deadline_s: float
    priority: int
    key: str = ""
    wish: Wish = Wish.AUTO
    labels: tuple[str, ...] = ()
    idempotency: str = ""
    repeats: tuple[float, ...] = ()
    cancels_after_s: float | None = None
    names: list[str] = []
    refusals: list[EcotoneError] = []
    state_told: JobState | None = None

    @property
    def asks_for(self) -> dict[str, Any]:
        """The body's fields."""
        return cast("dict[str, Any]", msgspec.json.decode(self.body))


class Works:
    """One process: the workers on the queue, and its door to it."""

    def __init__(self, backlog: Backlog, current: Callable[[], Site]) -> None:
        self.door = Door(backlog.queue, backlog.disk, backlog.rng, backlog.latency_s)
        queue = cast("Queue", self.door)
        self.drain = Drain(current, queue, Random(backlog.rng.getrandbits(32)), drains=lambda: backlog.drains)  # noqa: S311 - a made world, not a secret
        self.news = News(queue)
        self.news.on_end(self.drain.told)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.drain.forever()), loop.create_task(self.news.forever())]

    def kill(self) -> None:
        """It ends here: nothing of it reaches the queue any more."""
        self.door.is_dead = True
        for task in self._tasks:
            task.cancel()

    async def gone(self) -> None:
        """Returns when its tasks have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Backlog:
    """All that a history has to do with jobs.

    Attributes:
        errands: What is asked for.
        troubles: What is to befall, in order.
        befell: (what, virtual instant) of what came true of them.
        is_edge_wanted: The mode of the name `auto` lets jobs go to the edge as soon as it is idle.
        night_s: When everything should be done.
    """

    def __init__(
        self, rng: Random, clock: VirtualClock, asked: tuple[list[Errand], list[Trouble]], *, is_edge_wanted: bool
    ) -> None:
        start_s = clock.now_s()
        errands, troubles = asked
        self.is_edge_wanted = is_edge_wanted
        self.night_s = start_s
        self.rng = Random(rng.getrandbits(64))  # noqa: S311 - a made world, not a secret
        self.clock = clock
        self.errands = errands
        self.queue = WatchedQueue(clock, rng.choice((3, 100)))
        self.disk = drawn_disk(rng, start_s)
        self.queue.disk = self.disk
        self.latency_s = rng.choice((0.0, 0.002, 0.02))
        self.drains = Drains(
            concurrent=rng.choice((1, 2, 3)),
            lease_s=LEASE_S,
            patience=Patience(unknown_ms=5_000, look_ms=3_000),
            backoff=Backoff(attempts_max=rng.choice((3, 8)), first_ms=300, most_ms=2_000),
        )
        self.troubles = sorted([*drawn_troubles(rng, start_s), *troubles])
        self.befell: list[tuple[str, float]] = []
        self.works: Works | None = None

    async def live(
        self, current: Callable[[], Site], restart: Callable[[], None], others: list[asyncio.Task[None]]
    ) -> None:
        """The afternoon of the jobs, until each has ended, or should have.

        Args:
            others: The interactive requests: they go first, and jobs have their time when they are over.
            restart: Ends the site's process and begins a new one.
        """
        self.works = Works(self, current)
        tasks = [asyncio.ensure_future(self._ask(errand, current)) for errand in self.errands]
        tasks.append(asyncio.ensure_future(self._befall(current, restart)))
        await asyncio.gather(*tasks)
        await asyncio.wait(others)
        last_s = max([self.clock.now_s(), *(end for _, end in self.disk.cuts)])
        await asyncio.sleep(last_s - self.clock.now_s())
        await self._quiet()
        self.night_s = self.clock.now_s()
        self.clock.jump(NIGHT_S)
        await self._quiet()
        works = self.works
        works.kill()
        await works.gone()

    async def _quiet(self) -> None:
        """Until all jobs have ended, or nothing happens to them any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_S_MAX):
                while self.queue.open_jobs():
                    async with asyncio.timeout(QUIET_S):
                        await self.queue.changed(self.queue.status().events)

    async def _befall(self, current: Callable[[], Site], restart: Callable[[], None]) -> None:
        for at_s, what, by_s in self.troubles:
            await asyncio.sleep(max(0.0, at_s - self.clock.now_s()))
            self.befell.append((what, self.clock.now_s()))
            if what == "jump":
                self.clock.jump(by_s)
                continue
            if what == "lapse":
                self.queue.restart(now_ms=self._now_ms())
                continue
            assert self.works is not None
            self.works.kill()
            if what == "restart":
                restart()
                self.queue.restart(now_ms=self._now_ms())
            self.works = Works(self, current)

    async def _ask(self, errand: Errand, current: Callable[[], Site]) -> None:
        """One caller: asks, asks again, and gives up on it."""
        await asyncio.sleep(max(0.0, errand.at_s - self.clock.now_s()))
        for number, pause_s in enumerate((0.0, *errand.repeats)):
            await asyncio.sleep(pause_s)
            try:
                errand.names.append(await self._put(errand, number, current()))
            except EcotoneError as error:
                errand.refusals.append(error)
        if errand.cancels_after_s is not None and errand.names:
            await asyncio.sleep(errand.cancels_after_s)
            assert self.works is not None
            with contextlib.suppress(EcotoneError):
                errand.state_told = await self.works.door.cancel(errand.names[0], now_ms=self._now_ms())

    async def _put(self, errand: Errand, number: int, site: Site) -> str:
        """The id of the job that is accepted, as the gateway asks for it."""
        works, name = self.works, f"job-{errand.id}-{number}"
        assert works is not None
        head = Head(
            id=name,
            received_at_s=self.clock.now_s(),
            key=errand.key,
            wish=errand.wish,
            labels=errand.labels,
            seed=number,
        )
        terms = Terms(
            id=name,
            deadline_at_ms=self._now_ms() + round(errand.deadline_s * 1e3),
            priority=errand.priority,
            idempotency=errand.idempotency,
        )
        job, body = accept(site, decode(Endpoint.CHAT, errand.body, head), terms)
        names = cast("tuple[str, ...]", await works.door.put([(job, body)]))
        works.drain.stir()
        return names[0]

    def _now_ms(self) -> int:
        return int(self.clock.wall_s() * 1e3)


def errand_of(job: Job) -> str:
    """The id of the errand that a job is for."""
    return job.id.removeprefix("job-").rpartition("-")[0]


def drawn_errands(
    rng: Random, seed: int, start_s: float, labels: Callable[[Random], tuple[str, ...]]
) -> tuple[list[Errand], list[Trouble]]:
    """What is asked for in an afternoon: this and that, or much of a kind, in two waves with a long time in between."""
    errands = [drawn_errand(rng, seed, index, start_s, labels(rng)) for index in range(rng.randint(1, 10))]
    if rng.random() < 0.5:
        return errands, []
    first, begin_s = errands[0], start_s + rng.uniform(0, 8)
    waves = (begin_s, begin_s + rng.uniform(1, 4))
    for errand in errands:
        errand.at_s = rng.choice(waves) + rng.uniform(0, 0.3)
        errand.key, errand.wish, errand.labels = first.key, first.wish, first.labels
        errand.deadline_s = rng.choice((600.0, 14_400.0, 14_400.0))
    return errands, [(waves[1] - 0.2, "jump", rng.choice((1_200.0, 7_200.0)))]


def drawn_errand(rng: Random, seed: int, index: int, start_s: float, labels: tuple[str, ...]) -> Errand:
    """A job that somebody wants."""
    name = f"req-{seed:x}-e{index}"
    said = planted(name, card=rng.random() < 0.1, person=rng.random() < 0.2)
    asked: dict[str, Any] = {
        "model": rng.choice(("auto",) * 14 + ("one", "one", "unknown")),
        "request": name,
        "messages": [{"role": "user", "content": said}],
    }
    if rng.random() < 0.05:
        asked["stream"] = True
    if rng.random() < 0.1:
        asked["tools"] = [{"type": "function", "function": {"name": "f"}}]
    is_known = rng.random() < 0.3
    return Errand(
        id=name,
        body=msgspec.json.encode(asked),
        at_s=start_s + rng.uniform(0, 20),
        deadline_s=rng.choice(DEADLINES_S),
        priority=rng.randint(0, 9),
        key=rng.choice(("", "", "research")),
        wish=rng.choice((Wish.AUTO, Wish.AUTO, Wish.AUTO, Wish.EDGE, Wish.CLOUD)),
        labels=labels,
        idempotency=f"once-{index}" if is_known else "",
        repeats=tuple(rng.choice((0.0, 0.01, 1.0, 8.0)) for _ in range(rng.randint(0, 2))) if is_known else (),
        cancels_after_s=rng.choice((0.0, 0.01, rng.uniform(0, 10))) if rng.random() < 0.15 else None,
    )


def drawn_disk(rng: Random, start_s: float) -> Link:
    """A disk of the queue that works, mostly."""
    if rng.random() < 0.6:
        return Link()
    begin_s = start_s + rng.uniform(0, 20)
    return Link(((begin_s, begin_s + rng.choice((0.05, 1.0, 8.0))),))


def drawn_troubles(rng: Random, start_s: float) -> list[Trouble]:
    """What befalls the site's clock and its processes."""
    return [
        (start_s + rng.uniform(0, 25), rng.choice(TROUBLES), rng.choice(JUMPS_S))
        for _ in range(rng.choice((0, 0, 1, 2, 4)))
    ]
