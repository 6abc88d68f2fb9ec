"""Time zones, for the core that knows none."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ecotone.values import ConfigError

LOCAL: Final = "local"


def offset(zone: str) -> Callable[[float], int]:
    """Seconds that local time is ahead of UTC at an instant (Unix seconds).

    Args:
        zone: A name of the IANA database, or `local`: as the machine has it.

    Raises:
        ConfigError: there is no such zone here.
    """
    if zone == "UTC":
        return lambda wall_s: 0
    if zone == LOCAL:
        return lambda wall_s: time.localtime(wall_s).tm_gmtoff
    try:
        found = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            "config.invalid",
            f"link.timezone: {zone!r} is not known on this machine; write a name such as `Europe/Berlin`, `UTC` or "
            "`local` (a system without time zones gets them with `pip install tzdata`)",
        ) from error

    def of(wall_s: float) -> int:
        gap = datetime.fromtimestamp(wall_s, found).utcoffset()
        return 0 if gap is None else int(gap.total_seconds())

    return of
