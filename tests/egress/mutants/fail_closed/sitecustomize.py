"""Mutation: a detector that failed or was late counts as one that found nothing."""

import importlib
import sys
from typing import Any

if "up" in sys.orig_argv:
    room: Any = importlib.import_module("ecotone.privacy.inspect")
    told = room._told
    room._told = lambda given, text, spots, missing, pending: told(given, text, spots, (), pending)
