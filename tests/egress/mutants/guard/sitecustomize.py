"""Mutation: the process-wide guard is not installed."""

import sys

import rogue_tries

if "up" in sys.orig_argv:
    from ecotone.upstreams.guard import Guard

    Guard.install = lambda self, ports=(): None
rogue_tries.start()
