"""Who may do what: deny by default, by grants that somebody gave in words, and a denial beats every grant."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from ecotone.access.patterns import ANY, ANYTHING, matches_one
from ecotone.access.roles import ACTS, ROLES, Act, Role
from ecotone.values import RefusalError

__all__ = [
    "ALL",
    "Actor",
    "Grant",
    "No",
    "Person",
    "Subject",
    "Yes",
    "demand",
    "demand_somewhere",
    "may",
    "may_somewhere",
    "owner",
]

Pattern = Annotated[str, Meta(pattern=r"^[A-Za-z0-9*][A-Za-z0-9._/@*-]{0,127}\Z")]
Patterns = Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=64)]
PersonName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:/|+-]*\Z")]


class Subject(msgspec.Struct, frozen=True):
    """What an act is done to. What is not named means all there is: only a grant without narrowing covers it.

    Attributes:
        asset: Such as `models/clinic-7b`.
        groups, region: Of one site.
    """

    asset: str = ""
    groups: tuple[str, ...] = ()
    region: str = ""


ALL: Final = Subject()


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A role within a scope; or, as a denial, the acts of the role taken away within it.

    Attributes:
        assets: Patterns of assets, such as `models/clinic-*`.
        groups, regions: Patterns of the sites' groups and regions.
    """

    role: Role
    assets: Patterns = ANYTHING
    groups: Patterns = ANYTHING
    regions: Patterns = ANYTHING
    is_deny: bool = False


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody, or some program, and the grants that hold for them now."""

    name: str
    grants: tuple[Grant, ...] = ()


class Actor(msgspec.Struct, frozen=True):
    """Who asks, and how that was proven: `key:ID`, `oidc`, `local`."""

    person: Person
    via: str

    @property
    def name(self) -> str:
        """As the ledger names them: `person:ann`."""
        return f"person:{self.person.name}"


class Yes(msgspec.Struct, frozen=True):
    """It may be done, by this grant."""

    grant: Grant | None = None
    code: Literal[""] = ""
    why: str = ""

    def __bool__(self) -> Literal[True]:
        return True


class No(msgspec.Struct, frozen=True):
    """It may not be done.

    Attributes:
        code: `role`: no grant has such an act. `scope`: one has, and not for this. `denied`: a denial says so.
            `residency`, `confined`, `not_wished`: of assets, see `resting`.
        why: The same in a sentence that says how to mend it.
    """

    code: str
    why: str

    def __bool__(self) -> Literal[False]:
        return False


def owner(name: str, via: str = "local") -> Actor:
    """Somebody who may do everything: who holds the hub's own folder and keys does."""
    return Actor(Person(name=name, grants=(Grant(role="owner"),)), via)


def may(person: Person, act: Act, subject: Subject = ALL) -> Yes | No:
    """Whether a person may do this to that."""
    of_act = [grant for grant in person.grants if act in ROLES[grant.role]]
    for grant in of_act:
        if grant.is_deny and _touches(grant, act, subject):
            return No("denied", f"{person.name} is denied `{act}` {_on(subject)}")
    allows = [grant for grant in of_act if not grant.is_deny]
    for grant in allows:
        if _covers(grant, act, subject):
            return Yes(grant)
    if allows:
        return No("scope", f"{person.name} may `{act}`, and not {_on(subject)}")
    roles = ", ".join(role for role, acts in ROLES.items() if act in acts)
    return No("role", f"{person.name} has no role with `{act}`: {roles} have. An owner can give one")


def demand(actor: Actor, act: Act, *subjects: Subject) -> None:
    """Goes on only if the actor may do this to each subject; with none, to all there is.

    Raises:
        RefusalError: `hub.may`.
    """
    for subject in subjects or (ALL,):
        answer = may(actor.person, act, subject)
        if not answer:
            raise RefusalError("hub.may", answer.why)


def may_somewhere(person: Person, act: Act) -> Yes | No:
    """Whether a person may do this to anything at all, by their grants; a denial may still take it from any one."""
    for grant in person.grants:
        if act in ROLES[grant.role] and not grant.is_deny:
            return Yes(grant)
    return may(person, act)


def demand_somewhere(actor: Actor, act: Act) -> None:
    """Goes on only if the actor may do this to something: for lists, which then hold what they may see.

    Raises:
        RefusalError: `hub.may`.
    """
    answer = may_somewhere(actor.person, act)
    if not answer:
        raise RefusalError("hub.may", answer.why)


def _covers(grant: Grant, act: Act, subject: Subject) -> bool:
    """Whether all of the subject lies within the grant's scope. What is not named is only within `*`."""
    if ACTS[act].about == "hub":
        return all(ANY in patterns for patterns in (grant.assets, grant.groups, grant.regions))
    return all(_lies(patterns, names, unnamed=False) for patterns, names in _sides(grant, act, subject))


def _touches(denial: Grant, act: Act, subject: Subject) -> bool:
    """Whether any of the subject lies within the denial's scope. What is not named has a part in every scope.

    A denial that is narrowed to some sites says nothing of what is about assets alone, and the other way round.
    """
    about = ACTS[act].about
    if about == "asset" and not (ANY in denial.groups and ANY in denial.regions):
        return False
    if about == "site" and ANY not in denial.assets:
        return False
    return all(_lies(patterns, names, unnamed=True) for patterns, names in _sides(denial, act, subject))


def _sides(grant: Grant, act: Act, subject: Subject) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What an act is about: (patterns of the grant, names of the subject) of each side."""
    about = ACTS[act].about
    sides: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    if about in ("asset", "both"):
        sides.append((grant.assets, (subject.asset,) if subject.asset else ()))
    if about in ("site", "both"):
        sides += [(grant.groups, subject.groups), (grant.regions, (subject.region,) if subject.region else ())]
    return sides


def _lies(patterns: tuple[str, ...], names: tuple[str, ...], *, unnamed: bool) -> bool:
    return ANY in patterns or (any(matches_one(patterns, name) for name in names) if names else unnamed)


def _on(subject: Subject) -> str:
    """The subject, for people."""
    parts = [f"asset {subject.asset}"] if subject.asset else []
    parts += [f"group {', '.join(subject.groups)}"] if subject.groups else []
    parts += [f"region {subject.region}"] if subject.region else []
    return f"on {', '.join(parts)}" if parts else "on everything"
