"""What needs no session: whether the hub is well, its figures, and the console's page."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ecotone import access
from ecotone.hub import console
from ecotone.hub.people import People
from ecotone.hub.web import Front, answer, not_found

__all__ = ["PublicRoutes"]


class PublicRoutes:
    """`/healthz`, `/readyz`, `/metrics`, `/`."""

    def __init__(
        self, front: Front, people: People, why_not: Callable[[], list[str]], fleet: Callable[[], bytes]
    ) -> None:
        """Nothing happens yet.

        Args:
            front: What routes share.
            people: Who may see figures.
            why_not: Why this process cannot serve now; empty: it can.
            fleet: The fleet's figures, as Prometheus text.
        """
        self._front: Final = front
        self._people: Final = people
        self._why_not: Final = why_not
        self._fleet: Final = fleet

    def routes(self) -> list[Route]:
        """Where they are."""
        pages = [Route(path, self.page, methods=["GET"]) for path in ("/", "/console.css", "/console.js")]
        return [
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/admin/sign-in", self.sign_in, methods=["GET"]),
            *pages,
        ]

    async def healthz(self, request: Request) -> Response:
        """This process answers."""
        return answer({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """This process can serve: its database answers, and it is not about to stop."""
        why = self._why_not()
        return answer({"status": "not ready", "why": why}, 503) if why else answer({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """Figures, for callers on this machine and for people who may read the fleet."""
        if not self._is_local(request):
            self._front.watched(request)
            actor = await self._front.threads.call(self._people.authenticate, dict(request.headers))
            access.demand(actor, "fleet.read")
        text = await self._front.threads.call(lambda: self._front.metrics.text() + self._fleet())
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def sign_in(self, request: Request) -> Response:
        """Where people sign in, for `ecotone hub login`."""
        self._front.limited(self._front.addresses, self._front.address(request))
        return answer(await self._front.threads.call(self._people.sign_in))

    async def page(self, request: Request) -> Response:
        """The console: a page that knows nothing before somebody signs in."""
        self._front.limited(self._front.addresses, self._front.address(request))
        found = console.file(request.scope["path"])
        if found is None:
            raise not_found()
        headers = {**console.HEADERS, "etag": found.etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == found.etag:
            return Response(status_code=304, headers=headers)
        return Response(found.content, 200, headers, found.media_type)

    def _is_local(self, request: Request) -> bool:
        if self._front.settings.behind_proxy:
            return False
        try:
            return ipaddress.ip_address(self._front.address(request).partition("/")[0]).is_loopback
        except ValueError:
            return False
