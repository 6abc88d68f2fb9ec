"""Writes to a stream that nobody may be reading, and never waits for a reader.

A pipe holds 64 KiB. Whoever writes on when it is full is stopped until somebody reads; in an event loop that would stop
the whole site. So a pipe, a socket or a terminal gets only what it takes at once, and the rest is kept, up to a bound.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
from collections import deque
from collections.abc import Iterable
from typing import Final, TextIO

__all__ = ["Outlet"]

UNREAD_BYTES_MAX: Final = 256 * 1024
"""So much waits for a reader; what comes then is lost, and counted."""


class Outlet:
    """One stream.

    Attributes:
        lost: Lines that nobody will read.
    """

    def __init__(self, out: TextIO, unread_bytes_max: int = UNREAD_BYTES_MAX) -> None:
        self.lost = 0
        self._out = out
        self._bytes_max = unread_bytes_max
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._fd = _may_block(out)
        if self._fd >= 0:
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLOUT)

    @property
    def is_behind(self) -> bool:
        """Whether something waits for a reader."""
        return bool(self._waiting)

    def write(self, lines: Iterable[str]) -> None:
        """Writes lines, each without its newline. What cannot be written at all is no reason to fail."""
        if self._fd < 0:
            with contextlib.suppress(OSError, ValueError):
                self._out.write("".join(f"{line}\n" for line in lines))
                self._out.flush()
            return
        for line in lines:
            content = line.encode("utf-8", "backslashreplace") + b"\n"
            if self._bytes + len(content) > self._bytes_max:
                self.flush()
            if self._bytes + len(content) > self._bytes_max:
                self.lost += 1
            else:
                self._waiting.append(content)
                self._bytes += len(content)
        self.flush()

    def flush(self) -> None:
        """Writes what waits, as far as it is taken at once."""
        while self._waiting and self._is_open():
            content = self._next()
            try:
                self._put(content)
            except OSError:  # the reader has gone: nobody will ever read it
                self.lost += content.count(b"\n") + len(self._waiting)
                self._waiting.clear()
                self._bytes = 0

    def _is_open(self) -> bool:
        """Whether the stream takes `PIPE_BUF` bytes now (POSIX: a pipe that is writable has room for so many)."""
        return bool(self._poll.poll(0))

    def _next(self) -> bytes:
        """As many whole lines as one write can take without waiting; of a longer one its beginning."""
        content = self._waiting.popleft()
        while self._waiting and len(content) + len(self._waiting[0]) <= select.PIPE_BUF:
            content += self._waiting.popleft()
        return content

    def _put(self, content: bytes) -> None:
        rest = content[os.write(self._fd, content[: select.PIPE_BUF]) :]
        self._bytes -= len(content) - len(rest)
        if rest:
            self._waiting.appendleft(rest)


def _may_block(out: TextIO) -> int:
    """The descriptor of a stream whose reader may be slow; -1 for a file, or where a stream cannot be asked."""
    if not hasattr(select, "poll"):
        return -1
    try:
        fd = out.fileno()
        kind = os.fstat(fd).st_mode
    except (OSError, ValueError, AttributeError):
        return -1
    return -1 if stat.S_ISREG(kind) else fd
