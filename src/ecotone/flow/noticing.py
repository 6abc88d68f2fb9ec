"""Tells webhooks that jobs have ended: each at least once, also after a restart, a bounded number of times.

How far the queue's events were told of is kept by the caller: what lies behind that number is told again after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from ecotone.flow.site import Site
from ecotone.jobs import Backoff, pause_ms
from ecotone.jobs.order import Dice
from ecotone.ports import Queue
from ecotone.values import ENDED, EcotoneError, Job, JobEvent
from ecotone.wire.jobs import encode_notice

EVENTS_MAX: Final = 256
CONCURRENT_MAX: Final = 8
PENDING_MAX: Final = 1024
"""Notices under way, those that rest between two tries included; further events wait to be read."""
PAUSE_S: Final = 1.0
PATIENCE: Final = Backoff(attempts_max=8, first_ms=1_000, most_ms=300_000)
GONE: Final = 410
"""The receiver wants no more."""

Tell = Callable[[str, bytes, int], Awaitable[int]]
"""(URL, body, Unix seconds) -> the receiver's status, 0 where none came."""


class Notices:
    """The worker on one queue's webhooks.

    Attributes:
        told: Number of the last event before which all is done; to be kept.
    """

    def __init__(self, current: Callable[[], Site], queue: Queue, tell: Tell, dice: Dice, *, told: int) -> None:
        """`current` gives the site as it is now; `told` is what was kept."""
        self._current = current
        self._queue = queue
        self._tell = tell
        self._dice = dice
        self._read = min(told, queue.status().events)
        self._pending: dict[int, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(CONCURRENT_MAX)
        self.given_up = 0

    @property
    def told(self) -> int:
        """See the class."""
        return min(self._pending) - 1 if self._pending else self._read

    async def forever(self) -> None:
        """Until cancelled; what was not told is told after the next start."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._queue.changed(self._read)
                    await self._take(group)
                except EcotoneError:
                    await asyncio.sleep(PAUSE_S)

    async def _take(self, group: asyncio.TaskGroup) -> None:
        """Reads some events, and begins a notice for each end that somebody waits for."""
        while len(self._pending) >= PENDING_MAX:
            await asyncio.wait(self._pending.values(), return_when=asyncio.FIRST_COMPLETED)
        last = self._queue.status().events
        events = await self._queue.events(self._read, limit=EVENTS_MAX)
        for event in events:
            if event.state in ENDED:
                job = await self._queue.get(event.job)
                if job is not None and job.webhook:
                    self._begin(group, event, job)
            self._read = event.seq
        if not events:
            self._read = max(self._read, last)

    def _begin(self, group: asyncio.TaskGroup, event: JobEvent, job: Job) -> None:
        task = self._pending[event.seq] = group.create_task(self._notify(job))
        task.add_done_callback(lambda _: self._pending.pop(event.seq, None))

    async def _notify(self, job: Job) -> None:
        attempts = 0
        while True:
            attempts += 1
            status = 0
            async with self._slots:
                with contextlib.suppress(EcotoneError):
                    at_s = int(self._current().clock.wall_s())
                    status = await self._tell(job.webhook, encode_notice(job), at_s)
            if 200 <= status < 300 or status == GONE:
                return
            pause = pause_ms(attempts, PATIENCE, self._dice)
            if pause is None:
                self.given_up += 1
                return
            await asyncio.sleep(pause / 1e3)
