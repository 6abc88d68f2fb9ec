"""One process that serves a hub until it is told to stop. It keeps nothing that another would miss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import sqlalchemy.orm  # noqa: F401 - DBOS imports it in a thread, and queries in others meet it half made: here it is whole
import uvloop
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.server import ServerState

from ecotone.gateway.connection import Connection
from ecotone.gateway.limits import Limits as ConnectionLimits
from ecotone.hub import people_doors, releases_doors, status_doors, status_metrics, work_jobs
from ecotone.hub import settings as hub_settings
from ecotone.hub.routes_admin import AdminRoutes
from ecotone.hub.routes_files import FileRoutes
from ecotone.hub.routes_public import PublicRoutes
from ecotone.hub.routes_sites import SiteRoutes
from ecotone.hub.serving import Hub, opened
from ecotone.hub.tls import LOOK_EVERY_S, Certificates
from ecotone.hub.web import AnswerCut, Front, Web
from ecotone.hub.web_files import Files
from ecotone.hub.web_metrics import Metrics
from ecotone.hub.web_waiting import Waiting
from ecotone.telemetry import drain_logs
from ecotone.values import EcotoneError

if TYPE_CHECKING:
    from ecotone.gateway.corridor import Corridor

__all__ = ["run"]

BACKLOG: Final = 1024
DESCRIPTORS_BESIDE: Final = 256
CHECKPOINT_EVERY_S: Final = 60.0
DRAIN_LOGS_EVERY_S: Final = 0.2
log = logging.getLogger("ecotone.hub")


class _Yard(msgspec.Struct, frozen=True):
    """What the gateway's connection asks of the room that it stands in."""

    limits: ConnectionLimits
    doors: _Counting


class _Counting(msgspec.Struct, frozen=True):
    refused: Callable[[str], None]


