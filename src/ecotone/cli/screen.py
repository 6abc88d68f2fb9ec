"""Any JSON answer of the site as a screen: single values as a list, lists of objects as tables.

The site decides what is on the screen; units are read off the names (`_s`, `_bytes`, `_mb`, `_usd`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

_GOOD = frozenset({"closed", "up", "ready", "ok"})
_BAD = frozenset({"open", "down", "failed", "broken"})


def show(answer: Any) -> None:
    """Prints the screen; without colours where standard output is not a terminal."""
    out = console()
    if out.is_terminal:
        out.print(screen(answer))
        return
    with out.capture() as drawn:
        out.print(screen(answer))
    for line in drawn.get().splitlines():
        click.echo(line.rstrip())


def console() -> Console:
    """Standard output, as it is at the call; wide enough for tables where it is not a terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=200, soft_wrap=False)


def screen(answer: Any) -> RenderableType:
    """What to draw for an answer."""
    if not isinstance(answer, Mapping):
        return Text(_cell("", answer))
    return Group(*_sections("", answer))


def _sections(title: str, said: Mapping[str, Any]) -> Iterator[RenderableType]:
    single = {key: value for key, value in said.items() if not _is_wide(value)}
    if title:
        yield Text(title, style="bold")
    if single:
        yield _listed(single)
    for key, value in said.items():
        name = f"{title}.{key}" if title else key
        if isinstance(value, Mapping) and _is_wide(value):
            rows = [{"": inner, **row} for inner, row in value.items() if isinstance(row, Mapping)]
            if len(rows) == len(value) and not any(
                _is_wide(cell) and _has_wide(cell) for row in rows for cell in row.values()
            ):
                yield Text(name, style="bold")
                yield _table(rows)
            else:
                yield from _sections(name, value)
        elif _is_wide(value):
            yield Text(name, style="bold")
            yield _table(value)


def _is_wide(value: Any) -> bool:
    """Whether a value needs a section of its own."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def _has_wide(value: Any) -> bool:
    """Whether a value needs more than a cell: lists of objects, or objects in objects."""
    inner = value.values() if isinstance(value, Mapping) else [value]
    return any(_is_wide(item) for item in inner)


def _listed(said: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for key, value in said.items():
        table.add_row(_words(key), _styled(key, value))
    return table


def _table(rows: Sequence[Any]) -> Table:
    table = Table(box=None, header_style="dim")
    objects = [row if isinstance(row, Mapping) else {"": row} for row in rows]
    columns = list(dict.fromkeys(key for row in objects for key in row))
    for column in columns:
        table.add_column(_words(column), overflow="fold")
    for row in objects:
        table.add_row(*(_styled(column, row.get(column)) for column in columns))
    return table


def _words(key: str) -> str:
    """A name as a heading: units that stand in the cells are left out."""
    if _is_duration(key):
        key = "_".join(part for part in key.split("_") if part != "s")
    return " ".join(part for part in key.split("_") if part != "bytes") or key


def _styled(key: str, value: Any) -> Text:
    text = _cell(key, value)
    if text in _GOOD:
        return Text(text, style="green")
    return Text(text, style="bold red" if text in _BAD else "")


def _cell(key: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(inner)} {_cell(inner, item)}" for inner, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(_cell(key, item) for item in value) or "-"
    if isinstance(value, int | float):
        return _figure(key, value)
    return "".join(char if char.isprintable() else " " for char in str(value))


def _figure(key: str, value: float) -> str:
    parts = key.split("_")
    if "bytes" in parts:
        return _size(value)
    if "usd" in parts:
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if _is_duration(key):
        return _duration(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def _is_duration(key: str) -> bool:
    """Whether a name ends, or nearly ends, in seconds; `tokens_per_s` is none."""
    parts = key.split("_")
    return "s" in parts[1:] and "per" not in parts


def _size(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _duration(value: float) -> str:
    if abs(value) < 1:
        return f"{value * 1000:.0f} ms"
    if abs(value) < 120:
        return f"{value:.1f} s"
    hours, rest = divmod(int(value), 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
