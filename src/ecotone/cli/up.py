"""`ecotone up`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared


@click.command()
@shared
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option("--address", metavar="IP", help="Address to listen on; any but a loopback one needs `keys`.")
@click.option("--store", metavar="FOLDER", help="Where the site keeps its state.")
@click.option("--no-cloud", is_flag=True, help="Keep every request at the site, as ECOTONE_NO_CLOUD=1 does.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="Least severe line written."
)
def up(config_path: Path | None, is_json: bool, **flags: str | int | bool | None) -> None:
    """Start a site and answer until stopped.

    With no file: the starter model on this machine, on http://127.0.0.1:3266/v1, no cloud. ECOTONE_CLOUD_URL,
    ECOTONE_CLOUD_MODEL and ECOTONE_CLOUD_KEY add a cloud target. Ctrl-C and SIGTERM finish the answers under way and
    stop; SIGHUP reads the file again.

    \b
    Examples:
      ecotone up
      ecotone up -c ecotone.yaml --log-level debug
      ecotone up --port 8080 --no-cloud
    """
    import os
    import sys

    from ecotone import runtime
    from ecotone.cli.settings import chosen

    if is_json:
        flags["log_format"] = "json"
    sys.exit(runtime.run(chosen(config_path), os.environ, flags))
