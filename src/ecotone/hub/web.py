"""The hub's web side: what holds for every request, whoever asks and whatever for.

An id, security headers, one shape of errors, limits by address, a line of the log without content, and figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Message, Receive, Scope, Send

from ecotone.hub.limits import Buckets
from ecotone.hub.settings import Settings
from ecotone.hub.web_asking import Asking, Threads
from ecotone.hub.web_metrics import Metrics
from ecotone.values import ConfigError, EcotoneError, RefusalError, RequestError, TrustError

__all__ = ["AnswerCut", "Front", "Web", "answer", "not_found"]

LINGER_S: Final = 2.0
"""What still comes is read for so long after a refusal, so that the refusal arrives."""

ACCESS: Final = "ecotone.hub.access"
"""The logger of the line that each request gets."""

log = logging.getLogger("ecotone.hub")
access = logging.getLogger(ACCESS)

_PLAIN: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_STRICT: Final = (b"strict-transport-security", b"max-age=31536000")


class AnswerCut(Exception):
    """An answer that had begun could not be ended: the connection is cut, so that nobody takes it for whole."""


class Front:
    """What routes share: the settings, threads, counters and limits of one process."""

    def __init__(self, settings: Settings, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is open yet."""
        limits = settings.limits
        self.settings: Final = settings
        self.metrics: Final = metrics
        self.clock: Final = clock
        self.threads: Final = Threads(limits.threads)
        self.sites: Final = Buckets(limits.site_per_minute)
        self.files: Final = Buckets(limits.site_files_per_minute)
        self.addresses: Final = Buckets(limits.address_per_minute)
        self.failures: Final = Buckets(limits.failures_per_minute)
        self.is_stopping = False

    def asking(self, request: Request) -> Asking:
        """The request's body, to be read."""
        return Asking(request, self.metrics.received.inc)

    def address(self, request: Request) -> str:
        """Where the caller is, as limits know it: an IPv4 address, or the first half of an IPv6 one."""
        peer = request.client.host if request.client else ""
        if self.settings.behind_proxy:
            # A proxy adds to the last line, or adds a line of its own: what a caller has sent stands before it.
            peer = (request.headers.getlist("x-forwarded-for") or [peer])[-1].rpartition(",")[2].strip()
        try:
            found = ipaddress.ip_address(peer)
        except ValueError:
            return "unknown"
        if found.version == 6 and not found.ipv4_mapped:
            return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
        return str(found)

    def limited(self, buckets: Buckets, key: str) -> None:
        """Counts one request.

        Raises:
            RefusalError: `hub.rate`, 429.
        """
        wait_s = buckets.take(key, self.clock())
        if wait_s > 0:
            raise _too_often(wait_s)

    def watched(self, request: Request) -> None:
        """Before a secret is looked at: whether this address has failed too often already.

        Raises:
            RefusalError: `hub.rate`, 429.
        """
        wait_s = self.failures.is_empty(self.address(request), self.clock())
        if wait_s > 0:
            raise _too_often(wait_s)

    def failed(self, request: Request) -> None:
        """Counts a secret that was refused."""
        self.failures.take(self.address(request), self.clock())

    def named(self, request: Request, who: str) -> None:
        """Says for the log who it is."""
        request.scope["ecotone.who"] = who


class Web:
    """The ASGI application."""

    def __init__(self, front: Front, routes: Sequence[Route]) -> None:
        """Takes requests at once."""
        self._front: Final = front
        self._routes: Final = list(routes)
        self._in_flight = 0
        public = front.settings.public_url
        is_https = front.settings.tls is not None or public.startswith("https://")
        self._headers: Final = (*_PLAIN, _STRICT) if is_https else _PLAIN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        assert scope["type"] == "http", scope["type"]
        cycle = _Cycle(scope, receive, send, self._headers)
        route, is_method = self._found(scope)
        path = "other" if route is None else route.path
        began_s = self._front.clock()
        # Who waits for news is bounded where it waits.
        weight = 0 if path == _DESIRED else 1
        self._in_flight += weight
        try:
            self._has_room(path)
            if route is None:
                raise not_found()
            if not is_method:
                raise RequestError("hub.method", "this is not done here", status=405)
            await route.handle(scope, cycle.receive, cycle.send)
        except Exception as error:  # noqa: BLE001 - the outermost handler of a request
            await self._failed(error, cycle, is_person=path.startswith("/admin"))
        finally:
            self._in_flight -= weight
            self._account(cycle, path, self._front.clock() - began_s)

    def _has_room(self, route: str) -> None:
        # Who asks whether this process is well is always answered.
        if self._in_flight > self._front.settings.limits.in_flight_max and route not in (_DESIRED, "/healthz"):
            raise RefusalError("hub.busy", "too many requests are being answered", status=503, retry_after_s=1.0)

    def _found(self, scope: Scope) -> tuple[Route | None, bool]:
        """The route, and whether it knows the method. Its pattern is for figures and the log: not what was asked."""
        partial = None
        if "\x00" in scope["path"]:  # no name has one, and PostgreSQL takes none
            return None, False
        for route in self._routes:
            match, inner = route.matches(scope)
            if match is Match.FULL:
                scope.update(inner)
                return route, True
            if match is Match.PARTIAL:
                partial = route
        return partial, False

    async def _failed(self, error: Exception, cycle: _Cycle, *, is_person: bool) -> None:
        told = _told(error, is_person=is_person)
        cycle.code = told.code
        self._front.metrics.refused.labels(told.code).inc()
        if told.status >= 500 and told.status != 503:
            log.error("request %s failed", cycle.id, exc_info=error)
        elif told.code == "hub.unavailable":
            # What a database says may hold what was asked of it: its kind is enough to look there.
            log.warning("request %s: %s", cycle.id, type(getattr(error, "orig", None) or error).__name__)
        if cycle.status:
            raise AnswerCut(told.code) from error
        await cycle.refuse(_refusal(told))

    def _account(self, cycle: _Cycle, route: str, took_s: float) -> None:
        metrics = self._front.metrics
        metrics.requests.labels(route, str(cycle.status)).inc()
        metrics.sent.labels(route).inc(cycle.sent)
        if route != _DESIRED:
            metrics.seconds.labels(route).observe(took_s)
        # Sites that hear of nothing new ask all the time.
        level = logging.DEBUG if cycle.status == 304 else logging.INFO
        if access.isEnabledFor(level):
            scope = cycle.scope
            fields = {
                "id": cycle.id,
                "method": scope["method"] if scope["method"] in _METHODS else "other",
                "route": route,
                "status": cycle.status,
                "ms": round(took_s * 1e3, 1),
                "bytes": cycle.sent,
                "who": scope.get("ecotone.who", ""),
                "code": cycle.code,
            }
            if cycle.status in (401, 403, 429):
                fields["address"] = self._front.address(Request(scope))
            access.log(level, "request", extra={"fields": fields})


