"""What the places of a site offer a job that waits, as far as can be told without its content."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Final

import msgspec

from ecotone.flow.site import ModelName, Site
from ecotone.flow.spend import Held
from ecotone.jobs import Chances, Facts
from ecotone.policy import constrain
from ecotone.values import Egress, Findings, Job, Mode, Place, Wish

TOKENS: Final = 256
"""Length of prompt that a prediction is made for: what a job asks is sealed while it waits."""


def facts(site: Site, job: Job, *, stays: bool, mine: tuple[int, int], now_ms: int) -> Facts:
    """All that `jobs.decide` reads.

    Args:
        stays: An attempt showed that policy lets it go to no cloud target.
        mine: Jobs under way at the edge, and in the cloud.
    """
    name = site.names.get(job.model)
    names = name.targets if name is not None else ()
    mode = name.mode if name is not None else Mode.AUTO
    edge = [one for one in _at(site, names, Place.EDGE) if _serves(site, job, one)]
    cloud = [one for one in _at(site, names, Place.CLOUD) if not stays and _may(site, job, one)]
    return Facts(
        now_ms=now_ms,
        deadline_at_ms=job.deadline_at_ms,
        edge=_chances(site, edge, mine[0]),
        cloud=_chances(site, cloud, mine[1]),
        is_edge_last=job.wish is Wish.CLOUD or mode in (Mode.CLOUD, Mode.SHADOW),
    )


def idle_edges(site: Site, mine: int) -> frozenset[str]:
    """The targets at the edge that serve nobody but jobs, and have room for one more."""
    names = _at(site, tuple(site.targets), Place.EDGE)
    has_room = {name for name in names if site.targets[name].load()[0] < site.targets[name].spec.slots}
    return frozenset(name for name in has_room if is_free(site, name, mine))


def is_cloud_down(site: Site) -> bool:
    """Whether any cloud target cannot be reached."""
    return any(is_open(site, name) for name in _at(site, tuple(site.targets), Place.CLOUD))


def crowd(site: Site, model: str, mine: int, *, is_job: bool = False) -> int:
    """How many wait, or would have to as soon as they come, at the targets of the edge that jobs occupy.

    One job gives way to no other one: where a job asks, jobs that wait are not counted.
    A server elsewhere does not tell who waits there: where it is full, and not with jobs alone, that is one.
    """
    name, found = site.names.get(model), 0
    for one in _at(site, name.targets if name is not None else (), Place.EDGE):
        target = site.targets[one]
        active, waiting = target.load()
        waiting += site.load.pressing(one) if is_job else site.load.waiting(one)
        is_full = active > mine and active >= target.spec.slots + target.spec.queue_max
        found += max(waiting, int(is_full))
    return found


def is_free(site: Site, name: str, mine: int) -> bool:
    """Whether a job would be served there now without harm to others."""
    if is_open(site, name):
        return False
    spec = site.targets[name].spec
    active, waiting = site.targets[name].load()
    waiting += site.load.waiting(name)
    if spec.at is Place.EDGE:
        return active <= mine and not waiting
    return active < spec.slots and held(site) is None


def held(site: Site) -> Held | None:
    """Why work that can wait may not go to the cloud now; None: it may."""
    site.spend.turn(site.today())
    return site.spend.held(site.budgets, site.clock.wall_s())


def as_seen(site: Site, model: str, at: Place | None) -> Site:
    """The site as a job sees it that is begun for one place, or for either."""
    site = dataclasses.replace(site, load=site.load.for_jobs())
    name = site.names.get(model)
    if at is None or name is None:
        return site
    targets = tuple(one for one in name.targets if site.targets[one].spec.at is at)
    names: dict[str, ModelName] = dict(site.names)
    names[model] = msgspec.structs.replace(name, targets=targets)
    return dataclasses.replace(site, names=names)


def is_open(site: Site, name: str) -> bool:
    """Whether a target counts as unreachable."""
    condition = site.breakers[name].condition(site.clock.now_s(), in_flight=0, waiting=0)
    return condition.breaker == "open"


def _at(site: Site, names: Sequence[str], place: Place) -> list[str]:
    return [name for name in names if site.targets[name].spec.at is place]


def _serves(site: Site, job: Job, name: str) -> bool:
    return job.endpoint.value in site.targets[name].spec.endpoints


def _may(site: Site, job: Job, name: str) -> bool:
    """Whether a job may go to a cloud target, by the labels that are known of it."""
    if site.is_cloud_off or job.wish is Wish.EDGE or not _serves(site, job, name):
        return False
    limit = constrain(site.policy, Findings(job.labels), site.targets[name].spec, key=job.key, model=job.model)
    return limit.egress is not Egress.NEVER


def _chances(site: Site, permitted: Sequence[str], mine: int) -> Chances:
    """What the targets of one place offer, the best of each."""
    estimates = [
        site.speeds.predict(
            name, prompt_tokens=TOKENS, output_tokens_max=None, price=site.targets[name].spec.price, queue=(0, 0, 1)
        )
        for name in permitted
    ]
    p50_s = min((one.total_s_p50 for one in estimates if one.total_s_p50 is not None), default=0.0)
    p95_s = min((one.total_s_p95 for one in estimates if one.total_s_p95 is not None), default=0.0)
    slots = sum(site.targets[name].spec.slots for name in permitted)
    # Jobs do not queue up behind each other at a target: they wait here.
    is_any_free = mine < slots and any(is_free(site, name, mine) for name in permitted)
    is_cloud = any(site.targets[name].spec.at is Place.CLOUD for name in permitted)
    shut = held(site) if is_cloud else None
    return Chances(
        bool(permitted), is_any_free, p50_s * 1e3, p95_s * 1e3,
        0 if shut is None else math.ceil(shut.until_s * 1e3), "" if shut is None else shut.reason,
    )  # fmt: skip
