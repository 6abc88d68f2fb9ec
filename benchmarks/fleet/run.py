"""Releases to a made fleet: who is ever on a bad version, how long a good one takes, what it asks of the hub.

    make bench-fleet                         (ARGS=--quick: a small fleet; ARGS=--all: more seeds)

Every decision is the code that sites and hubs run (`ecotone.fleet`): trials, what a site takes, waves, gates. Links,
machines, traffic, versions and time are made (`ecotone.sim.fleet`), the same for the same seed. Every history is also
checked: no site runs what was not signed for it, goes below what it knows, or tries again what failed.

It takes some six minutes of one core (`--all`: half an hour), and writes `results/fleet-DATE.md`, `.json` and `.svg`.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parent))

import plotting

from ecotone.fleet import trial, waves
from ecotone.fleet.release import Gate, Wave
from ecotone.sim.fleet import FleetHistory, Outcome, outcome, run
from ecotone.sim.fleet_links import KINDS
from ecotone.sim.fleet_world import AT_ONCE, CAREFUL, MACHINES, OLD, Fault, Scenario, Wished
from ecotone.values.fleet import Figures, Terms

TODAY = datetime.datetime.now(datetime.UTC).date()
RESULTS = Path(__file__).parents[1] / "results"
RARE = (("aarch64", 8),)
"""Where most bad versions show: 7 % of the sites."""
FAULTS = {
    "errors": (Fault("errors", RARE), "a fifth of the requests fail on 7 % of the sites"),
    "crashes": (Fault("crashes", RARE), "the engine dies once in 40 requests on 7 %"),
    "latency": (Fault("latency", RARE), "the first token takes three times as long on 7 %"),
    "boots": (Fault("boots", RARE), "the site does not come up with it on 7 %"),
    "subtle": (Fault("subtle"), "three requests in a hundred more fail, everywhere"),
    "subtle, rare": (Fault("subtle", RARE), "three requests in a hundred more fail on 7 %"),
}
WORLD = (
    "A model of 4.3 GB (2.1 GB where memory is short), a delta of 18.33 % for nine sites in ten. 1 % of the sites "
    "hold their version fast. Three reports in a hundred are lost, three doubled, two late; the hub dies in 2 % of "
    "its looks, half-way through signing; sites restart every 20 days."
)
IDLE = (
    "They ask for news every 55 s while the link is up, for a session and with a report every 15 min. Busiest second "
    "and hour are those of releases alone. *One look*: CPU of `waves.decide` over all sites."
)
DIALS: Mapping[str, Mapping[str, Any]] = {
    "as it comes": {},
    "first wave 5 %": {"waves": (Wave(share=0.05), *CAREFUL[2:])},
    "two waves, 10 % and all": {"waves": (Wave(share=0.1), Wave(share=1.0))},
    "no scouts": {"scouts_share": 0.0},
    "decided_share 0.6": {"gate": Gate(decided_share=0.6)},
    "decided_share 0.95": {"gate": Gate(decided_share=0.95)},
    "hours_min 24": {"gate": Gate(hours_min=24.0)},
    "bad_max 1": {"gate": Gate(bad_max=1)},
    "trial of 24 h": {"terms": Terms(hours_min=24.0)},
}


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--quick", action="store_true", help="A small fleet: about half a minute of one core.")
    asked.add_argument("--all", action="store_true", help="More seeds, and every row with all sites: half an hour.")
    asked.add_argument("--sites", type=int)
    asked.add_argument("--out", type=Path)
    given = asked.parse_args()
    sites, seeds = given.sites or (400 if given.quick else 10_000), (1,) if given.quick or not given.all else (1, 2, 3)
    out = given.out or (RESULTS if not given.quick else Path(__file__).parents[1] / ".work" / "fleet")
    out.mkdir(parents=True, exist_ok=True)
    began_s = time.perf_counter()
    curves: dict[str, list[tuple[float, float]]] = {}
    said = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.0f}",
        "sites": sites,
        "seeds": list(seeds),
        "good": good(sites, sites if given.all or given.quick else 1000, curves),
        "bad": bad(sites, seeds),
        "sizes": sizes((30, 100, 300) if given.quick else (30, 100, 300, 1000, 3000, 10_000), 10 if given.all else 3),
        "dials": dials(1000 if given.all else 300, 3 if given.all else 2),
        "alarms": alarms(300, 100 if given.all else 5 if given.quick else 30),
        "trials": trials(400 if given.all else 100),
    }
    said["took_s"] = round(time.perf_counter() - began_s)
    stem = f"fleet-{TODAY:%Y-%m-%d}" + ("-quick" if given.quick else "")
    (out / f"{stem}.json").write_bytes(msgspec.json.format(msgspec.json.encode(said)))
    (out / f"{stem}.svg").write_text(plotting.picture(curves, said["sizes"]), encoding="utf-8")
    text = report(said, stem)
    (out / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def made(scenario: Scenario, seed: int) -> tuple[FleetHistory, Outcome]:
    print(f"{scenario.name}, {scenario.sites} sites, seed {seed}", file=sys.stderr, flush=True)
    history = run(scenario, seed)
    return history, outcome(history)


def good(sites: int, others: int, curves: dict[str, list[tuple[float, float]]]) -> list[dict[str, Any]]:
    """A good version: how long it takes, and what it asks of the hub."""
    base = Scenario(name="waves", sites=sites)
    less = msgspec.structs.replace(base, sites=others)
    rows = []
    for scenario in (
        base,
        msgspec.structs.replace(less, name="the hub is away for a day", down=((10.0, 34.0),)),
        msgspec.structs.replace(less, name="at once", waves=AT_ONCE),
        msgspec.structs.replace(less, name="paused for two days", pause=(10.0, 58.0)),
        msgspec.structs.replace(less, name="after a bad one", fault=FAULTS["errors"][0], is_fixed=True),
    ):
        history, found = made(scenario, 1)
        digests = set(history.hub.releases[-1].plan.digests)
        begun_s = history.hub.releases[-1].log[0][0]
        ends = [[s.at_s for s in site.steps if s.what == "good" and s.sha256 in digests] for site in history.sites]
        instants = sorted(min(found_s) - begun_s for found_s in ends if found_s)
        curves[scenario.name] = [(at_s, (n + 1) / found.can) for n, at_s in enumerate(instants)]
        rows.append(msgspec.to_builtins(found) | {"look_ms": look_ms(history)})
    return rows


def bad(sites: int, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Bad versions: who is ever on one, in waves and all at once."""
    rows = []
    for name, (fault, words) in FAULTS.items():
        for order, steps in (("waves", CAREFUL), ("at once", AT_ONCE)):
            scenario = Scenario(name=f"{name}, {order}", sites=sites, days=40, fault=fault, waves=steps)
            found = [made(scenario, seed)[1] for seed in seeds]
            rows.append({"fault": name, "words": words, "order": order} | summed(found))
    return rows


