"""`ecotone status`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared, url


@click.command()
@shared
@url
@click.option("--sent", "is_sent", is_flag=True, help="Print the last reports that went to the hub, word by word.")
def status(config_path: Path | None, is_json: bool, url: str | None, is_sent: bool) -> None:
    """Show the running site in one screen: targets, models, machine, engines with their settings, budgets, ledger.

    \b
    Examples:
      ecotone status
      ecotone status --json | jq .targets
      ecotone status --sent
      ECOTONE_API_KEY=... ecotone status --url http://10.0.0.5:3266
    """
    from ecotone.cli.output import show_json

    if is_sent:
        from ecotone.cli import sent

        sent.show(config_path, is_json=is_json)
        return
    from ecotone.cli.site import running

    answer = running(config_path, url).get("/admin/status")
    if is_json:
        show_json(answer)
        return
    from ecotone.cli.screen import show

    show(answer)
