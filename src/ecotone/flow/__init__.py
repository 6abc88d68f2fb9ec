"""The corridor: in, understand, decide, act, record. Doors: `serve` and `explain`."""

from ecotone.flow.plan import Plan, explain, plan
from ecotone.flow.serve import serve
from ecotone.flow.site import ModelName, Site, Waits

__all__ = ["ModelName", "Plan", "Site", "Waits", "explain", "plan", "serve"]
