"""`ecotone validate`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared


@click.command()
@shared
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
def validate(config_path: Path | None, is_json: bool, file: Path | None) -> None:
    """Check a configuration file, and print everything that is wrong with it.

    Each problem stands in one line as FILE:LINE:COLUMN: path.to.key: what is wrong; how to mend it. What is allowed
    but worth a second look is a note. No network is used and no secret is read.

    \b
    Examples:
      ecotone validate ecotone.yaml
      ecotone validate --json < /dev/null
    """
    import os

    from ecotone import config
    from ecotone.cli.output import show_json
    from ecotone.cli.settings import chosen, text_of

    path = file or chosen(config_path)
    tree = config.parse(text_of(path), str(path)) if path is not None else config.built_in(os.environ)
    notes = config.notes(tree)
    if is_json:
        show_json({"file": None if path is None else str(path), "valid": True, "notes": notes})
        return
    for note in notes:
        click.echo(f"note: {note}")
    names = ", ".join(config.model_names(tree))
    targets = "1 target" if len(tree.targets) == 1 else f"{len(tree.targets)} targets"
    click.echo(f"{path or 'the built-in configuration'} is valid: {targets}; models: {names}")
