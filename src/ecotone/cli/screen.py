"""Any JSON answer of the site as a screen: single values in pairs, lists of objects as tables.

The site decides what is on the screen; units are read off the names (`_s`, `_bytes`, `_mb`, `_usd`). A table that is
wider than the screen becomes one block of pairs for each row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import click
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_GOOD = frozenset({"closed", "up", "ready", "ok"})
_BAD = frozenset({"open", "down", "failed", "broken"})
_FAIR = frozenset({"half_open", "degraded"})
_NOTHING: Final[tuple[object, ...]] = (None, "", [], {})

WIDTH: Final = 100
"""Columns where standard output is not a terminal."""

PAIRS_MAX: Final = 4
SHORT_MAX: Final = 32
"""A value of more characters gets a line of its own."""


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
    """Standard output, as it is at the call."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH, soft_wrap=False)


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
        yield Pairs(single)
    for key, value in said.items():
        name = f"{title}.{key}" if title else key
        if isinstance(value, Mapping) and _is_wide(value):
            rows = [{"": inner, **row} for inner, row in value.items() if isinstance(row, Mapping)]
            if len(rows) == len(value) and not any(
                _is_wide(cell) and _has_wide(cell) for row in rows for cell in row.values()
            ):
                yield Text(name, style="bold")
                yield Rows(rows)
            else:
                yield from _sections(name, value)
        elif _is_wide(value):
            yield Text(name, style="bold")
            yield Rows(value)


def _is_wide(value: Any) -> bool:
    """Whether a value needs a section of its own."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and any(isinstance(item, Mapping) for item in value)


def _has_wide(value: Any) -> bool:
    """Whether a value needs more than a cell: lists of objects, or objects in objects."""
    inner = value.values() if isinstance(value, Mapping) else [value]
    return any(_is_wide(item) for item in inner)


class Pairs:
    """Names and values, as many side by side as fit; what is long stands below, on lines of its own."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        cells = [(_words(key), _styled(key, value)) for key, value in said.items()]
        self._short = [cell for cell in cells if len(cell[1]) <= SHORT_MAX]
        self._long = [cell for cell in cells if len(cell[1]) > SHORT_MAX]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws them."""
        for count in range(min(PAIRS_MAX, len(self._short)), 0, -1):
            table = _grid(self._short, count)
            if count == 1 or _fits(console, options, table):
                yield table
                break
        if self._long:
            yield _grid(self._long, 1)


class Rows:
    """Objects as a table where it fits, else each as its first value with the others, if they say something, below."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = [row if isinstance(row, Mapping) else {"": row} for row in rows]
        self._columns = list(dict.fromkeys(key for row in self._rows for key in row))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draws them."""
        table = self._table()
        if _fits(console, options, table):
            yield table
            return
        first = self._columns[0]
        for row in self._rows:
            yield Padding(_styled(first, row.get(first)), (0, 0, 0, 1))
            said = {key: row.get(key) for key in self._columns[1:]}
            yield Padding(Pairs({key: value for key, value in said.items() if value not in _NOTHING}), (0, 0, 0, 2))

    def _table(self) -> Table:
        table = Table(box=None, header_style="dim")
        for column in self._columns:
            table.add_column(_words(column), overflow="fold")
        for row in self._rows:
            table.add_row(*(_styled(column, row.get(column)) for column in self._columns))
        return table


def _grid(cells: Sequence[tuple[str, Text]], count: int) -> Table:
    """`count` pairs a line."""
    table = Table(box=None, show_header=False)
    for _ in range(count):
        table.add_column(style="dim")
        table.add_column(overflow="fold")
    for start in range(0, len(cells), count):
        table.add_row(*(text for cell in cells[start : start + count] for text in cell))
    return table


def _fits(console: Console, options: ConsoleOptions, table: Table) -> bool:
    """Whether the table can be drawn without folding anything."""
    return Measurement.get(console, options.update(width=10_000), table).maximum <= options.max_width


def _words(key: str) -> str:
    """A name as a heading: units that stand in the cells are left out."""
    if _is_duration(key):
        key = "_".join(part for part in key.split("_") if part != "s")
    return " ".join(part for part in key.split("_") if part != "bytes") or key


def _styled(key: str, value: Any) -> Text:
    text = _cell(key, value)
    if isinstance(value, list) and len(text) > SHORT_MAX:
        return Text("\n".join(_cell(key, item) for item in value))
    if text in _GOOD:
        return Text(text, style="green")
    return Text(text, style="bold red" if text in _BAD else "yellow" if text in _FAIR else "")


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
    if key == "pid":
        return str(value)
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
