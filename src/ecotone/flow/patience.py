"""How long one target is waited for: what the next one needs is kept back, and silence can speak before that.

Silence says something about a target where it is long by its own measure, and nobody was answered meanwhile. A link can
swallow what is sent and acknowledge it all the same (a proxy, a satellite modem, a captive gateway): then no connection
fails, and each request would wait until its deadline.
"""

from __future__ import annotations

from typing import Final

from ecotone.flow.breaker import Breaker
from ecotone.flow.relay import Relay
from ecotone.ports import Clock, Scheduled
from ecotone.values import TargetError

SILENCE_S: Final = 5.0
"""Silence that counts against a target of which nothing was measured yet."""

SILENCE_S_MIN: Final = 1.2
"""Silence that counts at all: more than `timeouts.connect_s` by default, for a dead link has its own words by then."""

SLOWER: Final = 3.0
"""So many times its own p95 is no longer the target's usual spread."""

RESERVE_S_MAX: Final = 5.0
"""At most this much of a deadline, and at most half of what is left of it, is kept back for the next target."""

RESERVE_FACTOR: Final = 1.5
RESERVE_S_MORE: Final = 0.25
"""So much more than its median: half of all answers are slower, and what is a hair too late is lost as well."""

CLOCK_BLUR_S: Final = 0.01
"""Timers of the loop may fire so much early."""


def reserve_s(total_s_p50: float | None, left_s: float) -> float:
    """Seconds to keep back for the next target, whose median is this, of what is left."""
    return min((total_s_p50 or 0.0) * RESERVE_FACTOR + RESERVE_S_MORE, RESERVE_S_MAX, max(0.0, left_s) / 2)


def telling_s(slow_s: float | None) -> float:
    """Seconds after which silence says something about the target; `slow_s` is its p95."""
    return SILENCE_S if slow_s is None else max(SILENCE_S_MIN, SLOWER * slow_s)


def watch(relay: Relay, breaker: Breaker, clock: Clock, after_s: float) -> Scheduled:
    """Ends an attempt as `first_byte_timeout` after so many seconds in which the target said nothing to anybody."""
    heard = breaker.heard

    def look() -> None:
        if breaker.heard == heard and not relay.settled.done():
            words = f"nothing from the target for {after_s:.3g} s, for nobody"
            relay.failed(TargetError("first_byte_timeout", words))

    return clock.call_at(clock.now_s() + after_s, look)
