"""What a made fleet is drawn from: machines, traffic, versions and what is wrong with them."""

from __future__ import annotations

import math
from random import Random
from typing import Final, Literal

import msgspec

from ecotone.fleet.release import Gate, Wave
from ecotone.fleet.variants import Variant
from ecotone.values.fleet import Figures, MachineReport, Terms

__all__ = [
    "AT_ONCE",
    "CAREFUL",
    "MACHINES",
    "NEW",
    "OLD",
    "Fault",
    "Nature",
    "Scenario",
    "Wished",
    "binomial",
    "poisson",
]

NAME: Final = "ward"
GIB: Final = 1 << 30


class Wished(msgspec.Struct, frozen=True, kw_only=True):
    """One asset of a wish, as the director signs it."""

    name: str = NAME
    version: str
    sha256: str
    attempt: int = 0
    terms: Terms | None = None
    decode_tok_s_min: float = 0.0


OLD: Final = Wished(version="1", sha256="0" * 64)
NEW: Final = (
    Variant(version="2+q8", sha256="a" * 64, bytes=4 * GIB, memory_bytes=6 * GIB, decode_tok_s_min=4.0),
    Variant(version="2+q4", sha256="b" * 64, bytes=2 * GIB, memory_bytes=3 * GIB, decode_tok_s_min=4.0),
)
DELTA_SHARE: Final = 0.1833
FULL_SHARE: Final = 1.001
"""Bytes on the wire as a share of the file: a fine-tune with 1 % noise against the version before, and without one.
Source: benchmarks/results/transfer-2026-11-26.md."""

MACHINES: Final = (
    ("x86_64", 16, 60e9, 0.48),
    ("x86_64", 32, 80e9, 0.20),
    ("x86_64", 8, 30e9, 0.13),
    ("aarch64", 16, 60e9, 0.07),
    ("aarch64", 8, 25e9, 0.07),
    ("aarch64", 4, 12e9, 0.04),
    ("armv7l", 2, 3e9, 0.01),
)
"""(Architecture, GiB of memory, bytes a second that it reads, share of the sites). The last can run neither variant."""

CAREFUL: Final = (Wave(share=0.01), Wave(share=0.1), Wave(share=0.4), Wave(share=1.0))
AT_ONCE: Final = (Wave(share=1.0),)

FaultKind = Literal["errors", "crashes", "latency", "boots", "subtle"]
FAULTS: Final[tuple[FaultKind, ...]] = ("errors", "crashes", "latency", "boots", "subtle")


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with the new version, and on which machines: (architecture, GiB); none: on all.

    `errors`: a fifth of all requests fail. `crashes`: its engine dies once in 40 requests. `latency`: the first token
    takes three times as long. `boots`: the site does not come up with it. `subtle`: three in a hundred fail more.
    """

    kind: FaultKind
    where: tuple[tuple[str, int], ...] = ()


class Nature(msgspec.Struct, frozen=True):
    """What is drawn once for a site, and never told.

    Attributes:
        clock_off_s: So far its clock is from the truth.
        is_pinned: Somebody there holds the old version fast.
    """

    machine: MachineReport
    requests_per_hour: float
    error_share: float
    p95_ms: float
    clock_off_s: float
    is_pinned: bool


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A history to be made.

    Attributes:
        fault: Of the new version; None: it is good.
        scouts_share: Of its releases.
        down: (From, to) in hours after the start, when the hub cannot be reached.
        pause: The same for a release that somebody pauses and resumes.
        abort: Somebody takes it back so many hours after the start.
        is_fixed: A second release brings another version, which is good: a day after the first was halted, else on the
            third day.
        has_wrong_clocks: Some clocks are years off.
    """

    name: str
    sites: int = 10_000
    days: float = 60.0
    fault: Fault | None = None
    waves: tuple[Wave, ...] = CAREFUL
    gate: Gate = Gate()
    terms: Terms = Terms()
    down: tuple[tuple[float, float], ...] = ()
    pause: tuple[float, float] | None = None
    is_fixed: bool = False
    scouts_share: float = 0.05
    abort: float | None = None
    has_wrong_clocks: bool = True


