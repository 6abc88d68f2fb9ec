"""Who may use a target's slots now, who waits, and who is better told at once to come back. Pure: instants come in.

Each target has a line. A free slot is given at once; else a request waits, in turn with the other keys (one slot a
turn, so that a key that floods delays nobody's first request by more than one turn of each key). What a slot holds
is measured, so that a wait can be told before it begins. When the waiting places are all taken, the longest queue of
one key gives up its newest for a key that has less.

As the site fills, it gives up in this order: shadow answers, as soon as half of a target's slots are in use
(`SHADOWS_SHARE`), hedges as soon as anybody waits, then jobs (`JOBS_SHARE`), then new requests.
"""

from __future__ import annotations

import collections
import copy
import enum
from collections.abc import Callable
from typing import Final

from ecotone.values import TargetSpec

WAIT_S_MAX: Final = 30.0
"""Nobody waits longer for a slot, unless the configuration says so."""

RETRY_S_MAX: Final = 60.0
"""Nobody is told to come back later than this: what is predicted beyond it is a guess."""

SHADOWS_SHARE: Final = 0.5
"""From this share of any target's slots on, nothing is answered only to learn from it."""

JOBS_SHARE: Final = 0.5
"""From this strain on, jobs are left where they are."""

RECENT: Final = 16
"""What a slot is held for is a moving mean over about so many requests: some seconds of a busy target."""


class Stand(enum.Enum):
    """Where a request is with its target: in a slot, in the queue, or neither."""

    HELD = enum.auto()
    WAITING = enum.auto()
    OUT = enum.auto()


class Seat:
    """One request's place.

    Attributes:
        is_job: Work that can wait: no job gives way to it.
        tell: Called once when it got a slot or lost its place while it waited.
        since_s: The instant when it came; from when it got a slot, that one.
    """

    __slots__ = ("is_job", "key", "line", "since_s", "stand", "tell")

    def __init__(self, line: Line, key: str, now_s: float, *, is_job: bool = False) -> None:
        self.line = line
        self.key = key
        self.is_job = is_job
        self.since_s = now_s
        self.stand = Stand.HELD
        self.tell: Callable[[], None] | None = None

    def move(self, stand: Stand) -> None:
        """Its place changed while it waited."""
        self.stand = stand
        if self.tell is not None:
            self.tell()


class Line:
    """One target's slots and who waits for them.

    Attributes:
        held: Slots in use.
        waiting: Requests that wait, of all keys.
        hold_s: How long a request holds a slot, lately; None where none has ended yet.
        keys: Who waits, by key, in the order of turns.
    """

    __slots__ = ("_seen", "held", "hold_s", "keys", "promised", "queue_max", "slots", "waiting")

    def __init__(self) -> None:
        self.slots = 1
        self.queue_max = 0
        self.held = 0
        self.waiting = 0
        self.hold_s: float | None = None
        self.keys: dict[str, collections.deque[Seat]] = {}
        self.promised: dict[str, float] = {}
        self._seen = 0

    def ahead(self, key: str) -> int:
        """How many of those that wait are served before the next request of this key.

        A full queue in which this key may take a place from another counts as one with room.
        """
        mine = len(self.keys.get(key, ()))
        return mine + sum(min(len(seats), mine + 1) for other, seats in self.keys.items() if other != key)

    def wait_s(self, key: str) -> float | None:
        """Predicted seconds until the next request of this key has a slot; None where nothing was measured."""
        if self.held < self.slots and not self.waiting:
            return 0.0
        return None if self.hold_s is None else (self.ahead(key) + 1) * self.hold_s / self.slots

    def strain(self, wait_s_max: float) -> float:
        """How full it is: 0 while nobody waits, 1 where the next one is refused."""
        if self.held < self.slots and not self.waiting:
            return 0.0
        if not self.queue_max:
            return 1.0
        wait_s = self.waiting * (self.hold_s or 0.0) / self.slots
        return max(self.waiting / self.queue_max, wait_s / wait_s_max)

    def queue(self, seat: Seat) -> None:
        """Takes a request in that has to wait, or leaves it out."""
        seat.stand = Stand.OUT
        if self.waiting >= self.queue_max and not self._push_out(seat.key):
            return
        seat.stand = Stand.WAITING
        self.keys.setdefault(seat.key, collections.deque()).append(seat)
        self.waiting += 1

    def withdraw(self, seat: Seat) -> None:
        """One that waits does so no more."""
        seats = self.keys[seat.key]
        seats.remove(seat)
        if not seats:
            del self.keys[seat.key]
        self.waiting -= 1
        seat.stand = Stand.OUT

    def give(self, now_s: float) -> None:
        """The next key's turn: its oldest request gets a slot."""
        key = next(iter(self.keys))
        seats = self.keys.pop(key)
        seat = seats.popleft()
        if seats:
            self.keys[key] = seats
        self.waiting -= 1
        self.held += 1
        seat.since_s = now_s
        seat.move(Stand.HELD)

    def learn(self, hold_s: float) -> None:
        """A request held its slot for so long."""
        self._seen = min(self._seen + 1, RECENT)
        known_s = self.hold_s or 0.0
        self.hold_s = known_s + (hold_s - known_s) / self._seen

    def _push_out(self, key: str) -> bool:
        """Takes a place from the key that has most, if it then still has no less than this one."""
        most = max(self.keys.values(), key=len, default=None)
        if most is None or len(most) < len(self.keys.get(key, ())) + 2:
            return False
        seat = most[-1]
        self.withdraw(seat)
        seat.move(Stand.OUT)
        return True


