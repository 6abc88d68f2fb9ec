"""What the requests at one model file came to, in numbers that can be kept, added and taken apart again. Pure."""

from __future__ import annotations

import msgspec

from ecotone.estimate.histogram import Histogram

__all__ = ["Count"]


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """All counts at one moment. None of them ever falls.

    Attributes:
        requests: That ended, well or not; callers that left are none.
        errors: Of these, those that failed by the engine's fault.
        ttft_ms: To the first token, from a free slot on: how long others were waited for is not the model's affair.
        decode_tok_s: Tokens a second, of answers of eight tokens and more.
        crashes: Deaths of a worker that was ready.
        memory_bytes: Most that a worker took.
        pairs, quality: Answers that were compared with the cloud's, and the sum of how good they were (1 = as good).
    """

    requests: int = 0
    errors: int = 0
    ttft_ms: Histogram = Histogram()
    decode_tok_s: Histogram = Histogram()
    crashes: int = 0
    memory_bytes: int = 0
    pairs: int = 0
    quality: float = 0.0

    def plus(self, other: Count) -> Count:
        """Both together."""
        return Count(
            requests=self.requests + other.requests,
            errors=self.errors + other.errors,
            ttft_ms=self.ttft_ms.plus(other.ttft_ms),
            decode_tok_s=self.decode_tok_s.plus(other.decode_tok_s),
            crashes=self.crashes + other.crashes,
            memory_bytes=max(self.memory_bytes, other.memory_bytes),
            pairs=self.pairs + other.pairs,
            quality=self.quality + other.quality,
        )

    def minus(self, earlier: Count) -> Count:
        """What came since `earlier`, of which this is a later state."""
        return Count(
            requests=max(self.requests - earlier.requests, 0),
            errors=max(self.errors - earlier.errors, 0),
            ttft_ms=self.ttft_ms.minus(earlier.ttft_ms),
            decode_tok_s=self.decode_tok_s.minus(earlier.decode_tok_s),
            crashes=max(self.crashes - earlier.crashes, 0),
            memory_bytes=self.memory_bytes,
            pairs=max(self.pairs - earlier.pairs, 0),
            quality=self.quality - earlier.quality if self.pairs > earlier.pairs else 0.0,
        )
