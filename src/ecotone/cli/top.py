"""`ecotone top`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared, url


@click.command()
@shared
@url
@click.option(
    "--every-s", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between two looks."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after so many looks. Default: at Ctrl-C.")
def top(config_path: Path | None, is_json: bool, url: str | None, every_s: float, count: int | None) -> None:
    """Show the running site, live, until Ctrl-C.

    Without a terminal each look is printed below the one before; with --json each is one line.

    \b
    Examples:
      ecotone top
      ecotone top --every-s 5
      ecotone top --json --count 10 > status.jsonl
    """
    from ecotone.cli.looks import json_lines, live, looks
    from ecotone.cli.site import running

    site = running(config_path, url)
    seen = looks(lambda: site.get("/admin/status"), every_s, count)
    if is_json:
        json_lines(seen)
    else:
        live(seen)
