"""Who waits for a job is told when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ecotone.flow.news import News
from ecotone.sim.scripted import ScriptedTarget, whole
from ecotone.values import JobEvent, JobState, Place

from .yard import BODY, Refusing, Yard

Make = Callable[..., Yard]


def slow(yard: Make, after_s: float = 1.0) -> Yard:
    made = yard(ScriptedTarget("small", whole(after_s=after_s), at=Place.EDGE))
    made.start()
    return made


def test_who_waits_is_told_at_the_end(yard: Make) -> None:
    made = slow(yard)
    job = made.put()

    async def two() -> list[Any]:
        return await asyncio.gather(made.news.ended(job, 60.0), made.news.ended(job, 60.0))

    found = made.run(two())
    assert [one.state for one in found] == [JobState.ANSWERED] * 2
    assert made.stage.loop.now_s < 2
    assert made.run(made.news.ended(job, 60.0)).state is JobState.ANSWERED  # type: ignore[union-attr]
    assert made.news._waiting == {}


def test_patience_has_an_end_and_some_jobs_are_not_there(yard: Make) -> None:
    made = slow(yard, 10.0)
    job = made.put()
    found = made.run(made.news.ended(job, 1.0))
    assert found is not None
    assert found.state is JobState.RUNNING
    assert made.run(made.news.ended("job-x", 60.0)) is None
    assert made.stage.loop.now_s < 2


def test_one_may_give_up_while_another_waits(yard: Make) -> None:
    made = slow(yard)
    job = made.put()

    async def scene() -> Any:
        other = asyncio.create_task(made.news.ended(job, 60.0))
        await made.news.ended(job, 0.1)
        return await other

    assert made.run(scene()).state is JobState.ANSWERED


def test_at_the_end_of_the_site_nobody_waits(yard: Make) -> None:
    made = slow(yard, 100.0)
    job = made.put()

    async def scene() -> tuple[Any, bool, bool]:
        waiting = asyncio.create_task(made.news.ended(job, 60.0))
        await asyncio.sleep(0.5)
        more = asyncio.create_task(made.news.more(1_000, 60.0))
        await asyncio.sleep(0.5)
        made.news.close()
        return await waiting, await more, await made.news.more(0, 60.0)

    found, more, later = made.run(scene())
    assert (found.state, more, later) == (JobState.RUNNING, False, False)
    assert made.run(made.news.ended(job, 60.0)) is not None
    assert made.stage.loop.now_s < 2


def test_more_comes_at_once_or_in_time_or_not(yard: Make) -> None:
    made = yard(ScriptedTarget("small", at=Place.EDGE))
    task = made.stage.loop.create_task(made.news.forever())
    made.tasks.append(task)
    assert made.run(made.news.more(0, 5.0))
    assert made.stage.loop.now_s >= 5.0

    async def scene() -> float:
        waiting = asyncio.create_task(made.news.more(0, 60.0))
        await asyncio.sleep(1.0)
        await made.queue.put([(made.job(), BODY)])
        await waiting
        return made.stage.loop.now_s

    assert made.run(scene()) < 7
    assert made.run(made.news.more(0, 60.0))
    assert made.stage.loop.now_s < 7


def test_everybody_who_asked_is_told_of_ends_only(yard: Make) -> None:
    made = slow(yard)
    told: list[JobEvent] = []
    made.news.on_end(told.append)
    job = made.put()

    async def scene() -> None:
        waiting = asyncio.create_task(made.news.ended(job, 60.0))
        await asyncio.sleep(0.1)
        for _ in range(2):
            made.news._tell(JobEvent(seq=1, job=job, state=JobState.ANSWERED, at_ms=0))
        await waiting

    made.run(scene())
    del told[:]
    made.ended(job, 3)
    made.stage.later(0.1)
    assert [(event.job, event.state) for event in told] == [(job, JobState.ANSWERED)]


def test_a_queue_that_refuses_is_asked_again_and_what_is_forgotten_is_skipped(yard: Make) -> None:
    made = slow(yard)
    news = News(Refusing(made.queue, events=1))  # type: ignore[arg-type]
    made.tasks.append(made.stage.loop.create_task(news.forever()))
    told: list[JobEvent] = []
    news.on_end(told.append)
    first = made.ended(made.put(), 5)
    made.stage.later(3.0)
    assert [event.job for event in told] == [first.id]
    made.tasks[-1].cancel()
    made.ended(made.put(), 5)
    made.queue._events.clear()
    made.tasks.append(made.stage.loop.create_task(news.forever()))
    made.stage.later(1.0)
    assert len(told) == 1