class _Cycle:
    """One answer on its way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.scope: Final = scope
        self.id: Final = secrets.token_hex(8)
        self._receive: Final = receive
        names = {name for name, _ in scope["headers"]}
        self._has_unread = not names.isdisjoint((b"content-length", b"transfer-encoding"))
        self.status = 0
        self.sent = 0
        self.code = ""
        self._send: Final = send
        self._headers: Final = headers

    async def receive(self) -> Message:
        """Marks the end of the body."""
        message = await self._receive()
        if not message.get("more_body", False):
            self._has_unread = False
        return message

    async def refuse(self, answer: Response) -> None:
        """Sends a refusal, and reads on for a moment where the caller is still writing: else it would be lost."""
        if not self._has_unread:
            await answer(self.scope, self.receive, self.send)
            return
        headers = [*answer.raw_headers, (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        await self.send({"type": "http.response.body", "body": bytes(answer.body), "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while self._has_unread:
                    await self.receive()
        await self.send({"type": "http.response.body", "body": b""})

    async def send(self, message: Message) -> None:
        """Adds what every answer has; counts."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = list(message.get("headers", ()))
            there = {name.lower() for name, _ in own}
            own += [(name, value) for name, value in self._headers if name not in there]
            own.append((b"x-request-id", self.id.encode()))
            message = {**message, "headers": own}
        else:
            self.sent += len(message.get("body", b""))
        await self._send(message)


_DESIRED: Final = "/v1/sites/{site}/desired"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def not_found() -> RequestError:
    """What is not there, and what is not for whom it is asked by: the two are told alike."""
    return RequestError("hub.not_found", "there is nothing here for you", status=404)


def _too_often(wait_s: float) -> RefusalError:
    return RefusalError("hub.rate", "too many requests: come again later", status=429, retry_after_s=wait_s)


def _told(error: Exception, *, is_person: bool) -> EcotoneError:
    """The error as the caller reads it: nothing of the inside is told, and to sites not where files lie."""
    if isinstance(error, ConfigError) and (is_person or error.code == "hub.report"):
        # What a person asked for cannot be; the message says why, and how to mend it.
        return RequestError(error.code, error.message, status=_STATUS.get(error.code, 400))
    if isinstance(error, TrustError) and is_person:
        return RequestError(error.code, error.message, status=422)
    if isinstance(error, EcotoneError) and (error.status < 500 or error.status == 503):
        return error
    if isinstance(error, FileNotFoundError):  # it went while it was looked at
        return not_found()
    if isinstance(error, SQLAlchemyError) or (isinstance(error, EcotoneError) and error.code in _PASSING):
        return RefusalError(
            "hub.unavailable", "the hub's database or objects do not answer", status=503, retry_after_s=5.0
        )
    return EcotoneError("hub.internal", "the hub has failed at this; its log says more under the id of this answer")


_STATUS: Final = {"hub.unknown": 404, "release.state": 409}
_PASSING: Final = frozenset({"hub.busy", "hub.database", "hub.objects", "asset.busy", "asset.io", "asset.disk_full"})


def _refusal(error: EcotoneError) -> Response:
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["www-authenticate"] = 'Bearer realm="ecotone-hub"'
    return answer({"error": {"code": error.code, "message": error.message}}, error.status, headers)
