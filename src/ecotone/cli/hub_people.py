"""`ecotone hub people`, `grant`, `token`, `sites`, `acts`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import click

from ecotone.cli.hub_account import login, logout, whoami
from ecotone.cli.hub_asking import Asked, at

ROLES: Final = ("owner", "publisher", "releaser", "operator", "auditor", "reader")
"""As `access.ROLES` has them; a test compares the two."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _scope(command: _Command) -> _Command:
    assets = click.option(
        "--assets", metavar="PATTERN", multiple=True, help="Assets, as `models/clinic-*`. Default: all."
    )
    groups = click.option("--group", "groups", metavar="PATTERN", multiple=True, help="Groups of sites. Default: all.")
    regions = click.option("--region", "regions", metavar="PATTERN", multiple=True, help="Regions. Default: all.")
    return assets(groups(regions(command)))


def _patterns(scope: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    return {name: list(given) for name, given in scope.items() if given}


DAYS = click.option("--days", type=click.FloatRange(min=0, min_open=True), help="For so long. Default: until taken.")


@click.group()
def people() -> None:
    """Say who is known at a hub, and make and revoke their keys.

    WHERE is the hub's folder or its hub.yaml, on the hub's own machine, or its address https://... with a key.
    """


@people.command("list")
@at
def list_people(asked: Asked, is_json: bool) -> None:
    """List people, their keys and their grants.

    \b
    Examples:
      ecotone hub people list /srv/hub
    """
    from ecotone.cli import hub_peoples

    hub_peoples.show_people(asked.ask("GET", "/people"), is_json=is_json)


@people.command("add")
@at
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), help="A role at once; narrower ones by `ecotone hub grant give`.")
@DAYS
def add_person(asked: Asked, is_json: bool, name: str, role: str | None, days: float | None) -> None:
    """Add somebody, with an API key that is shown this once.

    \b
    Examples:
      ecotone hub people add /srv/hub ann --role owner
      ecotone hub people add https://hub.example.org night-watch --role reader --days 90
    """
    from ecotone.cli import hub_peoples

    hub_peoples.add(asked, name, role, days, is_json=is_json)


@people.command("remove")
@at
@click.argument("name")
def remove_person(asked: Asked, is_json: bool, name: str) -> None:
    """Take somebody out, with all keys and grants: from their next request on.

    \b
    Examples:
      ecotone hub people remove /srv/hub ann
    """
    from ecotone.cli import hub_peoples

    asked.ask("DELETE", "/people/{name}", name=name)
    hub_peoples.done(f"{name} is gone", {"removed": name}, is_json=is_json)


@people.command("key")
@at
@click.argument("name")
@DAYS
def make_key(asked: Asked, is_json: bool, name: str, days: float | None) -> None:
    """Make one more API key for somebody. It is shown this once.

    \b
    Examples:
      ecotone hub people key /srv/hub ann --days 365
    """
    from ecotone.cli import hub_peoples

    hub_peoples.key(asked, name, days, is_json=is_json)


@people.command("revoke-key")
@at
@click.argument("key_id", metavar="ID")
def revoke_key(asked: Asked, is_json: bool, key_id: str) -> None:
    """Revoke a key: from its next request on. ID stands in the key, `eco_ID_...`.

    \b
    Examples:
      ecotone hub people revoke-key /srv/hub 3f9a2c1b07
    """
    from ecotone.cli import hub_peoples

    asked.ask("DELETE", "/keys/{id}", id=key_id)
    hub_peoples.done(f"the key {key_id} is worth nothing any more", {"revoked": key_id}, is_json=is_json)


@click.group()
def grant() -> None:
    """Say who may do what, and which assets go to which sites alone.

    Nothing is allowed that was not granted. A denial beats every grant. A confinement holds whatever anybody may do.

    WHERE is the hub's folder or its hub.yaml, on the hub's own machine, or its address https://... with a key.
    """


