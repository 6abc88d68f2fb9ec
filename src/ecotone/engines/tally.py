"""What a model's engine did, in numbers: requests, failures by its fault, times, memory. Nothing of what was said."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from ecotone.estimate.counts import Count

__all__ = ["Tally"]

ITS_FAULT: Final = frozenset({"engine_crashed", "engine_start", "http_500", "bad_answer"})
"""Codes of failures that a model, and not its callers or the load, has caused."""

TAIL_BYTES: Final = 1024
_ACCOUNT: Final = re.compile(
    rb'"prompt_ms":([0-9.eE+-]+),.{0,200}?"predicted_n":(\d+),"predicted_ms":([0-9.eE+-]+)', re.DOTALL
)
"""The engine's own account, at the end of an answer. Quotes in an answer's text are escaped: no text looks like it."""

TOKENS_MIN: Final = 8
"""A shorter answer does not tell how fast the engine writes."""


class Tally:
    """Counts of one model file, over all its engines, for as long as the process lives."""

    def __init__(self) -> None:
        """All is 0."""
        self.now = Count()

    def answered(self, first_s: float, tail: bytes) -> None:
        """A request was answered.

        Args:
            first_s: Seconds to the first byte: the time to the first token where the engine gives no account.
            tail: The last bytes of the answer, which hold the engine's account of it.
        """
        now, ttft_ms = self.now, first_s * 1e3
        decode = now.decode_tok_s
        account = _ACCOUNT.search(tail)
        if account is not None:
            prompt_ms, tokens, decode_ms = float(account[1]), int(account[2]), float(account[3])
            ttft_ms = prompt_ms + decode_ms / max(tokens, 1)
            if tokens >= TOKENS_MIN and decode_ms > 0:
                decode = decode.with_(tokens / decode_ms * 1e3)
        self.now = msgspec.structs.replace(
            now, requests=now.requests + 1, ttft_ms=now.ttft_ms.with_(ttft_ms), decode_tok_s=decode
        )

    def failed(self, code: str) -> None:
        """A request was not answered; what the model is not to blame for does not count."""
        if code in ITS_FAULT:
            self.now = msgspec.structs.replace(self.now, requests=self.now.requests + 1, errors=self.now.errors + 1)

    def crashed(self) -> None:
        """A worker that was ready died."""
        self.now = msgspec.structs.replace(self.now, crashes=self.now.crashes + 1)

    def weighed(self, memory_bytes: int) -> None:
        """A worker was seen to take so much memory."""
        if memory_bytes > self.now.memory_bytes:
            self.now = msgspec.structs.replace(self.now, memory_bytes=memory_bytes)
