"""Signing in at a hub: by its issuer, with a code that is typed in on any device, or with a key.

Source: RFC 8628 (OAuth 2.0 device authorization grant).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import click
import msgspec

from ecotone.cli import hub_remote
from ecotone.cli.failures import UnreachableError
from ecotone.cli.output import show_json
from ecotone.values import RequestError

__all__ = ["login"]

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
WAIT_S_MAX: Final = 1_800.0
INTERVAL_S: Final = 5.0
SLOWER_S: Final = 5.0


class _Issuer(msgspec.Struct, frozen=True):
    """What is read of its discovery document. Source: RFC 8628, 4."""

    issuer: str
    token_endpoint: str
    device_authorization_endpoint: str = ""


class _Code(msgspec.Struct, frozen=True):
    """Source: RFC 8628, 3.2."""

    device_code: str
    user_code: str
    verification_uri: str
    expires_in: float = WAIT_S_MAX
    interval: float = INTERVAL_S


class _Tokens(msgspec.Struct, frozen=True):
    """Source: RFC 6749, 5.1; OpenID Connect Core 1.0, 3.1.3.3."""

    id_token: str = ""
    access_token: str = ""
    expires_in: float = 0.0
    error: str = ""


def login(url: str, *, with_key: bool, is_json: bool) -> None:
    """Signs in, and keeps what came of it."""
    url = hub_remote.checked(url)
    signs = {} if with_key else hub_remote.Remote(url).get("/sign-in")
    if signs:
        kept = by_code(signs, tell=lambda text: click.echo(text, err=True))
    else:
        kept = hub_remote.Kept(key=click.prompt("Key", hide_input=True, err=True).strip())
    me = hub_remote.Remote(url, kept.key).get("/me")
    path = hub_remote.keep(url, kept)
    if is_json:
        show_json({"who": me["who"], "roles": me["roles"], "file": str(path)})
    else:
        click.echo(f"{me['who']} at {url}: {', '.join(me['roles']) or 'no role yet'}. Kept in {path}")


def by_code(
    signs: dict[str, str], tell: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> hub_remote.Kept:
    """What the issuer gives to who types in the code; waits for that at most half an hour.

    Raises:
        RequestError: `hub.sign_in`: the issuer refuses, or has no such way to sign in.
        UnreachableError: `hub.unreachable`.
    """
    issuer = _read(
        "GET", signs["issuer"].rstrip("/") + "/.well-known/openid-configuration", None, _Issuer, of=signs["issuer"]
    )
    if issuer.issuer != signs["issuer"] or not issuer.device_authorization_endpoint:
        raise RequestError("hub.sign_in", f"{signs['issuer']} offers no sign-in by code: use an API key (--key)")
    asked = {"client_id": signs["client_id"], "scope": signs["scope"]}
    code = _read("POST", issuer.device_authorization_endpoint, asked, _Code, of=issuer.issuer)
    tell(f"Open {code.verification_uri} on any device and type in the code {code.user_code}")
    asked = {"client_id": signs["client_id"], "grant_type": GRANT, "device_code": code.device_code}
    waited_s, interval_s = 0.0, min(max(code.interval, 1.0), 60.0)
    while waited_s < min(code.expires_in, WAIT_S_MAX):
        sleep(interval_s)
        waited_s += interval_s
        tokens = _read("POST", issuer.token_endpoint, asked, _Tokens, of=issuer.issuer, may_refuse=True)
        if key := tokens.id_token or tokens.access_token:
            until_s = time.time() + tokens.expires_in if tokens.expires_in else 0.0
            return hub_remote.Kept(key=key, until_s=until_s)
        if tokens.error == "slow_down":
            interval_s += SLOWER_S
        elif tokens.error != "authorization_pending":
            raise RequestError("hub.sign_in", "the issuer refused, or the code ran out: sign in anew")
    raise RequestError("hub.sign_in", "nobody typed in the code in time: sign in anew")


def _read(
    method: str, url: str, form: dict[str, str] | None, kind: type[Any], *, of: str, may_refuse: bool = False
) -> Any:
    """A document of the issuer, over HTTPS alone except on this machine.

    Raises:
        RequestError: `hub.sign_in`.
        UnreachableError: `hub.unreachable`.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")):
        raise RequestError("hub.sign_in", f"{of} is not asked without TLS")
    headers = {"accept": "application/json"}
    body = None
    if form is not None:
        headers["content-type"] = "application/x-www-form-urlencoded"
        body = urlencode(form).encode()
    status, content = hub_remote.exchange(method, url, body, headers)
    if status >= 500:
        raise UnreachableError("hub.unreachable", f"{of} answers {status}")
    try:
        said = msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise RequestError("hub.sign_in", f"{of} answers ({status}) with something else than was asked") from error
    if status >= 400 and not may_refuse:
        raise RequestError("hub.sign_in", f"{of} refuses ({status})")
    return said
