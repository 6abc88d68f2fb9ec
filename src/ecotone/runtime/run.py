"""Starts a site, keeps it running, stops it. The composition root: everything is made and wired here."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hmac
import logging
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ecotone import config as settings
from ecotone import engines, flow, gateway
from ecotone.agent import joined_file
from ecotone.agent.trying import Trying
from ecotone.runtime import allocator
from ecotone.runtime.clock import LoopClock
from ecotone.runtime.inputs import Inputs
from ecotone.runtime.inspecting import Inspecting
from ecotone.runtime.local import Local, fetch, missing
from ecotone.runtime.memory import Memory
from ecotone.runtime.running import Parts, Running
from ecotone.runtime.switching import Shelf
from ecotone.runtime.teaching import Teaching
from ecotone.runtime.tending import tended
from ecotone.runtime.working import Working
from ecotone.store import Ledger, LedgerLimits, State
from ecotone.store.disk import Disk
from ecotone.store.documents import Documents
from ecotone.store.examples import Examples
from ecotone.store.keys import digest_key
from ecotone.telemetry import Metrics, drain_logs, say, set_up_logs
from ecotone.upstreams import Guard
from ecotone.values import ConfigError, EcotoneError

if TYPE_CHECKING:
    from ecotone.runtime.joined import Begun

LOOK_AT_FILE_EVERY_S: Final = 1.0
SAVE_EVERY_S: Final = 30.0
GIVE_BACK_EVERY_S: Final = 300.0
DRAIN_LOGS_EVERY_S: Final = 0.2
GC_THRESHOLD: Final = 50_000
"""Allocations between two young collections: requests make few cycles, and the default of 700 costs 5 % of CPU."""

REFUSALS_TOLD_MAX: Final = 100
COMMANDS: Final = (
    (sys.executable, "-P", engines.worker.__file__),
    (sys.executable, "-P", "-m", "ecotone.detectors.worker"),
    (sys.executable, "-P", "-m", "ecotone.delivery.worker"),
    (sys.executable, "-S", "-E", "-c"),
)
"""Beginnings of the command lines that a site starts: engines, detectors, deliveries from its hub, and the neighbour
that an engine is measured beside."""

log = logging.getLogger("ecotone.runtime")


def run(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> int:
    """Runs a site until it is told to stop; returns the exit code (0 done, 2 bad configuration).

    Args:
        path: The configuration file, or None for the built-in one.
        flags: Command-line values by the names of `config.overlay`, and `no_cloud`.
    """
    allocator.bound_arenas()
    try:
        inputs = Inputs(path, environ, flags)
        config = inputs.load()
        set_up_logs(config.log.level, "json" if flags.get("log_format") == "json" else config.log.format)
        for note in settings.notes(config, environ):
            log.warning("%s", note)
        _raise_descriptor_limit(config.limits.connections_max)
        store = Path(config.store.path).expanduser().absolute()  # workers have another working directory
        fetch(_not_brought(missing(config, store), config, store), store)
        return _run_loop(_live(inputs, config))
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        return 2
    except (EcotoneError, OSError) as error:
        # Such as a disk that fails from the first entry of the ledger on.
        sys.stderr.write(f"the site cannot go on: {error}\n")
        return 2


def _run_loop(main: Any) -> int:
    """On uvloop where it is installed (everywhere but Windows), else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return int(asyncio.run(main))
    return int(uvloop.run(main))


