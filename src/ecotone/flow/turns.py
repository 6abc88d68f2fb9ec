"""Waiting for a target's slot: the one place where the corridor stands still for other callers."""

from __future__ import annotations

import asyncio

from ecotone.flow.admission import Seat, Stand
from ecotone.flow.site import Site
from ecotone.values import TargetError, TargetSpec

BUSY = "busy"


async def turn(site: Site, spec: TargetSpec, key: str, until_s: float) -> Seat:
    """Returns with a slot, which the caller must `leave`.

    Args:
        until_s: The last instant at which a slot is of use.

    Raises:
        TargetError: there is no place to wait, it was given to a key that had less, or it took too long (`busy`).
    """
    load = site.load
    seat = load.ask(spec, key, site.clock.now_s())
    stand = seat.stand
    if stand is Stand.WAITING:
        stand = await _wait(site, seat, until_s)
    if stand is Stand.HELD:
        return seat
    load.withdraw(seat)
    raise TargetError(BUSY, "its queue is full" if stand is Stand.OUT else "no slot came free in time")


async def _wait(site: Site, seat: Seat, until_s: float) -> Stand:
    """Until the seat is told something, or the time is over; where it stands then."""
    told = asyncio.get_running_loop().create_future()
    seat.tell = lambda: None if told.done() else told.set_result(None)
    late = site.clock.call_at(min(until_s, site.clock.now_s() + site.load.wait_s_max), seat.tell)
    try:
        await told
    except asyncio.CancelledError:
        if seat.stand is Stand.HELD:
            site.load.leave(seat, site.clock.now_s(), is_served=False)
        site.load.withdraw(seat)
        raise
    finally:
        late.cancel()
    return seat.stand