class _Process:
    """The parts of one serving process."""

    def __init__(self, hub: Hub) -> None:
        settings = hub.settings
        self._hub: Final = hub
        self._front: Final = Front(settings, Metrics())
        self._waiting: Final = Waiting(self._changed, settings.limits.waiting_max, settings.limits.site_waiting_max)
        self._certificates: Final = None if settings.tls is None else Certificates(settings.tls)
        self._state: Final = ServerState()
        self._config: Final = Config(
            Web(self._front, self._routes()),
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self._yard: Final = _Yard(_limits(settings), _Counting(self._refused))

    @property
    def metrics(self) -> Metrics:
        """Its counters."""
        return self._front.metrics

    async def live(self, listeners: list[socket.socket], stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serves until `stop`; then answers under way may end for `drain_s`."""
        self._config.load()
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        await self._waiting.look()
        async with asyncio.TaskGroup() as tasks:
            keepers = [tasks.create_task(each) for each in self._keepers()]
            servers = [await self._listening(each) for each in listeners]
            ready()
            await stop.wait()
            self._front.is_stopping = True
            for server in servers:
                server.close()
            await self._drain()
            for keeper in keepers:
                keeper.cancel()

    def _keepers(self) -> list[Coroutine[Any, Any, None]]:
        keepers = [self._waiting.live(), _every(DRAIN_LOGS_EVERY_S, drain_logs), _every(1.0, self._counted)]
        keepers.append(self._checkpoints())
        if self._certificates is not None:
            keepers.append(_every(LOOK_EVERY_S, self._certificates.refresh))
        return keepers

    async def _checkpoints(self) -> None:
        """Signs the ledger of acts now and then."""
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY_S)
            try:
                await self._front.threads.call(self._hub.acts.checkpoint)
            except (EcotoneError, SQLAlchemyError) as error:
                log.warning("the ledger of acts could not be signed now (%s)", type(error).__name__)

    async def _listening(self, listener: socket.socket) -> asyncio.Server:
        context = None if self._certificates is None else self._certificates.context
        timeout_s = None if context is None else self._hub.settings.limits.head_s
        return await asyncio.get_running_loop().create_server(
            self._connection, sock=listener, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=timeout_s
        )

    def _connection(self) -> Connection:
        # It asks a corridor for two things, and no more: its limits, and a door that counts refusals.
        return Connection(cast("Corridor", self._yard), self._config, self._state)

    async def _drain(self) -> None:
        self._waiting.end()
        for connection in list(self._state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._hub.settings.limits.drain_s):
                while self._state.connections:  # noqa: ASYNC110 - rare; no notice per connection
                    await asyncio.sleep(0.02)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def _routes(self) -> list[Route]:
        hub, front = self._hub, self._front
        sites = SiteRoutes(front, hub.sites, hub.wishes, hub.reports, self._waiting, self._trust)
        files = Files(hub.objects, hub.repositories, hub.wishes, hub.sites)
        doors = {**people_doors.DOORS, **releases_doors.DOORS, **status_doors.DOORS}
        return [
            *PublicRoutes(front, hub.people, self._why_not, self._fleet).routes(),
            *sites.routes(),
            *FileRoutes(front, files, sites).routes(),
            *AdminRoutes(front, hub, doors, releases_doors.UPLOADS).routes(),
        ]

    def _fleet(self) -> bytes:
        return status_metrics.text(self._hub.database, self._hub.clock())

    def _trust(self) -> bytes:
        return self._hub.repositories.pins()

    def _why_not(self) -> list[str]:
        why = []
        if self._front.is_stopping:
            why.append("stopping")
        if not self._waiting.is_ready or self._waiting.is_behind:
            why.append("database")
        return why

    async def _changed(self, mark: int) -> tuple[int, list[tuple[str, int]]]:
        return await self._front.threads.call(self._looked, mark)

    def _looked(self, mark: int) -> tuple[int, list[tuple[str, int]]]:
        newest = self._hub.wishes.counter()
        return newest, [] if newest == mark else self._hub.wishes.changed(mark)

    def _counted(self) -> None:
        self._front.metrics.connections.set(len(self._state.connections))

    def _refused(self, code: str) -> None:
        self._front.metrics.refused.labels(code).inc()


def run(
    chosen: hub_settings.Settings,
    listeners: list[socket.socket],
    ready: Callable[[str], None],
    *,
    is_replacement: bool = False,
) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        chosen: The hub's settings.
        listeners: Sockets that listen already.
        ready: Told the address, as soon as it answers.
        is_replacement: Whether it takes the place of one that ended; that is counted.

    Raises:
        EcotoneError: As the rooms do when they are opened.
    """
    _raise_descriptor_limit(chosen.limits.connections_max)
    with opened(chosen) as hub, _working(hub):
        uvloop.run(_serve(hub, listeners, ready, is_replacement=is_replacement))
    drain_logs()


def _raise_descriptor_limit(connections: int) -> None:
    """Room for so many connections, as far as the system gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + DESCRIPTORS_BESIDE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        log.warning("the system allows %d open files; %d are needed for `limits.connections_max`", hard, wanted)
        wanted = hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def _working(hub: Hub) -> Iterator[None]:
    """Durable work goes on meanwhile, in a thread: here, or in whichever process holds the lock for it."""
    work = work_jobs.work(hub)
    work.start()
    try:
        yield
    finally:
        work.stop()
        with contextlib.suppress(EcotoneError, SQLAlchemyError):
            hub.acts.checkpoint()


async def _serve(
    hub: Hub, listeners: list[socket.socket], ready: Callable[[str], None], *, is_replacement: bool
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    process = _Process(hub)
    if is_replacement:
        process.metrics.restarts.inc()
    await process.live(listeners, stop, lambda: ready(address(hub.settings, listeners[0])))


def address(chosen: hub_settings.Settings, listener: socket.socket) -> str:
    """Where it can be reached from this machine."""
    host, port = listener.getsockname()[:2]
    scheme = "http" if chosen.tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _limits(chosen: hub_settings.Settings) -> ConnectionLimits:
    given = chosen.limits
    return ConnectionLimits(
        connections_max=given.connections_max,
        head_s=given.head_s,
        body_idle_s=given.body_idle_s,
        body_s=3600.0,
        caller_stall_s=given.answer_stall_s,
        pipelined_max=8,
    )


async def _every(seconds: float, act: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(seconds)
        act()


def _is_news(record: logging.LogRecord) -> bool:
    """A cut answer is meant, and told of already."""
    return not (record.exc_info and isinstance(record.exc_info[1], AnswerCut))
