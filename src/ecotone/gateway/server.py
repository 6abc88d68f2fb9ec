"""Listens, serves until told to stop, and ends in good order. Signals are `runtime`'s."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Coroutine, Iterable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from ecotone.gateway.asgi import AnswerCut, App
from ecotone.gateway.connection import Connection
from ecotone.gateway.corridor import Corridor
from ecotone.gateway.fast_lane import FastLane
from ecotone.values import ConfigError

BACKLOG = 1024
GOODBYE_S = 1.0
"""How long the last error events may take to reach their callers."""


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens there; with port 0 the system picks one (`socket.getsockname`).

    Raises:
        ConfigError: the address is in use, not this machine's, or not allowed.
    """
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError("config.listen", f"listen.address: {address!r} is not an address: {error}") from error
    family, kind, protocol, _, where = found[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(where)
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise ConfigError("config.listen", _why_not(address, port, error)) from error
    return opened


def _why_not(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"listen.port: {address}:{port} is in use by another program; choose another port, or 0 for a free one"
    if error.errno == errno.EACCES:
        return f"listen.port: {port} needs rights that this process does not have; ports from 1024 do not"
    return f"listen.address: cannot listen on {address}:{port}: {error.strerror}"


class Server:
    """One gateway on its sockets.

    Attributes:
        address: (address, port) of the first socket, as the system gave it.
    """

    def __init__(self, corridor: Corridor, sockets: Iterable[socket.socket], *, fast_lane: bool = True) -> None:
        self._corridor = corridor
        self._sockets = tuple(sockets)
        address, port = self._sockets[0].getsockname()[:2]
        self.address = (str(address), int(port))
        self._state = ServerState()
        self._lane = FastLane if fast_lane else Connection
        self._config = Config(
            App(corridor),
            http=self._lane,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )

    @property
    def connections(self) -> int:
        """Open connections of callers."""
        return len(self._state.connections)

    async def serve_until(
        self,
        stop: asyncio.Event,
        *,
        now: asyncio.Event | None = None,
        drain_s: float = 30.0,
        started: asyncio.Event | None = None,
    ) -> None:
        """Serves until `stop`; then takes no more callers and lets answers end for `drain_s`, or until `now`.

        What is left then is cut: streams get an error event, others an error or a connection that breaks off.

        Args:
            started: Set when the gateway answers.
        """
        loop = asyncio.get_running_loop()
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        self._config.load()
        listeners = [await loop.create_server(self._connection, sock=each, backlog=BACKLOG) for each in self._sockets]
        if started is not None:
            started.set()
        try:
            await stop.wait()
        finally:
            for listener in listeners:
                listener.close()
            await self._drain(now or asyncio.Event(), drain_s)

    def _connection(self) -> Connection:
        return self._lane(self._corridor, self._config, self._state)

    async def _drain(self, now: asyncio.Event, drain_s: float) -> None:
        self._corridor.hush()
        for connection in list(self._state.connections):
            connection.shutdown()
        if drain_s > 0 and not now.is_set():
            await _first_of(self._all_gone(), now.wait(), within_s=drain_s)
        self._corridor.end_all()
        for connection in list(self._state.connections):
            connection.shutdown()
        await _first_of(self._all_gone(), within_s=GOODBYE_S)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    async def _all_gone(self) -> None:
        while self._state.connections or self._corridor.in_flight:  # noqa: ASYNC110 - rare; no notice per connection
            await asyncio.sleep(0.02)


async def _first_of(*awaited: Coroutine[Any, Any, object], within_s: float) -> None:
    """Waits for the first of these to end, or for so long."""
    tasks = [asyncio.get_running_loop().create_task(each) for each in awaited]
    await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _is_news(record: logging.LogRecord) -> bool:
    """A cut answer is meant (and counted); uvicorn would log it as a failure of the application."""
    return not (record.exc_info and isinstance(record.exc_info[1], AnswerCut))
