"""`ecotone replay`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import as_json


@click.command()
@as_json
@click.argument("ledger", metavar="LEDGER", type=click.Path(path_type=Path))
@click.option(
    "-c",
    "--config",
    "configs",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="A configuration to decide by. May be given again; the others are held against the first.",
)
@click.option("--as-recorded", is_flag=True, help="Hold them against what was decided. The only one without --config.")
@click.option("--since", metavar="TIME", help="From this time on: 2026-11-01, 2026-11-01T08:00, 30d, 12h, 45m (ago).")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--model", metavar="NAME", help="Only requests for this model name.")
@click.option("--confidence", type=click.FloatRange(0.5, 0.999), default=0.95, show_default=True, help="Of the bands.")
def replay(  # noqa: PLR0913 - one argument an option
    is_json: bool,
    ledger: Path,
    configs: tuple[Path, ...],
    as_recorded: bool,
    since: str | None,
    until: str | None,
    model: str | None,
    confidence: float,
) -> None:
    """Decide recorded requests again, as other configurations would have, and say what that would have given.

    LEDGER is a store, its folder `ledger`, or a copy of it. Side by side, with bands: share at the edge, loss of
    quality against the cloud, cost, latency and refusals. Where a configuration decides otherwise than the site did,
    the recorded estimates say what would have happened, and the pairs that were drawn by chance to be compared correct
    them: without bias, whatever the estimates are worth. Also makes every recorded decision again from its recorded
    values, and leaves with 1 where one comes out otherwise. Nothing is run, and nothing leaves the site.

    \b
    Examples:
      ecotone replay ~/.local/share/ecotone
      ecotone replay /mnt/usb/ledger --as-recorded --config stricter.yaml
      ecotone replay ledger/ --config a.yaml --config b.yaml --since 7d --json
    """
    import sys

    from ecotone.cli import proof, replaying
    from ecotone.cli.output import show_json

    span_ms = proof.time_ms("--since", since), proof.time_ms("--until", until)
    said = replaying.replayed(ledger, configs, span_ms, model, as_recorded=as_recorded, confidence=confidence)
    if is_json:
        show_json(said)
    else:
        replaying.show(said)
    sys.exit(1 if said.verified.mismatches else 0)
