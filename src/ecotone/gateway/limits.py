"""What one gateway takes. Over any limit the caller is told at once."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's limits; every one has a default.

    Attributes:
        body_bytes_max: Largest request body; more is 413.
        bodies_bytes_max: All bodies held at a time; more is 503.
        header_bytes_max: Request line and headers together; more is 431.
        in_flight_max: Requests being served; more is 503.
        connections_max: Open connections; one more gets 503 and is closed.
        pipelined_max: Requests that one connection may send ahead; the rest is not read.
        head_s: From a request's first byte (or the connection) to the end of its headers.
        body_idle_s: Between two pieces of a request body.
        body_s: A whole request body.
        keep_alive_s: Between two requests of a connection.
        caller_stall_s: A caller that takes nothing of its answer for so long is disconnected.
        linger_s: What still comes is read for so long after a refusal, so that the refusal arrives.
    """

    body_bytes_max: int = 16 * 1024 * 1024
    bodies_bytes_max: int = 256 * 1024 * 1024
    header_bytes_max: int = 32 * 1024
    in_flight_max: int = 1024
    connections_max: int = 4096
    pipelined_max: int = 64
    head_s: float = 10.0
    body_idle_s: float = 60.0
    body_s: float = 600.0
    keep_alive_s: float = 75.0
    caller_stall_s: float = 120.0
    linger_s: float = 2.0
