"""How a link is, by what the system knows of it (Linux): whether what was sent arrives, how far and how wide it is.

A link that dies says nothing. A new connection finds out within its connect limit; one that was kept from before would
find out only when the answer is overdue, a minute later. What the peer's system has acknowledged tells sooner.
"""

from __future__ import annotations

import enum
import socket
import sys
from collections import deque
from typing import Any, Final

import msgspec

_INFO_BYTES: Final = 60
_PROBES: Final = 3
_UNACKED: Final = slice(24, 28)
_LAST_ACK_MS: Final = slice(56, 60)
_UNANSWERED_MAX: Final = 2
_RTT_US: Final = slice(68, 72)
_RTT_BYTES: Final = 72
KEPT_MAX: Final = 64
EVERY_S: Final = 1.0
"""Round trips are looked up so often at most."""

WIDE_BYTES_MIN: Final = 32 * 1024
"""Smaller answers say more about the target than about the link's width."""


class Delivery(enum.Enum):
    """What became of the bytes that were sent.

    `all`: the peer's system has them. `going`: acknowledgements come, or may yet. `none`: some are overdue. `unknown`:
    this system does not tell.
    """

    ALL = "all"
    GOING = "going"
    NONE = "none"
    UNKNOWN = "unknown"


def delivery(connected: Any, within_s: float) -> Delivery:
    """How delivery stands on a TCP connection on which something was sent at least `within_s` seconds ago.

    A peer that is slow to read acknowledges all the same, or answers the probes of its closed window; a slow link
    acknowledges bit by bit. Neither is `none`.

    Source: tcp(7) (SIOCOUTQ, TCP_INFO), `struct tcp_info` of linux/tcp.h.
    """
    if sys.platform != "linux":
        return Delivery.UNKNOWN
    import fcntl
    import termios

    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
        queued = int.from_bytes(fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return Delivery.UNKNOWN
    if len(info) < _INFO_BYTES:
        return Delivery.UNKNOWN
    if queued == 0:
        return Delivery.ALL
    silent_s = int.from_bytes(info[_LAST_ACK_MS], sys.byteorder) / 1e3
    # Where the packet could not even leave (no route), it is not 'unacknowledged'; then the window is probed in vain.
    is_overdue = int.from_bytes(info[_UNACKED], sys.byteorder) > 0 or info[_PROBES] >= _UNANSWERED_MAX
    return Delivery.NONE if is_overdue and silent_s >= within_s else Delivery.GOING


class LinkFigures(msgspec.Struct, frozen=True):
    """The link to one upstream as recent traffic saw it; None = nothing was measured.

    Attributes:
        rtt_s_p50, rtt_s_p95: Round trips of TCP, seconds.
        bytes_per_s_p10, bytes_per_s_p50: How fast large answers came; a lower bound of what the link carries.
    """

    rtt_s_p50: float | None = None
    rtt_s_p95: float | None = None
    bytes_per_s_p10: float | None = None
    bytes_per_s_p50: float | None = None


class LinkRecord:
    """The last few measurements of one link."""

    __slots__ = ("_asked_at_s", "_rtts_s", "_widths")

    def __init__(self) -> None:
        self._rtts_s: deque[float] = deque(maxlen=KEPT_MAX)
        self._widths: deque[float] = deque(maxlen=KEPT_MAX)
        self._asked_at_s = -EVERY_S

    def answered(self, connected: Any, now_s: float, size: int, took_s: float) -> None:
        """An answer of so many bytes came whole, so many seconds after its head."""
        if size >= WIDE_BYTES_MIN and took_s > 0:
            self._widths.append(size / took_s)
        if now_s >= self._asked_at_s + EVERY_S:
            self._asked_at_s = now_s
            rtt_s = round_trip_s(connected)
            if rtt_s is not None:
                self._rtts_s.append(rtt_s)

    def figures(self) -> LinkFigures:
        """What is known now."""
        rtts_s, widths = sorted(self._rtts_s), sorted(self._widths)
        return LinkFigures(
            _quantile(rtts_s, 0.5), _quantile(rtts_s, 0.95), _quantile(widths, 0.1), _quantile(widths, 0.5)
        )


def round_trip_s(connected: Any) -> float | None:
    """The smoothed round trip of a TCP connection, seconds; None where nobody can tell (a Unix socket, a closed one).

    Source: `struct tcp_info` of linux/tcp.h.
    """
    if sys.platform != "linux" or connected is None:
        return None
    try:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_BYTES)
    except OSError:
        return None
    return int.from_bytes(info[_RTT_US], sys.byteorder) / 1e6 if len(info) == _RTT_BYTES else None


def _quantile(ordered: list[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
