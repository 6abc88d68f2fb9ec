"""Targets behind a URL, our own HTTP/1.1 client, and the two doors that it is used through.

Bytes leave the site through `EgressDoor.send` alone.
"""

from ecotone.upstreams.connect import Resolver
from ecotone.upstreams.egress import EgressDoor
from ecotone.upstreams.guard import Guard, GuardError
from ecotone.upstreams.origin import Upstream
from ecotone.upstreams.premises import PremisesDoor
from ecotone.upstreams.proxy import Proxy
from ecotone.upstreams.target import Options, UrlTarget
from ecotone.upstreams.webhook import Webhooks, check_url
from ecotone.upstreams.worker import WorkerChannel

__all__ = [
    "EgressDoor",
    "Guard",
    "GuardError",
    "Options",
    "PremisesDoor",
    "Proxy",
    "Resolver",
    "Upstream",
    "UrlTarget",
    "Webhooks",
    "WorkerChannel",
    "check_url",
]
