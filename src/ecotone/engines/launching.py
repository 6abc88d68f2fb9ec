"""From a model file to a worker that answers: checked, spawned, loaded, connected."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from ecotone.engines.child import Ready, Worker
from ecotone.engines.needs import Channel, Connect, Held, Hold
from ecotone.engines.settings import Limits, Model, Tuned, worker_settings
from ecotone.values import TargetError

REAP_S_MAX: Final = 10.0
"""A killed process that is not gone by then hangs in the kernel; nothing more can be done about it."""


class Launch(msgspec.Struct, frozen=True):
    """What every launch at this site shares.

    Attributes:
        connect: Makes a channel to a socket.
        folder: A folder of mode 0700 for the sockets.
        limits: See there.
        is_x86: Whether the CPU is x86-64.
    """

    connect: Connect
    folder: Path
    limits: Limits
    is_x86: bool


class Running:
    """A worker that is ready.

    Attributes:
        channel: HTTP to it.
        key: Its key, new for each start.
        ready: What it said when it was ready.
    """

    def __init__(self, worker: Worker, channel: Channel, key: str, socket: Path, ready: Ready) -> None:
        self.worker = worker
        self.channel = channel
        self.key = key
        self.ready = ready
        self._socket = socket

    def stop(self) -> None:
        """Kills it at once. `worker.gone` tells when it is reaped."""
        self.channel.close()
        self.worker.kill()
        self._socket.unlink(missing_ok=True)


async def launch(site: Launch, model: Model, tuned: Tuned, hold: Hold, on_gone: Callable[[Worker], None]) -> Running:
    """A worker that is ready. Its process starts while the digest is checked, and gets the file only after that.

    Args:
        on_gone: Called when the worker is reaped, after it was ready.

    Raises:
        TrustError: the digest is wrong, or the file was changed while it loaded.
        TargetError: the worker died or took too long (`engine_start`), with what its log says.
        EcotoneError: the file cannot be read.
        OSError: no process can be made.
    """
    key, socket = secrets.token_urlsafe(32), site.folder / f"{secrets.token_hex(8)}.sock"
    settings = worker_settings(model, tuned, site.limits, is_x86=site.is_x86, socket=str(socket), key=key)
    worker = Worker()
    within_s = site.limits.start_within_s(model.file_bytes)
    try:
        async with asyncio.timeout(within_s), _held(hold) as held:
            worker.configure(settings, held.fds)
            await asyncio.wait((worker.ready, worker.gone), return_when=asyncio.FIRST_COMPLETED)
            if worker.gone.done():
                raise TargetError("engine_start", f"the worker ended while it loaded ({worker.why()})")
            await asyncio.to_thread(held.confirm)
        if not worker.is_alive:
            raise TargetError("engine_start", f"the worker ended as soon as it was ready ({worker.why()})")
    except BaseException as error:
        worker.kill()
        socket.unlink(missing_ok=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(worker.gone), REAP_S_MAX)
        if isinstance(error, TimeoutError):
            raise TargetError("engine_start", f"not ready within {within_s:.0f} s ({worker.why()})") from error
        raise
    worker.on_gone = on_gone
    return Running(worker, site.connect(str(socket)), key, socket, worker.ready.result())


@contextlib.asynccontextmanager
async def _held(hold: Hold) -> AsyncIterator[Held]:
    """Enters `hold` in a thread: hashing takes as long as reading the file. Closed in any case."""
    with contextlib.ExitStack() as stack:
        context = hold()
        entering = asyncio.get_running_loop().run_in_executor(None, context.__enter__)
        try:
            held = await asyncio.shield(entering)
        except asyncio.CancelledError:
            entering.add_done_callback(
                lambda entered: None if entered.cancelled() or entered.exception() else _leave(context)
            )
            raise
        stack.push(context)
        yield held


def _leave(context: contextlib.AbstractContextManager[Held]) -> None:
    context.__exit__(None, None, None)