class Load:
    """The lines of all targets. It outlives a reload.

    Attributes:
        wait_s_max: Nobody waits longer for a slot, seconds.
    """

    __slots__ = ("_asked", "_lines", "wait_s_max")

    def __init__(self, wait_s_max: float = WAIT_S_MAX) -> None:
        self.wait_s_max = wait_s_max
        self._asked: list[Seat] | None = None
        self._lines: dict[str, Line] = {}

    def for_jobs(self) -> Load:
        """The same lines, for one piece of work that can wait: whoever asks here is known to be such."""
        view = copy.copy(self)
        view._asked = []
        return view

    @property
    def is_inside(self) -> bool:
        """Of the view of one piece of work: whether it has a slot anywhere."""
        return any(seat.stand is Stand.HELD for seat in self._asked or ())

    def ask(self, spec: TargetSpec, key: str, now_s: float) -> Seat:
        """A slot at this target, a place in its queue, or neither: see the seat's `stand`.

        Whoever holds a slot must `leave`, whoever waits must `leave` or `withdraw`.
        """
        line = self._lines.get(spec.name)
        if line is None:
            line = self._lines[spec.name] = Line()
        line.slots, line.queue_max = spec.slots, spec.queue_max
        seat = Seat(line, key, now_s, is_job=self._asked is not None)
        if self._asked is not None:
            self._asked.append(seat)
        if line.held < line.slots and not line.waiting:
            line.held += 1
        else:
            line.queue(seat)
        return seat

    def withdraw(self, seat: Seat) -> None:
        """One that waited waits no more."""
        if seat.stand is Stand.WAITING:
            seat.line.withdraw(seat)

    def leave(self, seat: Seat, now_s: float, *, is_served: bool) -> None:
        """A slot is free again, and goes to whose turn it is.

        Args:
            is_served: The target was asked; how long that took is learned.
        """
        line = seat.line
        line.held -= 1
        seat.stand = Stand.OUT
        if is_served:
            line.learn(now_s - seat.since_s)
        while line.waiting and line.held < line.slots:
            line.give(now_s)
        if not line.waiting:
            line.promised.clear()

    def ahead(self, target: str, key: str) -> int:
        """See `Line.ahead`."""
        line = self._lines.get(target)
        return 0 if line is None or not line.waiting else line.ahead(key)

    def waiting(self, target: str) -> int:
        """Requests that wait for a target, of all keys."""
        line = self._lines.get(target)
        return 0 if line is None else line.waiting

    def pressing(self, target: str) -> int:
        """Requests that wait for a target and are no jobs."""
        line = self._lines.get(target)
        if line is None or not line.waiting:
            return 0
        return sum(not seat.is_job for seats in line.keys.values() for seat in seats)

    def wait_s(self, target: str, key: str) -> float | None:
        """See `Line.wait_s`."""
        line = self._lines.get(target)
        return 0.0 if line is None else line.wait_s(key)

    def retry_s(self, target: str, key: str, limit_s: float, now_s: float) -> float:
        """Seconds after which a request of this key that may wait for `limit_s` finds a place here, at steady load.

        By then the wait has fallen from what it is to half of what it may be, though others come at half the rate at
        which slots become free: a retry meets room, not the last place. Each that is told gets an instant of its own,
        one turn after the one before: told the same, they would all come back at once, and most of them in vain.
        """
        line = self._lines.get(target)
        if line is None or line.hold_s is None:
            return 1.0
        turn_s = line.hold_s / line.slots * max(1, len(line.keys))
        wait_s = line.wait_s(key) or 0.0
        fallen_s = 2.0 * wait_s - max(0.0, min(wait_s, limit_s, self.wait_s_max))
        at_s = max(now_s + max(fallen_s, line.hold_s), line.promised.get(key, 0.0) + turn_s)
        at_s = line.promised[key] = min(at_s, now_s + RETRY_S_MAX)
        return at_s - now_s

    def strain(self) -> float:
        """How full the fullest line is: 0 while nobody waits, 1 where new requests are refused."""
        return max((line.strain(self.wait_s_max) for line in self._lines.values()), default=0.0)

    def allows_shadows(self) -> bool:
        """Whether there is room for answers that nobody gets: the first to go."""
        is_idle = all(line.held < SHADOWS_SHARE * line.slots for line in self._lines.values())
        return is_idle and self.allows_hedges()

    def allows_hedges(self) -> bool:
        """Whether there is room for answers that are made twice."""
        return self.strain() == 0.0

    def allows_jobs(self) -> bool:
        """Whether there is room for work that can wait."""
        return self.strain() < JOBS_SHARE

    def left_over(self) -> list[str]:
        """Targets with a slot in use or somebody waiting: none once all is served."""
        return [name for name, line in self._lines.items() if line.held or line.waiting]
