"""From what a version's engine counted to the figures that are judged and reported: numbers, and no word of content."""

from __future__ import annotations

from ecotone.estimate.counts import Count
from ecotone.values.fleet import Figures

__all__ = ["figures"]


def figures(counts: Count, hours: float) -> Figures:
    """What one version did.

    Args:
        counts: Its own.
        hours: For so long it was used.
    """
    return Figures(
        hours=round(hours, 6),
        requests=counts.requests,
        errors=counts.errors,
        ttft_p50_ms=round(counts.ttft_ms.quantile(0.5), 1),
        ttft_p95_ms=round(counts.ttft_ms.quantile(0.95), 1),
        decode_tok_s=round(counts.decode_tok_s.quantile(0.5), 2),
        parity=round(min(max(counts.quality / counts.pairs, -1.0), 2.0), 4) if counts.pairs else None,
        pairs=counts.pairs,
        crashes=counts.crashes,
        memory_bytes=counts.memory_bytes,
    )
