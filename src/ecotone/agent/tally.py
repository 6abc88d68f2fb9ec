"""How many requests went where, and what that cost and saved: totals since the site joined its hub, no word of content.

Totals are levels: a report that is lost, doubled or late changes nothing that the next one says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ecotone.estimate.histogram import Histogram, bucket
from ecotone.ports import Telemetry
from ecotone.values import Condition, Outcome
from ecotone.values.fleet import Traffic

__all__ = ["Ears", "Tally", "Totals"]

FAILED: Final = frozenset({"broken", "failed", "deadline", "internal"})
DAY_S: Final = 86_400.0

Save = Callable[[Outcome], float]
"""What the dearest cloud target that might have been asked would have cost for this answer, US dollars."""


class Totals(msgspec.Struct, kw_only=True):
    """What is counted, and kept over starts of the site.

    Attributes:
        since_s: Unix seconds of the first.
        ttft: Time to the first byte in ms, by bucket of `estimate.histogram`; halved each day, to speak of late.
        halved_day: UTC day of the last halving, counted from 1970.
    """

    since_s: float = 0.0
    requests: int = 0
    at_edge: int = 0
    at_cloud: int = 0
    deferred: int = 0
    refused: int = 0
    failed: int = 0
    cloud_usd: float = 0.0
    saved_usd: float = 0.0
    egress_bytes: int = 0
    ttft: dict[int, float] = {}
    halved_day: int = 0


class Tally:
    """Counts outcomes.

    Attributes:
        totals: As they stand; to be kept.
        saved: See `Save`; replaced by a reload.
    """

    def __init__(self, totals: Totals, saved: Save = lambda _: 0.0) -> None:
        """Goes on from there."""
        self.totals, self.saved = totals, saved

    def ended(self, outcome: Outcome) -> None:
        """Counts one request that ended. Those of the site's own count for what left and cost, and else for nothing."""
        totals = self.totals
        totals.egress_bytes += outcome.egress_bytes
        totals.cloud_usd += outcome.cost_usd
        if outcome.purpose:
            return
        totals.requests += 1
        totals.deferred += outcome.reason.startswith("deferred.")
        totals.refused += outcome.ending == "refused"
        totals.failed += outcome.ending in FAILED
        if outcome.ending == "answered":
            totals.at_edge += outcome.at == "edge"
            totals.at_cloud += outcome.at == "cloud"
            if outcome.at == "edge":
                totals.saved_usd += self.saved(outcome)
        if outcome.ttft_s is not None:
            at = bucket(outcome.ttft_s * 1e3)
            totals.ttft[at] = totals.ttft.get(at, 0.0) + 1.0

    def traffic(self, wall_s: float) -> Traffic:
        """What a report says of it."""
        totals = self.totals
        totals.since_s = totals.since_s or wall_s
        day = int(wall_s // DAY_S)
        if day > totals.halved_day:
            totals.halved_day = day
            totals.ttft = {at: count / 2 for at, count in totals.ttft.items() if count >= 0.1}
        seen = Histogram({at: round(count * 100) for at, count in totals.ttft.items()})
        return Traffic(
            since_s=totals.since_s,
            requests=totals.requests,
            at_edge=totals.at_edge,
            at_cloud=totals.at_cloud,
            deferred=totals.deferred,
            refused=totals.refused,
            failed=totals.failed,
            cloud_usd=round(totals.cloud_usd, 6),
            saved_usd=round(totals.saved_usd, 6),
            egress_bytes=totals.egress_bytes,
            ttft_p50_ms=round(seen.quantile(0.5), 1),
            ttft_p95_ms=round(seen.quantile(0.95), 1),
        )


class Ears:
    """`ports.Telemetry` that tells others too: what a site without a hub has no need of."""

    def __init__(
        self,
        inner: Telemetry,
        on_outcome: tuple[Callable[[Outcome], None], ...],
        on_attempt: tuple[Callable[[str, str, float], None], ...] = (),
    ) -> None:
        """`inner` counts as ever; then the others are told."""
        self._inner, self._on_outcome, self._on_attempt = inner, on_outcome, on_attempt

    def ended(self, outcome: Outcome) -> None:
        """See `ports.Telemetry`."""
        self._inner.ended(outcome)
        for tell in self._on_outcome:
            tell(outcome)

    def attempted(self, target: str, failure: str, took_s: float) -> None:
        """See `ports.Telemetry`."""
        self._inner.attempted(target, failure, took_s)
        for tell in self._on_attempt:
            tell(target, failure, took_s)

    def condition(self, target: str, condition: Condition) -> None:
        """See `ports.Telemetry`."""
        self._inner.condition(target, condition)


def dearest(prices: Mapping[str, Callable[[int, int], float]]) -> Save:
    """What an answer would have cost at the dearest cloud target of its model name.

    Args:
        prices: By model name: what so many tokens in and out cost there.
    """

    def saved(outcome: Outcome) -> float:
        price = prices.get(outcome.model)
        return 0.0 if price is None else price(outcome.input_tokens, outcome.output_tokens)

    return saved
