"""A transfer as a bar on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


def is_terminal() -> bool:
    """Whether standard error is a terminal that can draw."""
    return Console(file=sys.stderr).is_terminal


class BarProgress:
    """`assets.Progress` as a bar on standard error; steps stand above it."""

    def __init__(self) -> None:
        self._drawn = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr, highlight=False),
        )  # fmt: skip
        self._task: TaskID | None = None

    def __enter__(self) -> BarProgress:
        self._drawn.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._drawn.stop()

    def start(self, total_bytes: int | None, what: str) -> None:
        """Draws a bar in place of the last one."""
        if self._task is not None:
            self._drawn.remove_task(self._task)
        self._task = self._drawn.add_task(what[-60:], total=total_bytes)

    def advance(self, n: int) -> None:
        """Moves the bar."""
        if self._task is not None:
            self._drawn.advance(self._task, n)

    def step(self, text: str) -> None:
        """Prints the text above the bar."""
        self._drawn.console.print(text, markup=False, soft_wrap=True)

    def done(self) -> None:
        """The bar stays until the next one."""
        if self._task is not None:
            self._drawn.update(self._task, refresh=True)