def sizes(counts: Iterable[int], seeds: int) -> list[dict[str, Any]]:
    """The same bad version in fleets of other sizes."""
    rows = []
    for count in counts:
        for order, steps in (("waves", CAREFUL), ("at once", AT_ONCE)):
            scenario = Scenario(name="errors", sites=count, days=40, fault=FAULTS["errors"][0], waves=steps)
            found = [made(scenario, seed)[1] for seed in range(1, (seeds if count < 3000 else 3) + 1)]
            rows.append({"sites": count, "order": order} | summed(found))
    return rows


def dials(sites: int, seeds: int) -> list[dict[str, Any]]:
    """What each dial of a release changes."""
    rows = []
    for name, also in DIALS.items():
        row: dict[str, Any] = {"dial": name}
        for fault in ("errors", "crashes", "subtle, rare", "good"):
            given = FAULTS[fault][0] if fault != "good" else None
            scenario = Scenario(name=f"{name}, {fault}", sites=sites, days=40, fault=given, **also)
            row[fault] = summed([made(scenario, seed)[1] for seed in range(1, seeds + 1)])
        rows.append(row)
    return rows


def alarms(sites: int, seeds: int) -> dict[str, Any]:
    """Good versions: how often one is halted, and how many sites fail one."""
    found = [made(Scenario(name="good", sites=sites, days=40), seed)[1] for seed in range(1, seeds + 1)]
    return {
        "releases": len(found),
        "sites": sites,
        "states": dict(Counter(one.state for one in found)),
        "failed": sum(one.told.get("failed", 0) for one in found),
        "tried": sum(round(one.ever * one.sites) for one in found),
    }


