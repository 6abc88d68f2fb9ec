"""Mutation: a detector that failed or was late counts as one that found nothing."""

import sys

if "up" in sys.orig_argv:
    room = sys.modules["ecotone.privacy.inspect"]
    told = room._told
    room._told = lambda given, text, spots, missing, pending: told(given, text, spots, (), pending)
