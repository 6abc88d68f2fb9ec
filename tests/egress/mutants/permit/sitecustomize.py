"""Mutation: the egress door does not look at permits any more."""

import sys

import rogue_tries

if "up" in sys.orig_argv:
    from ecotone.upstreams.egress import EgressDoor

    EgressDoor._object = lambda self, call, permit, receipt: ""
rogue_tries.start()
