"""From what a version's engine counted to the figures that are judged and reported: numbers, and no word of content."""

from __future__ import annotations

from ecotone.estimate.counts import Count
from ecotone.values.fleet import Figures

__all__ = ["figures"]


def figures(counts: Count, hours: float, parity: tuple[float, int] | None = None) -> Figures:
    """What one version did.

    Args:
        counts: Its own.
        hours: For so long it was used.
        parity: Mean quality against the cloud (1 = as good), and answers that were compared; None: none was.
    """
    return Figures(
        hours=round(hours, 6),
        requests=counts.requests,
        errors=counts.errors,
        ttft_p50_ms=round(counts.ttft_ms.quantile(0.5), 1),
        ttft_p95_ms=round(counts.ttft_ms.quantile(0.95), 1),
        decode_tok_s=round(counts.decode_tok_s.quantile(0.5), 2),
        parity=None if parity is None else parity[0],
        pairs=0 if parity is None else parity[1],
        crashes=counts.crashes,
        memory_bytes=counts.memory_bytes,
    )
