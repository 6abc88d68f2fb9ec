"""Time and length of answers, learned per target from real traffic: quantiles by prompt size, not one average.

Pure and deterministic: observations in, estimates out; no clock, no I/O.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ecotone.values import Estimate, Price

WINDOW: Final = 48
"""Observations kept per quantity: enough for a usable p95, and the link of an hour ago is forgotten."""

REFRESH: Final = 8
"""Observations after which the quantiles of a full window are made anew."""

ENOUGH: Final = 4
"""Observations of one prompt size that beat a line through the other sizes."""

_LEVELS: Final = 18
_SPREAD_P95: Final = 2.0
"""p95 over p50 where too few observations give no tail. Precedent: TTFT of hosted models in RESEARCH-http.md."""

_OUTPUT_TOKENS_GUESS: Final = 256


class Observation(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one attempt showed.

    Attributes:
        ttft_s: Seconds from sending to the first token.
        tpot_s: Seconds per output token after the first; None where there was only one.
        was_queued: True where the request waited for a slot: its TTFT says nothing about the target's speed.
    """

    prompt_tokens: int
    ttft_s: float
    tpot_s: float | None = None
    output_tokens: int | None = None
    was_queued: bool = False


class Prior(msgspec.Struct, frozen=True, gc=False):
    """What a short measurement (engine tuning) gave before any traffic: tokens per second, and seconds to start."""

    prefill_tps: float
    decode_tps: float
    base_s: float = 0.05


class _Ring:
    """The last `WINDOW` values, with their quantiles. Sorted again every few values only: this is the hot path.

    Attributes:
        p50, p95: Empirical quantiles (nearest rank, upward: a promise is not rounded in our favour); 0 while empty.
    """

    __slots__ = ("_fresh", "_values", "p50", "p95")

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._values = deque(values, WINDOW)
        self.p50 = self.p95 = 0.0
        self._sort()

    def add(self, value: float) -> None:
        self._values.append(value)
        self._fresh += 1
        if self._fresh >= REFRESH or len(self._values) < WINDOW // 2:
            self._sort()

    def __len__(self) -> int:
        return len(self._values)

    def spread(self) -> tuple[float, float]:
        """(p50, p95); where too few values give no tail, a wide one."""
        return self.p50, self.p95 if len(self._values) >= ENOUGH else self.p50 * _SPREAD_P95

    def dump(self) -> list[float]:
        return list(self._values)

    def _sort(self) -> None:
        self._fresh = 0
        if self._values:
            ordered = sorted(self._values)
            self.p50, self.p95 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def _level(prompt_tokens: int) -> int:
    """Bucket of a prompt size: powers of two."""
    bits = prompt_tokens.bit_length()
    return 5 if bits < 5 else bits if bits < _LEVELS else _LEVELS - 1


def _ring(rings: dict[int, _Ring], prompt_tokens: int) -> _Ring:
    level = _level(prompt_tokens)
    ring = rings.get(level)
    if ring is None:
        ring = rings[level] = _Ring()
    return ring


class _Target:
    __slots__ = ("output", "prior", "tpot", "ttft", "whole")

    def __init__(self, prior: Prior | None = None) -> None:
        self.prior = prior
        self.ttft: dict[int, _Ring] = {}
        self.whole: dict[int, _Ring] = {}
        self.tpot = _Ring()
        self.output = _Ring()

    def times(self, prompt_tokens: int, output_tokens: int) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """((p50, p95) to the first token, (p50, p95) to the last), seconds; None where nothing is known.

        Streams tell both; where there were none, answers in one piece stand for both.
        """
        ttft = self.ttft_quantiles(prompt_tokens) if self.ttft or self.prior else None
        if ttft is None:
            whole = self.whole_quantiles(prompt_tokens)
            return None if whole is None else (whole, whole)
        more = max(0, output_tokens - 1)
        tpot = self.tpot_quantiles() or (0.0, 0.0)
        return ttft, (ttft[0] + tpot[0] * more, ttft[1] + tpot[1] * more)

    def whole_quantiles(self, prompt_tokens: int) -> tuple[float, float] | None:
        """(p50, p95) seconds to the whole answer, from answers in one piece of this or the next smaller prompt size."""
        level = _level(prompt_tokens)
        ring = self.whole.get(level)
        if ring is None:
            if not self.whole:
                return None
            smaller = [size for size in self.whole if size < level]
            ring = self.whole[max(smaller) if smaller else min(self.whole)]
        return ring.spread()

    def ttft_quantiles(self, prompt_tokens: int) -> tuple[float, float] | None:
        """(p50, p95) seconds for a prompt of this size, or None where nothing is known."""
        level = _level(prompt_tokens)
        ring = self.ttft.get(level)
        if ring is not None and len(ring) >= ENOUGH:
            return ring.p50, ring.p95
        middle = self._line(prompt_tokens)
        if middle is None:
            return None
        return middle, middle * _SPREAD_P95

    def _line(self, prompt_tokens: int) -> float | None:
        """Piecewise line through the medians of the sizes seen; beyond them, by the slope of the prior."""
        points = sorted((1.5 * 2.0 ** (level - 1), ring.p50) for level, ring in self.ttft.items() if len(ring))
        slope = 1.0 / self.prior.prefill_tps if self.prior else 0.0
        if not points:
            return self.prior.base_s + prompt_tokens * slope if self.prior else None
        after = bisect.bisect_left(points, (float(prompt_tokens), 0.0))
        if after == 0:
            x, y = points[0]
            return max(0.0, min(y, y - (x - prompt_tokens) * slope))
        if after == len(points):
            (x, y) = points[-1]
            if len(points) > 1:
                slope = max(slope, (y - points[0][1]) / (x - points[0][0]))
            return y + (prompt_tokens - x) * slope
        (x0, y0), (x1, y1) = points[after - 1], points[after]
        return y0 + (y1 - y0) * (prompt_tokens - x0) / (x1 - x0)

    def tpot_quantiles(self) -> tuple[float, float] | None:
        """(p50, p95) seconds per token, or None where nothing is known."""
        if len(self.tpot):
            return self.tpot.spread()
        if self.prior:
            return 1.0 / self.prior.decode_tps, _SPREAD_P95 / self.prior.decode_tps
        return None


