"""What people ask of the fleet over `/admin`: its status, what one site sends, and the hub's ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ecotone.access import ALL, Actor, Subject, demand, demand_somewhere, may, may_somewhere
from ecotone.access.roles import Act
from ecotone.hub import status, status_alarms, status_releases
from ecotone.hub.acts import ACT
from ecotone.hub.sites_shown import group_names
from ecotone.hub.status_alarms import Alarm
from ecotone.hub.status_releases import ReleaseRow
from ecotone.values import RequestError

if TYPE_CHECKING:
    from ecotone.hub.serving import Hub

__all__ = ["DOORS", "Me", "Shown", "acts", "report", "shown"]

ACTS_MAX: Final = 500
_MAY: Final[Mapping[str, Act]] = MappingProxyType(
    {"pause": "release.pause", "resume": "release.resume", "abort": "release.abort", "audit": "acts.read"}
)


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and which buttons there are for them. The rooms decide all the same."""

    name: str
    may: dict[str, bool]


class Shown(status.Fleet, frozen=True, kw_only=True):
    """The fleet with all that stands on the console.

    Attributes:
        is_all: Whether who asks may see all sites. Else releases and alarms, which are about all, are left out.
    """

    hub: str
    me: Me
    is_all: bool
    releases: tuple[ReleaseRow, ...]
    alarms: tuple[Alarm, ...]


def shown(hub: Hub, actor: Actor, ask: status.Ask) -> Shown:
    """The fleet, as far as the actor may see it.

    Raises:
        RefusalError: `hub.may`.
        StoreError: `hub.database`.
    """
    demand_somewhere(actor, "fleet.read")
    person, now_s = actor.person, hub.clock()
    is_all = bool(may(person, "fleet.read", ALL))
    scope = None if is_all else status.scope_of(hub.database, _sees(actor))
    found = status.fleet(hub.database, now_s, ask, scope)
    return Shown(
        **{name: getattr(found, name) for name in status.Fleet.__struct_fields__},
        hub=hub.settings.name,
        me=Me(name=person.name, may={name: bool(may_somewhere(person, act)) for name, act in _MAY.items()}),
        is_all=is_all,
        releases=status_releases.shown(hub.database) if is_all else (),
        alarms=status_alarms.found(hub, now_s) if is_all else (),
    )


def report(hub: Hub, actor: Actor, site: str) -> bytes:
    """A site's newest report, verbatim.

    Raises:
        RefusalError: `hub.may`.
        RequestError: `hub.unknown`: there is no such site that the actor may see, or it never reported.
    """
    demand_somewhere(actor, "fleet.read")
    known = hub.sites.get(site)
    if known is None or not may(actor.person, "fleet.read", known.subject):
        raise RequestError("hub.unknown", f"there is no site '{site[:80]}' here that you may see", status=404)
    raw = hub.reports.newest(site)
    if raw is None:
        raise RequestError("hub.unknown", f"'{site}' has reported nothing yet", status=404)
    return raw


def acts(hub: Hub, actor: Actor, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """The last acts, newest first.

    Raises:
        RefusalError: `hub.may`.
        StoreError: `hub.database`.
    """
    demand(actor, "acts.read")
    found = []
    for entry in hub.acts.newest(min(max(limit, 1), ACTS_MAX), before):
        if entry.kind == ACT:
            found.append({"seq": entry.seq, "at_s": entry.at_ms / 1000, **entry.body})
    return found


def _sees(actor: Actor) -> Callable[[tuple[str, ...], str], bool]:
    def sees(groups: tuple[str, ...], region: str) -> bool:
        return bool(may(actor.person, "fleet.read", Subject(groups=group_names(groups), region=region)))

    return sees


def _status(
    hub: Hub, actor: Actor, path: dict[str, str], body: dict[str, Any], query: dict[str, str]
) -> tuple[int, Any]:
    try:
        ask = msgspec.convert(query, status.Ask, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError("hub.asked", f"this cannot be asked of the fleet: {error}") from error
    return 200, shown(hub, actor, ask)


def _report(
    hub: Hub, actor: Actor, path: dict[str, str], body: dict[str, Any], query: dict[str, str]
) -> tuple[int, Any]:
    return 200, msgspec.Raw(report(hub, actor, path["site"]))


def _acts(hub: Hub, actor: Actor, path: dict[str, str], body: dict[str, Any], query: dict[str, str]) -> tuple[int, Any]:
    limit, before = query.get("limit", "100"), query.get("before", "")
    if not limit.isdecimal() or not (before.isdecimal() or not before) or len(limit) > 9 or len(before) > 18:
        raise RequestError("hub.asked", "`limit` and `before` are numbers")
    return 200, {"acts": acts(hub, actor, int(limit), int(before) if before else None)}


DOORS: Final = MappingProxyType(
    {("GET", "/status"): _status, ("GET", "/sites/{site}/report"): _report, ("GET", "/acts"): _acts}
)
"""(Method, path below `/admin`) -> what answers; see `routes_admin`."""
