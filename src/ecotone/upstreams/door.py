"""What both doors share: a call that is ready to go, and the pools behind a door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from ecotone.ports import Sink, Stream
from ecotone.upstreams.connect import Dialler
from ecotone.upstreams.exchange import Exchange, Head
from ecotone.upstreams.http1 import Pool
from ecotone.upstreams.origin import Upstream
from ecotone.upstreams.vitals import LinkFigures
from ecotone.values import Permit, Place, Receipt, TargetError


class Call(msgspec.Struct, frozen=True):
    """One request, ready to go.

    Attributes:
        target: Name of the target.
        upstream: Where it goes.
        head: Its head but for the length.
        body: Its exact body.
        bytes_max: Limit on the answer's body, or None for a stream.
        over: Called once when the exchange is over, also where the door refused it.
        transform: What was done to the caller's words before the body was made (`ports.Prepared.transform`).
        is_fresh: Drop idle connections first: the target was out of reach, and they may lead nowhere.
    """

    target: str
    upstream: Upstream
    head: Head
    body: bytes
    bytes_max: int | None
    over: Callable[[], None]
    transform: str = "none"
    is_fresh: bool = False


class Door(Protocol):
    """Through which a target's bytes go: `egress.EgressDoor` or `premises.PremisesDoor`."""

    @property
    def place(self) -> Place:
        """The place of the targets that this door serves."""

    def trust(self, upstream: Upstream) -> None:
        """Makes ready for an upstream.

        Raises:
            ConfigError: its CA file cannot be used.
        """

    def send(self, call: Call, sink: Sink, permit: Permit | None, receipt: Receipt | None) -> Stream:
        """Sends the call. Refusals come as `sink.failed`, like every other failure."""

    def link(self, upstream: Upstream) -> LinkFigures:
        """How the link there is, by recent traffic."""


class Pools:
    """The pools behind one door, one for each upstream."""

    def __init__(self, dialler: Dialler) -> None:
        self._dialler = dialler
        self._pools: dict[Upstream, Pool] = {}
        self._is_closed = False

    def open(self, call: Call, sink: Sink) -> Exchange:
        """Sends the call on a connection of its upstream's pool."""
        pool = self._pools.get(call.upstream)
        if pool is None:
            pool = self._pools[call.upstream] = Pool(call.upstream, self._dialler)
            if self._is_closed:
                pool.close()
        if call.is_fresh:
            pool.drop_idle()
        return pool.open(call.head, call.body, sink, bytes_max=call.bytes_max, over=call.over)

    def link(self, upstream: Upstream) -> LinkFigures:
        """How the link there is, by recent traffic."""
        pool = self._pools.get(upstream)
        return LinkFigures() if pool is None else pool.link.figures()

    def refuse(self, call: Call, sink: Sink, why: str) -> Exchange:
        """Fails the call with `egress_refused`, as soon as the caller has its stream."""
        return Exchange.refused(sink, TargetError("egress_refused", f"{call.upstream.origin}: {why}"), call.over)

    def close(self) -> None:
        """Drops idle connections; takes no new call. Answers under way go on to their end."""
        self._is_closed = True
        for pool in self._pools.values():
            pool.close()
