"""Sign-in at an OpenID Connect issuer: its tokens, verified against the keys that it publishes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey, import_key

from ecotone.access import Grant, Person
from ecotone.access import claims as said
from ecotone.assets import FetchError
from ecotone.assets.web import Cut, Link, Refused, Web
from ecotone.hub.settings import Oidc as Settings
from ecotone.values import ConfigError, RefusalError, RequestError

__all__ = ["ALGORITHMS", "Oidc"]

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
)  # fmt: skip
"""All others are refused: `none`, and those with a shared secret (HS256 ...), which a public key could stand for."""
TYPES: Final = ("", "jwt", "at+jwt", "application/at+jwt")
TOKEN_CHARS_MAX: Final = 16_384
DOCUMENT_BYTES_MAX: Final = 256 << 10
KEYS_MAX: Final = 64
RSA_BITS_MIN: Final = 2_048
FRESH_S: Final = 600.0
"""The issuer's keys are asked for again after so long."""
STALE_S: Final = 3_600.0
"""And for so long they hold while the issuer cannot be asked."""
AGAIN_S: Final = 30.0
"""A token with an unknown key makes the hub ask again, and not more often than this."""
TIMEOUT_S: Final = 5.0
SCOPE: Final = "openid"

_Key = RSAKey | ECKey


class _Document(msgspec.Struct, frozen=True):
    """What is read of a discovery document. Source: OpenID Connect Discovery 1.0, 3."""

    issuer: str
    jwks_uri: str


class _Keys(msgspec.Struct, frozen=True):
    """What is read of a JWK Set. Source: RFC 7517, 5."""

    keys: list[dict[str, Any]]


