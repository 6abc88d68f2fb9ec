"""Slots that work on for callers who have left."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from ecotone.engines import leftovers
from ecotone.engines.leftovers import SILENT, Leftovers
from ecotone.values import TargetError


class Host:
    """An engine whose worker says that these slots are busy, one account after the other."""

    def __init__(self, *accounts, served=0, grace_s=0.0):
        self.accounts = list(accounts)
        self.running = SimpleNamespace(channel=self, key="k")
        self.others = served
        self.log = []
        self.mourned = []
        self.leftovers = Leftovers(self, grace_s, self.mourned.append)

    def served(self):
        return self.others

    def freed(self):
        self.log.append("freed")

    def recycle(self, why):
        self.log.append("recycle")
        self.running = None
        self.leftovers.forget()

    def open(self, method, path, headers, body, sink):
        account = self.accounts.pop(0) if len(self.accounts) > 1 else self.accounts[0]

        def play():
            if account is None:
                sink.failed(TargetError("reset", ""))
                return
            sink.head(200, {})
            sink.data(json.dumps([{"is_processing": number < account} for number in range(2)]).encode())
            sink.ended()

        if account != "silent":
            asyncio.get_running_loop().call_soon(play)
        return SimpleNamespace(abort=lambda: None)

    async def over(self):
        async with asyncio.timeout(5):
            while not self.log:
                await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(leftovers, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(leftovers, "FREED_S", 0.02)


def play(acts):
    asyncio.run(asyncio.wait_for(acts(), 10))


def test_a_slot_that_is_free_is_given_back():
    async def acts():
        host = Host(1, 0, grace_s=9)
        host.leftovers.add()
        host.leftovers.add()
        assert host.leftovers.count == 2
        await host.over()
        assert (host.log, host.leftovers.count) == (["freed"], 0)

    play(acts)


def test_busy_slots_that_are_all_accounted_for_are_given_back_at_the_second_look():
    async def acts():
        host = Host(1, served=1)
        host.leftovers.add()
        await host.over()
        assert host.log == ["freed"]

    play(acts)


@pytest.mark.parametrize("account", [1, None, "silent"])
def test_a_worker_that_goes_on_is_replaced(account):
    async def acts():
        host = Host(account)
        host.leftovers.add()
        await host.over()
        assert host.log == ["recycle"]
        assert not host.mourned, "the watch ended by itself"

    play(acts)


def test_a_worker_that_serves_others_is_replaced_when_they_are_gone():
    async def acts():
        host = Host(2, 2, 2, served=1)
        host.leftovers.add()
        while host.accounts[1:]:
            await asyncio.sleep(0.001)
        assert not host.log
        host.others = 0
        await host.over()
        assert host.log == ["recycle"]

    play(acts)


def test_who_left_in_mid_answer_is_looked_for_once():
    async def acts():
        host = Host(1)
        host.leftovers.suspect()
        host.leftovers.suspect()
        assert host.leftovers.count == 0
        await host.over()
        assert host.log == ["recycle"]
        busy = Host(served=1)
        busy.leftovers.suspect()
        await asyncio.sleep(0.05)
        assert busy.leftovers.count == 0

    play(acts)


def test_with_the_worker_all_is_forgotten():
    async def acts():
        host = Host(2, 2, grace_s=9)
        host.leftovers.add()
        host.leftovers.suspect()
        host.leftovers.forget()
        assert (host.leftovers.count, len(host.mourned)) == (0, 1)
        host.running = None
        host.leftovers.add()
        assert host.leftovers.count == 0
        await asyncio.wait(host.mourned)
        gone = Host(2, grace_s=9)
        gone.leftovers.add()
        await asyncio.sleep(0.005)
        gone.running = None
        await asyncio.wait({gone.leftovers._watch})
        assert not gone.log

    play(acts)


def test_a_worker_that_says_nothing_counts_as_all_at_work():
    async def acts():
        assert await Leftovers.busy_slots(Host("silent").running) == SILENT

    play(acts)
