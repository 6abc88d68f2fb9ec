"""The one function through which bytes leave the site (invariant 1).

Nothing else may use `http1` for an origin outside the premises. `send` wants a permit that the mint made for exactly
these bytes, this target and this origin, and a receipt that the ledger's entry for it is durable (invariant 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ecotone.ports import Sink, Stream
from ecotone.upstreams.connect import Dialler, Resolver
from ecotone.upstreams.door import Call, Pools
from ecotone.upstreams.origin import Upstream
from ecotone.upstreams.vitals import LinkFigures
from ecotone.values import Permit, Place, Receipt, binding

USED_MAX: Final = 8192
"""Receipts remembered as used. A permit is used within milliseconds of its entry; 8,192 later entries are seconds."""


class EgressDoor:
    """The door for targets at `cloud`."""

    place: Final = Place.CLOUD

    def __init__(self, verify: Callable[[Permit], bool], resolver: Resolver) -> None:
        """`verify` says whether the mint made the permit, unchanged (`policy.Mint.verify`)."""
        self._verify = verify
        self._dialler = Dialler(resolver)
        self._pools = Pools(self._dialler)
        self._used = Used(USED_MAX)

    def trust(self, upstream: Upstream) -> None:
        """Makes ready for an upstream.

        Raises:
            ConfigError: its CA file cannot be used.
        """
        self._dialler.trust(upstream)

    def send(self, call: Call, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """Lets the call leave the site, or refuses it as `sink.failed` with `egress_refused`.

        A permit with its receipt is good for one send. The client may put that send on the wire a second time where
        a reused connection turned out to be closed: same bytes, same origin, same entry of the ledger.
        """
        why = self._object(call, permit, receipt)
        if why:
            return self._pools.refuse(call, sink, why)
        return self._pools.open(call, sink)

    def link(self, upstream: Upstream) -> LinkFigures:
        """How the link there is, by recent traffic."""
        return self._pools.link(upstream)

    def close(self) -> None:
        """Drops idle connections; takes no new call. Answers under way go on to their end."""
        self._pools.close()

    def _object(self, call: Call, permit: Permit | None, receipt: Receipt | None) -> str:
        """Why the call must not go, or `''`; then the permit is used up."""
        if permit is None or receipt is None:
            return "no permit" if permit is None else "no receipt of the ledger"
        if permit.target != call.target or permit.origin != call.upstream.origin:
            return "the permit is for another target or origin"
        if permit.transform != call.transform or permit.digest != binding(call.transform, call.body):
            return "the permit is for other bytes, or bytes made in another way"
        if receipt.seal != permit.seal:
            return "the receipt is for another permit"
        if not self._verify(permit):
            return "the permit was not minted here"
        if not self._used.take(receipt):
            return "the permit was used before"
        return ""


class Used:
    """Remembers which receipts were used: exact, in bounded memory.

    Positions in the ledger only grow, so what is forgotten is told apart by its position: a receipt at or below the
    highest forgotten position counts as used. It errs towards refusal, and only for a permit that lay unused while
    `used_max` later ones went.
    """

    def __init__(self, used_max: int) -> None:
        self._used_max = used_max
        self._used: dict[tuple[int, bytes], None] = {}
        self._floor = -1

    def take(self, receipt: Receipt) -> bool:
        """Marks a receipt as used; False where it was."""
        mark = (receipt.seq, receipt.seal)
        if receipt.seq <= self._floor or mark in self._used:
            return False
        self._used[mark] = None
        if len(self._used) > self._used_max:
            oldest = next(iter(self._used))
            del self._used[oldest]
            self._floor = max(self._floor, oldest[0])
        return True
