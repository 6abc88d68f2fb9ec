"""Mutation: only the last message is looked at (invariant 3 taken out)."""

import importlib
import json
import sys
from typing import Any

if "up" in sys.orig_argv:
    room: Any = importlib.import_module("ecotone.privacy.inspect")
    whole = room.segments

    def last_only(body: bytes) -> Any:
        """The segments of the last message."""
        tree = json.loads(body)
        if isinstance(tree.get("messages"), list):
            tree["messages"] = tree["messages"][-1:]
        found = whole(json.dumps(tree).encode())
        return type(found)(found.segments, found.runs, found.is_opaque, None)

    room.segments = last_only
