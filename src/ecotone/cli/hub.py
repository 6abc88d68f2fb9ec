"""`ecotone hub`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from ecotone.cli import extra
from ecotone.cli.options import as_json, without_site

FOLDER = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
KEYS = click.option(
    "--keys",
    "keys",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where keys are looked for and new ones are written. Default: DIR.keys, beside DIR.",
)
ROOT_KEYS = click.option(
    "--root-key",
    "root_keys",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A key of the root, brought back for this; two are needed. Default: those in the folder of keys.",
)
KEY = click.option(
    "--key",
    "key",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The publisher's key.",
)


CONFIG = click.option(
    "-c",
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The hub's configuration, hub.yaml, where it has one.",
)


FURTHER: Final = tuple(f"ecotone.cli.{name}" for name in ("hub_people", "hub_release", "hub_status", "hub_keeping"))
"""Modules with a table `COMMANDS` of further commands of this group. They are light: what they do, they import."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def at_hub(command: _Command) -> _Command:
    """`DIR`, which may be left out, as `folder`; `-c hub.yaml` as `config_path`; `--json` as `is_json`."""
    config = click.option(
        "-c", "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
        help="The hub's configuration, hub.yaml. Without it DIR holds or names all there is.",
    )  # fmt: skip
    folder = click.argument(
        "folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path, file_okay=False)
    )  # fmt: skip
    return as_json(config(folder(command)))


