"""A target's breaker: one table, shared by the real site and the simulator, read by placement.

States and events are the table `TABLE`; `docs/explanation/continuity.md` draws its picture from it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from ecotone.values import Condition


class State(enum.StrEnum):
    """`closed`: requests pass. `open`: none does. `half_open`: exactly one does, and its end decides."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(enum.StrEnum):
    """What can happen to a breaker."""

    WORKED = "worked"
    FAILED = "failed"
    FAILED_TOO_OFTEN = "failed_too_often"
    DUE = "due"
    LEFT = "left"


TABLE: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (State.CLOSED, Event.WORKED): State.CLOSED,
        (State.CLOSED, Event.FAILED): State.CLOSED,
        (State.CLOSED, Event.FAILED_TOO_OFTEN): State.OPEN,
        (State.CLOSED, Event.LEFT): State.CLOSED,
        (State.OPEN, Event.DUE): State.HALF_OPEN,
        (State.OPEN, Event.WORKED): State.OPEN,
        (State.OPEN, Event.FAILED): State.OPEN,
        (State.OPEN, Event.FAILED_TOO_OFTEN): State.OPEN,
        (State.OPEN, Event.LEFT): State.OPEN,
        (State.HALF_OPEN, Event.WORKED): State.CLOSED,
        (State.HALF_OPEN, Event.FAILED): State.OPEN,
        (State.HALF_OPEN, Event.FAILED_TOO_OFTEN): State.OPEN,
        (State.HALF_OPEN, Event.LEFT): State.HALF_OPEN,
    }
)
"""(state, event) -> next state. Late ends of requests that began before the breaker opened change nothing: the ticket
that `admit` gave them is out of date."""

MISLED: Final = frozenset({"captive_portal", "redirect"})
"""Somebody else answers for the target. A page that is told to a probe is no sign of life then."""

UNREACHABLE: Final = MISLED | {"dns", "refused", "connect_timeout", "tls", "first_byte_timeout", "engine_start"}
"""Failures of which each costs a caller a wait, or leads a request astray: one opens the breaker, and a probe, not a
caller, pays the next."""

ASKED_TO_WAIT: Final = frozenset({"rate_limited", "unauthorised", "forbidden", "no_model", "egress_refused"})
"""Trying again soon is impolite or in vain: the pause grows to `open_s_max`."""

AT_ONCE: Final = UNREACHABLE | ASKED_TO_WAIT
"""Failures that would repeat at once: one is enough."""

LOST: Final = (UNREACHABLE | {"reset"}) - {"engine_start"}
"""Failures in which nothing came, or it broke off: what the link is measured by."""

NO_FAULT: Final = frozenset({"busy", "capability", "context_exceeded", "breaker_open", "budget", "outrun"})
"""Failures that say something about the request or the moment, not about the target's health."""


OPENED_MAX: Final = 5
"""So many doublings are remembered: after half of `open_s_max` of calm for each of them all is forgotten."""

PROBED_S_MAX: Final = 1.5
"""Longest pause between two probes of one outage. It bounds how long a link is back before it is used (at most 3 s,
with the probe that is under way when it comes back), and costs a few bytes a probe: what is dead answers none."""

FLAPPING_S_MAX: Final = 3.0
"""The same for a target that comes and goes: each time that it goes costs somebody a wait."""

TRIED_S_MAX: Final = 2.5
TRIED_FLAPPING_S_MAX: Final = 5.0
"""The same two where a caller finds out and pays a round trip for it (HTTP 5xx and the like)."""


class BreakerSettings(msgspec.Struct, frozen=True):
    """When a breaker opens and how long it stays so.

    Attributes:
        failures: Failures in a row that open it, for failures that cost little.
        open_s, open_s_max: First and longest time before the next try; doubles in between. Within one outage it stays
            below `PROBED_S_MAX` or `TRIED_S_MAX`, however long the outage is. A target that comes and goes is tried
            less and less: each time that it went doubles that bound, up to `FLAPPING_S_MAX` or
            `TRIED_FLAPPING_S_MAX`, and each half of `open_s_max` without trouble takes one doubling back.
    """

    failures: int = 3
    open_s: float = 1.0
    open_s_max: float = 10.0