@grant.command("give")
@at
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@_scope
@DAYS
@click.option("--deny", "is_deny", is_flag=True, help="Deny what the role may do, within this scope.")
def give(
    asked: Asked, is_json: bool, name: str, role: str, days: float | None, is_deny: bool, **scope: tuple[str, ...]
) -> None:
    """Give somebody a role within a scope, or deny it there. NAME may be `oidc:NAME`, as the issuer has it.

    \b
    Examples:
      ecotone hub grant give /srv/hub bob releaser --assets 'models/clinic-*' --group clinics --region eu
      ecotone hub grant give /srv/hub bob releaser --group ships --deny
    """
    from ecotone.cli import hub_peoples

    body = {"role": role, "is_deny": is_deny, "days": days, **_patterns(scope)}
    said = asked.ask("POST", "/people/{name}/grants", body, name=name)
    hub_peoples.done(f"grant {said['id']}: {name} {'is denied' if is_deny else 'is'} {role}", said, is_json=is_json)


@grant.command("take")
@at
@click.argument("grant_id", metavar="ID")
def take(asked: Asked, is_json: bool, grant_id: str) -> None:
    """Take a grant or a denial away. `ecotone hub people list` shows their ids.

    \b
    Examples:
      ecotone hub grant take /srv/hub 3f9a2c1b07
    """
    from ecotone.cli import hub_peoples

    asked.ask("DELETE", "/grants/{id}", id=grant_id)
    hub_peoples.done(f"grant {grant_id} is taken", {"taken": grant_id}, is_json=is_json)


@grant.command("confine")
@at
@click.argument("assets", metavar="PATTERN...", nargs=-1, required=True)
@click.option("--group", "groups", metavar="PATTERN", multiple=True, help="Groups of sites. Default: all.")
@click.option("--region", "regions", metavar="PATTERN", multiple=True, help="Regions. Default: all.")
def confine(asked: Asked, is_json: bool, assets: tuple[str, ...], **scope: tuple[str, ...]) -> None:
    """Let assets go to sites of these groups and regions, and to no others.

    \b
    Examples:
      ecotone hub grant confine /srv/hub 'models/clinic-*' --group clinics --region eu
    """
    from ecotone.cli import hub_peoples

    said = asked.ask("POST", "/confinements", {"assets": list(assets), **_patterns(scope)})
    hub_peoples.done(f"confinement {said['id']}", said, is_json=is_json)


@grant.command("free")
@at
@click.argument("rule_id", metavar="ID")
def free(asked: Asked, is_json: bool, rule_id: str) -> None:
    """Take a confinement away.

    \b
    Examples:
      ecotone hub grant free /srv/hub 3f9a2c1b07
    """
    from ecotone.cli import hub_peoples

    asked.ask("DELETE", "/confinements/{id}", id=rule_id)
    hub_peoples.done(f"confinement {rule_id} is gone", {"freed": rule_id}, is_json=is_json)


@grant.command("confinements")
@at
def confinements(asked: Asked, is_json: bool) -> None:
    """List confinements.

    \b
    Examples:
      ecotone hub grant confinements /srv/hub
    """
    from ecotone.cli import hub_peoples

    hub_peoples.show_confinements(asked.ask("GET", "/confinements"), is_json=is_json)


@click.group()
def token() -> None:
    """Make enrolment tokens, by which sites join.

    WHERE is the hub's folder or its hub.yaml, on the hub's own machine, or its address https://... with a key.
    """


