"""The states of a release, as a table: what the hub, its operators and the simulation of a fleet may do with one."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from ecotone.values.errors import ConfigError

__all__ = ["ENDED", "TABLE", "Event", "Standing", "State", "moved", "picture"]

State = Literal["draft", "rolling", "waiting", "paused", "halted", "rolling_back", "done", "aborted"]

ENDED: Final[frozenset[State]] = frozenset({"done", "halted", "aborted"})


class Event(enum.StrEnum):
    """What can happen to a release.

    `start`, `pause`, `resume`, `abort` (leave it where it is), `withdraw` (take it back everywhere): people.
    `superseded`: another release of the same asset was started.
    `signed`: all sites of the open waves have their wish. `opened`: there are more. `passed`: the last wave is through.
    `bad`: too much speaks against it. `stuck`: a wave has not come through its gate in time.
    `back`: all wishes for the version before are signed, after `bad`; `withdrawn`: the same after `withdraw`.
    """

    START = "start"
    SIGNED = "signed"
    OPENED = "opened"
    PASSED = "passed"
    BAD = "bad"
    STUCK = "stuck"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    WITHDRAW = "withdraw"
    BACK = "back"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"


_E = Event

TABLE: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        ("draft", _E.START): "rolling",
        ("draft", _E.ABORT): "aborted",
        ("rolling", _E.SIGNED): "waiting",
        ("waiting", _E.OPENED): "rolling",
        ("waiting", _E.PASSED): "done",
        ("rolling", _E.BAD): "rolling_back",
        ("waiting", _E.BAD): "rolling_back",
        ("waiting", _E.STUCK): "paused",
        ("rolling", _E.PAUSE): "paused",
        ("waiting", _E.PAUSE): "paused",
        ("paused", _E.RESUME): "rolling",
        ("rolling", _E.ABORT): "aborted",
        ("waiting", _E.ABORT): "aborted",
        ("paused", _E.ABORT): "aborted",
        ("rolling", _E.WITHDRAW): "rolling_back",
        ("waiting", _E.WITHDRAW): "rolling_back",
        ("paused", _E.WITHDRAW): "rolling_back",
        ("done", _E.WITHDRAW): "rolling_back",
        ("aborted", _E.WITHDRAW): "rolling_back",
        ("rolling_back", _E.BACK): "halted",
        ("rolling_back", _E.WITHDRAWN): "aborted",
        ("draft", _E.SUPERSEDED): "aborted",
        ("rolling", _E.SUPERSEDED): "aborted",
        ("waiting", _E.SUPERSEDED): "aborted",
        ("paused", _E.SUPERSEDED): "aborted",
    }
)
"""(state, event) -> next state. A release that is being taken back is so to its end: nothing supersedes it before, or a
site might keep what was found to be bad."""


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a release stands: all of it that changes.

    Attributes:
        wave: The last one that is open, from 0.
        limits: Of each wave: sites whose rank is below it belong to it.
        scouts: Sites that belong to the first wave besides.
        opened_s: When each wave that is open was opened, Unix seconds by the hub's clock.
        changed_s: When `state` changed last.
        since_s: From when on the gate of the last one counts its time.
        ends: Why it is rolled back, and so how that ends.
        why: Code of what it waits for, or of what ended it.
    """

    state: State = "draft"
    wave: int = 0
    limits: tuple[float, ...] = ()
    scouts: tuple[str, ...] = ()
    opened_s: tuple[float, ...] = ()
    changed_s: float = 0.0
    since_s: float = 0.0
    ends: Literal["back", "withdrawn"] = "back"
    why: str = ""


def moved(standing: Standing, event: Event, why: str, now_s: float) -> Standing:
    """The standing after an event.

    Raises:
        ConfigError: `release.state`: nothing of the kind can happen to it any more, or yet.
    """
    state = TABLE.get((standing.state, event))
    if state is None:
        can = ", ".join(other for state, other in TABLE if state == standing.state) or "nothing"
        raise ConfigError(
            "release.state",
            f"'{event}' cannot be done with a release that is '{standing.state}': {can} can",
        )
    return msgspec.structs.replace(standing, state=state, why=why, changed_s=now_s)


def picture() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> draft"]
    lines += [f"    {a} --> {b}: {event}" for (a, event), b in TABLE.items()]
    return "\n".join(lines)
