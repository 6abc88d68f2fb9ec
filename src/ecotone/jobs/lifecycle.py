"""The life of a job: one table, shared by the durable queue and the simulated one. Pure.

States and events are the table `TABLE`; its picture in the docs is drawn from it by `picture`. An event that the table
does not name for a state came late and changes nothing: that is what makes a job end once.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ecotone.values.job import ENDED, JobState

__all__ = ["EVENT_OF", "TABLE", "Event", "picture", "step"]


class Event(enum.StrEnum):
    """What can happen to a job.

    `leased`: somebody takes it up. `released`: its holder gives it back, for later. `lapsed`: its lease ran out, or its
    holder's process ended. The others end it.
    """

    LEASED = "leased"
    RELEASED = "released"
    LAPSED = "lapsed"
    ANSWERED = "answered"
    FAILED = "failed"
    REFUSED = "refused"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


_S, _E = JobState, Event

TABLE: Final[Mapping[tuple[JobState, Event], JobState]] = MappingProxyType(
    {
        (_S.WAITING, _E.LEASED): _S.RUNNING,
        (_S.WAITING, _E.EXPIRED): _S.EXPIRED,
        (_S.WAITING, _E.CANCELLED): _S.CANCELLED,
        (_S.RUNNING, _E.RELEASED): _S.WAITING,
        (_S.RUNNING, _E.LAPSED): _S.WAITING,
        (_S.RUNNING, _E.ANSWERED): _S.ANSWERED,
        (_S.RUNNING, _E.FAILED): _S.FAILED,
        (_S.RUNNING, _E.REFUSED): _S.REFUSED,
        (_S.RUNNING, _E.EXPIRED): _S.EXPIRED,
        (_S.RUNNING, _E.CANCELLED): _S.CANCELLED,
    }
)
"""(state, event) -> next state. Nobody ends a job that waits, except its owner and its deadline: who would answer, fail
or refuse it takes it up first. A running job is not expired behind its holder's back; the holder knows the deadline."""

EVENT_OF: Final[Mapping[JobState, Event]] = MappingProxyType({state: Event(state.value) for state in ENDED})
"""The event that leads to each end."""


def step(state: JobState, event: Event) -> JobState | None:
    """The next state, or None: the event came late, and nothing changes."""
    return TABLE.get((state, event))


def picture() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> waiting"]
    lines += [f"    {a} --> {b}: {event}" for (a, event), b in TABLE.items()]
    lines += [f"    {state} --> [*]" for state in JobState if state in ENDED]
    return "\n".join(lines)
