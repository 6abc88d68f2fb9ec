"""What went to the cloud today: money and bytes, against the day's budgets. Pure; the day is an argument."""

from __future__ import annotations

import msgspec


class Budgets(msgspec.Struct, frozen=True):
    """Limits per UTC day; None = none."""

    usd_per_day: float | None = None
    egress_bytes_per_day: int | None = None


class Spend:
    """Running totals of one UTC day, with what is reserved for answers under way."""

    __slots__ = ("_held_bytes", "_held_usd", "day", "egress_bytes", "usd")

    def __init__(self, day: str = "", usd: float = 0.0, egress_bytes: int = 0) -> None:
        self.day = day
        self.usd = usd
        self.egress_bytes = egress_bytes
        self._held_usd = 0.0
        self._held_bytes = 0

    def turn(self, day: str) -> None:
        """Starts a new day where `day` (ISO date) is later than the one counted; a clock set back changes nothing."""
        if day > self.day:
            self.day, self.usd, self.egress_bytes = day, 0.0, 0

    def left(self, budgets: Budgets) -> tuple[float | None, int | None]:
        """(US dollars, bytes) that may still be promised today; None where there is no budget."""
        usd = None if budgets.usd_per_day is None else budgets.usd_per_day - self.usd - self._held_usd
        size = budgets.egress_bytes_per_day
        return usd, None if size is None else size - self.egress_bytes - self._held_bytes

    def hold(self, usd: float, size: int) -> None:
        """Reserves for an attempt that starts, so that requests side by side do not overdraw the budget."""
        self._held_usd += usd
        self._held_bytes += size

    def settle(self, held_usd: float, held_size: int, usd: float, size: int) -> None:
        """Replaces a reservation by what the attempt really took; partial streams count."""
        self._held_usd = max(0.0, self._held_usd - held_usd)
        self._held_bytes = max(0, self._held_bytes - held_size)
        self.usd += usd
        self.egress_bytes += size
