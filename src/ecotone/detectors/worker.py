"""The child process: all detectors of a site, one look at a time. Run by `child` with a socket as standard input.

It has no network, no standard output, a memory limit and little say at the scheduler. It must not outlive its parent:
the kernel kills it when the parent's thread ends, and it exits when the socket closes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import select
import signal
import socket
import time
from types import FrameType
from typing import Final

from ecotone.detectors import alone, contract, messages
from ecotone.detectors.messages import Look, Ready, Seen, Setup

PR_SET_PDEATHSIG: Final = 1
NICE: Final = 5
MEMORY_BYTES_MAX: Final = 1536 << 20
"""Of private memory. The built-in detectors need 0.35 GiB."""

AGAIN_S: Final = 0.05
"""An alarm that a library swallowed (in a destructor, say) comes again after this time."""


class LateError(BaseException):
    """The look's time is over. No `Exception`, so that a detector's own `except` does not keep it."""


def main() -> None:
    """Looks until the parent goes or kills it."""
    parent = os.getppid()
    link = socket.socket(fileno=0)
    isolation = alone.shut()
    die_with_parent(parent, link)
    be_modest()
    serve(link, isolation)


def die_with_parent(parent: int, link: socket.socket) -> None:
    """Asks the kernel for SIGKILL at the parent's death; exits if that came before.

    It may have come before this process could ask who its parent is. Then the other end of the link has closed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent or is_closed(link):
        os._exit(0)


def is_closed(link: socket.socket) -> bool:
    """Whether the other end has closed, whatever it sent before that."""
    hung_up = select.poll()
    hung_up.register(link, 0)
    return bool(hung_up.poll(0))


def be_modest() -> None:
    """The gateway goes first at the scheduler, and this process is the one that dies where memory is short."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold what callers sent
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("900")


def serve(link: socket.socket, isolation: str) -> None:
    """Loads what the first message names, says so, and answers looks until the socket ends."""
    setup = _next(link)
    if not isinstance(setup, Setup):
        return
    began_s = time.monotonic()
    detectors, failed = loaded(setup)
    gc.collect()
    gc.freeze()  # models stay; collections need not walk them
    versions = {name: detector.version for name, detector in detectors.items()}
    link.sendall(messages.framed(Ready(time.monotonic() - began_s, versions, failed, isolation)))
    alarm = Alarm()
    while isinstance(look := _next(link), Look):
        end_s = time.monotonic() + look.limit_s
        for name in look.detectors:
            if name in failed:
                seen = Seen(look.number, name, why=failed[name][0])
            else:
                seen = looked(look, name, detectors.get(name), alarm, end_s)
            link.sendall(sent(seen))


def loaded(setup: Setup) -> tuple[dict[str, contract.Detector], dict[str, tuple[str, str]]]:
    """The detectors that could be made, and why each other one could not."""
    made: dict[str, contract.Detector] = {}
    failed: dict[str, tuple[str, str]] = {}
    for name in setup.detectors:
        try:
            made[name] = contract.load(name, setup.settings)
        except contract.DetectorError as error:
            failed[name] = (error.why, error.cause)
        except BaseException as error:  # noqa: BLE001 - a plug-in that calls sys.exit spoils only itself
            failed[name] = ("broken", contract.place(error))
    return made, failed


def looked(look: Look, name: str, detector: contract.Detector | None, alarm: Alarm, end_s: float) -> Seen:
    """What one detector sees until `end_s` on the monotonic clock, or why it does not."""
    if detector is None:
        return Seen(look.number, name, why="absent")
    try:
        try:
            alarm.set(end_s - time.monotonic())
            answer = detector.find(look.texts)
        finally:
            alarm.clear()
        found = contract.checked(look.texts, answer, name)
    except LateError:
        alarm.clear()  # it may have rung on the way out
        return Seen(look.number, name, why="late")
    except contract.DetectorError as error:
        return Seen(look.number, name, why=error.why, cause=error.cause)
    except BaseException as error:  # noqa: BLE001 - one detector that fails does not spoil the others
        return Seen(look.number, name, why="failed", cause=contract.place(error))
    return Seen(look.number, name, tuple(tuple(each) for each in found))


def sent(seen: Seen) -> bytes:
    """The message's bytes; where there are too many, that it is a bad answer."""
    try:
        return messages.framed(seen)
    except ValueError:
        return messages.framed(Seen(seen.number, seen.detector, why="bad_answer", cause="too much"))


class Alarm:
    """Ends Python code that takes too long. Native code that never returns is the parent's to kill."""

    def __init__(self) -> None:
        """Takes SIGALRM over."""
        self._is_set = False
        signal.signal(signal.SIGALRM, self._ring)

    def set(self, left_s: float) -> None:
        """Raises `LateError` in the main thread after that time, and again until `clear`.

        Raises:
            LateError: at once, if the time is over.
        """
        if left_s <= 0:
            raise LateError
        self._is_set = True
        signal.setitimer(signal.ITIMER_REAL, left_s, AGAIN_S)

    def clear(self) -> None:
        """No alarm comes any more."""
        self._is_set = False
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_set:
            raise LateError


def _next(link: socket.socket) -> Setup | Look | None:
    """The next message; None at the end."""
    head = _exactly(link, messages.HEAD_BYTES)
    body = _exactly(link, messages.length(head)) if head else b""
    return messages.to_worker(body) if body else None


def _exactly(link: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = link.recv(min(count - len(parts), 1 << 20))
        if not part:
            return b""
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    main()
