"""The worker process from the gateway's side: spawned, spoken to, killed and reaped; never a zombie, never an orphan.

The process is made in the event loop's own thread: PR_SET_PDEATHSIG follows the *thread* that made the child, and a
thread of a pool may end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from typing import Final

import msgspec

from ecotone.detectors import messages
from ecotone.detectors.messages import Look, Ready, Seen, Setup

ENVIRONMENT: Final = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "TMPDIR")
"""All of the environment that the worker sees: the gateway's holds secrets."""

ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
"""A look takes one core; the rest is the gateway's and the local model's."""


class GoneError(Exception):
    """The worker ended, or said what no worker says."""


class Child:
    """A running worker.

    Attributes:
        gone: Done, with the exit status, when it was reaped.
    """

    def __init__(self) -> None:
        """Spawns the process.

        Raises:
            OSError: no process can be made.
        """
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[int] = self._loop.create_future()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        with contextlib.ExitStack() as undo:
            self._link, theirs = socket.socketpair()
            undo.callback(self._link.close)
            with theirs:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(
                    [sys.executable, "-P", "-m", "ecotone.detectors.worker"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # a library may print what callers sent
                    cwd="/",
                    env=_environment(),
                    start_new_session=True,
                )
            undo.callback(self._process.wait)
            undo.callback(self._process.kill)
            self._pidfd = os.pidfd_open(self._process.pid)
            undo.pop_all()
        self._loop.add_reader(self._pidfd, self._died)

    @property
    def pid(self) -> int:
        """Process id; also its process group's."""
        return self._process.pid

    async def greet(self, setup: Setup) -> Ready:
        """Tells the worker what to load and waits until it has.

        Raises:
            GoneError: it ended before, or spoke nonsense.
        """
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._link)
        await self._send(setup)
        ready = await self._receive()
        if not isinstance(ready, Ready):
            raise GoneError("no greeting")
        return ready

    async def ask(self, look: Look) -> None:
        """Sends a look.

        Raises:
            GoneError: the worker is gone.
        """
        await self._send(look)

    async def answer(self) -> Seen:
        """The next answer of a detector.

        Raises:
            GoneError: the worker is gone, or spoke nonsense.
        """
        seen = await self._receive()
        if not isinstance(seen, Seen):
            raise GoneError("greeted twice")
        return seen

    def kill(self) -> None:
        """Kills the process and its group at once; it is reaped as soon as it is dead."""
        if not self.gone.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)  # before `setsid` it has no group of its own

    async def _send(self, message: Setup | Look) -> None:
        assert self._writer is not None
        try:
            self._writer.write(messages.framed(message))
            await self._writer.drain()
        except OSError as error:
            raise GoneError("the socket is closed") from error

    async def _receive(self) -> Ready | Seen:
        assert self._reader is not None
        try:
            head = await self._reader.readexactly(messages.HEAD_BYTES)
            return messages.to_gateway(await self._reader.readexactly(messages.length(head)))
        except (OSError, EOFError) as error:
            raise GoneError("the socket is closed") from error
        except (ValueError, msgspec.MsgspecError) as error:
            raise GoneError("not a message") from error

    def _died(self) -> None:
        self._loop.remove_reader(self._pidfd)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # whatever it may have started; the zombie still holds the group's id
        code = self._process.wait()  # it is dead: this does not wait
        os.close(self._pidfd)
        if self._writer is None:
            self._link.close()
        else:
            self._writer.close()
        self.gone.set_result(code)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return kept | dict.fromkeys(ONE_THREAD, "1") | {"TOKENIZERS_PARALLELISM": "false"}