def _raise_descriptor_limit(connections: int) -> None:
    """Room for all callers' connections, each with one to a target; as far as the hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + 256
    if soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


async def _live(inputs: Inputs, config: settings.Config) -> int:
    store = Path(config.store.path).expanduser().absolute()  # noqa: ASYNC240 - before anything is served
    ledger = Ledger.open(store, config.site, limits=LedgerLimits(keep_days=config.ledger.keep_days))
    try:
        state = State(store)
        metrics = Metrics()
        memory = Memory(state, ledger)
        trying = Trying.open(store, Shelf(store), time.time)  # a start on trial counts before any engine is loaded
        local = Local(config, store, memory.speeds)
        inspecting = Inspecting(store)
        guard = Guard(_told_once(), commands=COMMANDS)
        clock = LoopClock(asyncio.get_running_loop())
        secret = hmac.digest(digest_key(store, Disk()), b"surrogates", "sha256")
        working = Working.open(inputs, config, store, state)
        teaching = Teaching(Documents(store, working.key), Examples(store, working.key), state, ledger, secret)
        local.on_model, local.quality = teaching.changed, teaching.quality
        begun, unjoined = _begun(config, store, state)
        ears = metrics if begun is None else begun.ears(metrics)
        parts = Parts(clock, ledger, metrics, memory, local, inspecting, guard, secret, working, teaching, ears, trying)
        try:
            running = Running(inputs, config, parts)
            running.unjoined = unjoined
            if begun is not None:
                _join(begun, running, trying)
            working.begin(lambda: running.site, lambda: running.config, running.resolver)
            working.note(ledger)
            teaching.begin(lambda: running.site, lambda: running.config)
            await inspecting.settle()
            await _serve(inputs, running, parts)
            running.close()
            await asyncio.to_thread(trying.close)
        finally:
            await teaching.close()
            await working.close()
            await inspecting.close()
            await local.close()
        with contextlib.suppress(EcotoneError):
            memory.save()
        if begun is not None:
            begun.save()
    finally:
        lost = ledger.close()
    if lost:
        log.error("the ledger could not be written: %d entries are lost", lost)
    return 0


def _not_brought(
    models: list[tuple[str, str | None]], config: settings.Config, store: Path
) -> list[tuple[str, str | None]]:
    """Those of the missing models that no hub brings by itself; of the others the log says so."""
    if config.hub is None or config.hub.deliver != "auto" or not joined_file.is_there(store):
        return models
    for model, _ in models:
        if model.startswith("hub:"):
            log.info("%s is not here yet: it is used as soon as the hub has brought it", model)
    return [one for one in models if not one[0].startswith("hub:")]


def _begun(config: settings.Config, store: Path, state: State) -> tuple[Begun | None, str]:
    """What a site counts for the hub that it has joined; None: it has joined none, or its configuration names none.

    And why not, where it had: what is damaged of that never keeps a site from serving.
    """
    try:
        joined = joined_file.read(store) if config.hub is not None else None
    except ConfigError as error:
        log.error("%s", error.message)  # noqa: TRY400 - the trace says nothing to an operator
        return None, error.message
    if joined is None:
        return None, ""
    from ecotone.runtime.joined import Begun

    return Begun(joined.site, store, state), ""


def _join(begun: Begun, running: Running, trying: Trying) -> None:
    """The site's side of its hub, or why there is none: it serves all the same."""
    from ecotone.runtime.joined import Joined

    try:
        running.joined = Joined(begun, running, trying)
    except ConfigError as error:
        log.error("%s", error.message)  # noqa: TRY400 - the trace says nothing to an operator
        running.unjoined = error.message


async def _serve(inputs: Inputs, running: Running, parts: Parts) -> None:
    """Serves until a signal; background work ends with it."""
    config = running.config
    corridor = gateway.Corridor(_doors(running, parts), _limits(config))
    socket = gateway.listen(config.listen.address, config.listen.port)
    server = gateway.Server(corridor, [socket], fast_lane=config.fast_lane)
    stop, now, started = asyncio.Event(), asyncio.Event(), asyncio.Event()
    reloading = Reloading(inputs, running, corridor, parts)
    parts.guard.install()
    parts.metrics.watch("ecotone_guard_refusals", lambda: parts.guard.refusals)
    parts.metrics.watch("ecotone_in_flight", lambda: corridor.in_flight)
    parts.metrics.watch("ecotone_connections", lambda: server.connections)
    parts.metrics.watch("ecotone_breaker_state", running.breaker_states)
    parts.metrics.watch("ecotone_link_state", running.link_states)
    parts.metrics.watch("ecotone_site_link_state", running.site_link_state)
    parts.metrics.watch("ecotone_jobs", parts.working.states)
    parts.metrics.watch("ecotone_promise", parts.teaching.promises)
    parts.metrics.watch("ecotone_pairs", parts.teaching.pairs)
    parts.metrics.watch("ecotone_learning_usd", parts.teaching.usd)
    joined = running.joined
    if joined is not None:
        parts.metrics.watch("ecotone_hub", joined.states)
        parts.metrics.watch("ecotone_hub_generation", joined.generations)
        parts.metrics.watch("ecotone_hub_reports_waiting", joined.waiting)
    async with asyncio.TaskGroup() as group:
        background = [
            group.create_task(
                flow.probe_forever(lambda: running.site, is_back=running.is_back, look=running.look_at_links)
            ),
            group.create_task(reloading.watch_file()),
            group.create_task(_save_forever(parts.memory)),
            group.create_task(_give_back_forever()),
            group.create_task(parts.local.live()),
            group.create_task(parts.inspecting.live()),
            group.create_task(parts.working.live()),
            group.create_task(parts.teaching.live()),
            group.create_task(tended(lambda: parts.trying.live(parts.local), "versions", log)),
            *([] if joined is None else [group.create_task(joined.live())]),
            group.create_task(_drain_logs_forever()),
        ]
        serving = group.create_task(server.serve_until(stop, now=now, drain_s=config.timeouts.drain_s, started=started))
        _on_signals(stop, now, lambda: group.create_task(reloading.reload_by_itself()))
        await started.wait()
        _say_hello(running, socket.getsockname())
        # What was made so far stays: it need not be looked at again by the collector.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 20, 50)
        await serving
        for task in background:
            task.cancel()


