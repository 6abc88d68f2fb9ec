"""One look at the site after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
import msgspec

from ecotone.cli.failures import UnreachableError


def looks(look: Callable[[], Any], every_s: float, count: int | None) -> Iterator[Any]:
    """Answers, `every_s` seconds apart; later ones may be an `UnreachableError`, the first one raises it."""
    seen = 0
    while count is None or seen < count:
        if seen:
            time.sleep(every_s)
        try:
            yield look()
        except UnreachableError as error:
            if not seen:
                raise
            yield error
        seen += 1


def json_lines(seen: Iterable[Any]) -> None:
    """One line of JSON for each look."""
    for answer in seen:
        said = {"error": {"code": answer.code, "message": answer.message}} if _is_error(answer) else answer
        click.echo(msgspec.json.encode(said).decode())


def live(seen: Iterator[Any]) -> None:
    """The screen, drawn anew at each look; one below the other where there is no terminal."""
    from rich.live import Live
    from rich.text import Text

    from ecotone.cli.screen import console, screen

    out = console()
    first = next(seen)
    if not out.is_terminal:
        for answer in (first, *seen):
            out.print(answer.message if _is_error(answer) else screen(answer))
        return
    with Live(screen(first), console=out, screen=True, auto_refresh=False) as drawn:
        for answer in seen:
            drawn.update(Text(answer.message, "red") if _is_error(answer) else screen(answer), refresh=True)


def _is_error(answer: Any) -> bool:
    return isinstance(answer, UnreachableError)
