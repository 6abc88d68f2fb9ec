"""What a request holds that may be protected. Doors: `inspect` (always) and `deepen` (where something might leave).

`segments` takes the JSON apart, `patterns` and `fold` are the quick detector, `inspect` puts together who saw what. The
dear detectors (names, topics, plug-ins) run in a process of their own: `ecotone.detectors`.
"""

from ecotone.privacy.answers import Screen
from ecotone.privacy.inspect import OPAQUE, UNKNOWN, Find, Look, Unseen, deepen, inspect, unseen
from ecotone.privacy.segments import Text, segments

__all__ = ["OPAQUE", "UNKNOWN", "Find", "Look", "Screen", "Text", "Unseen", "deepen", "inspect", "segments", "unseen"]
