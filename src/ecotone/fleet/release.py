"""A release: which version, to which sites in which order, and what each wave must show before the next begins."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ecotone.values.fleet import Amount, Count, Digest, Name, Terms, Version

__all__ = ["WAVES_MAX", "Gate", "Plan", "Wave", "rank"]

WAVES_MAX: Final = 32

Share = Annotated[float, Meta(ge=0, le=1)]
Few = Annotated[int, Meta(ge=1, le=1 << 30)]


class Wave(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One step: it holds the sites of the steps before, and these.

    Attributes:
        share: Of all sites of the release, those of the lowest rank.
        count: The same in sites.
        group: All sites of a group.
    """

    share: Annotated[float, Meta(gt=0, le=1)] | None = None
    count: Few | None = None
    group: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z")] | None = None

    def __post_init__(self) -> None:
        if [self.share, self.count, self.group].count(None) != 2:
            raise ValueError("a wave is one of share, count and group")


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the open waves must show before the next one is opened. Only sites that told of this version are counted.

    Attributes:
        good_share: Least share of good ones among the sites at which its trial is over.
        bad_max, bad_share: It is halted at so many failed sites, if they are such a share of those that used it.
            It is also halted at `bad_max` failed sites of one kind of machine, if chance alone shows so many once in a
            thousand where `bad_share` fail.
        hours_min: A wave is open for at least so long.
        requests_min: All sites together answered at least so many requests with it.
        reports_min: Its trial is over at least at so many sites, or at all of them.
        decided_share: The same as a share of the sites that are heard and can use it. The last wave waits for all.
        refused_share: Most of those that told that cannot use it (no room, no such machine, not verified).
        silent_hours: A site that was not heard for so long is not waited for.
        hours_max: A wave that has not come through by then goes on if all it lacks is time, requests or sites that
            still fetch; else it is paused, and a person looks.
    """

    good_share: Share = 0.9
    bad_max: Few = 3
    bad_share: Share = 0.02
    hours_min: Amount = 4.0
    requests_min: Count = 500
    reports_min: Few = 3
    decided_share: Share = 0.8
    refused_share: Share = 0.5
    silent_hours: Amount = 72.0
    hours_max: Amount = 336.0

    def __post_init__(self) -> None:
        if self.hours_max < self.hours_min:
            raise ValueError("hours_max is less than hours_min: a wave cannot end before it may")


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of a release that does not change.

    Attributes:
        id: Its own: it decides which sites come first, so that these are others in each release.
        digests: SHA-256 of the manifests of all variants of the version.
        attempt: Of its wishes: higher than any at which one of them failed, or the sites refuse it.
        scouts_share: Of all sites, at most so many more belong to a first wave that is a share or a number, so that it
            has `gate.bad_max` of each kind of machine.
        sites_per_look: Most wishes that one look signs: those who fetch shall not come all at once.
    """

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    name: Name
    version: Version
    digests: Annotated[tuple[Digest, ...], Meta(min_length=1, max_length=16)]
    attempt: Count = 0
    waves: Annotated[tuple[Wave, ...], Meta(min_length=1, max_length=WAVES_MAX)] = (
        Wave(share=0.01),
        Wave(share=0.1),
        Wave(share=0.4),
        Wave(share=1.0),
    )
    gate: Gate = Gate()
    terms: Terms = Terms()
    scouts_share: Share = 0.05
    sites_per_look: Few = 500


def rank(release: str, site: str) -> float:
    """Where a site stands in the order of a release, 0 <= rank < 1: the same for ever, whatever sites come and go."""
    digest = hashlib.blake2b(f"{release}\n{site}".encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / (1 << 48)
