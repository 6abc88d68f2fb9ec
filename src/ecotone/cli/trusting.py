"""`ecotone trust`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ecotone.cli import extra
from ecotone.cli.options import shared, store


@click.command()
@click.argument("roots", metavar="[ROOTS]", required=False, type=click.Path(path_type=Path))
@shared
@store
@click.option("--site", metavar="NAME", help="The name under which the hub knows this site.")
@click.option("--fingerprint", metavar="HEX", help="The SHA-256 that ROOTS must have, as the hub's operator said it.")
@click.option("--replace", "is_replaced", is_flag=True, help="Forget another hub, and all that is remembered of it.")
def trust(
    roots: Path | None,
    config_path: Path | None,
    is_json: bool,
    store: str | None,
    site: str | None,
    **pinning: Any,
) -> None:
    """Pin a hub's ROOTS (its `trust.json`, or its folder): from then on this site takes what they lead to.

    Without ROOTS it says what is trusted, since when nothing was heard, and which generation is here. The pin is where
    all trust comes from: carry the file by hand, or compare its fingerprint.

    \b
    Examples:
      ecotone trust /media/stick/trust.json --site harbour-1 --fingerprint 9f86d08...
      ecotone trust
    """
    extra.signed_delivery()
    from ecotone.cli import delivering

    if roots is None:
        delivering.show_trust(config_path, store, is_json=is_json)
        return
    if site is None:
        raise click.UsageError("--site NAME goes with ROOTS")
    pin = delivering.Pin(roots=roots, site=site, **pinning)
    delivering.pinned(pin, config_path, store, is_json=is_json)
