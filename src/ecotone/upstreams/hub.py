"""The way to the hub: the site's own messages, through the egress door like all that leaves."""

from __future__ import annotations

from typing import Final

from ecotone import __version__
from ecotone.flow.reporting import Message
from ecotone.ports import Sink, Stream
from ecotone.upstreams.door import Call
from ecotone.upstreams.egress import EgressDoor
from ecotone.upstreams.exchange import Head
from ecotone.upstreams.origin import locate
from ecotone.upstreams.proxy import Proxy
from ecotone.upstreams.vitals import LinkFigures
from ecotone.values import Permit, Place, Receipt, TargetSpec

__all__ = ["HubWire"]

CONNECT_S: Final = 10.0
"""A hub may be far: nobody waits for it."""
ANSWER_BYTES_MAX: Final = 1 << 20


class HubWire:
    """See `flow.reporting.Wire`."""

    def __init__(
        self,
        url: str,
        door: EgressDoor,
        *,
        region: str | None = None,
        ca_file: str | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """Connects to nothing yet.

        Raises:
            ConfigError: the URL or the CA file cannot be used.
        """
        self.spec = TargetSpec(name="hub", at=Place.CLOUD, model="hub", region=region)
        self._door = door
        self._upstream, self._base = locate(url, ca_file=ca_file, connect_timeout_s=CONNECT_S, proxy=proxy)
        door.trust(self._upstream)

    @property
    def origin(self) -> str:
        """`scheme://host:port` that messages go to."""
        return self._upstream.origin

    def open(self, message: Message, sink: Sink, permit: Permit, receipt: Receipt) -> Stream:
        """Sends one message. What the network does comes as `sink.failed`."""
        said = {"accept": "application/json", "user-agent": f"ecotone/{__version__}", **message.headers}
        head = Head(message.method, self._upstream, f"{self._base}{message.path}", said)
        is_first = message.kind == "hub.session"  # what is idle may lead nowhere: a session is begun after a failure
        call = Call(self.spec.name, self._upstream, head, message.body, ANSWER_BYTES_MAX, _nothing, is_fresh=is_first)
        return self._door.send(call, sink, permit, receipt)

    def link(self) -> LinkFigures:
        """How the link to the hub is, by recent traffic."""
        return self._door.link(self._upstream)


def _nothing() -> None:
    """A message is no load."""
