"""What a person must look at: the hub's own work that fails, what must be signed, releases that wait for somebody."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import select

from ecotone.delivery.hub_folder import Hub as Repositories
from ecotone.hub.database import Database
from ecotone.hub.resigning import due
from ecotone.hub.tables_releases import releases, tasks
from ecotone.trust import terms
from ecotone.values import EcotoneError

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub

__all__ = ["Alarm", "found"]

FAILURES: Final = 3
"""So often in a row work must have failed before somebody is told: once is nothing."""
ALARMS_MAX: Final = 20
LOOK_S: Final = 60
"""So long what was found to end soon is taken for true: to look costs some reads of the hub's files."""
_HALTED_S: Final = 7 * terms.DAY_S


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One of them, in a sentence. `is_bad`: it stops something already."""

    text: str
    is_bad: bool = False


def found(hub: Hub, now_s: float) -> tuple[Alarm, ...]:
    """All of them, those that stop something first.

    Raises:
        StoreError: `hub.database`.
    """
    every = [*_failing(hub.database), *_ending(hub.repositories, int(now_s // LOOK_S)), *_waiting(hub.database, now_s)]
    return tuple(sorted(every, key=lambda one: not one.is_bad)[:ALARMS_MAX])


def _failing(database: Database) -> Iterator[Alarm]:
    asked = select(tasks.c.kind, tasks.c.subject, tasks.c.failures, tasks.c.why).where(tasks.c.failures >= FAILURES)
    with database.read() as c:
        rows = c.execute(asked.order_by(tasks.c.failures.desc()).limit(ALARMS_MAX)).all()
    for kind, subject, failures, why in rows:
        what = " ".join(filter(None, (kind, subject)))
        often = f"{failures} times in a row ({why or 'see its log'})"
        yield Alarm(text=f"The hub's own work '{what}' has failed {often}. It goes on trying.", is_bad=True)


@functools.lru_cache(maxsize=1)
def _ending(repositories: Repositories, minute: int) -> tuple[Alarm, ...]:
    """What must be signed anew, as it was in that minute (of `LOOK_S`)."""
    now_s = float(minute * LOOK_S)
    try:
        return tuple(
            Alarm(text=_sentence(f"{one.repository} {one.role}", one.expires_s - now_s), is_bad=one.is_expired)
            for one in due(repositories, now_s)
            if one.is_overdue
        )
    except EcotoneError as error:
        return (Alarm(text=f"The hub's signed files cannot be read: {error.message}", is_bad=True),)


def _sentence(what: str, left_s: float) -> str:
    if left_s <= 0:
        return (
            f"What is signed of '{what}' has ended {-left_s / terms.DAY_S:.1f} days ago: sites take nothing new, and "
            "go on with what they have. `ecotone hub sign` where its key is."
        )
    return f"What is signed of '{what}' ends in {left_s / terms.DAY_S:.1f} days: `ecotone hub sign` where its key is."


def _waiting(database: Database, now_s: float) -> Iterator[Alarm]:
    columns = (releases.c.name, releases.c.version, releases.c.state, releases.c.why, releases.c.ended_s)
    asked = select(*columns).where(releases.c.state.in_(["paused", "rolling_back", "halted"]))
    with database.read() as c:
        rows = c.execute(asked.order_by(releases.c.created_s.desc()).limit(ALARMS_MAX)).all()
    for name, version, state, why, ended_s in rows:
        if state == "paused":
            yield Alarm(text=f"The release of {name} {version} is paused ({why}): resume or abort it.")
        elif state == "rolling_back":
            yield Alarm(text=f"The release of {name} {version} is being taken back ({why}).", is_bad=True)
        elif state == "halted" and now_s - ended_s < _HALTED_S:
            yield Alarm(text=f"The release of {name} {version} was taken back ({why}).")