def _told_once() -> Callable[[str, str], None]:
    """Logs what the guard refuses, once for each kind and module: the metric counts them all."""
    told: set[tuple[str, str]] = set()

    def refused(kind: str, module: str) -> None:
        if (kind, module) not in told and len(told) < REFUSALS_TOLD_MAX:
            told.add((kind, module))
            log.warning("the guard refused a %s by %s: only the doors reach the network", kind, module)

    return refused


class Reloading:
    """Takes a new configuration into a running site, on request, on SIGHUP or when the file changed."""

    def __init__(self, inputs: Inputs, running: Running, corridor: gateway.Corridor, parts: Parts) -> None:
        self._inputs = inputs
        self._running = running
        self._corridor = corridor
        self._parts = parts
        self._lock = asyncio.Lock()
        corridor.doors = _doors(running, parts, self.reload)

    async def reload(self) -> dict[str, Any]:
        """See `Running.reload`; callers' keys change with it.

        Raises:
            ConfigError: the new configuration is wrong; the old one stays.
        """
        async with self._lock:
            said = await self._running.reload()
            self._corridor.doors = _doors(self._running, self._parts, self.reload)
        return said

    async def reload_by_itself(self) -> None:
        """As `reload`, where nobody waits for the answer: the log says what happened."""
        try:
            said = await self.reload()
        except ConfigError as error:
            log.error("kept the old configuration: %s", "; ".join(error.problems))  # noqa: TRY400 - the trace says nothing to an operator
        else:
            log.info("reload: %s", said["message"])

    def _stamp(self) -> object:
        """Changes when the file does, or a list that a hub has brought; None where there is nothing to look at."""
        file, lists = self._inputs.stamp(), self._parts.inspecting.delivered()
        return (file, lists) if file is not None or lists else None

    async def watch_file(self) -> None:
        """Reloads when something has changed and then stood still for one look."""
        known = seen = self._stamp()
        while True:
            await asyncio.sleep(LOOK_AT_FILE_EVERY_S)
            stamp = await asyncio.to_thread(self._stamp)
            if stamp is not None and stamp == seen and stamp != known:
                known = stamp
                await self.reload_by_itself()
            seen = stamp


def _doors(
    running: Running, parts: Parts, reload: Callable[[], Awaitable[dict[str, Any]]] | None = None
) -> gateway.Doors:
    return gateway.Doors(
        serve=running.serve,
        models=running.models,
        explain=running.explain,
        explain_past=running.explain_past,
        not_ready=running.not_ready,
        metrics=parts.metrics.text,
        status=running.status,
        reload=reload or running.reload,
        check_key=running.keys.check if len(running.keys) else None,
        feedback=parts.teaching.feedback,
        refused=parts.metrics.refused,
        work=parts.working.work(running.config),
    )


def _limits(config: settings.Config) -> gateway.Limits:
    limits = config.limits
    return gateway.Limits(
        body_bytes_max=limits.body_bytes_max,
        header_bytes_max=limits.header_bytes_max,
        in_flight_max=limits.in_flight_max,
        connections_max=limits.connections_max,
        caller_stall_s=config.timeouts.caller_stall_s,
    )


async def _save_forever(memory: Memory) -> None:
    """Keeps what was learned, now and then; a disk that refuses is tried again."""
    while True:
        await asyncio.sleep(SAVE_EVERY_S)
        try:
            await asyncio.to_thread(memory.save)
        except EcotoneError as error:
            log.warning("%s", error.message)


async def _give_back_forever() -> None:
    """Memory that malloc keeps without need goes back to the system."""
    while True:
        await asyncio.sleep(GIVE_BACK_EVERY_S)
        await asyncio.to_thread(allocator.give_back)


async def _drain_logs_forever() -> None:
    """Lines of a quiet site do not wait for the next one."""
    while True:
        await asyncio.sleep(DRAIN_LOGS_EVERY_S)
        drain_logs()


def _on_signals(stop: asyncio.Event, now: asyncio.Event, reload: Callable[[], object]) -> None:
    """SIGTERM and SIGINT stop in good order, the second one at once; SIGHUP reloads."""

    def told() -> None:
        if stop.is_set():
            now.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    loop.add_signal_handler(signal.SIGHUP, reload)


def _say_hello(running: Running, address: tuple[Any, ...]) -> None:
    """Where the site listens and what it lets out, in words, on standard output."""
    host, port = address[0], address[1]
    shown = f"[{host}]" if ":" in host else host
    say(f"listening on http://{shown}:{port}\nprivacy: {running.privacy()}")
