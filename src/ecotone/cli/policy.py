"""`ecotone policy`."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone.cli.options import shared


@click.group()
def policy() -> None:
    """Test what may leave, and show the policies to start from."""


@policy.command()
@shared
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--starter", metavar="NAME", help="Run the examples of a starter policy against it, in place of FILE.")
def test(config_path: Path | None, is_json: bool, file: Path | None, starter: str | None) -> None:
    """Run a table of examples through the detectors and the policy of the configuration.

    Each example is a request and what is expected of it: the labels that are found, and policy's word at the cloud
    targets. Nothing is sent anywhere, no site need run, and no content is printed. Leaves with 1 where something is not
    as expected, with 2 where the file is wrong.

    \b
    examples:
      - name: a card number stays
        text: My card is 4111 1111 1111 1111
        expect: {labels: [card], egress: never}

    \b
    Examples:
      ecotone policy test policy-test.yaml
      ecotone policy test policy-test.yaml -c ecotone.yaml --json
      ecotone policy test --starter health
    """
    import sys

    from ecotone.cli import policy_starters, policy_trial
    from ecotone.cli.output import show_json

    if (file is None) == (starter is None):
        raise click.UsageError("give either FILE or --starter NAME")
    if starter is not None:
        report = policy_starters.tried(starter)
    else:
        report = policy_starters.tried_file(file or Path(), config_path)
    if is_json:
        show_json({"as_expected": not report.failed, "failed": report.failed, "report": report})
    else:
        policy_trial.show(report)
    sys.exit(1 if report.failed else 0)


@policy.command(name="list")
@shared
def list_(config_path: Path | None, is_json: bool) -> None:
    """List the starter policies that ship with Ecotone.

    \b
    Examples:
      ecotone policy list
    """
    from ecotone.cli import policy_starters
    from ecotone.cli.output import show_json

    found = policy_starters.titles()
    if is_json:
        show_json(found)
        return
    for name, title in found.items():
        click.echo(f"{name:8} {title}")


@policy.command()
@shared
@click.argument("name")
@click.option("--examples", "is_table", is_flag=True, help="Print its table of examples in place of the policy.")
def show(config_path: Path | None, is_json: bool, name: str, is_table: bool) -> None:
    """Print a starter policy, with what it does not cover in its comments: a configuration to make your own.

    \b
    Examples:
      ecotone policy show health > ecotone.yaml
      ecotone policy show health --examples > policy-test.yaml
      ecotone policy test policy-test.yaml -c ecotone.yaml
    """
    from ecotone.cli import policy_starters
    from ecotone.cli.output import show_json

    text = policy_starters.text_of(name, is_table=is_table)
    if is_json:
        show_json({"name": name, "text": text})
    else:
        click.echo(text, nl=False)
