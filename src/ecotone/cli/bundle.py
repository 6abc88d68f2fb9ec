"""`ecotone bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli import extra
from ecotone.cli.options import shared, store


@click.group()
def bundle() -> None:
    """Carry models to a site on a stick: one signed file."""


@bundle.command()
@click.argument("where", metavar="[WHERE]", required=False, type=click.Path(path_type=Path))
@shared
@store
@click.option("--for", "site", metavar="SITE", help="At the hub: for which site.")
@click.option("--since", metavar="GENERATION", type=click.IntRange(min=0), default=0, help="What the site has already.")
@click.option("--reports", "is_reports", is_flag=True, help="At a site: its reports, which the hub does not have yet.")
@click.option("--ledger", "has_ledger", is_flag=True, help="With --reports: the site's ledger too, as evidence.")
@click.option(
    "-o",
    "--to",
    "to",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; it must be new.",
)
def export(  # noqa: PLR0913 - one argument an option
    where: Path | None,
    config_path: Path | None,
    is_json: bool,
    store: str | None,
    site: str | None,
    since: int,
    is_reports: bool,
    has_ledger: bool,
    to: Path,
) -> None:
    """Write what SITE shall have, and has not since GENERATION, from the hub in WHERE to a new FILE; or, at a site and
    with --reports, what the hub shall know.

    WHERE is the hub's folder, or its hub.yaml. Without --since everything is in it. `ecotone trust` at the site says
    which generation it has. No key is needed; what is in it holds for 180 days from `ecotone hub sign`. With --reports
    neither WHERE nor --for is given: the file is signed by the key with which the site has joined its hub.

    \b
    Examples:
      ecotone bundle export /srv/hub --for harbour-1 -o /media/stick/harbour-1.bundle
      ecotone bundle export /srv/hub --for harbour-1 --since 4 -o /media/stick/harbour-1.bundle
      ecotone bundle export --reports --to /media/stick/harbour-1.reports
    """
    extra.signed_delivery()
    from ecotone.cli import bundling

    if is_reports:
        if where is not None or site is not None:
            raise click.UsageError("--reports is for a site: it takes neither WHERE nor --for.")
        bundling.carried(to, config_path, store, has_ledger=has_ledger, is_json=is_json)
    elif where is None or site is None:
        raise click.UsageError("At a hub: WHERE and --for SITE. At a site: --reports.")
    else:
        bundling.exported(where, site, since, to, is_json=is_json)


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
