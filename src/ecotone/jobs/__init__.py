"""Jobs: what may become of one (`lifecycle`), which goes first (`order`), and when it is time (`dispatch`). Pure.

The queue itself is a port (`ports.Queue`): durable in `store`, in memory in `sim`, both by this room's table.
"""

from ecotone.jobs.dispatch import Chances, Expire, Facts, Patience, Run, Wait, decide
from ecotone.jobs.lifecycle import Event, picture, step
from ecotone.jobs.order import AGEING_MS, DEFER_MS_MAX, STARVATION_MS_MAX, Backoff, is_due, pause_ms, rank_ms

__all__ = [
    "AGEING_MS",
    "DEFER_MS_MAX",
    "STARVATION_MS_MAX",
    "Backoff",
    "Chances",
    "Event",
    "Expire",
    "Facts",
    "Patience",
    "Run",
    "Wait",
    "decide",
    "is_due",
    "pause_ms",
    "picture",
    "rank_ms",
    "step",
]
