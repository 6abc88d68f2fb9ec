"""`ecotone keys`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared


@click.group()
def keys() -> None:
    """Make API keys for callers."""


@keys.command()
@shared
@click.argument("name")
def new(config_path: Path | None, is_json: bool, name: str) -> None:
    """Make an API key called NAME, and print it with its line for the configuration.

    The key is shown once and stored nowhere; the configuration holds only its SHA-256. Policy and metrics speak of the
    key by NAME.

    \b
    Examples:
      ecotone keys new research
      # into ecotone.yaml:
      # keys: {research: 'sha256:...'}
    """
    from ecotone.cli.output import show_json
    from ecotone.store import new_key

    key, digest = new_key(name)
    if is_json:
        show_json({"name": name, "key": key, "sha256": digest.partition(":")[2]})
        return
    click.echo(key)
    click.echo(f"\nIt is shown this once. Into ecotone.yaml:\n\nkeys: {{{name}: '{digest}'}}", err=True)
