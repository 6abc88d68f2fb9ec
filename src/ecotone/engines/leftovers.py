"""Slots of a worker that work on for callers who have left.

The engine notices in mid-answer that a caller has left, within some 0.02 s; in prefill it does not (RESEARCH-engines,
section 6): the slot stays busy until the whole prompt is read. Such a worker is replaced, unless others are on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from ecotone.engines.asking import ask
from ecotone.engines.launching import Running
from ecotone.values import TargetError

LOOK_EVERY_S: Final = 0.1
SILENT: Final = 1 << 20
"""Counts as more slots than any worker has."""

FREED_S: Final = 1.0
"""After a caller left in mid-answer its slot is looked at once more: it should have been free long ago."""


class Host(Protocol):
    """The engine whose slots these are."""

    running: Running | None

    def served(self) -> int:
        """Requests at the worker whose callers are there."""

    def freed(self) -> None:
        """Slots became free."""

    def recycle(self, why: str) -> None:
        """Replaces the worker."""


class _Slot(msgspec.Struct):
    is_processing: bool = False


class Leftovers:
    """Counts them, watches them, and has the worker replaced where they go on for too long.

    Attributes:
        count: Slots that are taken to be at work for nobody.
    """

    def __init__(self, host: Host, grace_s: float, mourn: Callable[[asyncio.Future[Any]], None]) -> None:
        """`grace_s`: how long one may go on where nobody else is served; `mourn` is told of a cancelled task."""
        self.count = 0
        self._host = host
        self._grace_s = grace_s
        self._mourn = mourn
        self._since_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def add(self) -> None:
        """A caller left in prefill."""
        if self._host.running is None:
            return
        self.count += 1
        self._since_s = self._loop.time()
        if self._watch is None:
            self._watch = self._loop.create_task(self._look())

    def suspect(self) -> None:
        """A caller left in mid-answer: looks later whether its slot was freed."""
        if self._timer is None:
            self._timer = self._loop.call_later(FREED_S, self._check)

    def forget(self) -> None:
        """The worker is gone, and all its slots."""
        self.count = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        watch, self._watch = self._watch, None
        if watch is not None and watch is not asyncio.current_task():
            watch.cancel()
            self._mourn(watch)

    def _check(self) -> None:
        self._timer = None
        if not self._host.served() and not self.count:
            self.add()

    async def _look(self) -> None:
        """Until the slots are free, or the worker is replaced; it is left alone while others are served.

        One look is not enough: what was sent a moment before the caller left may not have a slot yet.
        """
        quiet = known = 0
        while self._host.running is not None:
            if self.count != known:
                quiet, known = 0, self.count
            busy = await self.busy_slots(self._host.running)
            quiet = quiet + 1 if busy <= self._host.served() else 0
            if quiet >= 2 and self.count == known:
                self.count, self._watch = 0, None
                self._host.freed()
                return
            if self._loop.time() - self._since_s >= self._grace_s and not self._host.served():
                self._host.recycle("a prefill that nobody waits for went on")
                return
            await asyncio.sleep(LOOK_EVERY_S)

    @staticmethod
    async def busy_slots(running: Running) -> int:
        """Slots at work by the worker's own account; where it does not answer, more than it has."""
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                answer = await ask(running.channel, "GET", "/slots", running.key)
            return sum(slot.is_processing for slot in msgspec.json.decode(answer, type=list[_Slot]))
        except (TimeoutError, TargetError, msgspec.DecodeError):
            return SILENT
