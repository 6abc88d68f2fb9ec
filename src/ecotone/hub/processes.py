"""`ecotone hub up`: one process, or several that share one listening socket; one that ends is replaced.

No process leads: whoever accepts a connection serves it, and what must happen once happens in the database. The
parent only watches. When the parent is gone, however it went, its children see the end of their standard input.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from ecotone.assets import files
from ecotone.gateway.server import listen
from ecotone.hub.settings import Settings
from ecotone.hub.web_metrics import FOLDER_VARIABLE
from ecotone.telemetry import drain_logs, set_up_logs
from ecotone.values import ConfigError, EcotoneError

__all__ = ["run"]

READY_S: Final = 90.0
LOOK_EVERY_S: Final = 0.2
LIVED_S: Final = 10.0
"""A process that lived for less counts as one that cannot start: the next try waits twice as long."""
WAIT_MAX_S: Final = 30.0
GOODBYE_S: Final = 15.0
"""Beyond the draining: durable work ends its step, and the ledger is signed."""
BAD_SETTINGS: Final = 2
STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends it in good order; a terminal that is closed, too."""

log = logging.getLogger("ecotone.hub")


class Order(msgspec.Struct, frozen=True):
    """What a child is told on its standard input, in one line. No secrets: references only."""

    settings: Settings
    listener: int
    ready: int
    log_format: str
    is_replacement: bool = False


def run(chosen: Settings, started: Callable[[str], None], log_format: str) -> None:
    """Serves a hub until SIGINT or SIGTERM.

    Args:
        chosen: Its settings.
        started: Told the address when all processes answer.
        log_format: `auto`, `json` or `text`.

    Raises:
        ConfigError: `config.listen`, `hub.process`, and as the rooms do when they are opened.
    """
    from ecotone.hub.serving import opened
    from ecotone.hub.serving_process import address
    from ecotone.hub.serving_process import run as serve

    set_up_logs("info", log_format)
    with files.durably(f"making {chosen.state}"):
        files.folder(chosen.state)
    _warn_of_keys(chosen.keys)
    # The tables are made and led forward, and what a crash left half done is healed, by one process and not by all.
    with opened(chosen) as hub:
        hub.repositories.pins()
        hub.prepare()
    listener = listen(chosen.listen.address, chosen.listen.port)
    with listener:
        if chosen.processes == 1:
            serve(chosen, [listener], started)
            return
        url = address(chosen, listener)
        with _counting_together(chosen.state):
            _Crew(chosen, listener, log_format).live(lambda: started(url))


def _warn_of_keys(folder: Path) -> None:
    """Says which keys lie here that the hub never needs."""
    left = sorted(path.name for pattern in ("root-*.key", "publisher-*.key") for path in folder.glob(pattern))
    if left:
        log.warning("%s holds %s: with them a thief could sign anything. Carry them away", folder, ", ".join(left))


class _Child:
    """One serving process."""

    def __init__(self, order: Order, listener: socket.socket) -> None:
        reading, writing = os.pipe()
        self.ready: Final = reading
        self.began_s: Final = time.monotonic()
        self.is_ready = False
        command = [sys.executable, "-P", "-m", "ecotone.hub.processes"]
        try:
            self.process: Final = subprocess.Popen(  # noqa: S603 - our own module, no words of anybody else
                command, stdin=subprocess.PIPE, pass_fds=(listener.fileno(), writing)
            )
        finally:
            os.close(writing)
        assert self.process.stdin is not None
        order = msgspec.structs.replace(order, listener=listener.fileno(), ready=writing)
        with contextlib.suppress(BrokenPipeError):  # it has ended already, which `look` will find
            self.process.stdin.write(_encoded(order) + b"\n")
            self.process.stdin.flush()

    def look(self) -> int | None:
        """Its exit code; None while it lives."""
        if not self.is_ready and select.select([self.ready], [], [], 0)[0]:
            self.is_ready = os.read(self.ready, 1) == b"1"
        return self.process.poll()

    def close(self) -> None:
        """Its pipes are closed: it ends if it has not."""
        os.close(self.ready)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