class Oidc:
    """Verifies tokens of one issuer. May be asked by any thread; one at a time asks the issuer."""

    def __init__(
        self,
        settings: Settings,
        *,
        read: Callable[[str], bytes] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Asks nothing yet.

        Args:
            read: The document at a URL; the default asks over HTTPS, by the proxies of the environment.
            monotonic: Seconds that only go up.

        Raises:
            ConfigError: `asset.cert`: the authorities of `ca_file` cannot be read; `hub.issuer`: no HTTPS.
        """
        _check_url(settings.issuer)
        self._settings = settings
        self._read = read or _reader(settings.ca_file)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._keys: tuple[tuple[str, _Key], ...] = ()
        self._read_at_s = self._tried_at_s = float("-inf")
        self._expected: Final = said.Expected(
            issuer=settings.issuer,
            audience=settings.audience,
            name_claim=settings.name_claim,
            roles_claim=settings.roles_claim,
            roles={name: Grant(role=role) for name, role in settings.roles_map.items()},
        )

    def sign_in(self) -> dict[str, str]:
        """What a command line needs to sign somebody in."""
        settings = self._settings
        return {"issuer": settings.issuer, "client_id": settings.client_id or settings.audience, "scope": SCOPE}

    def person(self, token: str, now_s: float) -> Person:
        """Whose token this is, and what their roles give.

        Raises:
            RequestError: `hub.key`: it is not signed by this issuer for this hub, or holds no longer.
            RefusalError: `hub.issuer`: the issuer's keys cannot be had.
        """
        claims = self._claims(token)
        if why := said.problem(claims, self._expected, now_s):
            raise _refused(why)
        return said.person(claims, self._expected)

    def _claims(self, token: str) -> Mapping[str, Any]:
        """What a token says whose signature is one of the issuer's."""
        head = _head(token)
        for is_again in (False, True):
            keys = self._for(head, is_again=is_again)
            for key in keys:
                try:
                    checked = jws.deserialize_compact(token, key, algorithms=[head["alg"]])
                    claims = msgspec.json.decode(checked.payload)
                except (JoseError, ValueError, msgspec.DecodeError):
                    continue
                if isinstance(claims, dict):
                    return claims
            if keys:
                break
        raise _refused("none of the issuer's keys has signed it")

    def _for(self, head: Mapping[str, str], *, is_again: bool) -> list[_Key]:
        """The issuer's keys that may have signed: of this name, and of the algorithm's kind."""
        kind: type[_Key] = ECKey if head["alg"].startswith("ES") else RSAKey
        return [
            key
            for name, key in self._published(is_again=is_again)
            if isinstance(key, kind) and head.get("kid", name) == name
        ]

    def _published(self, *, is_again: bool) -> tuple[tuple[str, _Key], ...]:
        """(name, key) of all that the issuer publishes, kept for a while."""
        now_s = self._monotonic()
        if is_again or now_s - self._read_at_s > FRESH_S:
            # Who has keys that will do goes on with them while another thread asks.
            is_mine = self._lock.acquire(blocking=is_again or now_s - self._read_at_s > STALE_S)
            try:
                if is_mine and now_s - self._tried_at_s > AGAIN_S:
                    self._tried_at_s = now_s
                    self._ask(now_s)
            finally:
                if is_mine:
                    self._lock.release()
        if now_s - self._read_at_s > STALE_S:
            raise _unreachable()
        return self._keys

    def _ask(self, now_s: float) -> None:
        """Asks the issuer for its keys. Where it cannot be asked, those that are known stay."""
        try:
            where = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
            document = msgspec.json.decode(self._read(where), type=_Document)
            if document.issuer != self._settings.issuer:
                raise ValueError("the document is another issuer's")
            _check_url(document.jwks_uri)
            found = msgspec.json.decode(self._read(document.jwks_uri), type=_Keys)
        except (Cut, Refused, FetchError, ConfigError, OSError, ValueError, msgspec.DecodeError):
            return
        self._keys = tuple(key for raw in found.keys[:KEYS_MAX] for key in _usable(raw))
        self._read_at_s = now_s


def _usable(raw: Mapping[str, Any]) -> list[tuple[str, _Key]]:
    """(name, key) of one of a set, if it is for signatures and strong enough; else nothing."""
    if raw.get("kty") not in ("RSA", "EC") or raw.get("use", "sig") != "sig":
        return []
    if raw["kty"] == "RSA" and 6 * len(str(raw.get("n", ""))) < RSA_BITS_MIN:
        return []
    public = {name: value for name, value in raw.items() if name in ("kty", "n", "e", "crv", "x", "y")}
    try:
        key = import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return []
    name = raw.get("kid", "")
    return [(name, key)] if isinstance(key, RSAKey | ECKey) and isinstance(name, str) else []


def _head(token: str) -> dict[str, str]:
    """`alg` and `kid` of a token that may be asked about. Nothing else in it is used, and no key or address."""
    if len(token) > TOKEN_CHARS_MAX or not token.isascii():
        raise _refused("it is no token")
    try:
        head = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError) as error:
        raise _refused("it is no token") from error
    kid = head.get("kid", "")
    if head.get("alg") not in ALGORITHMS or "crit" in head or not isinstance(kid, str):
        raise _refused("it is signed in a way that is not taken here")
    if str(head.get("typ", "")).lower() not in TYPES:
        raise _refused("it is a token for something else")
    return {"alg": head["alg"], **({"kid": kid} if kid else {})}


def _check_url(url: str) -> None:
    """HTTPS; without it only to this very machine.

    Raises:
        ConfigError: `hub.issuer`.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return
    raise ConfigError("hub.issuer", "oidc.issuer: an issuer and its keys are asked over https alone")


def _reader(ca_file: str | None) -> Callable[[str], bytes]:
    web = Web(Link(cert=ca_file, timeout_s=TIMEOUT_S))

    def read(url: str) -> bytes:
        return web.read(url, {"Accept": "application/json"}, DOCUMENT_BYTES_MAX)[0]

    return read


def _refused(why: str) -> RequestError:
    return RequestError("hub.key", f"this token does not hold here: {why}", status=401)


def _unreachable() -> RefusalError:
    return RefusalError(
        "hub.issuer",
        "the issuer cannot be asked for its keys now: try again, or use an API key",
        status=503,
        retry_after_s=AGAIN_S,
    )
