"""What a caller is told besides the answer: the debug headers, and why nobody could answer."""

from __future__ import annotations

from collections.abc import Sequence

from ecotone.flow.accounts import Bill
from ecotone.flow.planning import Plan, overload
from ecotone.flow.site import Site
from ecotone.flow.turns import BUSY
from ecotone.ports import Prepared
from ecotone.values import EcotoneError, Place, PlacementError, RefusalError, Request, RequestError

Header = tuple[str, str]


def debug(bill: Bill, prepared: Prepared, decided: Plan, name: str) -> Sequence[Header]:
    """The headers of `Ecotone-Debug: 1` where this target answers."""
    egress = len(prepared.body) if decided.at(name) == Place.CLOUD.value else 0
    tried = [f"{attempt.target}={attempt.failure}" for attempt in bill.attempts]
    return [
        ("Ecotone-Overhead-Ms", f"{bill.overhead_s * 1e3:.3f}"),
        ("Ecotone-Attempts", ", ".join([*tried, name])),
        ("Ecotone-Labels", ", ".join(decided.labels)),
        ("Ecotone-Cost-Usd", f"{decided.price_usd(name):.6f}"),
        ("Ecotone-Egress-Bytes", str(bill.egress_bytes + egress)),
    ]


def exhausted(site: Site, request: Request, bill: Bill, decided: Plan) -> EcotoneError:
    """The error after every target failed: all their reasons, and when to try again."""
    held_back = [f"{loss.target}: {loss.obstacle}" for loss in decided.placement.lost if loss.obstacle == "policy"]
    told = "; ".join([*(f"{attempt.target}: {attempt.failure}" for attempt in bill.attempts), *held_back])
    message = f"Every target failed. {told}"
    now_s = site.clock.now_s()
    waits_s = [
        site.breakers[attempt.target].condition(now_s, in_flight=0, waiting=0).retry_in_s for attempt in bill.attempts
    ]
    retry_after_s = max(1.0, min(waits_s))
    failures = {attempt.failure for attempt in bill.attempts}
    if failures == {"context_exceeded"}:
        return RequestError("context_length_exceeded", message, param="messages")
    if failures == {BUSY}:
        return overload(site, decided, [bill.attempts[0].target], request.key, message=message)
    if failures == {"rate_limited"}:
        return RefusalError("refused.rate_limited", message, status=429, retry_after_s=retry_after_s)
    return PlacementError("refused.all_failed", message, retry_after_s=retry_after_s)
