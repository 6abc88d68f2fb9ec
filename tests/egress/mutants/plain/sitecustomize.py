"""No mutation but an instrument: reports are not packed, so that who watches the wire can read them."""

import importlib
import sys
from typing import Any

if "up" in sys.orig_argv:
    room: Any = importlib.import_module("ecotone.agent.link")
    room.SMALL_BYTES = 1 << 30
