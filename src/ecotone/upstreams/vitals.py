"""Whether what was sent still arrives: by what the system knows of the peer's acknowledgements (Linux).

A link that dies says nothing. A new connection finds out within its connect limit; one that was kept from before would
find out only when the answer is overdue, a minute later. What the peer's system has acknowledged tells sooner.
"""

from __future__ import annotations

import enum
import socket
import sys
from typing import Any, Final

_INFO_BYTES: Final = 60
_PROBES: Final = 3
_UNACKED: Final = slice(24, 28)
_LAST_ACK_MS: Final = slice(56, 60)
_UNANSWERED_MAX: Final = 2


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
