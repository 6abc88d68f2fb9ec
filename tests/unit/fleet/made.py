"""Wishes, reports and views for tests of the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ecotone.fleet import waves
from ecotone.fleet.evidence import compared
from ecotone.fleet.release import Gate, Plan, Wave, rank
from ecotone.values.fleet import AssetReport, AssetState, Figures, MachineReport, Report, Terms

NEW = "ab" * 32
OTHER = "cd" * 32
OLD = "00" * 32
HOUR_S = 3600.0


class Wished(msgspec.Struct, frozen=True, kw_only=True):
    """A wish, as the director signs one."""

    name: str = "ward"
    version: str = "2"
    sha256: str = NEW
    attempt: int = 0
    terms: Terms | None = Terms()


def plan(*waves_: Wave, gate: Gate | None = None, **also: Any) -> Plan:
    return Plan(
        id="r1",
        name="ward",
        version="2",
        digests=(NEW, OTHER),
        waves=waves_ or (Wave(count=4), Wave(share=1.0)),
        gate=gate or Gate(hours_min=4, requests_min=100, reports_min=2, decided_share=0.6),
        **also,
    )


def figures(requests: int = 100, errors: int = 0, *, hours: float = 2.0, **also: Any) -> Figures:
    return Figures(hours=hours, requests=requests, errors=errors, **also)


def told(state: AssetState, **also: Any) -> AssetReport:
    given = {"name": "ward", "version": "2", "kind": "model", "sha256": NEW, "state": state} | also
    return AssetReport(**given)


def report(*assets: AssetReport, seq: int = 1, **also: Any) -> Report:
    given: dict[str, Any] = {
        "site": "s",
        "seq": seq,
        "made_s": 1.0,
        "assets": assets,
        "machine": MachineReport(arch="x86_64", memory_bytes=16 << 30),
    }
    return Report(**(given | also))


def site(name: str, state: AssetState | None = None, **also: Any) -> waves.SiteView:
    """A site of release `r1`: wished where it told something."""
    given: dict[str, Any] = {
        "site": name,
        "rank": rank("r1", name),
        "machine": "x86_64/16g",
        "is_wished": state is not None,
        "state": state,
        "heard_s": 1e9,
    }
    if state in ("trying", "good", "failed"):
        given["compared"] = compared(figures(), figures(1000), Terms())
    return waves.SiteView(**(given | also))


def fleet(n: int, *states: AssetState | None) -> list[waves.SiteView]:
    """`n` sites, those of the lowest rank first, and of these the first in the given states."""
    names = sorted((f"s{number}" for number in range(n)), key=lambda name: rank("r1", name))
    given: Sequence[AssetState | None] = (*states, *[None] * (n - len(states)))
    return [site(name, state) for name, state in zip(names, given, strict=True)]