def summed(found: Sequence[Outcome]) -> dict[str, Any]:
    """Several seeds: medians, and the most."""
    ended = [one.ended_hours for one in found if one.ended_hours is not None]
    late = [hours for one in found if (hours := one.reached_hours["90%"]) is not None]
    return {
        "ever": statistics.median(one.ever for one in found),
        "ever_most": max(one.ever for one in found),
        "ever_hit": statistics.median(one.ever_hit for one in found),
        "hit_hours": statistics.median(one.hit_hours for one in found),
        "ended_hours": statistics.median(ended) if ended else None,
        "reached_90_hours": statistics.median(late) if late else None,
        "states": dict(Counter(f"{one.state} {one.why}" for one in found)),
    }


def trials(rounds: int) -> list[dict[str, Any]]:
    """One site's trial: what becomes of versions that fail so many requests more, at 12 requests an hour and at 200."""
    rng, rows = Random(1), []
    before = Figures(hours=480.0, requests=5760, errors=29, ttft_p50_ms=300, ttft_p95_ms=600)
    former = trial.Former(version=OLD.version, sha256=OLD.sha256, figures=before)
    wish = Wished(version="2", sha256="a" * 64, terms=Terms())
    for per_hour in (2, 12, 200):
        for more in (0.0, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5):
            ended = [_tried(rng, trial.begin(wish, former, 0.0), per_hour, 0.005 + more) for _ in range(rounds)]
            failed = [requests for verdict, requests in ended if isinstance(verdict, trial.Failed)]
            rows.append(
                {
                    "per_hour": per_hour,
                    "more": more,
                    "failed": len(failed) / rounds,
                    "requests": statistics.median(requests for _, requests in ended),
                }
            )
    return rows


def _tried(rng: Random, running: trial.Trial, per_hour: int, share: float) -> tuple[trial.Verdict, int]:
    """(How it ended, requests by then); looked at after each request."""
    requests = errors = 0
    while isinstance(verdict := trial.judge(running), trial.Keep):
        requests += 1
        errors += rng.random() < share
        now = Figures(hours=requests / per_hour, requests=requests, errors=errors, ttft_p50_ms=300, ttft_p95_ms=600)
        running = trial.observed(running, now)
    return verdict, requests


def look_ms(history: FleetHistory) -> float:
    """What one look at a release costs the hub, milliseconds of one core, of seven the least."""
    release = history.hub.releases[-1]
    standing = msgspec.structs.replace(release.standing, state="waiting")
    took = []
    for _ in range(7):
        began_s = time.process_time()
        waves.decide(release.plan, standing, release.views.values(), history.end_s)
        took.append(time.process_time() - began_s)
    return min(took) * 1e3


def hours(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 60:.0f} min" if value < 2 else f"{value:.1f} h" if value < 48 else f"{value / 24:.1f} d"


def report(said: Mapping[str, Any], stem: str) -> str:
    """All of it as a page."""
    kinds = ", ".join(f"{kind.name} {kind.share:.0%}" for kind in KINDS)
    machines = ", ".join(f"{arch} {gibs} GiB {share:.0%}" for arch, gibs, _, share in MACHINES)
    lines = [
        f"# Fleet, {TODAY:%Y-%m-%d}",
        "",
        f"`make bench-fleet`; {said['machine']}; {said['took_s']} s. {said['sites']:,} sites unless said.",
        f"Links: {kinds}. Machines: {machines}. {WORLD}",
        "",
        f"![share of sites over time]({stem}.svg)",
        *_good(said),
        *_bad(said["bad"]),
        *_sizes(said["sizes"]),
        *_dials(said["dials"]),
        *_trials(said),
    ]
    return "\n".join([*lines, ""])


