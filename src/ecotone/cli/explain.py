"""`ecotone explain`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared, url


@click.command()
@shared
@url
@click.argument("request_id", metavar="ID", required=False)
@click.option(
    "--request",
    "request",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="A chat request as JSON; `-` is standard input.",
)
@click.option("--label", "labels", metavar="LABEL", multiple=True, help="With --request: a label that it carries.")
@click.option("--place", type=click.Choice(["auto", "edge", "cloud"]), help="With --request: the caller's wish.")
@click.option("--deadline-ms", type=click.IntRange(1), metavar="MS", help="With --request: the caller's deadline.")
def explain(
    config_path: Path | None, is_json: bool, url: str | None, request_id: str | None, request: Path | None, **asked: str
) -> None:
    """Say why the past request ID was placed as it was, or where the request in FILE would go now.

    ID is the answer's Ecotone-Id header. With --request nothing is run and nothing leaves the site. Where no site is
    running, ID is looked up in the ledger of the store.

    \b
    Examples:
      ecotone explain 01J9ZK3M5Q
      ecotone explain --request request.json --label medical
      echo '{"model": "auto", "messages": []}' | ecotone explain --request - --place cloud
    """
    from ecotone.cli import explaining
    from ecotone.cli.output import show_json

    if (request_id is None) == (request is None):
        raise click.UsageError("give either ID or --request FILE")
    if request is not None:
        answer = explaining.would_go(config_path, url, request, asked)
    else:
        answer = explaining.went(config_path, url, request_id or "")
    if is_json:
        show_json(answer)
    else:
        explaining.show(answer)