@token.command("new")
@at
@click.option("--site", required=True, metavar="NAME", help="Which site it is for, or a pattern: 'clinic-*'.")
@click.option("--group", "groups", metavar="NAME", multiple=True, help="A group that it comes into, besides `all`.")
@click.option("--region", default="", metavar="NAME", help="Where the site stands: what may rest there depends on it.")
@click.option("--label", "labels", metavar="NAME=TEXT", multiple=True, help="Something to know it by.")
@click.option("--uses", type=click.IntRange(1, 100_000), default=1, show_default=True, help="So many sites.")
@click.option(
    "--hours", type=click.FloatRange(0, 8_784, min_open=True), default=72.0, show_default=True, help="Good for so long."
)
@click.option("--again", is_flag=True, help="For a site that is there, and comes with a new key.")
def new_token(asked: Asked, is_json: bool, groups: tuple[str, ...], labels: tuple[str, ...], **said: Any) -> None:
    """Make a token. It is shown this once; carry it to the site by a way that you trust.

    \b
    Examples:
      ecotone hub token new /srv/hub --site clinic-7 --group clinics --region eu
      ecotone hub token new /srv/hub --site 'ship-*' --uses 40 --hours 720
      ecotone hub token new /srv/hub --site clinic-7 --again
    """
    from ecotone.cli import hub_peoples

    body = {**said, "groups": list(groups), "labels": hub_peoples.labels_of(labels)}
    hub_peoples.show_token(asked.ask("POST", "/tokens", body), said, is_json=is_json)


@token.command("list")
@at
def list_tokens(asked: Asked, is_json: bool) -> None:
    """List tokens by which sites may still come.

    \b
    Examples:
      ecotone hub token list /srv/hub
    """
    from ecotone.cli import hub_peoples

    hub_peoples.show_tokens(asked.ask("GET", "/tokens"), is_json=is_json)


@token.command("revoke")
@at
@click.argument("token_id", metavar="ID")
def revoke_token(asked: Asked, is_json: bool, token_id: str) -> None:
    """Let nobody come by a token any more. ID stands in it, `eco1.ID....`. Sites that came by it stay.

    \b
    Examples:
      ecotone hub token revoke /srv/hub 3f9a2c1b07
    """
    from ecotone.cli import hub_peoples

    asked.ask("DELETE", "/tokens/{id}", id=token_id)
    hub_peoples.done(f"nobody comes by token {token_id} any more", {"revoked": token_id}, is_json=is_json)


@click.group()
def sites() -> None:
    """Show, label and revoke sites. `ecotone hub status` shows how they are.

    WHERE is the hub's folder or its hub.yaml, on the hub's own machine, or its address https://... with a key.
    """


@sites.command("list")
@at
@click.option("--find", default="", metavar="TEXT", help="Those with this in their name.")
@click.option("--group", default="", metavar="NAME", help="Those of this group.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Pass over so many.")
@click.option("--limit", type=click.IntRange(1, 1_000), default=100, show_default=True, help="At most so many.")
def list_sites(asked: Asked, is_json: bool, **query: str | int) -> None:
    """List sites.

    \b
    Examples:
      ecotone hub sites list /srv/hub --group clinics
    """
    from ecotone.cli import hub_peoples

    hub_peoples.show_sites(asked.ask("GET", f"/sites?{urlencode(query)}"), is_json=is_json)


@sites.command("label")
@at
@click.argument("site")
@click.option("--group", "groups", metavar="NAME", multiple=True, help="Its groups, in place of those it has.")
@click.option("--no-group", is_flag=True, help="It is in no group but `all`.")
@click.option("--region", metavar="NAME", help="Where it stands.")
@click.option("--label", "labels", metavar="NAME=TEXT", multiple=True, help="Its labels, in place of those it has.")
def label(asked: Asked, is_json: bool, site: str, no_group: bool, region: str | None, **given: tuple[str, ...]) -> None:
    """Change a site's groups, region or labels. What is not given stays.

    \b
    Examples:
      ecotone hub sites label /srv/hub clinic-7 --group clinics --group pilots --region eu
    """
    from ecotone.cli import hub_peoples

    body: dict[str, Any] = {}
    if given["groups"] or no_group:
        body["groups"] = [] if no_group else list(given["groups"])
    if region is not None:
        body["region"] = region
    if given["labels"]:
        body["labels"] = hub_peoples.labels_of(given["labels"])
    hub_peoples.show_site(asked.ask("PATCH", "/sites/{site}", body, site=site), is_json=is_json)


