"""An asyncio event loop whose time is a number: waiting costs nothing and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
START_WALL_S: Final = 1_800_000_000.0


class StuckError(RuntimeError):
    """Nothing is ready, nothing is scheduled, and the history is not over: somebody waits without a limit."""


class _Instant(selectors.SelectSelector):
    """A selector that never waits: it moves the loop's time forward instead."""

    loop: VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        """Advances virtual time by `timeout`."""
        if timeout is None:
            raise StuckError("all tasks wait and no timer is set")
        if timeout > 0 and self.loop is not None:
            self.loop.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` starts at 0 and jumps to the next timer when nothing is ready. An error in a callback ends the run."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._problems: list[BaseException] = []
        selector = _Instant()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self.now_s

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keeps what a callback raised, instead of logging it and going on."""
        self._problems.append(context.get("exception") or RuntimeError(context["message"]))

    def run_until_complete(self, future: Awaitable[_T] | Generator[Any, None, _T]) -> _T:
        """See `asyncio.loop.run_until_complete`; raises what a callback raised."""
        try:
            return super().run_until_complete(future)
        finally:
            if self._problems:
                raise self._problems[0]


class VirtualClock:
    """`ports.Clock` over a `VirtualLoop`.

    Attributes:
        shifts: (virtual instant, seconds that the wall clock is ahead of the loop's time from then on), in order.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.shifts: list[tuple[float, float]] = [(0.0, 0.0)]

    def jump(self, by_s: float) -> None:
        """Somebody sets the wall clock, forward or back."""
        self.shifts.append((self._loop.now_s, self.shifts[-1][1] + by_s))

    def now_s(self) -> float:
        """See `ports.Clock.now_s`."""
        return self._loop.now_s

    def wall_s(self) -> float:
        """See `ports.Clock.wall_s`."""
        return START_WALL_S + self._loop.now_s + self.shifts[-1][1]

    def call_at(self, at_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """See `ports.Clock.call_at`."""
        return self._loop.call_at(at_s, callback)
