"""The price: how large a predicted gap is worth a call to the cloud, so that the cloud gets its share of the calls.

A price on the gap, not a quota: when traffic gets harder for a while, more goes to the cloud for a while. A slow
integral controller needs no model of the traffic, and one number survives a restart.
"""

from __future__ import annotations

import math
from typing import Final

ETA: Final = 3e-4
"""Change of the price per request. Precedent: RESEARCH-routing.md 3.2, 3e-4 to 1e-3 measured best under drift."""


class Price:
    """The price of one model name.

    Attributes:
        value: In [-1, 1]: with a share to keep, the edge answers only where the predicted gap is at most this.
    """

    __slots__ = ("value",)

    def __init__(self, value: float = 1.0) -> None:
        if not math.isfinite(value):
            raise ValueError("a price is a finite number")
        self.value = min(1.0, max(-1.0, value))

    def move(self, *, is_cloud: bool, cloud_share: float, ceiling: float, eta: float = ETA) -> None:
        """One request was placed.

        Args:
            cloud_share: Share of calls that the cloud should get.
            ceiling: The largest gap that the promise allows. The price does not rise above it: there it would do
                nothing but take long to come back.
        """
        moved = self.value + eta * (float(is_cloud) - cloud_share)
        self.value = min(1.0, ceiling, max(-1.0, moved))
