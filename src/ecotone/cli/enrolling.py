"""How a site joins a hub."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Final

import click
import msgspec
from msgspec import Meta

from ecotone.agent import joined_file
from ecotone.agent.identity import Enrolment
from ecotone.agent.joined_file import Joined
from ecotone.assets import files
from ecotone.cli import hub_remote
from ecotone.cli.failures import UnreachableError
from ecotone.cli.output import show_json
from ecotone.cli.settings import load
from ecotone.config import Config
from ecotone.delivery import site_trust
from ecotone.store import Lock
from ecotone.store.ledger import LOCK
from ecotone.values import ConfigError, RefusalError, RequestError, TrustError

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_TOKEN: Final = re.compile(r"eco1\.[!-~]{1,200}")


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of `ecotone enroll`. The token is never shown."""

    url: str
    token: str
    site: str | None
    fingerprint: str | None
    is_replaced: bool


class _Enrolled(msgspec.Struct):
    site: str
    trust: msgspec.Raw
    hub: Annotated[str, Meta(pattern=r"^[ -~]{0,200}\Z")] = ""


class _Said(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Failed(msgspec.Struct):
    error: _Said


def joined(ask: Ask, config_path: Path | None, store: str | None, *, is_json: bool) -> None:
    """Joins, and says what is to be done next."""
    tree = load(config_path, store)
    url = hub_remote.checked(ask.url)
    if not _TOKEN.fullmatch(ask.token):
        raise ConfigError("hub.token", "TOKEN is not one: it begins with `eco1.`, as the hub's operator was given it")
    name = ask.site or tree.site
    if not _NAME.fullmatch(name):
        raise ConfigError("trust.site", f"'{name[:80]}' cannot be a site's name at a hub: small letters, digits, '-'")
    root = Path(tree.store.path).expanduser().absolute()
    with files.durably(f"using {root}"):
        files.folder(root)
    enrolment = Enrolment.begun(root, ask.token)
    enrolled = _enrolled(url, enrolment.body(ask.token, name))
    raw = bytes(enrolled.trust)
    fingerprint = hashlib.sha256(raw).hexdigest()
    if ask.fingerprint is not None and ask.fingerprint.strip().lower() != fingerprint:
        raise TrustError(
            "trust.fingerprint",
            f"the roots of {url} have the fingerprint {fingerprint}, not the one given: not trusted",
        )
    site_trust.pin(raw, enrolled.site, root, is_replaced=ask.is_replaced)
    enrolment.done()
    joined_file.write(root, Joined(url=url, site=enrolled.site, hub=enrolled.hub))
    if is_json:
        show_json({"url": url, "site": enrolled.site, "hub": enrolled.hub, "fingerprint": fingerprint})
        return
    click.echo(f"this site is '{enrolled.site}' at {enrolled.hub or url} and trusts the roots {fingerprint}")
    if ask.fingerprint is None:
        click.echo("compare them with what `ecotone hub show` says at the hub", err=True)
    for line in _next(tree, url, root):
        click.echo(line)


def _next(tree: Config, url: str, root: Path) -> list[str]:
    """What is left to do."""
    found = []
    if tree.hub is None:
        found.append(f"next: write `hub: {{url: {url}}}` into the configuration; without it nothing goes there")
    elif tree.hub.url.rstrip("/") != url:
        found.append(f"note: the configuration names {tree.hub.url} as the hub, and that is what the site will ask")
    if Lock.is_held(root / LOCK):
        found.append("next: restart the site that runs on this store, so that it takes it up")
    return found


def _enrolled(url: str, body: dict[str, str]) -> _Enrolled:
    """What the hub answers.

    Raises:
        UnreachableError: nobody answers, not now, or no hub.
        RequestError: `hub.token`: it does not take the token.
        RefusalError: it takes no site now.
    """
    headers = {"accept": "application/json", "content-type": "application/json"}
    status, content = hub_remote.exchange("POST", f"{url}/v1/enroll", msgspec.json.encode(body), headers)
    try:
        if status == 201:
            return msgspec.json.decode(content, type=_Enrolled)
        said = msgspec.json.decode(content, type=_Failed).error
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreachableError("hub.unreachable", f"what answers at {url} is no hub (HTTP {status})") from error
    if status in (429, 502, 503, 504):
        raise UnreachableError(said.code or "hub.unreachable", f"the hub takes nobody now: {said.message}")
    if status == 403:
        raise RefusalError(said.code or "hub.token", said.message)
    raise RequestError(said.code or "hub.token", f"the hub did not take this site: {said.message}", status=status)
