"""`ecotone evidence`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ecotone.cli.ledger import CHECKPOINT, HEAD, KEY
from ecotone.cli.options import shared

if TYPE_CHECKING:
    from ecotone import store


@click.command()
@shared
@click.option("--label", metavar="LABEL", help="Only what came from conversations with this label.")
@click.option("--to", metavar="REGION|TARGET", help="Only what went to this region, or to this target.")
@click.option("--since", metavar="TIME", help="From this time on: 2026-11-01, 2026-11-01T08:00, 30d, 12h, 45m (ago).")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option(
    "--file", "copies", metavar="COPY", multiple=True, type=click.Path(path_type=Path), help="A copy of a ledger."
)
@HEAD
@KEY
@CHECKPOINT
def evidence(  # noqa: PLR0913 - one argument an option
    config_path: Path | None,
    is_json: bool,
    label: str | None,
    to: str | None,
    since: str | None,
    until: str | None,
    copies: tuple[Path, ...],
    **trust: tuple[str, ...],
) -> None:
    """Say what left the site, and prove it: how often, how much, where to, what was replaced.

    The whole ledger is verified on the way. The answer names the entries that were read, whether anything among them is
    missing, and the signed root over them; "0" is an answer with the same proof. An entry is durable before its bytes
    go, so nothing left that is not counted. Times without a zone are UTC. Leaves with 1 where the ledger is not whole.
    It may run beside the site, and then waits some seconds for a signature over the newest entries.

    \b
    Examples:
      ecotone evidence --label medical --since 30d
      ecotone evidence --to eu --since 2026-11-01 --until 2026-12-01
      ecotone evidence --label person --file /mnt/usb/ledger --key site.pub
    """
    import sys

    from ecotone.cli import proof
    from ecotone.cli.output import show_json

    question = proof.question(label, to, since, until)
    answer = proof.answered(config_path, copies, question, proof.trusted(config_path, copies, **trust))
    if is_json:
        show_json(answer)
    else:
        show(answer)
    sys.exit(0 if answer.report is not None and answer.report.is_whole else 1)


def show(answer: store.Answer) -> None:
    """Prints an answer."""
    from ecotone.cli import proof

    click.echo(_headline(answer))
    if answer.count:
        click.echo(f"  {answer.body_bytes} bytes; first {proof.instant(answer.first_at_ms)}, last "
                   f"{proof.instant(answer.last_at_ms)}")  # fmt: skip
        for name, counts in (("target", answer.by_target), ("region", answer.by_region), ("as", answer.by_transform)):
            click.echo(f"  by {name}: " + ", ".join(f"{word} {count}" for word, count in sorted(counts.items())))
        for label, said in sorted(answer.by_label.items()):
            click.echo(f"  {label}: in {said.egresses}, replaced in {said.replaced} ({said.values} values)")
    if answer.voided or answer.probes:
        click.echo(f"  besides: {answer.voided} asked for and never sent, {answer.probes} messages without a body")
    report = answer.report
    assert report is not None, "an answer has a report"
    click.echo(f"examined: {proof.entries(report)}")
    if answer.as_of is not None:
        click.echo(f"counted: entries up to {answer.as_of - 1}, which are signed; the site goes on writing")
    for gap in answer.gaps:
        click.echo(f"NOT COMPLETE: {gap}")
    if answer.is_complete:
        click.echo("complete: none of these entries was changed, dropped or reordered")
    proof.show_signature(report, answer.uncovered)
    if answer.is_signed:
        click.echo("proved up to the end of what was asked for. Signed root:")
        click.echo(report.attested.note, nl=False)
    else:
        click.echo("NOT PROVED by a signature up to the end of what was asked for")


def _headline(answer: store.Answer) -> str:
    from ecotone.cli import proof

    asked = answer.question
    words = ["1 egress" if answer.count == 1 else f"{answer.count} egresses"]
    words += [f"with label {asked.label}"] if asked.label is not None else []
    words += [f"to {asked.to}"] if asked.to is not None else []
    words += [f"since {proof.instant(asked.since_ms)}"] if asked.since_ms is not None else []
    words += [f"before {proof.instant(asked.until_ms)}"] if asked.until_ms is not None else []
    return " ".join(words)
