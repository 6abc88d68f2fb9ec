"""A hub that a command asks: its folder or hub.yaml on this machine, or its address. The same doors either way."""

from __future__ import annotations

import contextlib
import getpass
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from ecotone.cli import extra
from ecotone.cli.failures import NotFoundError
from ecotone.cli.hub_remote import Remote, is_url, path_of
from ecotone.cli.options import as_json
from ecotone.values import ConfigError, RequestError

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub

__all__ = ["Asked", "at", "known"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Asked(msgspec.Struct, frozen=True):
    """Which hub.

    On this machine whoever can write its folder and read its keys may do all: as `local:USER` in the ledger.
    """

    where: str
    config: Path | None

    def ask(self, method: str, template: str, body: object = None, **names: str) -> Any:
        """The answer of a door (`hub.people_doors` and its like), as plain values.

        Args:
            names: Those in the path. `query` is none of them: it stands in the template.

        Raises:
            UnreachableError, NotFoundError, RequestError, RefusalError, ConfigError: As the door says.
        """
        if is_url(self.where):
            remote = Remote.at(self.where)
            path = path_of(template, names)
            if method in ("GET", "DELETE"):
                return remote.get(path) if method == "GET" else remote.delete(path)
            return remote.post(path, body) if method == "POST" else remote.patch(path, body)
        return self._here(method, template, body, names)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Hub]:
        """The hub's rooms, on this machine.

        Raises:
            ConfigError: `hub.extra`, `hub.here`: it is named by its address; as its settings say.
            NotFoundError: `hub.folder`.
        """
        if is_url(self.where):
            raise ConfigError("hub.here", "this is done on the hub's own machine: name its folder, or its hub.yaml")
        extra.server()
        from ecotone.hub import serving, settings

        path = Path(self.where)
        chosen = settings.load(*((None, path) if path.is_file() else (path, self.config)))
        if not chosen.folder.is_dir() and chosen.objects.url is None:
            raise NotFoundError("hub.folder", f"{chosen.folder} is no hub: `ecotone hub init` makes one")
        with serving.opened(chosen) as hub:
            yield hub

    def _here(self, method: str, template: str, body: object, names: dict[str, str]) -> Any:
        from urllib.parse import parse_qsl

        from ecotone.access import owner

        template, _, query = template.partition("?")
        plain = {} if body is None else msgspec.to_builtins(body)
        with self.opened() as hub:
            try:
                door = _doors()[method, template]
                _, value = door(hub, owner(f"local:{known()}"), names, plain, dict(parse_qsl(query)))
            except RequestError as error:
                if error.status == 404:
                    raise NotFoundError(error.code, error.message, status=404) from error
                raise
        return msgspec.json.decode(msgspec.json.encode(value))


def _doors() -> dict[tuple[str, str], Callable[..., tuple[int, Any]]]:
    from ecotone.hub import people_doors, releases_doors, status_doors

    return {**people_doors.DOORS, **releases_doors.DOORS, **status_doors.DOORS}


def known() -> str:
    """Who runs this, for the ledger."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
    kept = "".join(letter for letter in name if letter.isascii() and (letter.isalnum() or letter in "._-"))
    return kept[:64] or "unknown"


def at(command: _Command) -> _Command:
    """`WHERE` and `-c hub.yaml` as `asked`, an `Asked`; `--json` as `is_json`."""

    def both(ctx: click.Context, _param: click.Parameter, value: str) -> Asked:
        return Asked(value, ctx.params.pop("config_path", None))

    where = click.argument("asked", metavar="WHERE", callback=both)
    config = click.option(
        "-c", "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        is_eager=True, help="The hub's configuration, hub.yaml, where WHERE is its folder.",
    )  # fmt: skip
    return as_json(config(where(command)))
