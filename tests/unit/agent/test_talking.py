"""The two conversations go on for ever, whatever the hub does, and what was acknowledged is never sent again."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from ecotone.agent import talking
from ecotone.agent.outbox import Make, Outbox
from ecotone.agent.talking import Habits, Talk
from ecotone.values import EcotoneError, RefusalError, TargetError

LIMIT_S = 20.0


class Clock:
    """Monotonic time as it is, and hours that a test adds."""

    def __init__(self) -> None:
        self.more_s = 0.0

    def now_s(self) -> float:
        return asyncio.get_running_loop().time() + self.more_s

    def wall_s(self) -> float:
        return 1.7e9 + self.more_s


class Hub:
    """Keeps the newest report; fails as told."""

    def __init__(self) -> None:
        self.generation = 0
        self.known: dict[int, bytes] = {}
        self.batches: list[list[int]] = []
        self.errors: list[Exception] = []
        self.is_down = False
        self.forgotten = 0
        self.asked = 0
        self.floor = 0
        self.loses = False

    async def desired(self, after: int, wait_s: float) -> int | None:
        self.asked += 1
        self._fail()
        await asyncio.sleep(0.002)
        return self.generation if self.generation > after else None

    async def report(self, raws: list[bytes]) -> tuple[int, int]:
        self._fail()
        numbers = [json.loads(raw)["seq"] for raw in raws]
        self.batches.append(numbers)
        self.known.update(zip(numbers, raws, strict=True))
        if self.loses:
            self.loses = False
            raise TargetError("reset", "the answer was lost")
        return max(self.floor, *numbers), 100 + len(self.batches)

    def forget(self) -> None:
        self.forgotten += 1

    def _fail(self) -> None:
        if self.is_down:
            raise TargetError("refused", "nobody there")
        if self.errors:
            raise self.errors.pop(0)


class Scene:
    """A talk with quick habits."""

    def __init__(self, tmp_path: Path) -> None:
        self.hub, self.clock = Hub(), Clock()
        self.box = Outbox(tmp_path / "outbox.sqlite")
        self.looks = 0
        self.talk = Talk(self.hub, self.box, self.look, self.clock, Random(0))
        self.talk.habits = lambda: self.habits
        self.habits = Habits(every_s=0.05, wait_s=1.0)

    def look(self) -> Make:
        self.looks += 1
        return lambda seq, dropped: json.dumps({"seq": seq, "dropped": dropped}).encode()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PAUSE_S_MIN", 0.002), ("PAUSE_S_MAX", 0.02), ("HELD_S", 0.02), ("SETTLE_S", 0.0),
                        ("GAP_S", 0.005), ("QUICK_S", 0.004)):  # fmt: skip
        monkeypatch.setattr(talking, name, value)


def play(tmp_path: Path, act: Callable[[Scene], Awaitable[None]]) -> Scene:
    made: list[Scene] = []

    async def main() -> None:
        one = Scene(tmp_path)
        made.append(one)
        tasks = [asyncio.ensure_future(one.talk.watch()), asyncio.ensure_future(one.talk.report())]
        try:
            await act(one)
            assert not any(task.done() for task in tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    return made[0]


def test_news_are_heard_once_and_reports_go_up(tmp_path: Path) -> None:
    heard: list[int] = []

    async def act(one: Scene) -> None:
        one.talk.on_news = heard.append
        await one.until(lambda: one.hub.known)
        one.hub.generation = 4
        await one.until(lambda: heard)
        await one.until(lambda: len(one.hub.known) >= 3)
        assert one.talk.status()["state"] == "up"
        assert one.talk.generation == 4
        await one.until(lambda: one.talk.waiting == 0)

    one = play(tmp_path, act)
    assert heard == [4]
    assert one.box.sent()[-1].entry is not None


def test_an_outage_loses_nothing_and_doubles_nothing_but_a_lost_answer(tmp_path: Path) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.hub.known)
        one.hub.is_down = True
        for count in range(1, 4):
            one.talk.changed()
            await one.until(lambda count=count: one.box.counts().waiting >= count)
        await one.until(lambda: one.talk.status()["state"] == "down")
        waiting = [report.seq for report in one.box.unsent()]
        one.hub.loses = True
        one.hub.is_down = False
        one.talk.stir()
        await one.until(lambda: one.box.counts().acked_seq >= waiting[-1])
        assert set(waiting) <= set(one.hub.known)

    one = play(tmp_path, act)
    firsts = [batch[0] for batch in one.hub.batches]
    assert firsts == sorted(firsts)
    assert one.hub.forgotten > 0


def test_a_site_that_was_restored_counts_on_above_what_the_hub_knows(tmp_path: Path) -> None:
    async def act(one: Scene) -> None:
        one.hub.floor = 5000
        await one.until(lambda: any(seq > 5000 for seq in one.hub.known))

    play(tmp_path, act)


def test_policy_holds_messages_and_lets_them_go_again(tmp_path: Path) -> None:
    async def act(one: Scene) -> None:
        one.hub.errors = [RefusalError("refused.no_cloud", "off") for _ in range(6)]
        await one.until(lambda: one.talk.status()["state"] == "held")
        assert one.talk.status()["why"] == "refused.no_cloud"
        await one.until(lambda: one.talk.status()["state"] == "up")

    play(tmp_path, act)


def test_a_site_that_is_revoked_says_so_and_tries_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def act(one: Scene) -> None:
        one.hub.errors = [TargetError("forbidden", "the hub: HTTP 403 hub.revoked") for _ in range(8)]
        await one.until(lambda: one.talk.state == "refused")
        assert "ecotone enroll" in one.talk.troubles()[0]
        await one.until(lambda: one.talk.state == "up")
        assert one.talk.troubles() == []

    with caplog.at_level(logging.WARNING, "ecotone.hub"):
        play(tmp_path, act)
    assert sum("does not take this site" in line for line in caplog.messages) == 1


def test_long_silence_is_told_once_a_day_and_its_end_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.talk.state == "up")
        one.hub.is_down = True
        await one.until(lambda: one.talk.state == "down")
        one.clock.more_s += 2 * 3600
        await one.until(lambda: any("was not heard" in line for line in caplog.messages))
        assert "2 h" in one.talk.troubles()[0]
        asked = one.hub.asked
        await one.until(lambda: one.hub.asked > asked + 3)
        one.clock.more_s += 25 * 3600
        await one.until(lambda: sum("was not heard" in line for line in caplog.messages) == 2)
        one.hub.is_down = False
        await one.until(lambda: any("heard again" in line for line in caplog.messages))

    with caplog.at_level(logging.INFO, "ecotone.hub"):
        play(tmp_path, act)
    assert sum("was not heard" in line for line in caplog.messages) == 2


def test_reports_that_are_off_do_not_go_and_news_still_come(tmp_path: Path) -> None:
    async def act(one: Scene) -> None:
        one.habits = Habits(is_reporting=False, wait_s=1.0)
        one.hub.generation = 2
        await one.until(lambda: one.talk.generation == 2)
        await one.until(lambda: one.hub.asked > 4)
        assert one.hub.known == {}
        one.habits = Habits(every_s=0.05, wait_s=1.0)
        await one.until(lambda: one.hub.known)

    play(tmp_path, act)


def test_a_day_has_so_many_bytes_and_the_next_day_as_many_again(tmp_path: Path) -> None:
    async def act(one: Scene) -> None:
        one.habits = Habits(every_s=0.01, wait_s=1.0, bytes_per_day=60)
        await one.until(lambda: one.talk.status()["outbox"]["is_over_budget"])
        sent = len(one.hub.known)
        assert sum(len(raw) for raw in one.hub.known.values()) <= 60
        asked = one.hub.asked
        await one.until(lambda: one.hub.asked > asked + 2)
        one.clock.more_s -= 90_000  # a clock that is set back gives nothing
        await asyncio.sleep(0.1)
        assert len(one.hub.known) == sent
        one.clock.more_s += 2 * 90_000
        await one.until(lambda: len(one.hub.known) > sent)

    play(tmp_path, act)


def test_a_disk_that_refuses_is_told_and_news_still_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise EcotoneError("hub.outbox", "the disk is full")

    async def act(one: Scene) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Outbox, "put", full)
            one.talk.changed()
            await one.until(lambda: one.talk.status()["outbox"]["failure"])
            assert any("the disk is full" in line for line in one.talk.troubles())
            one.hub.generation = 9
            await one.until(lambda: one.talk.generation == 9)
            patch.setattr(Outbox, "unsent", full)
            await asyncio.sleep(0.05)
        one.talk.changed()
        await one.until(lambda: one.hub.known)
        await one.until(lambda: not one.talk.status()["outbox"]["failure"])

    play(tmp_path, act)


@pytest.mark.parametrize("acked", [0, 1 << 52])
def test_a_hub_that_acknowledges_what_it_was_not_sent_is_not_believed(tmp_path: Path, acked: int) -> None:
    async def act(one: Scene) -> None:
        async def lies(raws: list[bytes]) -> tuple[int, int]:
            one.hub.batches.append([json.loads(raw)["seq"] for raw in raws])
            return acked, 1

        one.hub.report = lies  # type: ignore[method-assign]
        await one.until(lambda: len(one.hub.batches) > 1)
        assert one.box.counts().waiting >= 1
        assert one.box.counts().last_seq < 1000

    play(tmp_path, act)


def test_a_hub_that_holds_nothing_back_is_asked_less_and_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talking, "QUICK_S", 0.02)
    monkeypatch.setattr(talking, "QUICK_S_MAX", 0.16)

    async def act(one: Scene) -> None:
        one.hub.generation = 3
        began_s = one.clock.now_s()
        await one.until(lambda: one.hub.asked >= 6)
        assert one.clock.now_s() - began_s > 0.02 + 0.04 + 0.08 + 0.16

    play(tmp_path, act)


def test_what_is_lost_on_the_way_counts_in_the_days_bytes_too(tmp_path: Path) -> None:
    async def act(one: Scene) -> None:
        one.habits = Habits(every_s=0.01, wait_s=1.0, bytes_per_day=1)

        async def lost(raws: list[bytes]) -> tuple[int, int]:
            one.hub.batches.append([1])
            raise TargetError("reset", "the answer was lost")

        one.hub.report = lost  # type: ignore[method-assign]
        await one.until(lambda: one.talk.status()["outbox"]["is_over_budget"])
        assert len(one.hub.batches) == 1  # one may always go

    play(tmp_path, act)


def test_a_month_without_a_link_stays_small_and_drains_in_order(tmp_path: Path) -> None:
    """Rule 1: an hour is a turn; every third day something changes."""

    async def act(one: Scene) -> None:
        await one.until(lambda: one.box.counts().acked_seq)
        one.hub.is_down = True
        await one.until(lambda: one.talk.state == "down")
        one.habits = Habits(every_s=1e9, wait_s=1.0)
        for hour in range(30 * 24):
            one.clock.more_s += 3600.0
            kind: Literal["state", "level"] = "state" if hour % 72 == 0 else "level"
            one.box.put(one.look(), kind, one.clock.wall_s())
        waiting = [report.seq for report in one.box.unsent()]
        assert len(waiting) <= 30 * 24 / 72 + 3
        assert (tmp_path / "outbox.sqlite").stat().st_size < 1 << 20
        assert one.box.counts().dropped == 0
        before = set(one.hub.known)
        one.habits = Habits(every_s=0.05, wait_s=1.0)
        one.hub.is_down = False
        one.talk.stir()
        one.talk.changed()
        await one.until(lambda: set(waiting) <= set(one.hub.known))
        drained = [seq for batch in one.hub.batches for seq in batch if seq not in before]
        assert drained[: len(waiting)] == waiting

    play(tmp_path, act)
