"""The corridor: in, understand, decide, act, record. Doors: `serve` and `explain`."""

from ecotone.flow.planning import PlacedEntry, Plan, explain, meaning, plan, retell
from ecotone.flow.probing import probe_forever
from ecotone.flow.serving import serve
from ecotone.flow.site import ModelName, Site, Waits

__all__ = [
    "ModelName",
    "PlacedEntry",
    "Plan",
    "Site",
    "Waits",
    "explain",
    "meaning",
    "plan",
    "probe_forever",
    "retell",
    "serve",
]
