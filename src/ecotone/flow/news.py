"""Who waits for a job is told when it ends: one reader of the queue's events, for all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from ecotone.ports import Queue
from ecotone.values import ENDED, EcotoneError, Job, JobEvent

EVENTS_MAX: Final = 512
"""So many events are read at a time."""
PAUSE_S: Final = 1.0
"""After the queue refused to be read."""


class News:
    """What happens in one queue, from now on."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._since = queue.status().events
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._told: list[Callable[[JobEvent], object]] = []
        self._tick = asyncio.Event()
        self._is_closed = False

    def on_end(self, told: Callable[[JobEvent], object]) -> None:
        """Has somebody told of each job that ends."""
        self._told.append(told)

    async def forever(self) -> None:
        """Reads until cancelled."""
        while True:
            try:
                await self._read()
            except EcotoneError:
                await asyncio.sleep(PAUSE_S)

    async def ended(self, job: str, limit_s: float) -> Job | None:
        """The job as it is when it has ended, or after so long; None where there is none."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job, set()).add(future)
        try:
            # Asked only now: an end that came before this would not be told.
            found = await self._queue.get(job)
            if found is None or found.state in ENDED or self._is_closed:
                return found
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await future
            return await self._queue.get(job)
        finally:
            futures = self._waiting.get(job, set())
            futures.discard(future)
            if not futures:
                self._waiting.pop(job, None)

    async def more(self, since: int, limit_s: float) -> bool:
        """Waits until there is an event after number `since`, at most for so long. False: nothing comes any more."""
        tick = self._tick
        if not self._is_closed and self._queue.status().events <= since:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await tick.wait()
        return not self._is_closed

    def close(self) -> None:
        """The site stops: whoever waits is told at once, and waits no more."""
        self._is_closed = True
        self._wake()
        for futures in self._waiting.values():
            _resolve(futures)

    async def _read(self) -> None:
        last = await self._queue.changed(self._since)
        while self._since < last:
            events = await self._queue.events(self._since, limit=EVENTS_MAX)
            self._since = events[-1].seq if events else last
            for event in events:
                if event.state in ENDED:
                    self._tell(event)
        self._wake()

    def _tell(self, event: JobEvent) -> None:
        _resolve(self._waiting.get(event.job, set()))
        for told in self._told:
            told(event)

    def _wake(self) -> None:
        self._tick.set()
        self._tick = asyncio.Event()


def _resolve(futures: set[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
