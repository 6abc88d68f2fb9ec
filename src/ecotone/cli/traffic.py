"""What passed through a site, read from its ledger or from a copy, with a bar where that takes long."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ecotone import store
from ecotone.cli.progress import BarProgress, is_terminal
from ecotone.values import ConfigError


def ledger_files(path: Path) -> Path:
    """The folder of segments: the path itself, or the ledger in it where it is a store; or the single segment.

    Raises:
        ConfigError: there is nothing there.
    """
    inner = path / store.FOLDER
    found = inner if inner.is_dir() else path
    if not found.exists():
        raise ConfigError("config.unreadable", f"{path}: there is no ledger; a site makes one at its first start")
    return found


@contextlib.contextmanager
def walking(
    paths: Path | Sequence[Path], kinds: Sequence[str], span_ms: tuple[int | None, int | None], what: str
) -> Iterator[store.Walk]:
    """One pass over a ledger; on a terminal, a bar shows how far it is.

    Args:
        span_ms: From, and before; None = any.

    Raises:
        ConfigError: a file cannot be read.
    """
    try:
        with contextlib.ExitStack() as stack:
            advanced: Callable[[int], object] | None = None
            bar = stack.enter_context(BarProgress()) if is_terminal() else None
            if bar is not None:
                advanced = bar.advance
            walk = store.Walk(paths, kinds, since_ms=span_ms[0], until_ms=span_ms[1], advanced=advanced)
            if bar is not None:
                bar.start(walk.size_bytes, what)
            yield walk
            if bar is not None:
                bar.done()
    except OSError as error:
        shown = error.filename or paths
        raise ConfigError("config.unreadable", f"{shown} cannot be read: {error.strerror or error}") from error
