"""Real time for the corridor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

DAY_S: Final = 86_400


class LoopClock:
    """`ports.Clock` over the running loop. asyncio's and uvloop's `time()` are both CLOCK_MONOTONIC, as is `now_s`,
    which unlike uvloop's is not rounded to milliseconds."""

    __slots__ = ("_loop", "now_s", "wall_s")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now_s = time.monotonic
        self.wall_s = time.time

    def call_at(self, at_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """See `ports.Clock.call_at`."""
        return self._loop.call_at(at_s, callback)


class Calendar:
    """The UTC day as an ISO date; formatted once a day."""

    __slots__ = ("_day", "_number")

    def __init__(self) -> None:
        self._number = -1
        self._day = ""

    def today(self) -> str:
        """Today's date, such as `2026-11-23`."""
        number = int(time.time()) // DAY_S
        if number != self._number:
            self._number = number
            self._day = time.strftime("%Y-%m-%d", time.gmtime(number * DAY_S))
        return self._day
