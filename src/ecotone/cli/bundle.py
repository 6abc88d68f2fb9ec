"""`ecotone bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli import extra
from ecotone.cli.options import shared, store, without_site


@click.group()
def bundle() -> None:
    """Carry models to a site on a stick: one signed file."""


@bundle.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@without_site
@click.option("--for", "site", metavar="SITE", required=True, help="For which site.")
@click.option("--since", metavar="GENERATION", type=click.IntRange(min=0), default=0, help="What the site has already.")
@click.option(
    "-o",
    "to",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; it must be new.",
)
def export(folder: Path, is_json: bool, site: str, since: int, to: Path) -> None:
    """Write what SITE shall have, and has not since GENERATION, from the hub in DIR to a new FILE.

    Without --since everything is in it. `ecotone trust` at the site says which generation it has. No key is needed;
    what is in it holds for 180 days from `ecotone hub sign`.

    \b
    Examples:
      ecotone bundle export /srv/hub --for harbour-1 -o /media/stick/harbour-1.bundle
      ecotone bundle export /srv/hub --for harbour-1 --since 4 -o /media/stick/harbour-1.bundle
    """
    extra.signed_delivery()
    from ecotone.cli import delivering

    delivering.exported(folder, site, since, to, is_json=is_json)


@bundle.command(name="import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@shared
@store
def import_(file: Path, config_path: Path | None, is_json: bool, store: str | None) -> None:
    """Verify a bundle and install what is in it. No network is used.

    A bundle for another site, an older one, one that is changed or too old is refused; what is installed stays.

    \b
    Examples:
      ecotone bundle import /media/stick/harbour-1.bundle
    """
    extra.signed_delivery()
    from ecotone.cli import delivering

    delivering.imported(file, config_path, store, is_json=is_json)
