"""What outlives a reload, and what outlives a restart."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecotone.estimate import Speeds
from ecotone.flow.breaker import Breaker, BreakerSettings
from ecotone.flow.spend import Spend
from ecotone.store import Ledger, State

SPEEDS: Final = "speeds"
WINDOW: Final = "window"
"""What work that can wait has sent in a window of a metered link."""


class _Totals(msgspec.Struct):
    """The part of an outcome entry that a start needs."""

    day: str = ""
    day_usd: float = 0.0
    day_egress_bytes: int = 0


class Memory:
    """Speeds, breakers and the day's spending of a running site."""

    def __init__(self, state: State, ledger: Ledger) -> None:
        """Reads what was kept: learned speeds from the state, spending from the ledger's last outcome."""
        self._state = state
        self.speeds = Speeds()
        kept = state.read(SPEEDS, dict[str, Any])
        if kept is not None:
            self._take_speeds(kept)
        entry = ledger.last("outcome")
        totals = _Totals() if entry is None else msgspec.convert(entry.body, _Totals)
        self.spend = Spend(totals.day, totals.day_usd, totals.day_egress_bytes)
        self.spend.window, self.spend.window_bytes = state.read(WINDOW, tuple[str, int]) or ("", 0)
        self._breakers: dict[str, tuple[object, Breaker]] = {}

    def breaker(self, name: str, target: object, settings: BreakerSettings) -> Breaker:
        """The breaker of a target; a new one where the target or the settings are others than before."""
        known = self._breakers.get(name)
        mark = (target, settings)
        if known is None or known[0] != mark:
            known = self._breakers[name] = (mark, Breaker(settings))
        return known[1]

    def save(self) -> None:
        """Keeps the learned speeds, and what a window has seen; blocks for small writes.

        Raises:
            EcotoneError: the disk refused (`store.state`).
        """
        self._state.write(SPEEDS, self.speeds.dump())
        if self.spend.window:
            self._state.write(WINDOW, (self.spend.window, self.spend.window_bytes))

    def _take_speeds(self, kept: dict[str, Any]) -> None:
        try:
            self.speeds.load(kept)
        except msgspec.ValidationError:
            # Of another version: speeds are learned anew within minutes, nothing is lost.
            self.speeds = Speeds()
