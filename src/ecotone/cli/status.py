"""`ecotone status`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared, url


@click.command()
@shared
@url
def status(config_path: Path | None, is_json: bool, url: str | None) -> None:
    """Show the running site in one screen: targets, models, machine, engines with their settings, budgets, ledger.

    \b
    Examples:
      ecotone status
      ecotone status --json | jq .targets
      ECOTONE_API_KEY=... ecotone status --url http://10.0.0.5:3266
    """
    from ecotone.cli.output import show_json
    from ecotone.cli.site import running

    answer = running(config_path, url).get("/admin/status")
    if is_json:
        show_json(answer)
        return
    from ecotone.cli.screen import show

    show(answer)
