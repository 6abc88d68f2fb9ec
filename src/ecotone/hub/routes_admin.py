"""What people ask: each room of the hub brings a table of doors, and here they are opened to who may.

Who may do what is decided in the rooms themselves; here it is only found out who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ecotone.access import Actor
from ecotone.hub.web import Front, answer
from ecotone.hub.web_asking import json_object
from ecotone.values import EcotoneError, RequestError

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub

__all__ = ["AdminRoutes", "Door", "UploadDoor"]

Door = Callable[["Hub", Actor, dict[str, str], dict[str, Any], dict[str, str]], tuple[int, Any]]
"""(hub, who, path, body, query) -> (status, value). Called in a worker thread."""

UploadDoor = Callable[
    ["Hub", Actor, dict[str, str], dict[str, str], Iterator[bytes]], tuple[int, Mapping[str, str], Any]
]
"""(hub, who, path, headers, the body's pieces) -> (status, headers, value). Called in a worker thread."""


class AdminRoutes:
    """`/admin`."""

    def __init__(
        self,
        front: Front,
        hub: Hub,
        doors: Mapping[tuple[str, str], Door],
        uploads: Mapping[tuple[str, str], UploadDoor],
    ) -> None:
        """Nothing happens yet."""
        self._front: Final = front
        self._hub: Final = hub
        self._doors: Final = doors
        self._uploads: Final = uploads

    def routes(self) -> list[Route]:
        """Where they are."""
        routes = []
        for (method, path), door in self._doors.items():
            routes.append(Route(f"/admin{path}", partial(self._asked, door), methods=[method]))
        for (method, path), upload in self._uploads.items():
            routes.append(Route(f"/admin{path}", partial(self._brought, upload), methods=[method]))
        return routes

    async def _asked(self, door: Door, request: Request) -> Response:
        actor = await self._actor(request)
        body: dict[str, Any] = {}
        if request.method not in ("GET", "HEAD"):
            body = json_object(await self._front.asking(request).body(self._front.settings.limits.body_bytes_max))
        path, query = dict(request.path_params), dict(request.query_params)
        _without_nul(body, path, query)
        status, value = await self._front.threads.call(door, self._hub, actor, path, body, query)
        return Response(status_code=204) if status == 204 else answer(value, status)

    async def _brought(self, door: UploadDoor, request: Request) -> Response:
        actor = await self._actor(request)
        pieces = self._front.asking(request).pieces(self._front.settings.limits.upload_bytes_max)
        path, headers = dict(request.path_params), dict(request.headers)
        _without_nul(path)
        headers.pop("authorization", None)
        status, told, value = await self._front.threads.upload(door, self._hub, actor, path, headers, pieces)
        return Response(status_code=204, headers=told) if status == 204 else answer(value, status, told)

    async def _actor(self, request: Request) -> Actor:
        """Who asks.

        Raises:
            RequestError: `hub.key`, 401.
            RefusalError: `hub.rate`, 429.
        """
        self._front.watched(request)
        try:
            actor = await self._front.threads.call(self._hub.people.authenticate, dict(request.headers))
        except EcotoneError as error:
            if error.status in (401, 403):
                self._front.failed(request)
            raise
        self._front.limited(self._front.sites, f"person {actor.name}")
        self._front.named(request, actor.name)
        return actor


def _without_nul(*said: object) -> None:
    """No text with a NUL: no name has one, PostgreSQL takes none, and SQLite would.

    Raises:
        RequestError: `hub.body`.
    """
    if b"\\u0000" in msgspec.json.encode(said):
        raise RequestError("hub.body", "a text holds a NUL character: leave it out")
