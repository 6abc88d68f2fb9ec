"""What people ask of people, keys, grants, tokens, sites and confinements: one table of doors.

`/admin` over HTTP and the commands that work on a hub's folder both go through it. Who may do what is decided in the
rooms behind it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from ecotone.access import Actor, Confinement, Grant, demand
from ecotone.hub.sites_shown import Labels
from ecotone.hub.sites_tokens import TokenAsked
from ecotone.values import RequestError

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub

__all__ = ["DOORS"]

_Body = TypeVar("_Body")
Days = Annotated[float, Meta(gt=0, le=3_660)]
DAY_S: Final = 86_400.0
DEPTH_MAX: Final = 8
"""No body that is asked for here has so many levels."""


class _Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    days: Days | None = None


class _Grant(Grant, frozen=True, forbid_unknown_fields=True, kw_only=True):
    days: Days | None = None


class _Assets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    assets: Annotated[tuple[Annotated[str, Meta(max_length=130)], ...], Meta(max_length=256)]


class _Why(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    why: Annotated[str, Meta(max_length=500)] = ""


Answer = tuple[int, Any]
Said = dict[str, Any]


def me(hub: Hub, actor: Actor, _path: Said, _body: Said, _query: Said) -> Answer:
    """Who asks, and what they may."""
    return 200, hub.people.me(actor)


def people(hub: Hub, actor: Actor, _path: Said, _body: Said, _query: Said) -> Answer:
    """Everybody."""
    return 200, {"people": hub.people.everyone(actor)}


def add_person(hub: Hub, actor: Actor, _path: Said, body: Said, _query: Said) -> Answer:
    """Somebody new."""
    name = _read(body, _Person).name
    hub.people.add(actor, name)
    return 201, {"name": name}


def remove_person(hub: Hub, actor: Actor, path: Said, _body: Said, _query: Said) -> Answer:
    """Somebody goes."""
    hub.people.remove(actor, path["name"])
    return 204, None


def make_key(hub: Hub, actor: Actor, path: Said, body: Said, _query: Said) -> Answer:
    """A new API key; it is in the answer and nowhere else."""
    key_id, key = hub.people.key(actor, path["name"], _until_s(hub, _read(body, _Key).days))
    return 201, {"id": key_id, "key": key}


def revoke_key(hub: Hub, actor: Actor, path: Said, _body: Said, _query: Said) -> Answer:
    """A key is worth nothing any more."""
    hub.people.revoke_key(actor, path["id"])
    return 204, None


def give(hub: Hub, actor: Actor, path: Said, body: Said, _query: Said) -> Answer:
    """A grant, or a denial."""
    said = _read(body, _Grant)
    grant = Grant(role=said.role, assets=said.assets, groups=said.groups, regions=said.regions, is_deny=said.is_deny)
    return 201, {"id": hub.people.grant(actor, path["name"], grant, _until_s(hub, said.days))}


def take(hub: Hub, actor: Actor, path: Said, _body: Said, _query: Said) -> Answer:
    """A grant is taken."""
    hub.people.take(actor, path["id"])
    return 204, None


def tokens(hub: Hub, actor: Actor, _path: Said, _body: Said, _query: Said) -> Answer:
    """Enrolment tokens that are open."""
    return 200, {"tokens": hub.sites.tokens.all(actor)}


def make_token(hub: Hub, actor: Actor, _path: Said, body: Said, _query: Said) -> Answer:
    """A new enrolment token; it is in the answer and nowhere else."""
    token_id, token = hub.sites.tokens.new(actor, _read(body, TokenAsked))
    return 201, {"id": token_id, "token": token}


def revoke_token(hub: Hub, actor: Actor, path: Said, _body: Said, _query: Said) -> Answer:
    """Nobody comes by a token any more."""
    hub.sites.tokens.revoke(actor, path["id"])
    return 204, None


def sites(hub: Hub, actor: Actor, _path: Said, _body: Said, query: Said) -> Answer:
    """Sites by name: `find`, `group`, `offset`, `limit`."""
    found = hub.sites.page(
        actor, query.get("find", ""), query.get("group", ""), _number(query, "offset", 0), _number(query, "limit", 100)
    )
    return 200, found


def site(hub: Hub, actor: Actor, path: Said, _body: Said, _query: Said) -> Answer:
    """One site."""
    found = hub.sites.get(path["site"])
    if found is None:
        raise RequestError("hub.unknown_site", "no site of this name is enrolled here", status=404)
    demand(actor, "fleet.read", found.subject)
    return 200, found


def label(hub: Hub, actor: Actor, path: Said, body: Said, _query: Said) -> Answer:
    """Groups, region and labels of a site."""
    said = _read(body, Labels)
    return 200, hub.sites.label(actor, path["site"], said.groups, said.region, said.labels)


def revoke_site(hub: Hub, actor: Actor, path: Said, body: Said, _query: Said) -> Answer:
    """A site is served nothing more."""
    return 200, hub.sites.revoke(actor, path["site"], _read(body, _Why).why)


def assign_site(hub: Hub, actor: Actor, path: Said, body: Said, _query: Said) -> Answer:
    """What a site shall have, and nothing else: `NAME` or `NAME@VERSION` each."""
    from ecotone.hub.sites_assigning import assign

    parts = [text.partition("@") for text in _read(body, _Assets).assets]
    return 200, {"generation": assign(hub, actor, path["site"], [(name, version) for name, _, version in parts])}


def confinements(hub: Hub, actor: Actor, _path: Said, _body: Said, _query: Said) -> Answer:
    """Which assets go to which sites alone."""
    return 200, {"confinements": hub.sites.rules.listed(actor)}


def confine(hub: Hub, actor: Actor, _path: Said, body: Said, _query: Said) -> Answer:
    """One more."""
    return 201, {"id": hub.sites.rules.confine(actor, _read(body, Confinement))}


def free(hub: Hub, actor: Actor, path: Said, _body: Said, _query: Said) -> Answer:
    """One less."""
    hub.sites.rules.free(actor, path["id"])
    return 204, None


Door = Callable[["Hub", Actor, Said, Said, Said], Answer]


def _plain(door: Door) -> Door:
    """The door, closed to texts that no database holds: with NUL, or with halves of characters."""

    @functools.wraps(door)
    def checked(hub: Hub, actor: Actor, path: Said, body: Said, query: Said) -> Answer:
        if not all(_is_plain(said) for said in (path, body, query)):
            raise RequestError("hub.body", "a text here holds what is no character")
        return door(hub, actor, path, body, query)

    return checked


_DOORS: Final[Mapping[tuple[str, str], Door]] = {
    ("GET", "/me"): me,
    ("GET", "/people"): people,
    ("POST", "/people"): add_person,
    ("DELETE", "/people/{name}"): remove_person,
    ("POST", "/people/{name}/keys"): make_key,
    ("DELETE", "/keys/{id}"): revoke_key,
    ("POST", "/people/{name}/grants"): give,
    ("DELETE", "/grants/{id}"): take,
    ("GET", "/tokens"): tokens,
    ("POST", "/tokens"): make_token,
    ("DELETE", "/tokens/{id}"): revoke_token,
    ("GET", "/sites"): sites,
    ("GET", "/sites/{site}"): site,
    ("PATCH", "/sites/{site}"): label,
    ("POST", "/sites/{site}/revoke"): revoke_site,
    ("POST", "/sites/{site}/assign"): assign_site,
    ("GET", "/confinements"): confinements,
    ("POST", "/confinements"): confine,
    ("DELETE", "/confinements/{id}"): free,
}

DOORS: Final[Mapping[tuple[str, str], Door]] = {where: _plain(door) for where, door in _DOORS.items()}
"""(method, path below `/admin`) -> what it does."""


def _is_plain(said: object, deep: int = 0) -> bool:
    if isinstance(said, str):
        return "\x00" not in said and not any("\ud800" <= letter <= "\udfff" for letter in said)
    if isinstance(said, dict):
        said = [*said, *said.values()]
    return not isinstance(said, list | tuple) or (deep < DEPTH_MAX and all(_is_plain(one, deep + 1) for one in said))


def _read(body: Said, kind: type[_Body]) -> _Body:
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise RequestError("hub.body", f"the body is not what is asked for here: {error}") from error


def _until_s(hub: Hub, days: float | None) -> float:
    return 0.0 if days is None else hub.clock() + days * DAY_S


def _number(query: Said, name: str, default: int) -> int:
    said = query.get(name, str(default))
    if not (said.isascii() and said.isdecimal() and len(said) <= 9):
        raise RequestError("hub.query", f"`{name}` is a whole number")
    return int(said)