@sites.command("assign")
@at
@click.argument("site")
@click.argument("assets", metavar="[NAME[@VERSION]]...", nargs=-1)
def assign_site(asked: Asked, is_json: bool, site: str, assets: tuple[str, ...]) -> None:
    """Say what an enrolled site shall have, without a release: these assets, and no others.

    As `ecotone hub assign`, and more: it is asked who may, where each asset may rest, and it stands in the ledger.

    \b
    Examples:
      ecotone hub sites assign /srv/hub clinic-7 smol names@3
    """
    from ecotone.cli import hub_peoples

    said = asked.ask("POST", "/sites/{site}/assign", {"assets": list(assets)}, site=site)
    hub_peoples.done(f"{site} shall have it (generation {said['generation']})", said, is_json=is_json)


@sites.command("revoke")
@at
@click.argument("site")
@click.option("--why", default="", metavar="TEXT", help="For those who ask later.")
def revoke_site(asked: Asked, is_json: bool, site: str, why: str) -> None:
    """Serve a site nothing more, from its next request on. What runs there goes on running.

    It comes back by a token made with `--again`, with a new key.

    \b
    Examples:
      ecotone hub sites revoke /srv/hub clinic-7 --why 'stolen on 3 May'
    """
    from ecotone.cli import hub_peoples

    said = asked.ask("POST", "/sites/{site}/revoke", {"why": why}, site=site)
    hub_peoples.done(f"{site} is served nothing more", said, is_json=is_json)


@sites.command("renew-sessions")
@at
def renew_sessions(asked: Asked, is_json: bool) -> None:
    """Make session tokens with a new secret from now on; those of the one before it still hold.

    Twice in a row ends every session at once: sites begin new ones by themselves. Where the hub has several machines,
    carry `sessions.key` to the others: no process need be restarted.

    \b
    Examples:
      ecotone hub sites renew-sessions /srv/hub
    """
    from ecotone.access import owner
    from ecotone.cli import hub_asking, hub_peoples

    with asked.opened() as hub:
        hub.sites.renew_sessions(owner(f"local:{hub_asking.known()}"))
    hub_peoples.done("tokens are made with a new secret", {"renewed": True}, is_json=is_json)


@click.group()
def acts() -> None:
    """Show and take away the hub's ledger: every act of people, of sites and of the hub itself.

    WHERE is the hub's folder or its hub.yaml, on the hub's own machine, or its address https://... with a key.
    """


@acts.command("list")
@at
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="The last so many.")
@click.option("--before", type=click.IntRange(min=0), help="Those before this position.")
def list_acts(asked: Asked, is_json: bool, **query: int | None) -> None:
    """List the last acts, newest first: who did what to which, and the digest of what was asked.

    \b
    Examples:
      ecotone hub acts list /srv/hub --limit 20
    """
    from ecotone.cli import hub_peoples

    given = {name: value for name, value in query.items() if value is not None}
    hub_peoples.show_acts(asked.ask("GET", f"/acts?{urlencode(given)}"), is_json=is_json)


@acts.command("export")
@at
@click.argument("to", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
def export_acts(asked: Asked, is_json: bool, to: Path) -> None:
    """Write the whole ledger into a new folder, for `ecotone ledger verify FOLDER --key FOLDER/site.pub`.

    It is signed up to its end. Keep the key, or a checkpoint, where the hub's administrators cannot reach.

    \b
    Examples:
      ecotone hub acts export /srv/hub acts-2026-11
    """
    from ecotone.cli import hub_peoples

    with asked.opened() as hub:
        hub.acts.export(to)
    hub_peoples.done(f"{to}: `ecotone ledger verify {to}`", {"folder": str(to)}, is_json=is_json)


COMMANDS: Final = {
    "people": people,
    "grant": grant,
    "token": token,
    "sites": sites,
    "acts": acts,
    "login": login,
    "logout": logout,
    "whoami": whoami,
}
