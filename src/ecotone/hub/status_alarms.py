"""What a person must look at: the hub's own work that fails again and again, releases that wait for somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import select

from ecotone.hub.tables_releases import tasks

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub

__all__ = ["Alarm", "found"]

FAILURES: Final = 3
"""So often in a row work must have failed before somebody is told: once is nothing."""
ALARMS_MAX: Final = 20


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One of them, in a sentence. `is_bad`: it stops something already."""

    text: str
    is_bad: bool = False


def found(hub: Hub, now_s: float) -> tuple[Alarm, ...]:
    """All of them.

    Raises:
        StoreError: `hub.database`.
    """
    return _failing(hub)


def _failing(hub: Hub) -> tuple[Alarm, ...]:
    asked = select(tasks.c.kind, tasks.c.subject, tasks.c.failures, tasks.c.why).where(tasks.c.failures >= FAILURES)
    with hub.database.read() as c:
        rows = c.execute(asked.order_by(tasks.c.failures.desc()).limit(ALARMS_MAX)).all()
    return tuple(
        Alarm(
            text=f"The hub's own work '{' '.join(filter(None, (kind, subject)))}' has failed {failures} times in a "
            f"row: {why or 'see the log'}. It is tried again.",
            is_bad=True,
        )
        for kind, subject, failures, why in rows
    )