def drawn_scenario(seed: int) -> Scenario:
    """A small fleet, and anything that can happen to it."""
    rng = Random(f"{seed} scenario")  # noqa: S311 - a made world, not a secret
    where = tuple((arch, gibs) for arch, gibs, *_ in MACHINES if rng.random() < 0.3)
    fault = Fault(rng.choice(FAULTS), where) if rng.random() < 0.6 else None
    from_h = rng.uniform(0, 60)
    return Scenario(
        name="drawn",
        sites=rng.choice((3, 40, 150)),
        days=rng.choice((5.0, 25.0)),
        fault=fault,
        waves=rng.choice((CAREFUL, AT_ONCE, (Wave(count=5), Wave(share=0.5), Wave(share=1.0)))),
        gate=Gate(
            hours_min=rng.choice((0.0, 4.0)),
            requests_min=rng.choice((0, 500)),
            reports_min=rng.choice((1, 3)),
            hours_max=rng.choice((30.0, 336.0)),
        ),
        terms=Terms(hours_min=rng.choice((0.0, 1.0)), hours_max=rng.choice((6.0, 72.0))),
        down=((from_h, from_h + 24.0),) if rng.random() < 0.3 else (),
        pause=(from_h, from_h + 20.0) if rng.random() < 0.3 else None,
        abort=from_h if rng.random() < 0.2 else None,
        is_fixed=rng.random() < 0.4,
        has_wrong_clocks=rng.random() < 0.7,
    )


def nature(rng: Random, *, has_wrong_clocks: bool) -> Nature:
    """Of one site."""
    ((arch, gibs, speed, _),) = rng.choices(MACHINES, [share for *_, share in MACHINES])
    machine = MachineReport(
        cores=4,
        memory_bytes=gibs * GIB,
        arch=arch,
        read_bytes_s=speed * rng.uniform(0.7, 1.3),
        disk_free_bytes=64 * GIB,
    )
    off_s = rng.choice((0.0, 0.0, 0.0, -1.6e9, 3.2e7, -86400.0, 7200.0)) + rng.gauss(0, 5)
    return Nature(
        machine=machine,
        requests_per_hour=min(600.0, math.exp(rng.gauss(math.log(12), 1.1))),
        error_share=min(0.05, math.exp(rng.gauss(math.log(0.004), 0.8))),
        p95_ms=math.exp(rng.gauss(math.log(600), 0.5)),
        clock_off_s=off_s if has_wrong_clocks else 0.0,
        is_pinned=rng.random() < 0.01,
    )


def is_hit(fault: Fault | None, machine: MachineReport) -> bool:
    """Whether the fault shows on this machine."""
    if fault is None:
        return False
    return not fault.where or (machine.arch, machine.memory_bytes // GIB) in fault.where


def before(site: Nature) -> Figures:
    """What the old version did there."""
    requests = round(site.requests_per_hour * 24 * 20)
    return Figures(
        hours=480.0,
        requests=requests,
        errors=round(requests * site.error_share),
        ttft_p50_ms=site.p95_ms / 2.2,
        ttft_p95_ms=site.p95_ms,
        crashes=0,
        memory_bytes=3 * GIB,
    )


def grown(rng: Random, had: Figures, site: Nature, fault: FaultKind | None, hours: float) -> Figures:
    """The figures of the new version after so many hours more."""
    requests = poisson(rng, site.requests_per_hour * hours)
    share = site.error_share + {"errors": 0.2, "subtle": 0.03}.get(fault or "", 0.0)
    crashes = poisson(rng, requests / 40) if fault == "crashes" else 0
    p95_ms = had.ttft_p95_ms or site.p95_ms * math.exp(rng.gauss(0, 0.08)) * (3.0 if fault == "latency" else 1.0)
    return Figures(
        hours=had.hours + hours,
        requests=had.requests + requests,
        errors=had.errors + binomial(rng, requests, share) + crashes,
        ttft_p50_ms=p95_ms / 2.2,
        ttft_p95_ms=p95_ms,
        crashes=had.crashes + crashes,
        memory_bytes=4 * GIB,
    )


def poisson(rng: Random, mean: float) -> int:
    """A number of that mean."""
    if mean > 30:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, n, product = math.exp(-mean), 0, rng.random()
    while product > limit:
        n += 1
        product *= rng.random()
    return n


def binomial(rng: Random, n: int, share: float) -> int:
    """Of n, each with this share."""
    mean = n * share
    if mean > 30:
        return min(n, max(0, round(rng.gauss(mean, math.sqrt(mean * (1 - share))))))
    return min(n, poisson(rng, mean)) if n > 60 else sum(rng.random() < share for _ in range(n))
