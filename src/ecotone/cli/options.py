"""The options that every command takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def shared(command: _Command) -> _Command:
    """`-c FILE` as argument `config_path`, and `--json` as `is_json`."""
    config = click.option(
        "-c", "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        help="Configuration file. Default: ./ecotone.yaml if it is there, else the built-in one.",
    )  # fmt: skip
    return as_json(config(command))


def as_json(command: _Command) -> _Command:
    """`--json` as argument `is_json`."""
    return click.option(
        "--json", "is_json", is_flag=True, callback=_remember, help="Print JSON, also for errors, in place of text."
    )(command)


def without_site(command: _Command) -> _Command:
    """`--json` as argument `is_json`; `-c FILE` is taken as everywhere, for a command that needs no site."""
    config = click.option(
        "-c", "--config", metavar="FILE", expose_value=False, help="Not used: this command needs no site."
    )  # fmt: skip
    return as_json(config(command))


def url(command: _Command) -> _Command:
    """`--url URL` as argument `url`."""
    return click.option(
        "--url", metavar="URL", help="Address of the site. Default: where the configuration says that it listens."
    )(command)


def store(command: _Command) -> _Command:
    """`--store FOLDER` as argument `store`."""
    return click.option(
        "--store", metavar="FOLDER", help="Where the site keeps its state. Default: what the configuration says."
    )(command)


def _remember(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.find_root().meta["ecotone.is_json"] = value
    return value
