"""How the links of a site are: one table for each target's and for the site's as a whole. Pure: instants come in.

What is seen comes from real traffic first (breakers, first bytes, round trips) and from probes when it is quiet. The
state is for people, metrics and work that can wait; whether a request may go somewhere is the breaker's alone.
`docs/explanation/continuity.md` draws its picture from `TABLE`.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ecotone.flow.breaker import UNREACHABLE, Breaker
from ecotone.flow.breaker import State as Broken
from ecotone.values import Place


class State(enum.StrEnum):
    """`up`: nothing speaks against it. `degraded`: it works, with losses, slowly, or for a short while only. `down`:
    nothing gets through."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"


class Event(enum.StrEnum):
    """What can happen to a link. `lost`: the target cannot be reached. `back`: it was, and can. `poor`: first bytes are
    lost, or round trips are long. `calm`: nothing of all that for long enough."""

    LOST = "lost"
    BACK = "back"
    POOR = "poor"
    CALM = "calm"


_S, _E = State, Event

TABLE: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (_S.UP, _E.LOST): _S.DOWN,
        (_S.UP, _E.POOR): _S.DEGRADED,
        (_S.DEGRADED, _E.LOST): _S.DOWN,
        (_S.DEGRADED, _E.CALM): _S.UP,
        (_S.DOWN, _E.BACK): _S.DEGRADED,
    }
)
"""(state, event) -> next state; where it names none, nothing changes. No way leads from `down` to `up` past a time of
calm: that damps a link that comes and goes."""

WEIGHT: Final = {State.UP: 0.0, State.DEGRADED: 1.0, State.DOWN: 2.0}
"""The metric's value; the worst of a period is the greatest."""

CALM_S: Final = 5.0
CALM_S_MAX: Final = 80.0
"""Calm that makes a link `up`: the least, and the most after it was lost several times; it doubles with each, and as
long a calm as the longest has one forgotten."""
FLAPS_MAX: Final = 5

LOSS_MAX: Final = 0.05
LOST_MIN: Final = 2
"""This share of attempts, and so many of them, lost within `RECENT_S` make a link poor."""
RECENT_S: Final = 60.0
SLOW_S: Final = 1.0
"""So does a median round trip of more than this: no common link is as slow when it is well, a satellite's included."""

LINE_EVERY_S: Final = 10.0
LINE_MAX: Final = 60
_SIGNS: Final = {State.UP: "█", State.DEGRADED: "▄", State.DOWN: "▁"}


class Sight(msgspec.Struct, frozen=True):
    """What is seen of a link now.

    Attributes:
        heard, lost: Attempts so far whose answer began, and that the link lost.
        rtt_s: Median round trip of late, seconds; None where nobody measured.
    """

    is_reachable: bool
    heard: int = 0
    lost: int = 0
    rtt_s: float | None = None


