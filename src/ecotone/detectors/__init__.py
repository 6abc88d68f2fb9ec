"""The dear detectors (names, topics, plug-ins) in a worker process that has no network.

    inspectors = Inspectors(("names", "topics"), {"store": "/var/lib/ecotone", "topics_examples": []})
    inspectors.start()
    looked = await inspectors.look(["Ask Maria Lopez."], ("names",), limit_s=0.06)

`load` makes one detector in this process, for the CLI.
"""

from ecotone.detectors.contract import GROUP, Detector, DetectorError, checked, known, load
from ecotone.detectors.inspectors import Inspectors, Limits, Status

__all__ = ["GROUP", "Detector", "DetectorError", "Inspectors", "Limits", "Status", "checked", "known", "load"]
