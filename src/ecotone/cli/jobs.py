"""`ecotone jobs`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from ecotone.cli.options import shared, url

_STATES: Final = ("waiting", "running", "answered", "failed", "refused", "expired", "cancelled")


@click.group()
def jobs() -> None:
    """List, show, cancel and retry the jobs of the running site."""


@jobs.command(name="list")
@shared
@url
@click.option("--state", type=click.Choice(_STATES), help="Only jobs in this state.")
@click.option("--batch", metavar="ID", help="Only jobs of this batch.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="So many at most.")
def list_(
    config_path: Path | None, is_json: bool, url: str | None, state: str | None, batch: str | None, limit: int
) -> None:
    """List jobs, the newest first; those that this key may see.

    \b
    Examples:
      ecotone jobs list
      ecotone jobs list --state waiting --limit 100
      ecotone jobs list --json | jq '.[] | select(.state == "failed")'
    """
    from ecotone.cli import work
    from ecotone.cli.output import show_json
    from ecotone.cli.site import running

    found, has_more = work.listed(running(config_path, url), {"state": state, "batch": batch}, limit)
    if is_json:
        show_json(found)
    else:
        work.show_list(found, has_more=has_more)


@jobs.command()
@shared
@url
@click.argument("job", metavar="JOB")
@click.option("--answer", "is_answer", is_flag=True, help="Print the answer too. It is content: not for shared logs.")
def show(config_path: Path | None, is_json: bool, url: str | None, job: str, is_answer: bool) -> None:
    """Show one job: state, reason, deadline, attempts, who answered.

    \b
    Examples:
      ecotone jobs show job-19ab24efe00-8b1c0e000001
      ecotone jobs show job-19ab24efe00-8b1c0e000001 --answer --json | jq .response.body
    """
    from ecotone.cli import work
    from ecotone.cli.output import show_json
    from ecotone.cli.site import running

    found = work.shown(running(config_path, url), job, is_answer=is_answer)
    if is_json:
        show_json(found)
    else:
        work.show_one(found)


@jobs.command()
@shared
@url
@click.argument("names", metavar="JOB...", nargs=-1, required=True)
def cancel(config_path: Path | None, is_json: bool, url: str | None, names: tuple[str, ...]) -> None:
    """End jobs that have not ended; one that has ended stays as it is. Leaves with 1 where one is not there.

    \b
    Examples:
      ecotone jobs cancel job-19ab24efe00-8b1c0e000001
    """
    from ecotone.cli import work
    from ecotone.cli.output import show_json
    from ecotone.cli.site import running

    site = running(config_path, url)
    done = [work.cancelled(site, name) for name in names]
    if is_json:
        show_json(done)
        return
    for job in done:
        click.echo(f"{job['id']}: {job['state']}")


@jobs.command()
@shared
@url
@click.argument("names", metavar="JOB...", nargs=-1, required=True)
def retry(config_path: Path | None, is_json: bool, url: str | None, names: tuple[str, ...]) -> None:
    """Ask again what jobs asked that ended without an answer: a new job for each.

    \b
    Examples:
      ecotone jobs retry job-19ab24efe00-8b1c0e000001
    """
    from ecotone.cli import work
    from ecotone.cli.output import show_json
    from ecotone.cli.site import running

    site = running(config_path, url)
    done = [(name, work.retried(site, name)) for name in names]
    if is_json:
        show_json([job for _, job in done])
        return
    for name, job in done:
        click.echo(f"{name}: asked again as {job['id']}")
