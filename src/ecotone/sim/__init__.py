"""The same `flow` and `placement` on virtual time, with made targets, links and callers.

One seed is one history. `python -m ecotone.sim --histories 2000` runs many and checks the invariants on each.
"""
