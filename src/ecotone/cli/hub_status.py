"""`ecotone hub status`, `ecotone hub receive`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from ecotone.cli.hub_asking import Asked, at


@click.command()
@at
@click.option("--find", metavar="TEXT", help="Sites with this in their name, or of this group or region.")
@click.option("--health", type=click.Choice(["fine", "trouble", "unknown", "revoked"]), help="Sites that are so.")
@click.option("--asset", metavar="NAME[@VERSION]", help="Sites that tell of this asset.")
@click.option("--offset", metavar="N", type=click.IntRange(min=0), default=0, help="Leave out the first N sites.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(0, 1000), default=20, show_default=True, help="Show so many sites."
)
@click.option("--watch", "is_watched", is_flag=True, help="Look again and again until Ctrl-C; with --json a line each.")
@click.option(
    "--every-s", type=click.FloatRange(0.5, 3600), default=5.0, show_default=True, help="Seconds between two looks."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after so many looks. Default: at Ctrl-C.")
@click.option(
    "--check", "is_check", is_flag=True, help="Leave with 1 if a site is in trouble or something waits for a person."
)
def status(
    asked: Asked,
    is_json: bool,
    is_watched: bool,
    every_s: float,
    count: int | None,
    is_check: bool,
    **ask: str | int | None,
) -> None:
    """Show the fleet: sites and their health, versions, releases and their waves, bytes, savings.

    WHERE is the hub's folder or its hub.yaml, on the hub's own machine, or its address https://... with a key. Sites in
    trouble come first. A site that was not heard for an hour is unknown, and unknown is no trouble. What is shown of
    traffic is what the sites told last. Leaves with 0, with --check as said there.

    \b
    Examples:
      ecotone hub status /srv/hub
      ecotone hub status https://hub.example.org --health trouble
      ecotone hub status /srv/hub --check --json | jq .counts
    """
    import sys

    from ecotone.cli import hub_statuses

    watch = hub_statuses.Watch(every_s, count) if is_watched else None
    sys.exit(hub_statuses.show(asked, ask, watch, is_check=is_check, is_json=is_json))


@click.command()
@at
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--ledger",
    "ledger_to",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Where to unpack the site's ledger, if it is in FILE: a new folder.",
)
def receive(asked: Asked, is_json: bool, file: Path, ledger_to: Path | None) -> None:
    """Take in what a site wrote to a stick: `ecotone bundle export --reports`.

    WHERE is the hub's folder or its hub.yaml, on the hub's own machine. The file must be signed by the key with which
    the site has joined this hub. A second time, or after a newer one, it changes nothing. The next `ecotone bundle
    export` for the site tells it what has arrived.

    \b
    Examples:
      ecotone hub receive /srv/hub /media/stick/harbour-1.reports
      ecotone hub receive /srv/hub harbour-1.reports --ledger harbour-1.ledger
      ecotone evidence --file harbour-1.ledger --key harbour-1.ledger/site.pub
    """
    from ecotone.cli import hub_receiving

    hub_receiving.received(asked, file, ledger_to, is_json=is_json)


COMMANDS: Final = {"status": status, "receive": receive}
"""See `ecotone.cli.hub.FURTHER`."""
