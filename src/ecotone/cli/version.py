"""`ecotone version`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared


@click.command()
@shared
def version(config_path: Path | None, is_json: bool) -> None:
    """Print the version, and that of Python and the local engine.

    \b
    Examples:
      ecotone version
      ecotone version --json
    """
    import platform
    from importlib import metadata

    from ecotone import __version__
    from ecotone.cli.output import show_json

    try:
        engine: str | None = metadata.version("xllamacpp")
    except metadata.PackageNotFoundError:
        engine = None
    if is_json:
        show_json({"ecotone": __version__, "python": platform.python_version(), "xllamacpp": engine})
        return
    click.echo(f"ecotone {__version__}")
    click.echo(f"python {platform.python_version()}, xllamacpp {engine or 'not installed'}")
