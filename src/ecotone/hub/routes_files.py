"""The hub's signed documents and packs: to sites with a session, or to anybody where the hub is open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ecotone.hub.routes_sites import SiteRoutes
from ecotone.hub.web import AnswerCut, Front, not_found
from ecotone.hub.web_files import PATH, Files, Span, is_moving, span

__all__ = ["FileRoutes"]

_WHOLE_BYTES: Final = 256 << 10
"""A file up to this length goes out in one piece."""


class FileRoutes:
    """`/trust.json`, `/catalogue`, `/director`, `/packs`."""

    def __init__(self, front: Front, files: Files, sites: SiteRoutes) -> None:
        """Nothing happens yet."""
        self._front: Final = front
        self._files: Final = files
        self._sites: Final = sites

    def routes(self) -> list[Route]:
        """Where they are."""
        folders = ("/catalogue/{path:path}", "/director/{path:path}", "/packs/{path:path}")
        return [Route(path, self.file, methods=["GET"]) for path in ("/trust.json", *folders)]

    async def file(self, request: Request) -> Response:
        """A file, or one range of it."""
        path = str(request.scope["path"]).removeprefix("/")
        if self._front.settings.is_open:
            self._front.limited(self._front.files, self._front.address(request))
        else:
            actor = await self._sites.actor(request)
            if PATH.fullmatch(path) is None or not await self._front.threads.call(self._files.may_have, actor, path):
                raise not_found()
        size = await self._front.threads.call(self._files.size, path) if PATH.fullmatch(path) else None
        if size is None:
            raise not_found()
        headers = self._headers(path)
        if "etag" in headers and request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        asked = span(request.headers.get("range", ""), size)
        if asked is None:
            return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
        headers["content-length"] = str(asked.length)
        if asked.is_part:
            headers["content-range"] = f"bytes {asked.first}-{asked.last}/{size}"
        return await self._answer(request, path, asked, headers)

    async def _answer(self, request: Request, path: str, asked: Span, headers: dict[str, str]) -> Response:
        status = 206 if asked.is_part else 200
        if request.method == "HEAD" or asked.length == 0:
            return Response(status_code=status, headers=headers)
        pieces = self._files.stream(path, asked)
        if asked.length <= _WHOLE_BYTES:
            content = await self._front.threads.call(_together, pieces)
            return Response(content, status, headers)
        return StreamingResponse(self._pieces(pieces, asked.length), status, headers)

    async def _pieces(self, pieces: Iterator[bytes], length: int) -> AsyncIterator[bytes]:
        """One piece at a time is in memory; the next is read when the caller has taken the one before."""
        came = 0
        while (piece := await self._front.threads.call(next, pieces, None)) is not None:
            came += len(piece)
            yield piece
        if came < length:
            raise AnswerCut(f"{came} of {length} bytes: the file has changed")

    def _headers(self, path: str) -> dict[str, str]:
        headers = {"accept-ranges": "bytes", "content-type": "application/octet-stream"}
        if is_moving(path):
            return {**headers, "cache-control": "no-cache"}
        whose = "public" if self._front.settings.is_open else "private"
        name = path.rpartition("/")[2]
        return {**headers, "cache-control": f"{whose}, max-age=31536000, immutable", "etag": f'"{name}"'}


def _together(pieces: Iterator[bytes]) -> bytes:
    return b"".join(pieces)