class Breaker:
    """The state of one target. Pure: instants are arguments, on one monotonic scale.

    Attributes:
        heard: How often the target was heard, in whatever request: grows with each `hear`.
        lost: How often nothing came from it, or what came broke off.
    """

    __slots__ = (
        "_failures", "_gone", "_has_probe", "_opened", "_settings", "_ticket", "_until_s", "heard", "last_failure",
        "lost", "state",
    )  # fmt: skip

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self.state = State.CLOSED
        self.last_failure = ""
        self.heard = 0
        self.lost = 0
        self._failures = 0
        self._opened = 0
        self._gone = 0
        self._until_s = 0.0
        self._has_probe = False
        self._ticket = 1

    def condition(self, now_s: float, *, in_flight: int, waiting: int) -> Condition:
        """The state as placement reads it. A half-open breaker whose one try is under way reads as open."""
        if self.state is State.CLOSED:
            return Condition("closed", 0.0, in_flight, waiting)
        if self.state is State.OPEN and (now_s < self._until_s or self.needs_probe):
            return Condition("open", max(self._until_s - now_s, 0.05), in_flight, waiting)
        if self._has_probe:
            return Condition("open", 0.05, in_flight, waiting)
        return Condition("half_open", 0.0, in_flight, waiting)

    @property
    def needs_probe(self) -> bool:
        """Whether only a probe may find out if the target is back: a caller would have to wait for it."""
        return self.last_failure in UNREACHABLE

    def probe_due(self, now_s: float) -> bool:
        """Whether a probe should be sent now."""
        return self.state is State.OPEN and self.needs_probe and now_s >= self._until_s

    def admit(self, now_s: float) -> int:
        """A ticket for an attempt that may start now, else 0; takes the one place of a half-open breaker.

        The attempt's end must come back with it, as `worked`, `left` or `failed`.
        """
        if self.state is State.CLOSED:
            return self._ticket
        if self.state is State.OPEN:
            if now_s < self._until_s or self.needs_probe:
                return 0
            self._move(Event.DUE)
        if self._has_probe:
            return 0
        return self._take_place()

    def hear(self) -> None:
        """The target began to answer somebody."""
        self.heard += 1

    def begin_probe(self) -> int:
        """A probe starts (see `probe_due`); its ticket."""
        self._move(Event.DUE)
        return self._take_place()

    def worked(self, ticket: int) -> None:
        """An attempt, or a probe, was answered."""
        if ticket != self._ticket:
            return
        self._failures = 0
        self._has_probe = False
        self.last_failure = ""
        self._move(Event.WORKED)

    def left(self, ticket: int) -> None:
        """An attempt was stopped by its caller: no verdict."""
        if ticket == self._ticket:
            self._has_probe = False
            self._move(Event.LEFT)

    def failed(self, ticket: int, failure: str, now_s: float, retry_after_s: float | None = None) -> None:
        """An attempt, or a probe, failed with this class of `reasons.TARGET_FAILURES`."""
        self.lost += failure in LOST
        if failure in NO_FAULT:
            self.left(ticket)
            return
        if ticket != self._ticket:
            return
        self._has_probe = False
        self._failures += 1
        too_often = failure in AT_ONCE or self._failures >= self._settings.failures
        was_closed = self.state is State.CLOSED
        self._move(Event.FAILED_TOO_OFTEN if too_often else Event.FAILED)
        if self.state is State.OPEN:
            self._ticket += 1
            self.last_failure = failure
            self._until_s = now_s + self._pause_s(failure, now_s, retry_after_s, was_closed=was_closed)

    def _pause_s(self, failure: str, now_s: float, retry_after_s: float | None, *, was_closed: bool) -> float:
        """Seconds until the next try; counts this one."""
        settings = self._settings
        doublings = int(2 * max(0.0, now_s - self._until_s) / settings.open_s_max)
        self._opened = max(0, self._opened - doublings)
        if was_closed:
            self._gone = min(max(0, self._gone - doublings) + 1, OPENED_MAX)
        pause_s = min(settings.open_s * 2.0**self._opened, self._longest_s(failure))
        self._opened = min(self._opened + 1, OPENED_MAX)
        return pause_s if retry_after_s is None else min(max(retry_after_s, 0.1), 10 * settings.open_s_max)

    def _longest_s(self, failure: str) -> float:
        """The longest pause after such a failure now."""
        settings, often = self._settings, 2.0 ** max(0, self._gone - 1)
        if failure in ASKED_TO_WAIT:
            longest_s = settings.open_s_max
        elif failure in UNREACHABLE:
            # A probe costs no caller anything: it may ask twice as often.
            longest_s = min(PROBED_S_MAX * often, FLAPPING_S_MAX, settings.open_s_max / 2)
        else:
            longest_s = min(TRIED_S_MAX * often, TRIED_FLAPPING_S_MAX, settings.open_s_max)
        return max(longest_s, settings.open_s)

    def _take_place(self) -> int:
        self._has_probe = True
        self._ticket += 1
        return self._ticket

    def _move(self, event: Event) -> None:
        self.state = TABLE.get((self.state, event), self.state)


def picture() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> closed"]
    lines += [f"    {a} --> {b}: {event}" for (a, event), b in TABLE.items() if a is not b]
    return "\n".join(lines)
