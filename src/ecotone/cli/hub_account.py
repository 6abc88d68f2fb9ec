"""`ecotone hub login`, `logout`, `whoami`."""

from __future__ import annotations

import click

from ecotone.cli.hub_asking import Asked, at
from ecotone.cli.options import without_site


@click.command()
@click.argument("url")
@without_site
@click.option("--key", "with_key", is_flag=True, help="Keep an API key, asked for here, in place of signing in.")
def login(url: str, is_json: bool, with_key: bool) -> None:
    """Sign in at a hub, for the commands that take its address.

    Where the hub has an issuer (`oidc:`), a code is shown that is to be typed in at its page, on any device. What is
    kept stands in ~/.config/ecotone/hubs.json, for this user alone; `ECOTONE_HUB_KEY` goes before it.

    \b
    Examples:
      ecotone hub login https://hub.example.org
      ecotone hub login https://hub.example.org --key
    """
    from ecotone.cli import hub_login

    hub_login.login(url, with_key=with_key, is_json=is_json)


@click.command()
@click.argument("url")
@without_site
def logout(url: str, is_json: bool) -> None:
    """Forget what is kept for a hub. A key stays good until it is revoked there.

    \b
    Examples:
      ecotone hub logout https://hub.example.org
    """
    from ecotone.cli import hub_peoples, hub_remote

    is_gone = hub_remote.forget(url)
    hub_peoples.done("forgotten" if is_gone else "nothing was kept for it", {"forgotten": is_gone}, is_json=is_json)


@click.command()
@at
def whoami(asked: Asked, is_json: bool) -> None:
    """Say who you are at a hub, and what you may do.

    \b
    Examples:
      ecotone hub whoami https://hub.example.org
    """
    from ecotone.cli import hub_peoples

    hub_peoples.show_me(asked.ask("GET", "/me"), is_json=is_json)
