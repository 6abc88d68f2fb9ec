"""One worker process, from the parent's side: spawned, watched, killed and reaped; never a zombie, never an orphan.

The process is made in the event loop's own thread: PR_SET_PDEATHSIG follows the *thread* that made the child, and a
thread of a pool may end.
"""

from __future__ import annotations

import array
import asyncio
import collections
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ecotone.engines import worker
from ecotone.engines.settings import WorkerSettings

LOG_BYTES_MAX: Final = 16 * 1024
LOG_READ_BYTES: Final = 64 * 1024
"""As much as a pipe holds: one read takes all that a dead worker left."""

READY_BYTES_MAX: Final = 4096
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
ENVIRONMENT: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "TMPDIR")
"""All of the environment that a worker sees: the gateway's holds secrets. `OMP_*` and `GGML_*` go along."""

_FATAL: Final = re.compile(rb"GGML_ASSERT|GGML_ABORT|terminate called|out of memory|failed to allocate", re.IGNORECASE)
_STAMP: Final = re.compile(r"^[\d.]+ [A-Z] ")
_VAGUE: Final = ("Failed to init server", "exiting due to", "failed to load model", "fit params")
"""Lines that say that something failed and not what."""


class Ready(msgspec.Struct, frozen=True):
    """The worker's ready line: its address, seconds that loading took, seconds since it began."""

    address: str
    load_s: float
    up_s: float


class Worker:
    """A running child.

    Attributes:
        ready: Done when the worker said so; never where it died before.
        gone: Done, with the exit status, when it was reaped.
        on_gone: Called once when it was reaped.
    """

    def __init__(self) -> None:
        """Spawns the child, which waits for its settings.

        Raises:
            OSError: no process can be made.
        """
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.ready: asyncio.Future[Ready] = loop.create_future()
        self.gone: asyncio.Future[int] = loop.create_future()
        self.on_gone: Callable[[Worker], None] | None = None
        self._log: collections.deque[bytes] = collections.deque()
        self._log_bytes = 0
        self._line = b""
        self._is_ready = False
        with contextlib.ExitStack() as undo:
            self._link, theirs = socket.socketpair()
            undo.callback(self._link.close)
            self._out, out = _pipe(undo)
            self._err, err = _pipe(undo)
            try:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - it is our own file
                    [sys.executable, "-P", worker.__file__],
                    stdin=theirs.fileno(),
                    stdout=out,
                    stderr=err,
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,
                )
            finally:
                theirs.close()
                os.close(out)
                os.close(err)
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self._pidfd = os.pidfd_open(self._process.pid)
            undo.pop_all()
        loop.add_reader(self._pidfd, self._died)
        loop.add_reader(self._out, self._hear)
        loop.add_reader(self._err, self._take_log)

    @property
    def pid(self) -> int:
        """Process id; also its process group's."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it was not reaped yet."""
        return not self.gone.done()

    def configure(self, settings: WorkerSettings, fds: Sequence[int]) -> None:
        """Sends the settings and the files' descriptors. Where the child is gone already, `gone` tells."""
        line = msgspec.json.encode(settings) + b"\n"
        assert len(line) < worker.SETTINGS_BYTES_MAX
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._link.sendmsg([line], rights)

    def kill(self) -> None:
        """Kills the process and its group at once; it is reaped as soon as it is dead."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)  # before `setsid` it has no group of its own

    def rss_bytes(self) -> int:
        """Resident memory, the mapped model file included; 0 where the process is gone."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_bytes().split()[1]) * PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def work_s(self) -> float:
        """Seconds of CPU used so far, and 0.01 for each page that was waited for from disk; 0 once it is gone."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()
            return (int(fields[11]) + int(fields[12])) / TICKS_PER_S + int(fields[9]) * 0.01
        except (OSError, IndexError):
            return 0.0

    def why(self) -> str:
        """What the engine's log says of its failure, in one line; of a running engine only what holds no content."""
        lines = [_STAMP.sub("", line.decode("utf-8", "replace")).strip() for line in (*self._log, self._tail())]
        lines = [line for line in lines if line]
        telling = [line for line in lines if not any(vague in line for vague in _VAGUE)]
        said = (telling or lines or ["its log is empty"])[0][:300]
        if not self.gone.done():
            return said
        code = self.gone.result()
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return f"{how}: {said}"

    def _tail(self) -> bytes:
        """The line that was not ended; of a running engine only if it holds no content."""
        return b"" if self._is_ready and not _FATAL.search(self._line) else self._line

    # What the loop calls.

    def _died(self) -> None:
        self._loop.remove_reader(self._pidfd)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # whatever it may have started; the zombie still holds the group's id
        code = self._process.wait()  # it is dead: this does not wait
        self._take_log()
        self._hear()
        for fd in (self._out, self._err):
            self._loop.remove_reader(fd)
            os.close(fd)
        os.close(self._pidfd)
        self._link.close()
        self.gone.set_result(code)
        if self.on_gone is not None:
            self.on_gone(self)

    def _hear(self) -> None:
        data = _read(self._out, READY_BYTES_MAX)
        if data and not self.ready.done():
            self._is_ready = True
            self._log.clear()
            self._log_bytes, self._line = 0, b""
            try:
                self.ready.set_result(msgspec.json.decode(data, type=Ready))
            except msgspec.DecodeError:
                self.kill()
        elif data == b"":
            self._loop.remove_reader(self._out)

    def _take_log(self) -> None:
        data = _read(self._err, LOG_READ_BYTES)
        if not data:
            if data == b"":
                self._loop.remove_reader(self._err)
            return
        *lines, self._line = (self._line + data).split(b"\n")
        if self._is_ready:  # from now on a line may repeat what callers sent
            lines = [line for line in lines if _FATAL.search(line)]
        self._line = self._line[-LOG_BYTES_MAX:]
        for line in lines:
            self._log.append(line[:LOG_BYTES_MAX])
            self._log_bytes += len(self._log[-1])
        while self._log_bytes > LOG_BYTES_MAX:
            self._log_bytes -= len(self._log.popleft())


def _pipe(undo: contextlib.ExitStack) -> tuple[int, int]:
    """(read end, not blocking; write end); the read end is closed by `undo`."""
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    undo.callback(os.close, ours)
    return ours, theirs


def _read(fd: int, bytes_max: int) -> bytes | None:
    """What is there; `b''` at the end; None where there is nothing yet."""
    try:
        return os.read(fd, bytes_max)
    except BlockingIOError:
        return None


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return kept | {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "GGML_"))}
