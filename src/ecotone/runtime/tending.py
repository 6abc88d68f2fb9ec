"""Work beside the requests that no defect ends: it begins again, and callers never pay for it."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["tended"]

AGAIN_S: Final = 5.0


async def tended(work: Callable[[], Awaitable[None]], what: str, log: logging.Logger) -> None:
    """Does the work for ever; what a defect ends begins again after some seconds, and the log says so.

    Args:
        what: Named in the log, such as `the hub`.
    """
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - a supervisor; what it does not know must not end the site
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("a worker on %s failed: %s\n%s", what, type(error).__name__, trace)  # noqa: TRY400 - the error's words could hold content
        await asyncio.sleep(AGAIN_S)
