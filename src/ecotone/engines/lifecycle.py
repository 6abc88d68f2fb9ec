"""The life of one engine: a table, shared by the real site and the simulator. Pure.

States, events and effects are `TABLE`; the picture in the docs is drawn from it by `picture`. An event that the table
does not name for a state changes nothing there: it came late.
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Mapping
from random import Random
from types import MappingProxyType
from typing import Final

import msgspec


class State(enum.StrEnum):
    """What an engine is doing.

    `crashed`: it died too often and rests. `refused`: the model file's digest is wrong.
    """

    STOPPED = "stopped"
    MEASURING = "measuring"
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    CRASHED = "crashed"
    BACKING_OFF = "backing_off"
    REFUSED = "refused"


class Event(enum.StrEnum):
    """What can happen to it.

    `wanted`: a request, or a warm-up. `measure`: settings should be measured. `recycle`: the worker hangs, or works for
    nobody. `unload`: it is idle, others need the memory, or the site stops. `due`: a back-off or a rest is over.
    """

    WANTED = "wanted"
    MEASURE = "measure"
    MEASURED = "measured"
    STARTED = "started"
    DIED = "died"
    DIED_TOO_OFTEN = "died_too_often"
    DIGEST_WRONG = "digest_wrong"
    RECYCLE = "recycle"
    UNLOAD = "unload"
    DRAINED = "drained"
    DUE = "due"


class Effect(enum.StrEnum):
    """What the shell does about it, in the order given.

    `kill`: the worker, where there is one. `spawn`: make room, check the digest, start a worker. `admit`: waiting
    requests take slots. `fail_active`, `fail_waiting`: requests at the worker, and in the queue. `back_off`, `rest`:
    set the timer for `due`. `settle`: see whether anybody waits who wants it again.
    """

    KILL = "kill"
    SPAWN = "spawn"
    MEASURE = "measure"
    STOP_MEASURING = "stop_measuring"
    ADMIT = "admit"
    FAIL_ACTIVE = "fail_active"
    FAIL_WAITING = "fail_waiting"
    BACK_OFF = "back_off"
    REST = "rest"
    DRAIN = "drain"
    SETTLE = "settle"


_S, _E, _F = State, Event, Effect

TABLE: Final[Mapping[tuple[State, Event], tuple[State, tuple[Effect, ...]]]] = MappingProxyType(
    {
        (_S.STOPPED, _E.WANTED): (_S.STARTING, (_F.SPAWN,)),
        (_S.STOPPED, _E.MEASURE): (_S.MEASURING, (_F.MEASURE,)),
        (_S.MEASURING, _E.WANTED): (_S.STARTING, (_F.STOP_MEASURING, _F.SPAWN)),
        (_S.MEASURING, _E.MEASURED): (_S.STARTING, (_F.SPAWN,)),
        (_S.MEASURING, _E.DIGEST_WRONG): (_S.REFUSED, (_F.FAIL_WAITING, _F.REST)),
        (_S.MEASURING, _E.UNLOAD): (_S.STOPPED, (_F.STOP_MEASURING,)),
        (_S.STARTING, _E.STARTED): (_S.READY, (_F.ADMIT,)),
        (_S.STARTING, _E.DIED): (_S.BACKING_OFF, (_F.KILL, _F.FAIL_WAITING, _F.BACK_OFF)),
        (_S.STARTING, _E.DIED_TOO_OFTEN): (_S.CRASHED, (_F.KILL, _F.FAIL_WAITING, _F.REST)),
        (_S.STARTING, _E.DIGEST_WRONG): (_S.REFUSED, (_F.KILL, _F.FAIL_WAITING, _F.REST)),
        (_S.STARTING, _E.UNLOAD): (_S.STOPPED, (_F.KILL, _F.FAIL_WAITING)),
        (_S.READY, _E.DIED): (_S.BACKING_OFF, (_F.KILL, _F.FAIL_ACTIVE, _F.BACK_OFF)),
        (_S.READY, _E.DIED_TOO_OFTEN): (_S.CRASHED, (_F.KILL, _F.FAIL_ACTIVE, _F.FAIL_WAITING, _F.REST)),
        (_S.READY, _E.RECYCLE): (_S.STARTING, (_F.KILL, _F.FAIL_ACTIVE, _F.SPAWN)),
        (_S.READY, _E.MEASURE): (_S.MEASURING, (_F.KILL, _F.MEASURE)),
        (_S.READY, _E.UNLOAD): (_S.DRAINING, (_F.DRAIN,)),
        (_S.DRAINING, _E.DRAINED): (_S.STOPPED, (_F.KILL, _F.FAIL_ACTIVE, _F.SETTLE)),
        (_S.DRAINING, _E.DIED): (_S.STOPPED, (_F.KILL, _F.FAIL_ACTIVE, _F.SETTLE)),
        (_S.DRAINING, _E.DIED_TOO_OFTEN): (_S.CRASHED, (_F.KILL, _F.FAIL_ACTIVE, _F.FAIL_WAITING, _F.REST)),
        (_S.DRAINING, _E.RECYCLE): (_S.STOPPED, (_F.KILL, _F.FAIL_ACTIVE, _F.SETTLE)),
        (_S.BACKING_OFF, _E.DUE): (_S.STARTING, (_F.SPAWN,)),
        (_S.BACKING_OFF, _E.UNLOAD): (_S.STOPPED, (_F.FAIL_WAITING,)),
        (_S.CRASHED, _E.WANTED): (_S.CRASHED, (_F.FAIL_WAITING,)),
        (_S.CRASHED, _E.DUE): (_S.STOPPED, ()),
        (_S.CRASHED, _E.UNLOAD): (_S.STOPPED, ()),
        (_S.REFUSED, _E.WANTED): (_S.REFUSED, (_F.FAIL_WAITING,)),
        (_S.REFUSED, _E.DUE): (_S.STOPPED, ()),
        (_S.REFUSED, _E.UNLOAD): (_S.STOPPED, ()),
    }
)


def step(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """The next state, and what is to be done."""
    return TABLE.get((state, event), (state, ()))


def picture() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> stopped"]
    lines += [f"    {a} --> {b}: {event}" for (a, event), (b, _) in TABLE.items() if a is not b]
    return "\n".join(lines)


class Patience(msgspec.Struct, frozen=True):
    """How often an engine may die.

    Attributes:
        deaths_max: Deaths within `window_s` after which it rests for `rest_s`.
        first_s: Pause after the second death in a row; it doubles up to `most_s`. After the first there is none.
    """

    deaths_max: int = 5
    window_s: float = 120.0
    rest_s: float = 60.0
    first_s: float = 0.25
    most_s: float = 8.0


class Deaths:
    """Counts an engine's deaths. Instants are arguments; jitter comes from the dice that are passed."""

    def __init__(self, patience: Patience, dice: Random) -> None:
        self._patience = patience
        self._dice = dice
        self._at_s: collections.deque[float] = collections.deque(maxlen=patience.deaths_max)

    def add(self, now_s: float) -> Event:
        """One more: `died`, or `died_too_often`."""
        self._at_s.append(now_s)
        recent = sum(now_s - at_s <= self._patience.window_s for at_s in self._at_s)
        return Event.DIED_TOO_OFTEN if recent >= self._patience.deaths_max else Event.DIED

    def pause_s(self, now_s: float) -> float:
        """Seconds before the next start: none after a single death, else exponential, half of it jitter."""
        recent = sum(now_s - at_s <= self._patience.window_s for at_s in self._at_s)
        if recent <= 1:
            return 0.0
        full_s = min(self._patience.first_s * 2.0 ** (recent - 2), self._patience.most_s)
        return full_s * (0.5 + 0.5 * self._dice.random())

    def forget(self) -> None:
        """A rest is over: the count begins anew."""
        self._at_s.clear()
