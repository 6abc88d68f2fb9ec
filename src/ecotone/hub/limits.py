"""How often somebody may ask: a bucket of tokens for each key, of which only so many are remembered."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["Buckets"]


class Buckets:
    """`per_minute` takings for each key, evenly; a full bucket holds a fifth of a minute's, at least `BURST_MIN`.

    A key that has not been seen for long is full again and forgotten. Of more keys than `keys_max` the one that was
    longest unseen is forgotten: who can make up keys wins nothing but a full bucket, which a new key has anyway.
    """

    BURST_MIN: Final = 10.0

    def __init__(self, per_minute: float, keys_max: int = 100_000) -> None:
        """Remembers nothing yet."""
        self._rate_s: Final = per_minute / 60
        self._burst: Final = max(self.BURST_MIN, per_minute / 5)
        self._keys_max: Final = keys_max
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Keys that are remembered."""
        return len(self._known)

    def take(self, key: str, now_s: float, tokens: float = 1.0) -> float:
        """0.0 if it may be, and it is counted; else the seconds after which it may (and nothing is counted).

        Args:
            key: Who asks.
            now_s: Seconds by a clock that never goes back.
            tokens: What is taken.
        """
        left = self._left(key, now_s)
        if left < tokens:
            return (tokens - left) / self._rate_s
        self._known[key] = (left - tokens, now_s)
        self._known.move_to_end(key)
        if len(self._known) > self._keys_max:
            self._known.popitem(last=False)
        return 0.0

    def is_empty(self, key: str, now_s: float) -> float:
        """As `take`, and nothing is counted."""
        left = self._left(key, now_s)
        return 0.0 if left >= 1.0 else (1.0 - left) / self._rate_s

    def _left(self, key: str, now_s: float) -> float:
        left, seen_s = self._known.get(key, (self._burst, now_s))
        return min(self._burst, left + max(0.0, now_s - seen_s) * self._rate_s)
