"""What a stick brings back to a hub, as the commands do it; and what the hub tells the site of it on the next one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecotone.cli import extra
from ecotone.cli.hub_asking import Asked
from ecotone.cli.hub_remote import is_url
from ecotone.cli.output import show_json
from ecotone.values import ConfigError

if TYPE_CHECKING:
    from ecotone.hub.settings import Settings

__all__ = ["received", "settings_at"]


def received(asked: Asked, file: Path, ledger_to: Path | None, *, is_json: bool) -> None:
    """Takes a site's file in."""
    if is_url(asked.where):
        raise ConfigError("hub.where", "a stick is read on the hub's own machine: name its folder or its hub.yaml")
    extra.server()
    from ecotone.hub.receiving import receive
    from ecotone.hub.serving import opened

    with opened(settings_at(Path(asked.where), asked.config)) as hub:
        done = receive(hub, file, ledger_to)
    if is_json:
        show_json(done)
        return
    click.echo(f"{done.reports} reports of {done.site}; the hub has them up to number {done.acked_seq}")
    if done.ledger:
        click.echo(f"its ledger: {done.ledger} (`ecotone evidence --file {done.ledger} --key {done.ledger}/site.pub`)")
    elif done.has_ledger:
        click.echo("its ledger is in the file too: --ledger FOLDER unpacks it")


def settings_at(where: Path, config: Path | None = None) -> Settings:
    """The settings of a hub's folder, or of its hub.yaml.

    Raises:
        ConfigError: `config.*`; `hub.folder`: there is no hub.
    """
    from ecotone.hub import settings

    found = settings.load(None, where) if where.is_file() else settings.load(where, config)
    if not found.folder.is_dir():
        raise ConfigError("hub.folder", f"{found.folder} is no hub: `ecotone hub init` makes one")
    return found
