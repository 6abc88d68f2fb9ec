"""Deliveries: a child for each, ended by what is newer, never in the way; what it says is taken in, or nothing is."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random

import msgspec
import pytest

from ecotone.agent import deliveries, errands
from ecotone.agent.deliveries import Chosen, Deliveries, Known
from ecotone.agent.errands import Job, Offer, Wished
from ecotone.values import RefusalError, TargetError

LIMIT_S = 30.0
ONE = Offer(name="m", version="1", kind="model", sha256="1" * 64)
TWO = Offer(name="m", version="2", kind="model", sha256="2" * 64)


class Clock:
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def wall_s(self) -> float:
        return 1.7e9


class Shop:
    """A site that takes everything."""

    def __init__(self) -> None:
        self.is_usable = True
        self.tokens = ["t1"]
        self.errors: list[Exception] = []
        self.known: list[Known] = []
        self.here: list[Offer] = []
        self.passed: tuple[tuple[Offer, str], ...] = ()

    def job(self) -> Job:
        return Job(store="/nowhere", url="http://127.0.0.1:1")

    def is_open(self) -> bool:
        return self.is_usable

    async def session(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return self.tokens[-1]

    async def renewed(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        self.tokens.append(f"t{len(self.tokens) + 1}")
        return self.tokens[-1]

    def choose(self, offers: Sequence[Offer]) -> Chosen:
        left = [offer for offer in offers if offer not in self.here]
        return Chosen(() if self.passed else tuple(left), self.passed)

    def verified(self, known: Known) -> None:
        self.known.append(known)

    def ready(self, offer: Offer) -> None:
        self.here.append(offer)


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shop = Shop()
        self.work = Deliveries(self.shop, Clock(), Random(0))
        self.changes = 0
        self.work.on_change = self._count

    def _count(self) -> None:
        self.changes += 1

    def starts(self) -> int:
        return len(list(self.folder.glob("ran-*")))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.01)


Act = Callable[[Scene], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Act], None]:
    """Plays a scene with children that run a script: `say`, `hear` are there."""
    monkeypatch.setattr(deliveries, "RETRY_S_MIN", 0.02)
    monkeypatch.setattr(deliveries, "RETRY_S_MAX", 0.05)
    monkeypatch.setattr(deliveries, "LOOK_S", 0.02)

    def run(script: str, act: Act) -> None:
        head = f"""
            import os, sys, time, pathlib
            folder = pathlib.Path({str(tmp_path)!r})
            number = len(list(folder.glob("ran-*")))
            (folder / f"ran-{{number}}-{{os.getpid()}}").touch()
            from ecotone.agent import errands
            from ecotone.agent.errands import *
            def say(event):
                sys.stdout.buffer.write(errands.line(event)); sys.stdout.buffer.flush()
            def hear():
                return errands.order(sys.stdin.buffer.readline())
            def wish(generation=1, *offers):
                return Wished(generation=generation, issued_s=1.69e9, expires_s=1.7e9 + 9e5, offers=offers)
            ONE = Offer(name="m", version="1", kind="model", sha256="1" * 64)
            TWO = Offer(name="m", version="2", kind="model", sha256="2" * 64)
            job = hear()
        """
        file = tmp_path / "child.py"
        file.write_text(textwrap.dedent(head) + textwrap.dedent(script))
        monkeypatch.setattr(deliveries, "COMMAND", (sys.executable, "-P", str(file)))

        async def main() -> None:
            one = Scene(tmp_path)
            task = asyncio.ensure_future(one.work.live())
            try:
                await act(one)
                assert not task.done(), task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())

    return run


def test_what_is_wanted_comes_and_is_handed_over(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        one.work.wanted(1)
        await one.until(lambda: one.shop.here)
        assert one.shop.here == [ONE]
        assert one.work.reports() == ()
        assert one.work.status()["verified_generation"] == 1
        assert one.work.status()["stale_since"] is None
        assert one.shop.known[-1].offers == (ONE,)
        await asyncio.sleep(0.1)
        assert one.starts() == 1  # nothing is new
        one.work.wanted(1)
        await asyncio.sleep(0.05)
        assert one.starts() == 1
        one.work.again()
        await one.until(lambda: one.starts() == 2)

    play(
        """
        say(wish(1, ONE))
        assert hear().sha256s in (("1" * 64,), ()), "told what to take"
        say(Step("1" * 64, 500)); say(Step("9" * 64, 1)); say(Ready("1" * 64)); say(Done())
        """,
        act,
    )


def test_what_is_announced_and_not_there_yet_is_looked_for_again(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        one.work.wanted(2)
        await one.until(lambda: one.shop.here)
        assert one.shop.here == [TWO]
        starts = one.starts()
        assert starts == 3
        await asyncio.sleep(0.2)
        assert one.starts() == starts

    play("say(wish(2, TWO) if number > 1 else wish(1)); hear(); say(Ready('2' * 64)); say(Done())", act)


def test_a_step_shows_and_a_token_is_renewed(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.reports() and one.work.reports()[0].state == "fetching")
        assert one.work.reports()[0].bytes_left == 500
        (one.folder / "go").touch()
        await one.until(lambda: one.shop.here)
        assert one.shop.tokens == ["t1", "t2"]

    play(
        """
        assert job.token == "t1"
        say(wish(1, ONE)); hear(); say(Step("1" * 64, 500))
        while not (folder / "go").exists(): time.sleep(0.01)
        say(Renew())
        assert hear() == Token("t2")
        say(Ready("1" * 64)); say(Done())
        """,
        act,
    )


def test_a_newer_wish_ends_the_child_of_an_older_one(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.known.generation == 1)
        one.work.wanted(2)
        await one.until(lambda: one.shop.here)
        assert one.shop.here == [TWO]
        assert one.starts() == 2

    play(
        """
        if number == 0:
            say(wish(1, ONE)); hear(); time.sleep(60)
        say(wish(2, TWO)); hear(); say(Ready("2" * 64)); say(Done())
        """,
        act,
    )


def test_what_could_not_be_had_is_told_and_tried_again(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.reports() and one.work.reports()[0].state == "refused")
        assert one.work.reports()[0].why == "asset.disk_full"
        since_s = one.work.reports()[0].since_s
        await one.until(lambda: one.shop.here)
        assert since_s == 1.7e9
        assert one.changes >= 2

    play(
        """
        say(wish(1, ONE)); hear()
        say(Ready("1" * 64) if number > 1 else Refused("1" * 64, "asset.disk_full", "no room"))
        say(Done())
        """,
        act,
    )


def test_what_the_link_cut_is_still_coming(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.trouble == "asset.unreachable")
        assert [(found.state, found.bytes_left) for found in one.work.reports()] == [("fetching", 9)]
        await one.until(lambda: one.shop.here)
        assert one.work.trouble == ""

    play(
        """
        say(wish(1, ONE)); hear(); say(Step("1" * 64, 9))
        if number == 0:
            say(Refused("1" * 64, "asset.unreachable", "cut", True, True)); say(Done()); sys.exit()
        say(Ready("1" * 64)); say(Done())
        """,
        act,
    )


def test_what_is_forged_stays_refused_until_something_is_new(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.reports() and one.work.reports()[0].state == "refused")
        await asyncio.sleep(0.2)
        assert one.starts() == 1
        assert one.work.reports()[0].why == "delivery.segment"

    play(
        """
        say(wish(1, ONE)); hear()
        say(Refused("1" * 64, "delivery.segment", "forged", False)); say(Done())
        """,
        act,
    )


def test_what_does_not_verify_is_trouble_and_a_hub_that_wants_nothing_is_none(
    play: Callable[[str, Act], None],
) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.trouble)
        assert one.work.trouble == "trust.signature"
        assert "does not hold" in one.work.troubles()[0]
        await one.until(lambda: one.starts() > 2)
        await one.until(lambda: not one.work.trouble)
        assert one.work.troubles() == []
        assert one.work.status()["fresh"] == "never verified"

    play(
        """
        say(Failed("trust.signature", "it does not hold") if number < 2 else Failed("trust.not_assigned", "nothing"))
        """,
        act,
    )


@pytest.mark.parametrize(
    "end", ["sys.exit(3)", "os.kill(os.getpid(), 9)", "sys.stdout.write('{]\\n')", "print('x' * 3_000_000)"]
)
def test_a_child_that_ends_or_talks_nonsense_is_followed_by_another(play: Callable[[str, Act], None], end: str) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.trouble == "delivery.process")
        await one.until(lambda: one.shop.here)
        assert one.work.trouble == ""

    play(f"if number < 2:\n    {end}\nelse:\n    say(wish(1, ONE)); hear(); say(Ready('1' * 64)); say(Done())\n", act)


def test_nothing_is_begun_where_the_link_may_not_be_used(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.reports())
        one.shop.is_usable = False
        await asyncio.sleep(0.3)
        starts = one.starts()
        assert starts == 1
        assert one.work.trouble == ""
        one.shop.is_usable = True
        await one.until(lambda: one.shop.here)

    play(
        """
        say(wish(1, ONE)); hear()
        if number == 0: time.sleep(60)
        say(Ready("1" * 64)); say(Done())
        """,
        act,
    )


def test_who_stops_does_not_wait_for_its_child(
    play: Callable[[str, Act], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "STOP_S", 1e6)

    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.reports())

    play("say(wish(1, ONE)); hear(); time.sleep(600)", act)


def test_no_session_no_child(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        one.shop.errors = [TargetError("refused", "no hub"), RefusalError("refused.no_cloud", "off")]
        await one.until(lambda: one.shop.here)
        assert one.starts() == 1

    play("say(wish(1, ONE)); hear(); say(Ready('1' * 64)); say(Done())", act)


def test_a_token_that_cannot_be_renewed_is_none(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        await one.until(lambda: one.work.reports())
        one.shop.errors = [TargetError("refused", "no hub")]
        (one.folder / "go").touch()
        await one.until(lambda: one.shop.here)

    play(
        """
        say(wish(1, ONE)); hear()
        while not (folder / "go").exists(): time.sleep(0.01)
        say(Renew()); assert hear() == Token("")
        say(Ready("1" * 64)); say(Done())
        """,
        act,
    )


def test_what_is_passed_over_says_why(play: Callable[[str, Act], None]) -> None:
    async def act(one: Scene) -> None:
        one.shop.passed = ((ONE, "memory"),)
        await one.until(lambda: one.work.reports())
        (found,) = one.work.reports()
        assert (found.state, found.why) == ("refused", "memory")

    play("say(wish(1, ONE)); assert hear().sha256s == (); say(Done())", act)


def test_lines_say_what_they_said() -> None:
    for said in (Wished(generation=1, issued_s=1.0, expires_s=2.0, offers=(ONE,)), errands.Done(3), errands.Renew()):
        assert errands.event(errands.line(said)) == said
    assert errands.order(errands.line(Job(store="s", url="u", token="t"))) == Job(store="s", url="u", token="t")
    with pytest.raises(msgspec.DecodeError):
        errands.event(b"{}")