class _Crew:
    """As many processes as shall be."""

    def __init__(self, chosen: Settings, listener: socket.socket, log_format: str) -> None:
        self._settings: Final = chosen
        self._listener: Final = listener
        self._order: Final = Order(chosen, 0, 0, log_format)
        self._children: list[_Child] = []
        self._stop: Final = threading.Event()
        self._wait_s = 0.0
        self._next_s = 0.0

    def live(self, started: Callable[[], None]) -> None:
        """Until SIGINT or SIGTERM.

        Raises:
            ConfigError: `hub.process`.
        """
        for number in STOPS:
            signal.signal(number, lambda *_: self._stop.set())
        try:
            self._start(started)
            while not self._stop.wait(LOOK_EVERY_S):
                self._look()
                drain_logs()
        finally:
            self._end()

    def _start(self, started: Callable[[], None]) -> None:
        for _ in range(self._settings.processes):
            self._children.append(_Child(self._order, self._listener))
        until_s = time.monotonic() + READY_S
        while not self._stop.wait(LOOK_EVERY_S / 4):
            codes = [child.look() for child in self._children]
            if any(code is not None for code in codes) or time.monotonic() > until_s:
                raise ConfigError("hub.process", "a serving process did not start: what it said stands above")
            if all(child.is_ready for child in self._children):
                started()
                return

    def _look(self) -> None:
        now_s = time.monotonic()
        for child in list(self._children):
            code = child.look()
            if code is None:
                continue
            self._children.remove(child)
            child.close()
            _forget(child.process.pid)
            lived_s = now_s - child.began_s
            self._wait_s = 0.0 if lived_s >= LIVED_S else min(WAIT_MAX_S, max(0.5, self._wait_s * 2))
            self._next_s = now_s + self._wait_s
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            log.warning("a serving process ended (%s) after %.0f s: another takes its place", how, lived_s)
        if len(self._children) < self._settings.processes and now_s >= self._next_s:
            replacing = msgspec.structs.replace(self._order, is_replacement=True)
            self._children.append(_Child(replacing, self._listener))
            self._next_s = now_s + self._wait_s

    def _end(self) -> None:
        for child in self._children:
            child.process.terminate()
        until_s = time.monotonic() + self._settings.limits.drain_s + GOODBYE_S
        for child in self._children:
            try:
                child.process.wait(max(0.1, until_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
            child.close()


@contextlib.contextmanager
def _counting_together(state: Path) -> Iterator[None]:
    """The children's counters are one: each keeps its own in a file of this folder."""
    for left in state.glob("figures-*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():  # its parent was killed
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"figures-{os.getpid()}-", dir=state)
    os.environ[FOLDER_VARIABLE] = folder
    try:
        yield
    finally:
        del os.environ[FOLDER_VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


def _forget(pid: int) -> None:
    from ecotone.hub import web_metrics

    web_metrics.forget_process(pid)


def _encoded(order: Order) -> bytes:
    return msgspec.json.encode(order, enc_hook=str)


def _decoded(line: bytes) -> Order:
    def made(kind: type[Any], value: Any) -> Any:
        return kind(value)

    return msgspec.json.decode(line, type=Order, dec_hook=made)


def main() -> int:
    """A child: its order stands in the first line of its standard input. The exit code."""
    order = _decoded(_line())
    set_up_logs("info", order.log_format)
    from ecotone.hub.serving_process import run as serve

    threading.Thread(target=_follow_parent, daemon=True).start()

    def ready(_: str) -> None:
        os.write(order.ready, b"1")
        os.close(order.ready)

    with socket.socket(fileno=order.listener) as listener:
        listener.setblocking(False)
        try:
            serve(order.settings, [listener], ready, is_replacement=order.is_replacement)
        except EcotoneError as error:
            sys.stderr.write(f"ecotone: {error.message}\n")
            return BAD_SETTINGS if isinstance(error, ConfigError) else 1
    return 0


def _line() -> bytes:
    found = b""
    while not found.endswith(b"\n") and (piece := os.read(0, 65_536)):
        found += piece
    return found


def _follow_parent() -> None:
    # Unbuffered: a thread that is left in a buffer's lock would break the interpreter's end.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
