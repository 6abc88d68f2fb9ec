"""Sites that wait for news, without a thread for each: one look a second at one counter serves them all."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from ecotone.values import EcotoneError, RefusalError

__all__ = ["Changed", "Waiting"]

LOOK_EVERY_S: Final = 1.0
BEHIND_S: Final = 15.0
QUIET_S: Final = 60.0
"""How often a database that does not answer is told of."""

Changed = Callable[[int], Awaitable[tuple[int, Iterable[tuple[str, int]]]]]
"""(mark, generations set since the mark that is given; since -1: of all sites). Marks only grow."""

log = logging.getLogger("ecotone.hub")


class Waiting:
    """The newest generation of every site, and who waits for a newer one."""

    def __init__(self, changed: Changed, waiting_max: int, each_max: int = 4) -> None:
        """Knows nothing yet: `look` or `live` first.

        Args:
            changed: Asks the database.
            waiting_max: So many may wait.
            each_max: So many of one site; of more, the one that has waited longest is sent home.
        """
        self._changed: Final = changed
        self._waiting_max: Final = waiting_max
        self._each_max: Final = each_max
        self._mark = -1
        self._looked_s = -math.inf
        self._generations: dict[str, int] = {}
        self._waiters: dict[str, dict[asyncio.Future[None], None]] = {}
        self._waiting = 0
        self._is_over = False

    def __len__(self) -> int:
        """How many wait."""
        return self._waiting

    @property
    def is_ready(self) -> bool:
        """Whether the first look came back."""
        return self._mark >= 0

    @property
    def is_behind(self) -> bool:
        """Whether the database has not answered for long."""
        return asyncio.get_running_loop().time() - self._looked_s > BEHIND_S

    def generation(self, site: str) -> int:
        """The newest that is known here; 0: none. At most a second behind the database."""
        return self._generations.get(site, 0)

    async def look(self) -> None:
        """Takes in what has changed, and wakes whom it concerns."""
        self._mark, news = await self._changed(self._mark)
        self._looked_s = asyncio.get_running_loop().time()
        for site, generation in news:
            if generation > self._generations.get(site, 0):
                self._generations[site] = generation
                for waiter in self._waiters.get(site, ()):
                    _wake(waiter)

    async def live(self) -> None:
        """Looks for ever. A database that does not answer leaves everybody waiting, and is told of once a minute."""
        loop = asyncio.get_running_loop()
        told_s = -math.inf
        while True:
            try:
                await self.look()
                told_s = -math.inf
            except (EcotoneError, SQLAlchemyError) as error:
                if loop.time() - told_s >= QUIET_S:
                    told_s = loop.time()
                    log.warning("what sites shall have cannot be looked up (%s)", type(error).__name__)
            await asyncio.sleep(LOOK_EVERY_S)

    async def wait(self, site: str, after: int, within_s: float, gone: Coroutine[Any, Any, None]) -> int:
        """The site's generation: as soon as it is higher than `after`, or after so long, or when the caller is gone.

        A site that knows more than this hub, which was restored from a copy, waits like any other.

        Raises:
            RefusalError: `hub.waiting`, with so many waiting that one more is too many.
        """
        if self.generation(site) > after or self._is_over or within_s <= 0:
            gone.close()
            return self.generation(site)
        if self._waiting >= self._waiting_max:
            gone.close()
            raise RefusalError(
                "hub.waiting", f"{self._waiting_max} sites wait here already", status=503, retry_after_s=30.0
            )
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        leaving = asyncio.get_running_loop().create_task(gone)
        mine = self._waiters.setdefault(site, {})
        if len(mine) >= self._each_max:
            longest = next(iter(mine))
            del mine[longest]
            _wake(longest)
        mine[waiter] = None
        self._waiting += 1
        try:
            await asyncio.wait({waiter, leaving}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting -= 1
            leaving.cancel()
            mine.pop(waiter, None)
            if not mine and self._waiters.get(site) is mine:
                del self._waiters[site]
        return self.generation(site)

    def end(self) -> None:
        """Everybody goes home: the process stops."""
        self._is_over = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                _wake(waiter)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
