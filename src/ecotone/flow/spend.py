"""What went to the cloud today: money and bytes, against the day's budgets, and when a metered link is open. Pure; the
day and the instant are arguments."""

from __future__ import annotations

from typing import Final

import msgspec

from ecotone.flow.windows import Windows

WINDOW: Final = "deferred.window"
BUDGET: Final = "deferred.budget"
DAY_S: Final = 86_400.0


class Budgets(msgspec.Struct, frozen=True):
    """Limits per UTC day; None = none.

    Attributes:
        windows: When work that can wait may go to the cloud.
        is_strict: Outside the windows no other request may either.
    """

    usd_per_day: float | None = None
    egress_bytes_per_day: int | None = None
    windows: Windows = Windows()
    is_strict: bool = False

    def is_closed(self, wall_s: float) -> bool:
        """Whether no request at all may go to the cloud now."""
        return self.is_strict and not self.windows.is_open(wall_s)


class Held(msgspec.Struct, frozen=True):
    """Why work that can wait may not go to the cloud now.

    Attributes:
        reason: A word of `reasons.DEFERRALS`.
        until_s: Unix seconds before which that does not change.
    """

    reason: str
    until_s: float


class Spend:
    """Running totals of one UTC day, with what is reserved for answers under way.

    Attributes:
        window, window_bytes: What work that can wait has sent in one window (`Windows.at`).
    """

    __slots__ = ("_held_bytes", "_held_usd", "day", "egress_bytes", "usd", "window", "window_bytes")

    def __init__(self, day: str = "", usd: float = 0.0, egress_bytes: int = 0) -> None:
        self.day = day
        self.usd = usd
        self.egress_bytes = egress_bytes
        self.window = ""
        self.window_bytes = 0
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

    def held(self, budgets: Budgets, wall_s: float) -> Held | None:
        """Why work that can wait may not go to the cloud now; None: it may. `turn` comes first.

        Args:
            wall_s: Unix seconds.
        """
        usd, size = self.left(budgets)
        if (usd is not None and usd <= 0) or (size is not None and size <= 0):
            return Held(BUDGET, (wall_s // DAY_S + 1) * DAY_S)
        if not budgets.windows.is_metered:
            return None
        found = budgets.windows.at(wall_s)
        if found is None:
            return Held(WINDOW, budgets.windows.opens_at_s(wall_s))
        window, name = found
        is_used_up = window.bytes_max is not None and name == self.window and self.window_bytes >= window.bytes_max
        # When the window ends is not worth knowing: nothing is late if it is asked again in a minute.
        return Held(BUDGET, (wall_s // 60 + 1) * 60) if is_used_up else None

    def defer(self, budgets: Budgets, wall_s: float, size: int) -> None:
        """Counts what work that can wait has sent, in the window that is open."""
        found = budgets.windows.at(wall_s)
        if found is None:
            return
        if found[1] != self.window:
            self.window, self.window_bytes = found[1], 0
        self.window_bytes += size
