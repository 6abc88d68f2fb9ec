"""A group whose commands are imported when they are called, and whose errors become exit codes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from ecotone.values import EcotoneError


class LazyGroup(click.Group):
    """Commands by name, each in a module of its own: `name -> (module, attribute, one line of help)`."""

    def __init__(self, *, table: Mapping[str, tuple[str, str, str]], **settings: Any) -> None:
        super().__init__(**settings)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the command's module."""
        place = self._table.get(cmd_name)
        if place is None:
            return None
        found = getattr(importlib.import_module(place[0]), place[1])
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, place[2]) for name, place in self._table.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; an error that somebody can act on is printed, and decides the exit code."""
        try:
            return super().invoke(ctx)
        except EcotoneError as error:
            from ecotone.cli.failures import exit_code, show

            show(error, is_json=ctx.find_root().meta.get("ecotone.is_json", False))
            ctx.exit(exit_code(error))
