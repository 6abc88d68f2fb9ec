"""What to do now with a job that waits: begin it, leave it, or end it because it can no longer end in time. Pure.

A job may wait for the cloud, run at the edge when nobody else needs it, and moves to the edge when its deadline comes
near. Which target then takes it is placement's, as for any request; this only says whether it is time.
"""

from __future__ import annotations

from typing import Final

import msgspec

from ecotone.jobs.order import DEFER_MS_MAX
from ecotone.values.request import Place

__all__ = ["ASKED", "LATE", "OFFLINE", "Chances", "Expire", "Facts", "Patience", "Run", "Wait", "decide"]

OFFLINE: Final = "deferred.offline"
ASKED: Final = "deferred.asked"
LATE: Final = "refused.deadline"


class Chances(msgspec.Struct, frozen=True):
    """What a place offers a job now.

    Attributes:
        is_permitted: Policy, the model name's mode, the caller's wish and the capabilities there let it go there.
        is_free: It would be served now without harm to interactive work: the edge is idle, the cloud reachable and
            within its budget.
        held: Why `is_free` is not so, where it is no matter of the link: outside a metered window (`deferred.window`),
            or a budget is used up (`deferred.budget`).
        p50_ms, p95_ms: Predicted total time there, milliseconds; 0 where nothing is known.
        free_at_ms: Unix milliseconds before which `is_free` cannot become true (a metered window, a budget of
            tomorrow); 0 where nobody knows.
    """

    is_permitted: bool
    is_free: bool = False
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    free_at_ms: int = 0
    held: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the decision reads.

    Attributes:
        is_edge_last: The cloud is wanted, and the edge serves only so that the deadline holds.
    """

    now_ms: int
    deadline_at_ms: int
    edge: Chances
    cloud: Chances
    is_edge_last: bool = False


class Patience(msgspec.Struct, frozen=True):
    """How the deadline is watched.

    Attributes:
        safety: So many times the edge's predicted p95 before the deadline, the job moves to the edge.
        unknown_ms: The same where the edge has no prediction yet, milliseconds.
        look_ms: A job that waits is looked at again after this at the latest, milliseconds, unless it is known that
            nothing changes sooner.
    """

    safety: float = 1.5
    unknown_ms: int = 120_000
    look_ms: int = 30_000


class Run(msgspec.Struct, frozen=True):
    """Begin it.

    Attributes:
        at: The place for which it is time; None: either, placement chooses.
        is_urgent: Its deadline is near: before other jobs, and even beside interactive work.
    """

    at: Place | None = None
    is_urgent: bool = False


class Wait(msgspec.Struct, frozen=True):
    """Leave it until an instant (Unix milliseconds), for a reason that the caller is told."""

    until_ms: int
    reason: str


class Expire(msgspec.Struct, frozen=True):
    """End it unbegun."""

    reason: str = LATE


def decide(facts: Facts, patience: Patience) -> Run | Wait | Expire:
    """What to do now with a job that waits.

    A job that may go nowhere is begun: placement refuses it, with every target's reason.
    """
    edge, cloud = facts.edge, facts.cloud
    left_ms = facts.deadline_at_ms - facts.now_ms
    permitted = [place for place in (edge, cloud) if place.is_permitted]
    if left_ms <= 0 or (permitted and left_ms < min(place.p50_ms for place in permitted)):
        return Expire()
    if not permitted:
        return Run()
    can_edge = edge.is_permitted and edge.p50_ms <= left_ms
    last_ms = facts.deadline_at_ms - (_ahead_ms(edge, patience) if can_edge else round(cloud.p50_ms))
    is_near = can_edge and facts.now_ms >= last_ms
    is_edge_now = can_edge and edge.is_free and not (facts.is_edge_last and cloud.is_permitted)
    if cloud.is_permitted and cloud.is_free and cloud.p50_ms <= left_ms:
        # Near the deadline the edge stands by: there is no time for the cloud alone to fail.
        return Run(None if is_edge_now or is_near else Place.CLOUD, is_near)
    if is_near or is_edge_now:
        return Run(Place.EDGE, is_near)
    return _wait(facts, patience, last_ms)


def _ahead_ms(edge: Chances, patience: Patience) -> int:
    """So long before its deadline a job moves to the edge."""
    return round(patience.safety * edge.p95_ms) if edge.p95_ms else patience.unknown_ms


def _wait(facts: Facts, patience: Patience, last_ms: int) -> Wait:
    """Until something may have changed: the next look, an instant that is known, or the last one for a place."""
    places = [place for place in (facts.edge, facts.cloud) if place.is_permitted]
    openings = [place.free_at_ms for place in places if place.free_at_ms > facts.now_ms]
    until_ms = facts.now_ms + (DEFER_MS_MAX if len(openings) == len(places) else patience.look_ms)
    until_ms = min([until_ms, *openings])
    is_offline = facts.cloud.is_permitted and not facts.cloud.is_free
    reason = (facts.cloud.held or OFFLINE) if is_offline else ASKED
    return Wait(max(min(until_ms, last_ms), facts.now_ms + 1), reason)
