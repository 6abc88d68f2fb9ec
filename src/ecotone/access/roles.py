"""Roles: which acts there are at a hub, what each is about, and which role may do it. One table to read."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, Literal, get_args

import msgspec

__all__ = ["ACTS", "ROLES", "Act", "Role", "What"]

Role = Literal["owner", "publisher", "releaser", "operator", "auditor", "reader"]
Act = Literal[
    "fleet.read", "asset.read", "asset.publish", "asset.withdraw", "release.start", "release.pause", "release.resume",
    "release.abort", "site.assign", "site.pin", "site.enroll", "site.label", "site.revoke", "hub.sign", "hub.collect",
    "acts.read", "people.read", "people.change", "grant.change",
]  # fmt: skip
About = Literal["asset", "site", "both", "hub"]


class What(msgspec.Struct, frozen=True):
    """What an act is about, which decides what of a grant's scope it is held against.

    Attributes:
        about: `asset`: the asset's name alone. `site`: the site's groups and region alone. `both`. `hub`: all of it, so
            that only a grant without any narrowing will do.
        words: What it is, for people.
    """

    about: About
    words: str


ACTS: Final = MappingProxyType[Act, What](
    {
        "fleet.read": What("site", "see sites, health, releases and figures"),
        "asset.read": What("asset", "see assets, their cards and versions"),
        "asset.publish": What("asset", "upload and announce versions (a publisher's key signs them)"),
        "asset.withdraw": What("asset", "withdraw a version"),
        "release.start": What("both", "start a release of an asset to sites"),
        "release.pause": What("both", "pause a release"),
        "release.resume": What("both", "resume a release"),
        "release.abort": What("both", "abort a release"),
        "site.assign": What("both", "say what a site shall have, without a release"),
        "site.pin": What("both", "pin a version at a site, and unpin it"),
        "site.enroll": What("site", "make and revoke enrolment tokens"),
        "site.label": What("site", "change groups, region and labels of a site"),
        "site.revoke": What("site", "revoke a site"),
        "hub.sign": What("hub", "sign anew what is newest"),
        "hub.collect": What("hub", "collect garbage, seal objects anew"),
        "acts.read": What("hub", "read and export the ledger of acts"),
        "people.read": What("hub", "see people, keys, grants and confinements"),
        "people.change": What("hub", "add and remove people, make and revoke their keys"),
        "grant.change": What("hub", "give and take grants and confinements"),
    }
)
"""Act -> what it is about."""

_SEEING: Final[frozenset[Act]] = frozenset({"fleet.read", "asset.read"})

ROLES: Final = MappingProxyType[Role, frozenset[Act]](
    {
        "owner": frozenset(get_args(Act)),
        "publisher": frozenset({*_SEEING, "asset.publish", "asset.withdraw"}),
        "releaser": frozenset(
            {*_SEEING, "release.start", "release.pause", "release.resume", "release.abort", "site.assign", "site.pin"}
        ),
        "operator": frozenset(
            {*_SEEING, "release.pause", "release.abort", "site.pin", "site.enroll", "site.label", "site.revoke"}
            | {"hub.sign", "hub.collect"}
        ),
        "auditor": frozenset({*_SEEING, "acts.read", "people.read"}),
        "reader": _SEEING,
    }
)
"""Role -> its acts. An operator may stop a release and not start one; an auditor sees all and changes nothing."""
