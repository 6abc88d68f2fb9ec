"""`ecotone schema`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared


@click.command()
@shared
def schema(config_path: Path | None, is_json: bool) -> None:
    """Print the JSON Schema of the configuration, for editors.

    \b
    Examples:
      ecotone schema > ecotone.schema.json
      # and as the first line of ecotone.yaml:
      # yaml-language-server: $schema=./ecotone.schema.json
    """
    from ecotone import config
    from ecotone.cli.output import show_json

    show_json(config.json_schema())
