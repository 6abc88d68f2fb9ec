"""How long work shows itself: a protocol, and a plain implementation that prints lines."""

from __future__ import annotations

import sys
from typing import Protocol, TextIO

__all__ = ["LineProgress", "NoProgress", "Progress"]


class Progress(Protocol):
    """Told what a long job is doing. Calls come from the thread that does the job.

    An exception raised here ends the job; what has arrived is kept for the next try.
    """

    def start(self, total_bytes: int | None, what: str) -> None:
        """A transfer begins (or begins anew, after a cut): the count of bytes is zero again.

        Args:
            total_bytes: Size of the whole, where it is known.
            what: A short name for a person.
        """

    def advance(self, n: int) -> None:
        """`n` more bytes are there; what an earlier run left counts as the first advance."""

    def step(self, text: str) -> None:
        """One thing happened that a person may want to know."""

    def done(self) -> None:
        """The transfer that was started last is complete."""


class NoProgress:
    """Says nothing."""

    def start(self, total_bytes: int | None, what: str) -> None:
        """Ignored."""

    def advance(self, n: int) -> None:
        """Ignored."""

    def step(self, text: str) -> None:
        """Ignored."""

    def done(self) -> None:
        """Ignored."""


class LineProgress:
    """One line for each step, for logs and pipes; a transfer also says each quarter."""

    def __init__(self, out: TextIO | None = None) -> None:
        """Prints to `out`, by default standard error as it is at the call."""
        self._out = sys.stderr if out is None else out
        self._what = ""
        self._total: int | None = None
        self._count = 0
        self._said = 0

    def start(self, total_bytes: int | None, what: str) -> None:
        """Prints the name and the size, once; a start anew after a cut is silent."""
        if what != self._what:
            size = "" if total_bytes is None else f" ({total_bytes / 1e6:.1f} MB)"
            self._line(f"fetching {what}{size}")
            self._said = 0
        self._what, self._total, self._count = what, total_bytes, 0

    def advance(self, n: int) -> None:
        """Counts, and prints at each quarter."""
        self._count += n
        if not self._total:
            return
        quarter = min(self._count * 4 // self._total, 3)
        if quarter > self._said:
            self._said = quarter
            self._line(f"{quarter * 25} % of {self._what}")

    def step(self, text: str) -> None:
        """Prints the text as one line."""
        self._line(text)

    def done(self) -> None:
        """Prints that it is there."""
        self._line(f"fetched {self._what}")
        self._what = ""

    def _line(self, text: str) -> None:
        self._out.write(f"{text}\n")
        self._out.flush()
