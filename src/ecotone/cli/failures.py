"""An error as a person or a program reads it, and as an exit code."""

from __future__ import annotations

from typing import Final

import click
import msgspec

from ecotone.values import ConfigError, EcotoneError, RequestError

CHECK_FAILED: Final = 1
BAD_INPUT: Final = 2
NOT_REACHABLE: Final = 3


class UnreachableError(EcotoneError):
    """No site answers there, or it cannot answer now. Exit code 3."""

    default_status = 503


class NotFoundError(RequestError):
    """What was asked for is not there. Exit code 1."""


def exit_code(error: EcotoneError) -> int:
    """1 the check failed, 2 bad input or configuration, 3 not reachable."""
    if isinstance(error, NotFoundError):
        return CHECK_FAILED
    if isinstance(error, ConfigError | RequestError):
        return BAD_INPUT
    if isinstance(error, UnreachableError) or type(error).__name__ == "FetchError":
        # By name: the assets room is heavy, and most commands never load it.
        return NOT_REACHABLE
    return CHECK_FAILED


def plain(text: str) -> str:
    """Text for a terminal: what others have said may hold characters that it would obey."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else " " for letter in text)


def show(error: EcotoneError, *, is_json: bool) -> None:
    """Prints the error: text on standard error, or one JSON object on standard output."""
    problems = error.problems if isinstance(error, ConfigError) else (error.message,)
    if is_json:
        said = {"error": {"code": error.code, "message": error.message, "problems": problems}}
        click.echo(msgspec.json.encode(said).decode())
        return
    if problems != (error.message,):
        for problem in problems:
            click.echo(plain(problem), err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(note, err=True)
    if len(problems) == 1:
        click.echo(plain(f"ecotone: {error.message}"), err=True)
    else:
        first = error.message if error.message != "\n".join(problems) else "the configuration is wrong"
        click.echo(plain(f"ecotone: {first} ({len(problems)} problems)"), err=True)
