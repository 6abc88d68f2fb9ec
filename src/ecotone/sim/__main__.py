"""`python -m ecotone.sim`: many histories, one a seed; a broken one is printed with the seed that replays it."""

from __future__ import annotations

import sys
import time
from collections import Counter

import click

from ecotone.sim import backlog_checks, classroom_checks, fleet
from ecotone.sim.fleet_world import drawn_scenario
from ecotone.sim.history import BrokenError, jobs_reached, lessons_reached, run
from ecotone.values import reasons as why


@click.command()
@click.option("--histories", default=2000, show_default=True, help="How many histories to run.")
@click.option("--seed", default=0, show_default=True, help="Seed of the first; the next ones count up.")
@click.option("--fleets", type=int, help="How many histories of a fleet; a fortieth of the others, if not said.")
@click.option("--cover/--no-cover", default=True, help="Fail unless every ending was reached.")
def main(histories: int, seed: int, fleets: int | None, cover: bool) -> None:
    """Runs histories of the corridor, and of fleets, on virtual time and checks the invariants on each.

    Replay one: python -m ecotone.sim --histories 1 --fleets 0 --seed N --no-cover, or --histories 0 --fleets 1
    """
    endings: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    jobs: Counter[str] = Counter()
    lessons: Counter[str] = Counter()
    broken = 0
    began_s = time.monotonic()
    for number in range(seed, seed + histories):
        try:
            history = run(number)
        except BrokenError as error:
            broken += 1
            click.echo(str(error), err=True)
            continue
        for outcome in history.telemetry.outcomes:
            endings[outcome.ending] += 1
            reasons[outcome.reason] += 1
        jobs += jobs_reached(history)
        lessons += lessons_reached(history)
    fleets = histories // 40 if fleets is None else fleets
    in_fleets, broken_fleets = _fleets(seed, fleets)
    click.echo(f"endings: {dict(endings.most_common())}")
    click.echo(f"reasons: {dict(reasons.most_common())}")
    click.echo(f"jobs: {dict(jobs.most_common())}")
    click.echo(f"lessons: {dict(lessons.most_common())}")
    click.echo(f"fleets: {dict(in_fleets.most_common())}")
    missed = sorted(
        (set(why.ENDINGS) - {"internal"} - set(endings))
        | (set(why.REASONS) - set(reasons))
        | (backlog_checks.MUST_REACH - set(jobs))
        | (classroom_checks.MUST_REACH - set(lessons))
        | (fleet.MUST_REACH - set(in_fleets) if fleets else set())
    )
    if cover and missed:
        click.echo(f"never reached: {', '.join(missed)}", err=True)
    took_s = time.monotonic() - began_s
    passed, broken = histories + fleets - broken - broken_fleets, broken + broken_fleets
    click.echo(f"{passed} passed, {broken} failed ({sum(endings.values())} requests, {took_s:.1f} s)")
    sys.exit(1 if broken or (cover and missed) else 0)


def _fleets(seed: int, fleets: int) -> tuple[Counter[str], int]:
    """(What histories of fleets reached, how many are broken)."""
    found: Counter[str] = Counter()
    broken = 0
    for number in range(seed, seed + fleets):
        try:
            found += fleet.reached(fleet.run(drawn_scenario(number), number))
        except AssertionError as error:
            broken += 1
            click.echo(f"fleet of seed {number}: {error}", err=True)
    return found, broken


if __name__ == "__main__":
    main()
