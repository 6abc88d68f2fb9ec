"""JSON on standard output."""

from __future__ import annotations

from typing import Any

import click
import msgspec


def show_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
