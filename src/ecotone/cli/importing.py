"""`ecotone import`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared


@click.group()
def importing() -> None:
    """Make an ecotone.yaml from another gateway's file."""


@importing.command()
@shared
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def litellm(config_path: Path | None, is_json: bool, file: Path) -> None:
    """Print the ecotone.yaml for a LiteLLM config.yaml.

    What has no counterpart stands in the result as a comment; secrets become references. An address that is given as
    os.environ/NAME is looked up in the environment.

    \b
    Examples:
      ecotone import litellm config.yaml > ecotone.yaml
      ecotone validate ecotone.yaml
    """
    import os

    from ecotone.cli.output import show_json
    from ecotone.cli.settings import text_of
    from ecotone.config.litellm import import_litellm

    result = import_litellm(text_of(file), str(file), os.environ)
    if is_json:
        show_json(result)
        return
    click.echo(result.text, nl=False)
    if result.notes:
        comments = "1 comment" if len(result.notes) == 1 else f"{len(result.notes)} comments"
        click.echo(f"{comments} to read in it: what was guessed or not carried over", err=True)
