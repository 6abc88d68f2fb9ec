"""One request as routes see it: who asks, from where, and its body within its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec
from starlette.requests import ClientDisconnect, Request

from ecotone.values import RequestError

__all__ = ["Asking", "Threads", "bearer", "json_object", "unpacked"]

PIECE_BYTES: Final = 256 << 10
BODY_S: Final = 20.0
"""A body that is taken in one piece must be here within so long: it holds one of the places that all share."""
WINDOW_LOG_MAX: Final = 23
"""Memory that an unpacker may take, as a power of two: what zstd's level 19 asks for."""

_T = TypeVar("_T")


class Threads:
    """Where calls that wait for a database or for objects are made: so many at a time, and uploads apart."""

    def __init__(self, most: int, uploads: int = 4) -> None:
        """Makes no thread yet."""
        self._calls: Final = anyio.CapacityLimiter(most)
        self._uploads: Final = anyio.CapacityLimiter(uploads)

    async def call(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """What the function gives; the event loop goes on meanwhile."""
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._calls)

    async def upload(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """As `call`, for what takes a body as it comes."""
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._uploads)


class Asking:
    """A request's body, read once."""

    def __init__(self, request: Request, counted: Callable[[int], None]) -> None:
        """Reads nothing yet.

        Args:
            request: Of starlette.
            counted: Told of bytes that came.
        """
        self._request: Final = request
        self._counted: Final = counted

    async def body(self, bytes_max: int, within_s: float | None = None) -> bytes:
        """The whole of it.

        Args:
            bytes_max: A longer one is refused.
            within_s: It must be here within so long, seconds; default: `BODY_S`.

        Raises:
            RequestError: `hub.too_large`; `hub.cut`.
        """
        self._bounded(bytes_max)
        found, limit_s = bytearray(), BODY_S if within_s is None else within_s
        try:
            async with asyncio.timeout(limit_s):
                async for piece in self._request.stream():
                    self._counted(len(piece))
                    found += piece
                    if len(found) > bytes_max:
                        raise too_large(bytes_max)
        except ClientDisconnect as error:
            raise RequestError("hub.cut", "the body did not come to its end") from error
        except TimeoutError as error:
            raise RequestError("hub.cut", f"the body did not arrive within {limit_s:g} s", status=408) from error
        return bytes(found)

    def pieces(self, bytes_max: int) -> Iterator[bytes]:
        """For a worker thread: the body as it comes, in pieces of at most `PIECE_BYTES`.

        Raises:
            RequestError: `hub.too_large`; `hub.cut`.
        """
        self._bounded(bytes_max)
        stream = self._request.stream().__aiter__()

        async def following() -> bytes | None:
            return await anext(stream, None)

        came = 0
        while True:
            try:
                piece = anyio.from_thread.run(following)
            except ClientDisconnect as error:
                raise RequestError("hub.cut", "the body did not come to its end") from error
            if piece is None:
                return
            came += len(piece)
            self._counted(len(piece))
            if came > bytes_max:
                raise too_large(bytes_max)
            for at in range(0, len(piece), PIECE_BYTES):
                yield piece[at : at + PIECE_BYTES]

    def _bounded(self, bytes_max: int) -> None:
        said = self._request.headers.get("content-length", "0")
        if said.isdecimal() and int(said[:20]) > bytes_max:
            raise too_large(bytes_max)


def bearer(request: Request) -> str:
    """The token of `Authorization: Bearer`; `''`: none."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def json_object(raw: bytes) -> dict[str, Any]:
    """A body that is a JSON object; nothing is one without members.

    Raises:
        RequestError: `hub.body`.
    """
    if not raw:
        return {}
    try:
        found = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestError("hub.body", f"the body is no JSON object: {error}") from error
    return found


def unpacked(raw: bytes, coding: str, bytes_max: int) -> bytes:
    """A body without its content coding; never more than `bytes_max` bytes of it are made.

    Raises:
        RequestError: `hub.body`, `hub.too_large`; `hub.coding`, 415.
    """
    if coding in ("", "identity"):
        return raw
    if coding != "zstd":
        raise RequestError("hub.coding", "only `Content-Encoding: zstd` or none is read here", status=415)
    from backports import zstd

    maker = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX})
    try:
        found = maker.decompress(raw, max_length=bytes_max + 1)
    except zstd.ZstdError as error:
        raise RequestError("hub.body", "the body is not what `Content-Encoding: zstd` says") from error
    if len(found) > bytes_max:
        raise too_large(bytes_max)
    if not maker.eof or maker.unused_data:
        raise RequestError("hub.body", "the body is not one whole frame of zstd")
    return found


def too_large(bytes_max: int) -> RequestError:
    """The error of a body over its bound."""
    return RequestError("hub.too_large", f"the body is longer than {bytes_max} bytes", status=413)
