"""What an issuer's token says of a person, once its signature has been verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ecotone.access.deciding import Grant, Person, PersonName

__all__ = ["SKEW_S", "Expected", "grants", "person", "problem"]

SKEW_S: Final = 60.0
"""How far the issuer's clock and the hub's may lie apart."""
LIFE_S_MAX: Final = 86_400.0
"""A token that holds for longer is not taken: nobody could take it back."""
_ROLES_MAX: Final = 256


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a token must say.

    Attributes:
        audience: One of its audiences.
        name_claim: Which claim a person is known by; beside the subject, which is always there. What people may change
            themselves names anybody; an `email` counts only with `email_verified`.
        roles_claim: Which claim holds roles; a path with dots such as `realm_access.roles`.
        roles: Value in it -> the grant that it stands for. Any other value gives nothing.
    """

    issuer: str
    audience: str
    name_claim: str = "sub"
    roles_claim: str = "roles"
    roles: Mapping[str, Grant] = {}


def problem(claims: Mapping[str, Any], expected: Expected, now_s: float) -> str:
    """What is wrong with a token, `''` where nothing is. Never the token's own words."""
    if claims.get("iss") != expected.issuer:
        return "another issuer made it"
    audience = claims.get("aud")
    if expected.audience not in ([audience] if isinstance(audience, str) else _strings(audience)):
        return "it is meant for another audience"
    if _name(claims, expected) is None:
        return f"`{expected.name_claim}` says nobody's name"
    if expected.name_claim == "email" and claims.get("email_verified") is not True:
        return "the issuer does not say that the e-mail address was verified"
    return _times(claims, now_s)


def person(claims: Mapping[str, Any], expected: Expected) -> Person:
    """Who it is, with what their roles give; for claims without a problem."""
    name = _name(claims, expected)
    assert name is not None
    return Person(name=name, grants=grants(claims, expected))


def grants(claims: Mapping[str, Any], expected: Expected) -> tuple[Grant, ...]:
    """What the roles in a token stand for."""
    found: Any = claims
    for part in expected.roles_claim.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    names = found.split() if isinstance(found, str) else _strings(found)
    return tuple(dict.fromkeys(expected.roles[name] for name in names if name in expected.roles))


def _times(claims: Mapping[str, Any], now_s: float) -> str:
    times = [claims.get("exp"), claims.get("nbf", 0), claims.get("iat", 0)]
    if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in times):
        return "its times are no numbers"
    until_s, not_before_s, issued_s = times
    # Each is asked as what must be true: a number that is none ('NaN') is never it.
    if not now_s < until_s + SKEW_S:
        return "it has run out: sign in again"
    if not until_s <= now_s + LIFE_S_MAX:
        return "it holds for longer than a day, and could not be taken back"
    if not (not_before_s <= now_s + SKEW_S and issued_s <= now_s + SKEW_S):
        return "it is from the future: compare the clocks of hub and issuer"
    return ""


def _name(claims: Mapping[str, Any], expected: Expected) -> str | None:
    """`oidc:NAME`: nobody of the hub's own people has such a name."""
    try:
        # The subject is the only claim that an issuer never gives to another: it must be there, whatever the name is.
        msgspec.convert(claims.get("sub"), PersonName)
        name = msgspec.convert(claims.get(expected.name_claim), PersonName)
    except msgspec.ValidationError:
        return None
    return f"oidc:{name}"


def _strings(value: Any) -> Sequence[str]:
    return [entry for entry in value[:_ROLES_MAX] if isinstance(entry, str)] if isinstance(value, list) else []
