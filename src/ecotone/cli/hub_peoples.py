"""What the commands of people, grants, tokens and sites say."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

import click

from ecotone.cli.hub_asking import Asked
from ecotone.cli.output import show_json
from ecotone.values import RequestError


def done(words: str, value: Any, *, is_json: bool) -> None:
    """One line, or the value."""
    if is_json:
        show_json(value)
    else:
        click.echo(words)


def add(asked: Asked, name: str, role: str | None, days: float | None, *, is_json: bool) -> None:
    """Somebody new, a role, and a key."""
    asked.ask("POST", "/people", {"name": name})
    if role is not None:
        asked.ask("POST", "/people/{name}/grants", {"role": role}, name=name)
    key(asked, name, days, is_json=is_json)


def key(asked: Asked, name: str, days: float | None, *, is_json: bool) -> None:
    """A new key."""
    said = asked.ask("POST", "/people/{name}/keys", {"days": days}, name=name)
    if is_json:
        show_json({"name": name, **said})
        return
    click.echo(said["key"])
    click.echo(f"\nIt is shown this once. {name} keeps it with `ecotone hub login URL --key`.", err=True)


def labels_of(given: Sequence[str]) -> dict[str, str]:
    """Labels as they are written on a command line.

    Raises:
        RequestError: `hub.site_labels`.
    """
    parts = [text.partition("=") for text in given]
    if not all(equals for _, equals, _ in parts):
        raise RequestError("hub.site_labels", "--label: give NAME=TEXT")
    return {name: text for name, _, text in parts}


def show_people(said: dict[str, Any], *, is_json: bool) -> None:
    """Everybody."""
    if is_json:
        show_json(said)
        return
    for person in said["people"]:
        click.echo(person["name"])
        for one in person["keys"]:
            click.echo(f"  key    {one['id']}  {_until(one['until_s'])}")
        for given in person["grants"]:
            click.echo(f"  grant  {given['id']}  {_granted(given['grant'])}  {_until(given['until_s'])}")
    if not said["people"]:
        click.echo("nobody yet: `ecotone hub people add WHERE NAME --role owner`")


def show_me(said: dict[str, Any], *, is_json: bool) -> None:
    """Who asks."""
    if is_json:
        show_json(said)
        return
    click.echo(f"{said['who']} ({said['via']})")
    for grant in said["grants"]:
        click.echo(f"  {_granted(grant)}")
    click.echo(f"  may: {', '.join(name for name, may in said['may'].items() if may) or 'nothing'}")


def show_confinements(said: dict[str, Any], *, is_json: bool) -> None:
    """Which assets go where alone."""
    if is_json:
        show_json(said)
        return
    for one in said["confinements"]:
        rule = one["rule"]
        where = _scope({**rule, "assets": ["*"]})
        click.echo(f"{one['id']}  {', '.join(rule['assets'])} only to {where}")
    if not said["confinements"]:
        click.echo("none: every asset may go to every site that its own regions allow")


def show_token(said: dict[str, Any], asked: dict[str, Any], *, is_json: bool) -> None:
    """A new token."""
    if is_json:
        show_json(said)
        return
    click.echo(said["token"])
    click.echo(
        f"\nIt is shown this once, and good for {asked['hours']:g} h. At the site: ecotone enroll URL TOKEN "
        f"--site {'NAME' if '*' in asked['site'] else asked['site']}",
        err=True,
    )


def show_tokens(said: dict[str, Any], *, is_json: bool) -> None:
    """Open tokens."""
    if is_json:
        show_json(said)
        return
    for one in said["tokens"]:
        again = "  again" if one["again"] else ""
        where = f"{', '.join(one['groups'])}{' in ' + one['region'] if one['region'] else ''}"
        click.echo(f"{one['id']}  {one['site']}  {where}  {one['uses_left']} left  {_until(one['until_s'])}{again}")
    if not said["tokens"]:
        click.echo("none")


def show_sites(said: dict[str, Any], *, is_json: bool) -> None:
    """Sites."""
    if is_json:
        show_json(said)
        return
    for one in said["sites"]:
        click.echo(_site(one))
    click.echo(f"{len(said['sites'])} of {said['total']}", err=True)


def show_site(said: dict[str, Any], *, is_json: bool) -> None:
    """One site."""
    done(_site(said), said, is_json=is_json)


def show_acts(said: Any, *, is_json: bool) -> None:
    """Acts."""
    if is_json:
        show_json(said)
        return
    for one in said["acts"]:
        figures = " ".join(f"{name}={value}" for name, value in one["figures"].items())
        parts = [str(one["seq"]), _day(one["at_s"]), one["actor"], one["act"], one["subject"], figures]
        click.echo("  ".join(part for part in parts if part))


def _site(one: dict[str, Any]) -> str:
    labels = " ".join(f"{name}={text}" for name, text in one["labels"].items())
    seen = f"seen {_day(one['seen_s'])}" if one["seen_s"] else "never seen"
    parts = [one["name"], one["state"], ",".join(one["groups"]), one["region"] or "-", seen, labels, one["why"]]
    return "  ".join(part for part in parts if part)


def _granted(grant: dict[str, Any]) -> str:
    return f"{'NOT ' if grant['is_deny'] else ''}{grant['role']} on {_scope(grant)}"


def _scope(given: dict[str, Any]) -> str:
    sides = [(name, given[name]) for name in ("assets", "groups", "regions") if "*" not in given.get(name, ["*"])]
    return _listed(f"{name} {', '.join(patterns)}" for name, patterns in sides) or "everything"


def _listed(parts: Iterable[str]) -> str:
    return "; ".join(parts)


def _until(until_s: float) -> str:
    return f"until {_day(until_s)}" if until_s else ""


def _day(at_s: float) -> str:
    return datetime.datetime.fromtimestamp(at_s, datetime.UTC).strftime("%Y-%m-%d %H:%MZ")
