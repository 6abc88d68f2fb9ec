"""`ecotone report`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared, store


@click.command()
@shared
@store
@click.option("--since", metavar="TIME", help="From this time on: 2026-11-01, 2026-11-01T08:00, 30d, 12h, 45m (ago).")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--model", metavar="NAME", help="Only this model name.")
@click.option(
    "--examples", is_flag=True, help="With badly answered questions that the store keeps: content, for your eyes only."
)
@click.option(
    "--html", "page", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write it as one web page."
)
def report(  # noqa: PLR0913 - one argument an option
    config_path: Path | None,
    is_json: bool,
    store: str | None,
    since: str | None,
    until: str | None,
    model: str | None,
    examples: bool,
    page: Path | None,
) -> None:
    """Say what moved to the edge, what it saved, what it cost in quality, and what else could move.

    For each model name: where its requests went and why, cost, latency, the loss of quality with its confidence band,
    the curve of quality against cost, the state of the promise and how many more pairs it needs, where the edge fails,
    and what a bigger edge model would have to bring. All of it comes from the ledger, also while the site runs; it
    holds no content. The page of --html needs no network and no script.

    \b
    Examples:
      ecotone report
      ecotone report --since 7d --model assistant
      ecotone report --html report.html
      ecotone report --json | jq '.models.assistant.parity.loss'
    """
    from ecotone.cli import proof, reporting
    from ecotone.cli.output import show_json

    config, folder = reporting.config_and_store(config_path, store)
    span_ms = proof.time_ms("--since", since), proof.time_ms("--until", until)
    said = reporting.told(config, folder, span_ms, model, has_examples=examples)
    if page is not None:
        from ecotone.cli import report_html

        reporting.write_html(page, report_html.page(config.site, said))
    if is_json:
        show_json(said)
    elif page is None:
        reporting.show(said)
    else:
        click.echo(f"{page}: {len(said.models)} model names")