def _good(said: Mapping[str, Any]) -> list[str]:
    lines = [
        "",
        "## A good version",
        "",
        "Times from its start; shares of the sites that can have it: by link, machine and pins. One seed.",
        "",
        "| | 50 % | 90 % | 99 % | release | sites | busiest second | busiest hour | sent | one look |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in said["good"]:
        at = row["reached_hours"]
        lines.append(
            f"| {row['scenario']} | {hours(at['50%'])} | {hours(at['90%'])} | {hours(at['99%'])} | "
            f"{row['state']} | {row['told'].get('good', 0)} of {row['can']} | {row['busiest_s']} requests | "
            f"{row['busiest_mbit_s']:.0f} Mbit/s | {row['pack_bytes'] / 1e12:.2f} TB | {row['look_ms']:.0f} ms |"
        )
    idle = said["good"][0]["idle_requests_per_s"]
    return [
        *lines,
        "",
        f"While nothing is released {said['sites']:,} sites ask for {idle:.0f} requests a second. {IDLE}",
    ]


def _bad(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        "",
        "## Bad versions",
        "",
        "Medians of the seeds. *Those hit*: sites on whose machines it is bad. *Bad use*: hours, over all sites.",
        "",
        "| version | order | ever on it | most | of those hit | bad use | release over after | how |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['words']} | {row['order']} | **{row['ever']:.2%}** | {row['ever_most']:.2%} | "
            f"{row['ever_hit']:.2%} | {row['hit_hours']:.0f} h | {hours(row['ended_hours'])} | {_states(row)} |"
            for row in rows
        ),
    ]


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        "",
        "## Fleets of other sizes",
        "",
        "A fifth of the requests fail on 7 % of the sites. Medians of three seeds or ten (`--all`); *how* counts them.",
        "",
        "| sites | order | ever on it | most | of those hit | release over after | how |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row['sites']:,} | {row['order']} | **{row['ever']:.1%}** | {row['ever_most']:.1%} | "
            f"{row['ever_hit']:.1%} | {hours(row['ended_hours'])} | {_states(row)} |"
            for row in rows
        ),
    ]


def _dials(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        "",
        "## Dials",
        "",
        "300 sites, 1,000 with `--all`. Ever on a bad version; how long a good one takes to 90 %.",
        "",
        "| | errors on 7 % | crashes on 7 % | 3 % more errors on 7 % | good: 90 % after |",
        "|---|---|---|---|---|",
        *(
            f"| {row['dial']} | {row['errors']['ever']:.1%} | {row['crashes']['ever']:.1%} | "
            f"{row['subtle, rare']['ever']:.1%} | {hours(row['good']['reached_90_hours'])} ({_states(row['good'])}) |"
            for row in rows
        ),
    ]


def _trials(said: Mapping[str, Any]) -> list[str]:
    alarm = said["alarms"]
    lines = [
        "",
        "## False alarms",
        "",
        f"{alarm['releases']} releases of a good version to {alarm['sites']} sites each: {alarm['states']}.",
        f"{alarm['failed']} of {alarm['tried']:,} trials failed.",
        "",
        "## One site's trial",
        "",
        "0.5 % of the requests of the version before failed. Share of trials that fail, and median of their requests.",
        "",
        "| more errors | 2 requests an hour | 12 | 200 |",
        "|---|---|---|---|",
    ]
    for more in sorted({row["more"] for row in said["trials"]}):
        cells = [f"{row['failed']:.1%}, {row['requests']:.0f}" for row in said["trials"] if row["more"] == more]
        lines.append(f"| {more:.0%} | " + " | ".join(cells) + " |")
    return lines


def _states(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{state} ×{n}" if n > 1 else state for state, n in row["states"].items())


if __name__ == "__main__":
    main()
