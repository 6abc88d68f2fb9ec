"""When a metered link may be used for work that can wait: windows of the week in the site's own time. Pure.

The core knows no time zones: the offset from UTC at an instant is a function that comes in. Asked anew for each minute,
it makes days of 23 and 25 hours, and a clock that jumps, nothing special.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

DAY_MIN: Final = 1_440
WEEK_MIN: Final = 7 * DAY_MIN
LOOK_MIN: Final = 60
"""So many minutes are looked ahead for the next opening: no job is put off for longer without being looked at."""
_THURSDAY: Final = 3
"""1970-01-01; days are counted from Monday."""


class Window(msgspec.Struct, frozen=True):
    """One window, in minutes of the week of local time.

    Attributes:
        days: 0 is Monday; the days on which it begins.
        from_min, to_min: Minutes after midnight. Where `to_min` is not after `from_min` it ends the day after; equal,
            it is a whole day.
        bytes_max: Of work that can wait, in each window; None: no limit.
    """

    days: tuple[int, ...]
    from_min: int
    to_min: int
    bytes_max: int | None = None

    def began_min(self, minute: int) -> int | None:
        """The minute of the week in which the window began that holds this one; None: none does."""
        long_min = (self.to_min - self.from_min) % DAY_MIN or DAY_MIN
        for day in self.days:
            start_min = day * DAY_MIN + self.from_min
            if (minute - start_min) % WEEK_MIN < long_min:
                return start_min
        return None


class Windows:
    """The windows of a site. None at all: always open."""

    def __init__(self, windows: Sequence[Window] = (), offset_s: Callable[[float], int] = lambda _: 0) -> None:
        """`offset_s`: seconds that local time is ahead of UTC at an instant (Unix seconds)."""
        self._windows = tuple(windows)
        self._offset_s = offset_s
        self._ahead: tuple[int, int] = (-1, 0)

    @property
    def is_metered(self) -> bool:
        """Whether there are any."""
        return bool(self._windows)

    def at(self, wall_s: float) -> tuple[Window, str] | None:
        """The window that is open, and a name for this one time that it is; None: none is. The first that is written
        counts where several are.

        A window that local time passes through twice, because the clock is set back, is one.
        """
        local_s = wall_s + self._offset_s(wall_s)
        day, minute = divmod(int(local_s // 60), DAY_MIN)
        week_min = (day + _THURSDAY) % 7 * DAY_MIN + minute
        for number, window in enumerate(self._windows):
            began_min = window.began_min(week_min)
            if began_min is not None:
                began_day = (int(local_s // 60) - (week_min - began_min) % WEEK_MIN) // DAY_MIN
                return window, f"{number}:{began_day}"
        return None

    def is_open(self, wall_s: float) -> bool:
        """Whether work that can wait may leave the site now."""
        return not self._windows or self.at(wall_s) is not None

    def opens_at_s(self, wall_s: float) -> float:
        """Unix seconds before which it is not open: now where it is, else the next opening, or an hour from now where
        that is sooner."""
        if self.is_open(wall_s):
            return wall_s
        minute = int(wall_s // 60)
        if self._ahead[0] != minute:
            ahead = range(minute + 1, minute + LOOK_MIN)
            found = next((one for one in ahead if self.is_open(one * 60.0)), minute + LOOK_MIN)
            self._ahead = minute, found
        return self._ahead[1] * 60.0
