"""When one target is slower than itself, another starts too: the first content wins (and the budget for it). Pure.

A hedge costs twice for one answer, so it has a budget: a share of the requests, saved up to a few. It never widens what
may be tried: who hedges is the next target in the order that placement gave, after all detectors have looked.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Final

import msgspec

from ecotone.flow.answer import Answer, Paced
from ecotone.values import TargetError

OUTRUN: Final = "outrun"
"""Another target answered first. No failure of the target's."""

SAVED_MAX: Final = 5.0
"""So many hedges may be saved up."""

DELAY_S_MIN: Final = 0.05
"""Nobody is called slow sooner: timers and scheduling blur less than that."""


class Hedges:
    """The budget: each request adds a share, each hedge takes one."""

    __slots__ = ("_saved", "share")

    def __init__(self, share: float = 0.05) -> None:
        """`share` of requests that may be hedged; 0 = never."""
        self.share = share
        self._saved = min(1.0, share * 20)

    def earn(self) -> None:
        """A request came."""
        self._saved = min(SAVED_MAX, self._saved + self.share)

    def take(self) -> bool:
        """Takes one hedge from the budget, if it is there."""
        if self.share <= 0 or self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True


class Race:
    """Who of one request's attempts may write to the caller: the one that has content first, and no other after it.

    Attributes:
        on_win: Called when it is decided, to stop the others.
    """

    __slots__ = ("on_win", "winner")

    def __init__(self) -> None:
        self.winner: Lane | None = None
        self.on_win: Callable[[], None] | None = None


class Sign(msgspec.Struct, frozen=True):
    """What the caller's head says of a target.

    Attributes:
        reason: A reason code in place of the plan's, or `''`.
    """

    target: str
    at: str
    debug: list[tuple[str, str]]
    reason: str = ""


class Lane:
    """One attempt's way to the caller (`relay.Front`).

    It makes no circle with the race that it wins, nor with its relay, which holds it: request and answer would stay
    in memory until the collector comes, a thousand requests later.
    """

    __slots__ = ("_answer", "_race", "_relay", "_sign", "is_second_half")

    def __init__(self, answer: Answer, race: Race, sign: Sign, *, is_second_half: bool = False) -> None:
        """`is_second_half`: it writes on in an answer that has begun."""
        self.is_second_half = is_second_half
        self._answer = answer
        self._race: Race | None = race
        self._sign = sign
        self._relay: Callable[[], Paced | None] = _nobody

    @property
    def relay(self) -> Paced | None:
        """Whose way it is; None before it is told, and when the attempt is gone."""
        return self._relay()

    @relay.setter
    def relay(self, relay: Paced) -> None:
        self._relay = weakref.ref(relay)

    def commit(self, *, is_stream: bool, length: int | None) -> None:
        """See `relay.Front.commit`.

        Raises:
            TargetError: another attempt's answer has begun (`outrun`).
        """
        race, self._race = self._race, None
        assert race is not None, "committed twice"
        if race.winner is not None:
            raise TargetError(OUTRUN, "another target answered first")
        race.winner = self
        self._answer.attach(self.relay)
        if not self.is_second_half:
            self.show()
            self._answer.commit(is_stream=is_stream, length=length)
        on_win, race.on_win = race.on_win, None
        if on_win is not None:
            on_win()

    def show(self) -> None:
        """From here on, this is the target that the caller is told of."""
        answer, sign = self._answer, self._sign
        answer.target, answer.at, answer.debug = sign.target, sign.at, sign.debug
        answer.reason = sign.reason or answer.reason

    def write(self, block: bytes) -> None:
        """See `relay.Front.write`."""
        self._answer.write(block)

    def finish(self) -> None:
        """See `relay.Front.finish`."""
        self._answer.finish()


def _nobody() -> None:
    """Stands for a relay that is not known yet."""