class _Group(click.Group):
    """The commands below, and those of `FURTHER`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return [*self.commands, *self._further()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        return self.commands.get(cmd_name) or self._further().get(cmd_name)

    def _further(self) -> dict[str, click.Command]:
        found: dict[str, click.Command] = {}
        for module in FURTHER:
            found.update(importlib.import_module(module).COMMANDS)
        return found


@click.group(cls=_Group)
def hub() -> None:
    """Publish models signed, say which site shall have which, and serve them to a fleet.

    A hub begins as a folder of plain files, DIR. Any web server, share or stick may carry it: a site believes nothing
    but its signatures. It needs `pip install 'ecotone[hub]'`; `ecotone hub up` and what goes with it
    `pip install 'ecotone[server]'`.
    """


@hub.command()
@FOLDER
@without_site
@click.option("--publisher", "publishers", metavar="NAME", multiple=True, help="Who may publish. Default: `models`.")
def init(folder: Path, is_json: bool, publishers: tuple[str, ...]) -> None:
    """Make a hub in DIR, and its keys in DIR.keys.

    Three root keys, of which any two can change everything: carry them to three places, off this machine. One key for
    each publisher, who takes it away. `online.key` and `director.key` stay with the hub. DIR/trust.json is what sites
    pin.

    \b
    Examples:
      ecotone hub init /srv/hub
      ecotone hub init /srv/hub --publisher research --publisher vision
    """
    extra.signed_delivery()
    from ecotone.cli import hubs

    hubs.init(folder, publishers or ("models",), is_json=is_json)


@hub.command()
@FOLDER
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@CONFIG
@as_json
@KEYS
@KEY
@click.option("--name", required=True, help="The asset's name: sites say hub:NAME.")
@click.option("--version", required=True, help="Its version. What is published once is never changed.")
@click.option("--licence", required=True, help="Its licence, as SPDX writes it.")
@click.option(
    "--kind",
    type=click.Choice(["model", "adapter", "dataset", "policy", "labels", "prior"]),
    default="model",
    show_default=True,
    help="What it is.",
)
@click.option("--card", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="The model card, a text.")
@click.option("--made-from", "lineage", metavar="NAME@VERSION", multiple=True, help="What it was made from.")
@click.option("--region", "residency", metavar="REGION", multiple=True, help="Where it may rest. Default: anywhere.")
@click.option("--needs-memory-mb", type=click.IntRange(min=0), default=0, help="Memory that a machine must have.")
def publish(folder: Path, files: tuple[Path, ...], is_json: bool, **about: Any) -> None:
    """Publish the files as one version of an asset, signed.

    Files of an unsafe format are refused by what is in them: pickles, archives with one inside, HTML. Only what no
    earlier version has is stored, and what differs a little is stored as a difference too.

    \b
    Examples:
      ecotone hub publish /srv/hub smol.gguf --name smol --version 2 --licence Apache-2.0 --key research.key
    """
    extra.signed_delivery()
    from ecotone.cli import hubs

    keys, key, file = (about.pop(name) for name in ("keys", "key", "file"))
    hubs.publish(folder, files, hubs.Publishing(keys=keys, key=key, file=file, about=about), is_json=is_json)


@hub.command()
@FOLDER
@click.argument("site")
@click.argument("assets", metavar="[NAME[@VERSION]]...", nargs=-1)
@CONFIG
@as_json
@KEYS
@click.option("--region", default="", metavar="REGION", help="Where a site stands that is not enrolled here.")
def assign(folder: Path, site: str, assets: tuple[str, ...], is_json: bool, **given: Any) -> None:
    """Say what SITE shall have: these assets, and no others. Without @VERSION the one that was published last.

    Nothing is removed at a site by this; it takes nothing else from then on. An asset goes to no region but its own:
    what an enrolled site's is, the hub knows.

    \b
    Examples:
      ecotone hub assign /srv/hub harbour-1 smol names@3
    """
    extra.signed_delivery()
    from ecotone.cli import hubs

    hubs.assign(folder, site, assets, hubs.Assigning(**given), is_json=is_json)


@hub.command()
@FOLDER
@without_site
@KEYS
def sign(folder: Path, is_json: bool, keys: Path | None) -> None:
    """Say anew what is newest: sites that ask over a link want to hear that every 7 days.

    Run it daily, by a timer. It needs `online.key` and `director.key` only.

    \b
    Examples:
      ecotone hub sign /srv/hub
    """
    extra.signed_delivery()
    from ecotone.cli import hubs

    hubs.sign(folder, keys, is_json=is_json)


@hub.command()
@FOLDER
@click.argument("role", type=click.Choice(["root", "publisher", "director", "online"]))
@without_site
@KEYS
@ROOT_KEYS
@click.option("--name", default="models", show_default=True, help="Which publisher; one that is new is added.")
def rotate(folder: Path, role: str, is_json: bool, keys: Path | None, root_keys: tuple[Path, ...], name: str) -> None:
    """Put a new key in the place of an old one, which counts for nothing from then on.

    It needs two keys of the root. Sites follow by themselves, also those that were away meanwhile.

    \b
    Examples:
      ecotone hub rotate /srv/hub director --root-key /media/a/root-1.key --root-key /media/b/root-2.key
    """
    extra.signed_delivery()
    from ecotone.cli import hubs

    hubs.rotate(folder, role, hubs.Rotating(keys=keys, root_keys=root_keys, name=name), is_json=is_json)


@hub.command()
@FOLDER
@click.argument("what", type=click.Choice(["publisher", "asset"]))
@click.argument("name", metavar="NAME[@VERSION]")
@without_site
@KEYS
@click.option(
    "--key",
    "signing",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="For a publisher two keys of the root (default: those in the folder of keys); for an asset its publisher's.",
)
def revoke(folder: Path, what: str, name: str, is_json: bool, keys: Path | None, signing: tuple[Path, ...]) -> None:
    """Trust a publisher with nothing any more, or withdraw a version. No site installs it from then on.

    A site that has it keeps it until it is told to have another.

    \b
    Examples:
      ecotone hub revoke /srv/hub publisher research --key root-1.key --key root-3.key
      ecotone hub revoke /srv/hub asset smol@2 --key research.key
    """
    extra.signed_delivery()
    from ecotone.cli import hubs

    hubs.revoke(folder, what, hubs.Rotating(keys=keys, root_keys=signing, name=name), is_json=is_json)


@hub.command()
@FOLDER
@without_site
def show(folder: Path, is_json: bool) -> None:
    """Show what is published, what each site shall have, and what must be signed soon.

    \b
    Examples:
      ecotone hub show /srv/hub
    """
    extra.signed_delivery()
    from ecotone.cli import hubs

    hubs.show(folder, is_json=is_json)


@hub.command()
@at_hub
@click.option("--listen", metavar="ADDRESS:PORT", help="Where to listen. Default: 127.0.0.1:3269.")
@click.option("--processes", type=click.IntRange(1, 64), help="Processes on this address. Default: 1.")
@click.option("--open", "is_open", is_flag=True, help="Serve signed documents and packs to anybody, without a session.")
@click.option("--insecure-http", is_flag=True, help="Listen beyond this machine without TLS and without a proxy.")
@click.option("--log-format", type=click.Choice(["auto", "json", "text"]), default="auto", help="Form of the log.")
def up(folder: Path | None, config_path: Path | None, is_json: bool, **flags: Any) -> None:
    """Serve a hub until stopped: to sites what is granted to them, to people what they may.

    With DIR alone it keeps what it knows in DIR.state (SQLite), beside DIR, and listens on this machine only. With
    `-c hub.yaml` it may have PostgreSQL, an S3-compatible store, TLS, OIDC and several processes.

    \b
    Examples:
      ecotone hub up /srv/hub
      ecotone hub up -c /etc/ecotone/hub.yaml --processes 2
    """
    extra.server()
    from ecotone.cli import hub_serving

    hub_serving.up(folder, config_path, flags, is_json=is_json)


@hub.command()
@at_hub
def restored(folder: Path | None, config_path: Path | None, is_json: bool) -> None:
    """Tell a hub that it was brought back from a copy: its next wishes lie above all that sites can have seen.

    It learns how far each was from the sites too, as they ask. Say this before `ecotone hub up` where something must be
    signed for all of them at once.

    \b
    Examples:
      ecotone hub restored /srv/hub
    """
    extra.server()
    from ecotone.cli import hub_serving

    hub_serving.restored(folder, config_path, is_json=is_json)


@hub.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@without_site
def validate(file: Path, is_json: bool) -> None:
    """Check a hub's configuration, and print everything that is wrong with it.

    \b
    Examples:
      ecotone hub validate hub.yaml
    """
    from ecotone.cli import hub_serving

    hub_serving.validate(file, is_json=is_json)


@hub.command()
@without_site
def schema(is_json: bool) -> None:
    """Print the JSON Schema of hub.yaml, for editors.

    \b
    Examples:
      ecotone hub schema > hub.schema.json
      # and as the first line of hub.yaml:
      # yaml-language-server: $schema=./hub.schema.json
    """
    from ecotone.cli.output import show_json
    from ecotone.hub import settings

    show_json(settings.json_schema())