class Link:
    """One link.

    Attributes:
        state: Where it stands.
        since_s: From when on.
        flaps: How often it was lost and came back, as far as that is not forgotten.
        loss: Share of the attempts of `RECENT_S` that were lost; None where there was none.
    """

    __slots__ = (
        "_calm_s", "_line", "_line_at_s", "_lost", "_seen", "_trouble_at_s", "flaps", "loss", "since_s", "state",
    )  # fmt: skip

    def __init__(self, now_s: float, calm_s: float = CALM_S) -> None:
        """`calm_s`: see `CALM_S`."""
        self.state = State.UP
        self.since_s = now_s
        self.flaps = 0
        self.loss: float | None = None
        self._lost = 0
        self._calm_s = calm_s
        self._trouble_at_s = now_s
        self._seen: deque[tuple[float, int, int]] = deque()
        self._line: deque[State] = deque(maxlen=LINE_MAX)
        self._line_at_s = now_s - LINE_EVERY_S

    def look(self, sight: Sight, now_s: float) -> None:
        """Takes in what is seen now."""
        self._count(sight, now_s)
        is_lossy = self.loss is not None and self.loss > LOSS_MAX and self._lost >= LOST_MIN
        is_slow = sight.rtt_s is not None and sight.rtt_s > SLOW_S
        self.settle(now_s, is_reachable=sight.is_reachable, is_poor=is_lossy or is_slow)

    def settle(self, now_s: float, *, is_reachable: bool, is_poor: bool) -> None:
        """Moves to where it stands now."""
        event = self._event(now_s, is_reachable=is_reachable, is_poor=is_poor)
        after = self.state if event is None else TABLE.get((self.state, event), self.state)
        if after is not self.state:
            self.flaps = min(self.flaps + (after is State.DOWN), FLAPS_MAX)
            self.state, self.since_s = after, now_s
        if not is_reachable or is_poor:
            self._trouble_at_s = now_s
        self._draw(now_s)

    def line(self) -> str:
        """The last ten minutes, a sign for the worst of each ten seconds: █ up, ▄ degraded, ▁ down."""
        return "".join(_SIGNS[state] for state in self._line)

    def _event(self, now_s: float, *, is_reachable: bool, is_poor: bool) -> Event | None:
        if not is_reachable:
            return Event.LOST
        if self.state is State.DOWN:
            return Event.BACK
        if is_poor:
            return Event.POOR
        calm_s = now_s - self._trouble_at_s
        needed_s = min(self._calm_s * 2.0 ** max(self.flaps - 1, 0), CALM_S_MAX)
        if self.flaps and self.state is State.UP and calm_s >= needed_s + CALM_S_MAX:
            self.flaps -= 1
            self._trouble_at_s = now_s - needed_s
        return Event.CALM if calm_s >= needed_s else None

    def _count(self, sight: Sight, now_s: float) -> None:
        """Counts what came and what was lost of late; a sample a second is enough."""
        seen = self._seen
        if not seen or now_s >= seen[-1][0] + 1.0:
            seen.append((now_s, sight.heard, sight.lost))
        while len(seen) > 1 and seen[0][0] < now_s - RECENT_S:
            seen.popleft()
        heard, lost = sight.heard - seen[0][1], sight.lost - seen[0][2]
        if heard < 0 or lost < 0:
            # Another breaker: its counts begin anew.
            seen.clear()
            heard = lost = 0
        self.loss = lost / (heard + lost) if heard + lost else None
        self._lost = lost

    def _draw(self, now_s: float) -> None:
        if now_s >= self._line_at_s + LINE_EVERY_S:
            self._line_at_s = now_s
            self._line.append(self.state)
        elif WEIGHT[self.state] > WEIGHT[self._line[-1]]:
            self._line[-1] = self.state


class Links:
    """The links of a site's targets, and the site's own: that of its cloud targets together.

    Attributes:
        site: How the site reaches the cloud; it is down where no cloud target can be reached, and degraded where one of
            them is not up.
    """

    def __init__(self) -> None:
        self.site: Link | None = None
        self._links: dict[str, Link] = {}

    def look(self, sights: Mapping[str, tuple[Place, Sight]], now_s: float) -> None:
        """Takes in what is seen of each target's link now; those of other targets are forgotten."""
        self._links = {name: self._links.get(name) or Link(now_s) for name in sights}
        for name, (_, sight) in sights.items():
            self._links[name].look(sight, now_s)
        states = {self._links[name].state for name, (place, _) in sights.items() if place is Place.CLOUD}
        if not states:
            self.site = None
            return
        # The links of the targets are damped already.
        self.site = self.site or Link(now_s, calm_s=0.0)
        self.site.settle(now_s, is_reachable=states != {State.DOWN}, is_poor=states != {State.UP})

    def said(self, name: str, now_s: float) -> dict[str, Any]:
        """A target's link, for `status`; empty where there is none."""
        link = self._links.get(name)
        return {} if link is None else {**_said(link, now_s), "loss": link.loss}

    def site_said(self, now_s: float) -> dict[str, Any] | None:
        """The site's link, for `status`; None where there is no cloud target."""
        return None if self.site is None else {**_said(self.site, now_s), "last_10_min": self.site.line()}

    def weights(self) -> dict[str, float]:
        """For the metric: 0 up, 1 degraded, 2 down, by target."""
        return {name: WEIGHT[link.state] for name, link in self._links.items()}

    def site_weight(self) -> float:
        """The same for the site; a site without cloud targets is up."""
        return 0.0 if self.site is None else WEIGHT[self.site.state]


def sight(breaker: Breaker, rtt_s: float | None) -> Sight:
    """What a breaker has seen of its target's link.

    A target that says no (HTTP 503, 429) is reachable; one that somebody else answers for is not.
    """
    is_lost = breaker.state is not Broken.CLOSED and breaker.last_failure in UNREACHABLE
    return Sight(not is_lost, breaker.heard, breaker.lost, rtt_s)


def _said(link: Link, now_s: float) -> dict[str, Any]:
    return {"state": link.state.value, "for_s": round(now_s - link.since_s, 1), "flaps": link.flaps}


def picture() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> up"]
    lines += [f"    {a} --> {b}: {event}" for (a, event), b in TABLE.items()]
    return "\n".join(lines)
