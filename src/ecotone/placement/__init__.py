"""Where a request goes. One door: `decide`."""

from ecotone.placement.decide import decide

__all__ = ["decide"]
