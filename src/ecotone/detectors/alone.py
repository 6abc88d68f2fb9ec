"""A process without a network: nothing that a detector or a library of it does reaches the outside.

Two locks. The kernel's: a network namespace of its own, with no interface up, where an unprivileged process may make
one; it holds against native code too. Python's: an audit hook that refuses sockets and new processes, everywhere.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000

REFUSED: Final = (
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
)
"""A process that a detector starts could speak for it."""

HARMLESS: Final = ("socket.gethostname",)


def shut() -> str:
    """Closes both locks, for good; `namespace` where the kernel's holds, else `hook`.

    The process must have one thread only, and sockets that it is to keep must be open.
    """
    held = _unshared()
    sys.addaudithook(refuse)
    return "namespace" if held else "hook"


def refuse(event: str, _arguments: tuple[object, ...]) -> None:
    """The audit hook.

    Raises:
        PermissionError: the event would open a way out.
    """
    if (event.startswith("socket.") and event not in HARMLESS) or event in REFUSED:
        raise PermissionError(f"a detector may not use {event}")


def _unshared() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    unshare = getattr(libc, "unshare", None)
    if unshare is None:
        return False
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWUSER | CLONE_NEWNET
    return bool(unshare(flags) == 0)
