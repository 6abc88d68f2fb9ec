"""Webhooks hear of ends: at least once, not for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from ecotone.flow import noticing
from ecotone.flow.noticing import Notices
from ecotone.sim.scripted import ScriptedTarget, whole
from ecotone.values import Place, RefusalError

from .yard import Refusing, Yard

Make = Callable[..., Yard]


class Receiver:
    """Answers as it is told to."""

    def __init__(self, *statuses: int, takes_s: float = 0.1) -> None:
        self.statuses = list(statuses)
        self.takes_s = takes_s
        self.told: list[tuple[str, dict[str, Any], int]] = []
        self.active = self.most = 0

    async def __call__(self, url: str, body: bytes, at_s: int) -> int:
        self.told.append((url, json.loads(body), at_s))
        self.active += 1
        self.most = max(self.most, self.active)
        await asyncio.sleep(self.takes_s)
        self.active -= 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status < 0:
            raise RefusalError("refused.made", "made")
        return status


def noticing_yard(yard: Make, receiver: Receiver, *, told: int = 0, queue: Any = None) -> tuple[Yard, Notices]:
    made = yard(ScriptedTarget("small", whole(), at=Place.EDGE))
    notices = Notices(lambda: made.stage.site, queue or made.queue, receiver, Random(0), told=told)
    made.start(notices.forever())
    return made, notices


def test_an_end_is_told_once(yard: Make) -> None:
    receiver = Receiver(204)
    made, notices = noticing_yard(yard, receiver)
    job = made.put(webhook="http://w/")
    made.put()
    made.until(lambda: bool(receiver.told), 5)
    made.stage.later(1)
    [(url, notice, at_s)] = receiver.told
    assert (url, notice["id"], notice["state"]) == ("http://w/", job, "answered")
    assert at_s == int(made.stage.site.clock.wall_s()) - 1 or at_s <= made.stage.site.clock.wall_s()
    assert notices.told == made.queue.status().events
    assert notices.given_up == 0


@pytest.mark.parametrize("trouble", [0, 500, 302, -1])
def test_a_receiver_in_trouble_is_told_again_but_not_for_ever(yard: Make, trouble: int) -> None:
    receiver = Receiver(trouble)
    made, notices = noticing_yard(yard, receiver)
    made.put(webhook="http://w/")
    made.until(lambda: bool(receiver.told), 5)
    made.stage.later(0.5)
    assert notices.told < made.queue.status().events, "a restart would tell it again"
    made.until(lambda: notices.given_up == 1, 7_200)
    assert len(receiver.told) == 8
    made.stage.later(0.1)
    assert notices.told == made.queue.status().events


def test_a_receiver_that_wants_no_more_is_left_alone(yard: Make) -> None:
    receiver = Receiver(410)
    made, notices = noticing_yard(yard, receiver)
    made.put(webhook="http://w/")
    made.until(lambda: bool(receiver.told), 5)
    made.stage.later(600)
    assert (len(receiver.told), notices.given_up) == (1, 0)


def test_after_a_restart_what_was_not_told_is_told(yard: Make) -> None:
    receiver = Receiver(200)
    made, first = noticing_yard(yard, receiver)
    for _ in range(3):
        made.put(webhook="http://w/")
    made.until(lambda: len(receiver.told) == 3, 5)
    made.tasks[-1].cancel()
    again = Receiver(200)
    second = Notices(lambda: made.stage.site, made.queue, again, Random(0), told=0)
    made.tasks.append(made.stage.loop.create_task(second.forever()))
    made.until(lambda: len(again.told) == 3, 5)
    third = Notices(lambda: made.stage.site, made.queue, again, Random(0), told=first.told)
    made.tasks.append(made.stage.loop.create_task(third.forever()))
    made.stage.later(5)
    assert len(again.told) == 3


def test_bounds(yard: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noticing, "PENDING_MAX", 4)
    monkeypatch.setattr(noticing, "EVENTS_MAX", 2)
    receiver = Receiver(200, takes_s=3.0)
    made, _ = noticing_yard(yard, receiver)
    for _ in range(20):
        made.put(webhook="http://w/")
    made.until(lambda: len(receiver.told) == 20, 600)
    assert receiver.most <= noticing.CONCURRENT_MAX
    assert receiver.most <= 6


def test_a_queue_that_refuses_or_forgot(yard: Make) -> None:
    receiver = Receiver(200)
    made = yard(ScriptedTarget("small", whole(), at=Place.EDGE))
    queue: Any = Refusing(made.queue, events=1, get=1)
    notices = Notices(lambda: made.stage.site, queue, receiver, Random(0), told=5)
    made.start(notices.forever())
    made.put(webhook="http://w/")
    made.until(lambda: bool(receiver.told), 30)
    made.tasks[-1].cancel()
    made.ended(made.put(webhook="http://w/"), 5)
    made.queue._events.clear()
    made.tasks.append(made.stage.loop.create_task(notices.forever()))
    made.stage.later(3)
    assert notices.told == made.queue.status().events


def test_a_job_that_is_gone_is_not_told(yard: Make) -> None:
    receiver = Receiver(200)
    made = yard(ScriptedTarget("small", whole(), at=Place.EDGE))
    made.start()
    job = made.put(webhook="http://w/")
    made.ended(job, 5)
    made.queue._kept.pop(job)
    notices = Notices(lambda: made.stage.site, made.queue, receiver, Random(0), told=0)
    made.tasks.append(made.stage.loop.create_task(notices.forever()))
    made.stage.later(3)
    assert receiver.told == []
