"""Attempts side by side, as tasks: who has told the caller first, and the end of the others."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from ecotone.values import TargetError

Running = asyncio.Task[TargetError | None]
_T = TypeVar("_T")


async def first_told(running: dict[Running, _T]) -> TargetError | None:
    """None as soon as one of them has answered or told the caller; else the failure of whoever failed last."""
    failure: TargetError | None = None
    while running:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in running if task in done]:
            del running[task]
            if not task.cancelled():
                failure = task.result()
                if failure is None:
                    return None
    return failure


async def stop(running: dict[Running, _T]) -> None:
    """Ends attempts whose caller has been told, or left."""
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running)
        running.clear()  # tasks hold their attempts, and these the race, which holds this
