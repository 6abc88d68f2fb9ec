"""What a route is given and what it gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from ecotone.gateway.caller import CallerSide
from ecotone.values import RequestError

JSON: Final = "application/json"
QUERY_PARTS_MAX: Final = 32

Read = Callable[[], Awaitable[bytes]]
"""The whole body, within the limits."""
More = Callable[[int], Awaitable[bytes]]
"""The next piece of a body that may have so many bytes in all; `b""` at its end."""


class Ask(msgspec.Struct, frozen=True):
    """One request as a route sees it.

    Attributes:
        rest: What stands for `{id}` in the route's path.
        key: Name of the caller's key, `''` where none is needed.
        query: Of the URL; of a name that comes twice the last value.
    """

    headers: list[tuple[bytes, bytes]]
    rest: str
    read: Read
    more: More
    key: str
    query: dict[str, str]

    def header(self, name: bytes) -> bytes:
        """The first value of a header; `b""` where there is none."""
        return next((value for known, value in self.headers if known == name), b"")


class Told(msgspec.Struct, frozen=True):
    """An answer in one piece."""

    body: bytes
    status: int = 200
    kind: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Later(msgspec.Struct, frozen=True):
    """An answer that takes its time: a task of its own tells the caller, and is cancelled when the caller leaves."""

    work: Callable[[CallerSide], Coroutine[Any, Any, None]]


Route = Callable[[Ask], Awaitable[Told | Later]]


def json(value: Any, status: int = 200) -> Told:
    """A value as JSON."""
    return Told(msgspec.json.encode(value), status)


def read_query(raw: bytes) -> dict[str, str]:
    """The query of a URL.

    Raises:
        RequestError: it is no query, or too long a one.
    """
    try:
        return dict(parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=QUERY_PARTS_MAX))
    except ValueError:
        raise RequestError("request.query", "The query of the URL cannot be read.") from None
