"""`ecotone hub release`, `pin`, `unpin`, `send`, `garbage`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from ecotone.cli.hub_asking import Asked, at
from ecotone.cli.options import without_site

ID = click.argument("release_id", metavar="ID")
KINDS: Final = ("model", "adapter", "dataset", "policy", "labels", "prior")


@click.group()
def release() -> None:
    """Roll a published version out to sites, in waves, and watch, pause or take it back.

    WHERE is the hub's folder or its hub.yaml, on the hub's own machine, or its address https://... with a key. A
    release goes on while `ecotone hub up` runs: it signs wishes for a wave of sites, looks at what they report, and
    goes on, or takes it back from all. Sites that are silent are left alone.
    """


@release.command()
@at
@click.argument("name_version", metavar="NAME@VERSION")
@click.option("--site", "sites", metavar="NAME", multiple=True, help="To this site. Default: all sites.")
@click.option("--group", "groups", metavar="GROUP", multiple=True, help="To the sites of this group.")
@click.option(
    "--wave",
    "waves",
    metavar="SIZE",
    multiple=True,
    help="A step: `5%` of the sites, `20` sites, or `group:NAME`. Default: 1%, 10%, 40%, 100%.",
)
@click.option("--at-once", is_flag=True, help="No waves: all sites now, each with its own trial.")
@click.option("--gate", metavar="KEY=NUMBER", multiple=True, help="What a wave must show, as `hours_min=24`.")
@click.option("--trial", metavar="KEY=NUMBER", multiple=True, help="What a site must see, as `requests_min=200`.")
@click.option("--variant", "variants", metavar="VERSION", multiple=True, help="These of its variants, best first.")
@click.option("--tok-s-min", type=click.FloatRange(min=0), default=0.0, help="Tokens a second a machine must reach.")
def start(asked: Asked, is_json: bool, name_version: str, **given: Any) -> None:
    """Start a release. An older one of the same name ends by it.

    \b
    Examples:
      ecotone hub release start /srv/hub smol@2
      ecotone hub release start https://hub.example.org smol@2 --group clinics --wave 5 --wave 25% --wave 100%
      ecotone hub release start /srv/hub smol@2 --gate hours_min=24 --gate requests_min=2000 --trial errors_over=0.01
    """
    from ecotone.cli import hub_releases

    hub_releases.start(asked, name_version, hub_releases.Starting(**given), is_json=is_json)


@release.command("list")
@at
@click.option("--name", default="", help="Only of this asset.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="So many, newest first.")
def list_releases(asked: Asked, is_json: bool, name: str, limit: int) -> None:
    """List releases, newest first.

    \b
    Examples:
      ecotone hub release list /srv/hub
    """
    from ecotone.cli import hub_releases

    hub_releases.show_all(asked, name, limit, is_json=is_json)


@release.command()
@at
@ID
def show(asked: Asked, is_json: bool, release_id: str) -> None:
    """Show one release: its waves, what its sites told, and what it waits for.

    \b
    Examples:
      ecotone hub release show /srv/hub r-3f9a2c1b07de
    """
    from ecotone.cli import hub_releases

    hub_releases.show(asked.ask("GET", "/releases/{id}", id=release_id), is_json=is_json)


@release.command()
@at
@ID
def pause(asked: Asked, is_json: bool, release_id: str) -> None:
    """Wish it nowhere else until it is resumed. Sites that have it end their trials.

    \b
    Examples:
      ecotone hub release pause /srv/hub r-3f9a2c1b07de
    """
    from ecotone.cli import hub_releases

    hub_releases.show(asked.ask("POST", "/releases/{id}/pause", id=release_id), is_json=is_json)


@release.command()
@at
@ID
def resume(asked: Asked, is_json: bool, release_id: str) -> None:
    """Go on with it.

    \b
    Examples:
      ecotone hub release resume /srv/hub r-3f9a2c1b07de
    """
    from ecotone.cli import hub_releases

    hub_releases.show(asked.ask("POST", "/releases/{id}/resume", id=release_id), is_json=is_json)


@release.command()
@at
@ID
@click.option("--stay", "is_stay", is_flag=True, help="Leave it where it is. Default: the version before, everywhere.")
def abort(asked: Asked, is_json: bool, release_id: str, is_stay: bool) -> None:
    """End it, and wish the version before for all that have it. It works on one that is done, too.

    \b
    Examples:
      ecotone hub release abort /srv/hub r-3f9a2c1b07de
    """
    from ecotone.cli import hub_releases

    said = asked.ask("POST", "/releases/{id}/abort", {"is_back": not is_stay}, id=release_id)
    hub_releases.show(said, is_json=is_json)


@click.command()
@at
@click.argument("site")
@click.argument("name_version", metavar="NAME[@VERSION]")
def pin(asked: Asked, is_json: bool, site: str, name_version: str) -> None:
    """Hold an asset fast at a site: no release changes it there until it is unpinned.

    \b
    Examples:
      ecotone hub pin /srv/hub harbour-1 smol
    """
    from ecotone.cli import hub_releases

    hub_releases.pin(asked, site, name_version, is_json=is_json)


@click.command()
@at
@click.argument("site")
@click.argument("name")
def unpin(asked: Asked, is_json: bool, site: str, name: str) -> None:
    """Let releases change an asset at a site again.

    \b
    Examples:
      ecotone hub unpin /srv/hub harbour-1 smol
    """
    from ecotone.cli import hub_releases

    hub_releases.unpin(asked, site, name, is_json=is_json)


@click.command()
@click.argument("url", metavar="URL")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@without_site
@click.option(
    "--key", metavar="FILE", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The publisher's key. It stays on this machine.",
)  # fmt: skip
@click.option("--publisher", default="models", show_default=True, help="Whose key it is.")
@click.option("--name", required=True, help="The asset's name: sites say hub:NAME.")
@click.option("--version", required=True, help="Its version. What is published once is never changed.")
@click.option("--licence", required=True, help="Its licence, as SPDX writes it.")
@click.option("--kind", type=click.Choice(KINDS), default="model", show_default=True, help="What it is.")
@click.option("--card", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="The model card, a text.")
@click.option("--made-from", "lineage", metavar="NAME@VERSION", multiple=True, help="What it was made from.")
@click.option("--region", "residency", metavar="REGION", multiple=True, help="Where it may rest. Default: anywhere.")
@click.option("--needs-memory-mb", type=click.IntRange(min=0), default=0, help="Memory that a machine must have.")
def send(url: str, files: tuple[Path, ...], is_json: bool, key: Path, **about: Any) -> None:
    """Publish files at a hub elsewhere: they are sent in pieces, looked at and cut there, and signed here.

    What was cut off goes on where it was when the same command runs again. Before anything is signed, what the hub has
    prepared is compared with the files here, byte for byte.

    \b
    Examples:
      ecotone hub send https://hub.example.org smol.gguf --name smol --version 2 --licence Apache-2.0 --key research.key
    """
    from ecotone.cli import extra, hub_sending

    extra.signed_delivery()
    hub_sending.send(url, files, key, about, is_json=is_json)


@click.command()
@at
@click.option("--collect", "is_collected", is_flag=True, help="Remove now what may go, in place of tomorrow.")
def garbage(asked: Asked, is_json: bool, is_collected: bool) -> None:
    """Show what nobody needs any more at a hub. Daily the hub removes what nobody has needed for a week.

    \b
    Examples:
      ecotone hub garbage /srv/hub
      ecotone hub garbage /srv/hub --collect
    """
    from ecotone.cli import hub_releases

    hub_releases.garbage(asked, is_collected=is_collected, is_json=is_json)


COMMANDS: Final = {"release": release, "pin": pin, "unpin": unpin, "send": send, "garbage": garbage}