class Speeds:
    """What is known of each target's speed. Fed by `observe`, read by `predict`, kept across restarts by `dump`."""

    def __init__(self) -> None:
        self._targets: dict[str, _Target] = {}

    def _known(self, target: str) -> _Target:
        known = self._targets.get(target)
        if known is None:
            known = self._targets[target] = _Target()
        return known

    def give_prior(self, target: str, prior: Prior) -> None:
        """Sets what a measurement gave; traffic soon outweighs it."""
        self._known(target).prior = prior

    def observe(self, target: str, seen: Observation) -> None:
        """Learns from one attempt."""
        known = self._known(target)
        if not seen.was_queued:
            _ring(known.ttft, seen.prompt_tokens).add(seen.ttft_s)
        if seen.tpot_s is not None:
            known.tpot.add(seen.tpot_s)
        if seen.output_tokens:
            known.output.add(float(seen.output_tokens))

    def observe_whole(
        self, target: str, *, prompt_tokens: int, total_s: float, output_tokens: int, was_queued: bool = False
    ) -> None:
        """Learns from an answer in one piece, of which nobody saw when its first token was made."""
        known = self._known(target)
        if not was_queued:
            _ring(known.whole, prompt_tokens).add(total_s)
        if output_tokens:
            known.output.add(float(output_tokens))

    def predict(
        self,
        target: str,
        *,
        prompt_tokens: int,
        output_tokens_max: int | None,
        price: Price,
        queue: tuple[int, int, int],
    ) -> Estimate:
        """What this target would take for such a request.

        Args:
            target: Its name; one never seen gives an estimate of Nones.
            queue: (requests in service, requests waiting, slots).

        The wait is that of a queue with as many servers as slots, each taking the median answer.
        """
        known = self._targets.get(target)
        length = known.output.p50 if known is not None and len(known.output) else _OUTPUT_TOKENS_GUESS
        output_tokens = int(min(length, output_tokens_max) if output_tokens_max else length)
        price_usd = price.cost_usd(prompt_tokens, output_tokens)
        times = known.times(prompt_tokens, output_tokens) if known is not None else None
        if times is None:
            return Estimate(price_usd=price_usd, output_tokens=output_tokens)
        ttft, (total_p50, total_p95) = times
        active, waiting, slots = queue
        ahead = max(0, active + waiting + 1 - slots)
        wait_s = ahead * total_p50 / slots
        return Estimate(
            wait_s=wait_s,
            ttft_s_p50=ttft[0] + wait_s,
            ttft_s_p95=ttft[1] + wait_s,
            total_s_p50=total_p50 + wait_s,
            total_s_p95=total_p95 + wait_s,
            price_usd=price_usd,
            output_tokens=output_tokens,
        )

    def summary(self, target: str) -> dict[str, float | int | None]:
        """What `ecotone status` shows of a target's speed; seconds and tokens per second."""
        known = self._targets.get(target, _Target())
        ttft = known.ttft_quantiles(64)
        tpot = known.tpot_quantiles()
        return {
            "ttft_s_p50_64_tokens": ttft[0] if ttft else None,
            "ttft_s_p95_64_tokens": ttft[1] if ttft else None,
            "decode_tokens_per_s": 1.0 / tpot[0] if tpot and tpot[0] > 0 else None,
            "observations": sum(len(ring) for ring in (*known.ttft.values(), *known.whole.values())),
        }

    def dump(self) -> dict[str, Any]:
        """All that was learned, as plain values for a JSON document."""
        return {
            name: {
                "ttft": {str(level): ring.dump() for level, ring in known.ttft.items()},
                "whole": {str(level): ring.dump() for level, ring in known.whole.items()},
                "tpot": known.tpot.dump(),
                "output": known.output.dump(),
            }
            for name, known in self._targets.items()
        }

    def load(self, document: Mapping[str, Any]) -> None:
        """Takes back what `dump` gave.

        Raises:
            msgspec.ValidationError: the document is not what `dump` gives; nothing is taken then.
        """
        kept = msgspec.convert(document, dict[str, _Kept])
        for name, record in kept.items():
            known = self._known(name)
            known.ttft = {int(level): _Ring(values) for level, values in record.ttft.items() if level.isdigit()}
            known.whole = {int(level): _Ring(values) for level, values in record.whole.items() if level.isdigit()}
            known.tpot = _Ring(record.tpot)
            known.output = _Ring(record.output)


class _Kept(msgspec.Struct):
    ttft: dict[str, list[float]]
    whole: dict[str, list[float]]
    tpot: list[float]
    output: list[float]
