"""Notices to programs inside the site: signed, without content, and never to a public address."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from ecotone import __version__
from ecotone.ports import Stream
from ecotone.upstreams.connect import Resolver
from ecotone.upstreams.door import Call
from ecotone.upstreams.exchange import Head
from ecotone.upstreams.origin import Upstream, locate
from ecotone.upstreams.premises import PremisesDoor, admit
from ecotone.values import ConfigError, RequestError, TargetError

__all__ = ["Webhooks", "check_url", "signature"]

CONNECT_S: Final = 5.0
ANSWER_S: Final = 10.0
"""A receiver has so long to say that it has the notice."""
LOCAL: Final = ("localhost", "local", "home.arpa", "internal", "intranet", "private", "corp", "home", "lan")
"""Ends of names that no resolver outside knows. Source: RFC 6761, 6.3; RFC 6762, 3 and appendix G; RFC 8375."""
RECEIVERS_MAX: Final = 64
"""Receivers whose connections are kept."""
ANSWER_BYTES_MAX: Final = 64 * 1024


def signature(secret: bytes, at_s: int, body: bytes) -> str:
    """Value of `Ecotone-Signature`: HMAC-SHA256 over `t`, a dot, and the body; `t` is Unix seconds of sending."""
    digest = hmac.new(secret, b"%d.%b" % (at_s, body), hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def check_url(url: str, hosts: Sequence[str] = ()) -> None:
    """Accepts a URL that can be called, as far as can be told without asking for its name.

    To ask for a name may tell it to a resolver outside: only local names, and those that the operator gave, are asked
    for.

    Args:
        hosts: Names that webhooks may be at, and below.

    Raises:
        RequestError: it cannot.
    """
    try:
        upstream, _ = _located(url)
    except ConfigError as error:
        raise RequestError("request.header", f"Ecotone-Webhook: {error.message}", param="Ecotone-Webhook") from None
    if upstream.host.replace(".", "").isdigit() or ":" in upstream.host:
        _refuse_public(upstream)
    elif not _is_local(upstream.host, hosts):
        words = "Ecotone-Webhook: not a local name, nor one below `jobs.webhook_hosts` of the configuration"
        raise RequestError("request.header", words, param="Ecotone-Webhook")


class Webhooks:
    """Calls webhooks, through a door of the premises only."""

    def __init__(self, resolver: Resolver, secret: bytes) -> None:
        self._resolver = resolver
        self._secret = secret
        self._known: set[Upstream] = set()
        self._door = PremisesDoor(resolver)

    async def tell(self, url: str, body: bytes, at_s: int) -> int:
        """The status that the receiver answered; 0 where none came in time, or the address is not on the premises."""
        try:
            upstream, path = _located(url)
            head = Head("POST", upstream, path, self._headers(body, at_s))
        except (ConfigError, AssertionError):
            return 0
        sink = _Status()
        call = Call("webhook", upstream, head, body, ANSWER_BYTES_MAX, _over)
        stream: Stream = self._door_to(upstream).send(call, sink)
        try:
            async with asyncio.timeout(CONNECT_S + ANSWER_S):
                return await sink.status
        except TimeoutError:
            return 0
        finally:
            stream.abort()

    def _door_to(self, upstream: Upstream) -> PremisesDoor:
        """Callers name the receivers: what is kept of them is bounded by beginning anew."""
        if upstream not in self._known and len(self._known) >= RECEIVERS_MAX:
            self._door.close()
            self._door = PremisesDoor(self._resolver)
            self._known.clear()
        self._known.add(upstream)
        return self._door

    def _headers(self, body: bytes, at_s: int) -> Mapping[str, str]:
        return {
            "content-type": "application/json",
            "user-agent": f"ecotone/{__version__}",
            # A notice is relayed for a caller: a site does not take it for a word of its own machine.
            "via": "1.1 ecotone",
            "ecotone-signature": signature(self._secret, at_s, body),
        }


class _Status:
    """A sink that only wants the status."""

    def __init__(self) -> None:
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """See `ports.Sink.head`."""
        self._set(status)

    def data(self, chunk: bytes) -> None:
        """See `ports.Sink.data`."""

    def ended(self) -> None:
        """See `ports.Sink.ended`."""
        self._set(0)

    def failed(self, error: TargetError) -> None:
        """See `ports.Sink.failed`."""
        self._set(0)

    def _set(self, status: int) -> None:
        if not self.status.done():
            self.status.set_result(status)


def _located(url: str) -> tuple[Upstream, str]:
    """Where a webhook is: upstream and path with query.

    Raises:
        ConfigError: it is no URL of this kind.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError("config.upstream", "url: write http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH")
    base, mark, query = url.partition("?")
    upstream, path = locate(base, connect_timeout_s=CONNECT_S)
    if base.endswith("/"):
        path += "/"
    return upstream, (path or "/") + mark + query


def _is_local(host: str, hosts: Sequence[str]) -> bool:
    """Whether a name is one of the premises', by its form or by the operator's word."""
    name = host.rstrip(".")
    return "." not in name or any(name == one or name.endswith(f".{one}") for one in (*LOCAL, *hosts))


def _refuse_public(upstream: Upstream) -> None:
    if admit(upstream, upstream.host):
        words = "Ecotone-Webhook: a public address: webhooks stay inside the site"
        raise RequestError("request.header", words, param="Ecotone-Webhook")


def _over() -> None:
    """A notice is no load."""
