"""The door for targets on the premises: no permit, but never to a public address."""

from __future__ import annotations

import ipaddress
from typing import Final

from ecotone.ports import Sink, Stream
from ecotone.upstreams.connect import Dialler, Resolver
from ecotone.upstreams.door import Call, Pools
from ecotone.upstreams.origin import Upstream
from ecotone.upstreams.vitals import LinkFigures
from ecotone.values import Permit, Place, Receipt

PREMISES: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8", "::1/128",  # loopback
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private, RFC 1918
        "fc00::/7",  # unique local, RFC 4193
        "169.254.0.0/16", "fe80::/10",  # link-local, RFC 3927 and RFC 4291
        "100.64.0.0/10",  # carrier-grade NAT and overlay networks, RFC 6598
    )
)  # fmt: skip


def is_on_premises(address: str) -> bool:
    """Whether a numeric address cannot be one of the public internet's."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    found = mapped or parsed
    return any(found in network for network in PREMISES if network.version == found.version)


def admit(upstream: Upstream, address: str) -> str:
    """`''` where a numeric address may be connected to as `at: edge`, else why not and how to mend it."""
    if upstream.public_address_is_ours or is_on_premises(address):
        return ""
    return (
        f"{address} is a public address, and the target is `at: edge`; declare it `at: cloud`, "
        "or set `public_address_is_ours: true` if it is on the premises"
    )


class PremisesDoor:
    """The door for targets at `edge`. The address that is checked is the one that is connected to (`connect.py`)."""

    place: Final = Place.EDGE

    def __init__(self, resolver: Resolver) -> None:
        self._dialler = Dialler(resolver, admit)
        self._pools = Pools(self._dialler)

    def trust(self, upstream: Upstream) -> None:
        """Makes ready for an upstream.

        Raises:
            ConfigError: its CA file cannot be used.
        """
        self._dialler.trust(upstream)

    def send(self, call: Call, sink: Sink, permit: Permit | None = None, receipt: Receipt | None = None) -> Stream:
        """Sends the call; a public address fails as `egress_refused`. Permit and receipt are not needed here."""
        return self._pools.open(call, sink)

    def link(self, upstream: Upstream) -> LinkFigures:
        """How the link there is, by recent traffic."""
        return self._pools.link(upstream)

    def close(self) -> None:
        """Drops idle connections; takes no new call. Answers under way go on to their end."""
        self._pools.close()
