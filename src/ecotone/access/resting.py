"""Where an asset may rest: by the regions that its publisher signed, and by the confinements of the hub's owner."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from ecotone.access.deciding import No, Patterns, Yes
from ecotone.access.patterns import ANY, ANYTHING, matches_one
from ecotone.values import RefusalError

__all__ = ["Confinement", "Good", "Place", "demand_hold", "demand_rest", "may_hold", "may_rest", "may_take"]

_YES: Final = Yes()


class Confinement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Assets of these patterns go to sites of these groups and regions, and nowhere else.

    Where several are about one asset, one of them must have the site. An asset that none is about goes anywhere.
    """

    assets: Patterns
    groups: Patterns = ANYTHING
    regions: Patterns = ANYTHING


class Place(msgspec.Struct, frozen=True):
    """A site, as far as it matters to what may rest there."""

    name: str
    groups: tuple[str, ...] = ()
    region: str = ""


class Good(msgspec.Struct, frozen=True):
    """An asset, as far as it matters to where it may rest.

    Attributes:
        asset: Such as `models/clinic-7b`.
        residency: As signed in its manifest; empty: anywhere.
    """

    asset: str
    residency: tuple[str, ...] = ()


def may_rest(residency: Collection[str], region: str) -> Yes | No:
    """Whether what may only rest in these regions may rest in this one. A region that is not known is none of them."""
    if not residency or region in residency:
        return _YES
    where = f"region '{region}'" if region else "a place whose region is not set"
    return No("residency", f"it may only rest in {', '.join(sorted(residency))}, and not at {where}")


def may_hold(place: Place, good: Good, confinements: Iterable[Confinement] = ()) -> Yes | No:
    """Whether an asset may be at a site at all."""
    rests = may_rest(good.residency, place.region)
    if not rests:
        return No(rests.code, f"{good.asset} at {place.name}: {rests.why}")
    about = [rule for rule in confinements if matches_one(rule.assets, good.asset)]
    if not about or any(_has(rule, place) for rule in about):
        return _YES
    return No("confined", f"{good.asset} is confined to sites of other groups or regions than {place.name}'s")


def may_take(
    place: Place, good: Good, sha256: str, wished: Collection[str], confinements: Iterable[Confinement] = ()
) -> Yes | No:
    """Whether a version of an asset may be served to a site: it is wished there, and may be there.

    Args:
        sha256: Of the version's manifest.
        wished: Digests of the manifests that the director's newest wish for the site names.
    """
    if sha256 not in wished:
        return No("not_wished", f"{good.asset} is not among what {place.name} shall have")
    return may_hold(place, good, confinements)


def demand_rest(residency: Collection[str], region: str, what: str) -> None:
    """Goes on only if it may rest there.

    Args:
        what: What, and where, for the message.

    Raises:
        RefusalError: `hub.residency`.
    """
    answer = may_rest(residency, region)
    if not answer:
        raise RefusalError("hub.residency", f"{what}: {answer.why}")


def demand_hold(place: Place, good: Good, confinements: Iterable[Confinement] = ()) -> None:
    """Goes on only if the asset may be at the site.

    Raises:
        RefusalError: `hub.residency`: by region. `hub.confined`: by a confinement.
    """
    answer = may_hold(place, good, confinements)
    if answer:
        return
    if answer.code == "residency":
        raise RefusalError("hub.residency", answer.why)
    raise RefusalError("hub.confined", answer.why)


def _has(rule: Confinement, place: Place) -> bool:
    in_groups = ANY in rule.groups or any(matches_one(rule.groups, group) for group in place.groups)
    return in_groups and (ANY in rule.regions or (bool(place.region) and matches_one(rule.regions, place.region)))
