"""What `ecotone jobs` does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import click

from ecotone.cli.site import Site, path_of

PAGE_MAX: Final = 100


def listed(site: Site, which: Mapping[str, str | None], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """(jobs, whether there are more)."""
    found: list[dict[str, Any]] = []
    has_more = True
    while has_more and len(found) < limit:
        query = {key: value for key, value in which.items() if value}
        query["limit"] = str(min(PAGE_MAX, limit - len(found)))
        if found:
            query["after"] = found[-1]["id"]
        page = site.get(f"/v1/jobs?{urlencode(query)}")
        found += page["data"]
        has_more = bool(page["has_more"])
    return found, has_more


def shown(site: Site, job: str, *, is_answer: bool) -> dict[str, Any]:
    """One job; its answer only where it is asked for."""
    found: dict[str, Any] = site.get(path_of("/v1/jobs", job))
    if not is_answer:
        found.pop("response", None)
    return found


def cancelled(site: Site, job: str) -> dict[str, Any]:
    """The job, once it was told to end."""
    found: dict[str, Any] = site.post(path_of("/v1/jobs", job) + "/cancel", b"", {})
    found.pop("response", None)
    return found


def retried(site: Site, job: str) -> dict[str, Any]:
    """The new job."""
    found: dict[str, Any] = site.post(path_of("/v1/jobs", job) + "/retry", b"", {})
    return found


def show_list(found: list[dict[str, Any]], *, has_more: bool) -> None:
    """Prints a table."""
    from rich.table import Table

    from ecotone.cli.screen import console

    if not found:
        click.echo("no jobs")
        return
    now_s = time.time()
    table = Table(box=None, pad_edge=False)
    for column in ("job", "state", "reason", "model", "priority", "age", "deadline", "by"):
        table.add_column(column, overflow="fold" if column in ("job", "model") else "ellipsis", no_wrap=column == "job")
    for job in found:
        table.add_row(
            job["id"],
            job["state"],
            job["reason"] or "",
            job["model"],
            str(job["priority"]),
            span(now_s - job["created_at"]),
            "" if job["ended_at"] else "in " + span(job["deadline_at"] - now_s),
            job["target"] or "",
        )
    out = console()
    with out.capture() as drawn:
        out.print(table)
    for line in drawn.get().splitlines():
        click.echo(line.rstrip())
    if has_more:
        click.echo("and more: --limit")


def show_one(found: dict[str, Any]) -> None:
    """Prints one job in pairs."""
    from ecotone.cli import screen

    told = dict(found)
    now_s = time.time()
    for name in ("created_at", "deadline_at", "ended_at"):
        at = told.get(name)
        if at:
            shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
            ago = f"in {span(at - now_s)}" if at > now_s else f"{span(now_s - at)} ago"
            told[name] = f"{shown} UTC, {ago}"
    told.pop("object", None)
    screen.show(told)


def span(seconds: float) -> str:
    """A length of time in its largest unit."""
    seconds = max(seconds, 0.0)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
