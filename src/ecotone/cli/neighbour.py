"""`ecotone neighbour`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli import extra
from ecotone.cli.options import shared, store


@click.group()
def neighbour() -> None:
    """Give what was delivered here to sites nearby, so that it crosses the long link once."""


@neighbour.command()
@shared
@store
@click.option(
    "--listen", metavar="ADDRESS:PORT", required=True, help="Where to listen: an address of the local network."
)
@click.option(
    "--mbit-per-s", metavar="N", type=click.FloatRange(0.01, 100_000), help="Most for all together. Default: no limit."
)
def up(config_path: Path | None, is_json: bool, store: str | None, listen: str, mbit_per_s: float | None) -> None:
    """Serve segments of the assets that a hub delivered here, by name, until stopped.

    It runs beside the site or without it, and only reads. Another site of the same hub names it in its configuration
    (`hub: {mirrors: ["neighbour+http://ADDRESS:PORT"]}`) and checks what it gets like anything else. Only who has the
    signed manifest knows the names. There is no TLS: who listens on this network sees the weights.

    \b
    Examples:
      ecotone neighbour up --listen 10.0.0.9:3270
      ecotone neighbour up -c ecotone.yaml --listen 10.0.0.9:3270 --mbit-per-s 200
    """
    extra.signed_delivery()
    from ecotone.cli import neighbours

    neighbours.up(config_path, store, listen, mbit_per_s, is_json=is_json)
