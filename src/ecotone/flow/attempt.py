"""One try at one target."""

from __future__ import annotations

from typing import Any

import msgspec

from ecotone.flow.hedging import Race
from ecotone.flow.planning import Plan
from ecotone.flow.relay import Relay
from ecotone.ports import Target
from ecotone.values import Request


class Try(msgspec.Struct):
    """One attempt at one target, under way.

    Attributes:
        until_s: The instant when the whole request must be over.
        reserve_s: What this target must leave of that for the next one, unless its answer has begun.
        request: What is asked of it, where that is not the caller's own request.
        told: It writes on in an answer that has begun: what the last event says of that.
        is_hedge: It was started beside one that is slower than itself.
        ticket: The breaker's.
        is_timely: The target began at once (no model to load): its time shows how long a slot is held.
        is_held: Its answer is held back until it is whole, and given only if it is sure enough.
        is_stripped: Log probabilities were asked of it, and not by the caller.
    """

    target: Target
    decided: Plan
    race: Race
    until_s: float
    reserve_s: float
    began_s: float
    request: Request | None = None
    is_hedge: bool = False
    told: dict[str, Any] | None = None
    ticket: int = 0
    is_timely: bool = False
    is_held: bool = False
    is_stripped: bool = False
    relay: Relay | None = None

    @property
    def name(self) -> str:
        """Of the target."""
        return self.target.spec.name
