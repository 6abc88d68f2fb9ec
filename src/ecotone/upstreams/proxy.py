"""A way through an HTTP proxy: one `CONNECT`, then the connection is the target's (RFC 9110, 9.3.6).

What is allowed stays bound to the target: its permit names the target's origin, TLS is spoken with the target and its
certificate is checked, not the proxy's. The proxy sees names, ports and sizes. It looks the target's name up: the site
asks its own resolver for the proxy's name alone.
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from typing import Final
from urllib.parse import quote

import msgspec

from ecotone.values import TargetError

__all__ = ["Proxy", "tunnel"]

ANSWER_BYTES_MAX: Final = 16 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_PIECE_BYTES: Final = 1024


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """Where the proxy is, and how it is spoken to.

    Attributes:
        credentials: `USER:PASSWORD`, or `''`; never in a log or an error.
    """

    host: str
    port: int
    credentials: str = ""

    @property
    def url(self) -> str:
        """Its address with the credentials: for a child's standard input, and for nothing else."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, mark, password = self.credentials.partition(":")
        who = f"{quote(user, safe='')}:{quote(password, safe='')}@" if mark else ""
        return f"http://{who}{host}:{self.port}"

    def __repr__(self) -> str:
        """Without the password."""
        return f"Proxy({self.host}:{self.port})"


async def tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """The socket, which is connected with the proxy, leads to the target from here on.

    Raises:
        TargetError: `refused`: the proxy does not let it through; `reset`: what answers is no proxy.
        OSError: the connection broke.
    """
    loop = asyncio.get_running_loop()
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.credentials:
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(proxy.credentials.encode()).decode()}")
    await loop.sock_sendall(sock, ("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
    said = bytearray()
    while (end := said.find(b"\r\n\r\n")) < 0:
        piece = await loop.sock_recv(sock, _PIECE_BYTES)
        said += piece
        if not piece or len(said) > ANSWER_BYTES_MAX:
            raise TargetError("reset", f"the proxy {proxy.host}:{proxy.port} gave no answer that could be read")
    found = _STATUS.match(said)
    status = int(found[1]) if found is not None else 0
    if status // 100 != 2:
        why = "wants other credentials" if status == 407 else f"answers {status or 'nonsense'}"
        raise TargetError("refused", f"the proxy {proxy.host}:{proxy.port} {why} for {where}")
    if len(said) > end + 4:
        # Who speaks before it is asked is not the target.
        raise TargetError("reset", f"the proxy {proxy.host}:{proxy.port} put words into the target's mouth")
