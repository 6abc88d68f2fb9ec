"""`ecotone enroll`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ecotone.cli import extra
from ecotone.cli.options import shared, store


@click.command()
@click.argument("url", metavar="URL")
@click.argument("token", metavar="TOKEN")
@shared
@store
@click.option("--site", metavar="NAME", help="The name to have at the hub. Default: `site` of the configuration.")
@click.option(
    "--fingerprint", metavar="HEX", help="The SHA-256 that the hub's roots must have, as its operator said it."
)
@click.option("--replace", "is_replaced", is_flag=True, help="Forget another hub, and all that is remembered of it.")
def enroll(url: str, token: str, config_path: Path | None, is_json: bool, store: str | None, **asked: Any) -> None:
    """Join the hub at URL with a one-time TOKEN (`ecotone hub token` there makes one).

    Makes this site's key, shows it to the hub, and pins the hub's roots: from then on the site takes what they lead to,
    asks what is wanted and reports how it is. Needs no running site; one that runs is restarted to take it up. With a
    new token a site that had joined joins again, under a new key. TOKEN may be `-`: it is read from standard input.

    \b
    Examples:
      ecotone enroll https://hub.example.org eco1.k3xq.9f2b... --site harbour-1
      ecotone enroll https://hub.example.org - < token.txt
    """
    import sys

    extra.signed_delivery()
    from ecotone.cli import enrolling

    given = sys.stdin.readline(1000).strip() if token == "-" else token  # noqa: S105 - a dash
    ask = enrolling.Ask(url=url, token=given, **asked)
    enrolling.joined(ask, config_path, store, is_json=is_json)
