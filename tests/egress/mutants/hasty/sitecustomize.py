"""No mutation but an instrument: looks at pairs come after a few, so that a scene reaches its certificate."""

import importlib
import sys
from typing import Any

if "up" in sys.orig_argv:
    room: Any = importlib.import_module("ecotone.learning.course")
    room.FIRST_LOOK = room.NEXT_LOOK = 12
    recalibration: Any = importlib.import_module("ecotone.learning.recalibration")
    recalibration.HOPE_ROWS = 8
