"""The report of a soak, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PROTOCOL: Final = """\
A real site, its detectors' worker and its engine; the cloud fails by turns (503, 429, a web page, answers that stall),
15 % of the callers leave, 5 % send jobs, which are forgotten after a minute and a half. The warm-up is counted in
requests, so that all memories that are bounded by a count are full before the window begins. Megabytes are anonymous
and swapped memory of each process (`smaps_rollup`), and blocks on the disk. `blocks` counts Python's live allocations
in the site, `tasks` those of its event loop.

Rise: the least squares slope over medians of eight batches, of counts over their lowest tenths, times the window; its
95 % interval by Student's t with six degrees of freedom. A series is steady where the interval ends below the
tolerance, grows where it begins above it, and is not told apart in between, which counts as a failure too. The ledger
tells of every request: its share of one may not grow."""
COLUMNS: Final = ("series", "level", "rise in the window", "95 % interval", "tolerance", "verdict")


def page(found: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    small = " --small" * (found["detectors"] == ["patterns"]) + " --learn" * found.get("has_learned", False)
    how = (
        f"{found['date']}; {found['warm'][0]} requests of warm-up at {found['warm'][1]:g}/s, then {found['minutes']:g} "
        f"minutes at {found['rate']:g}/s; load average at the end {found['load']}. "
        f"Command: `benchmarks/soak/run.py --minutes {found['minutes']:g} --rate {found['rate']:g}{small}`."
    )
    lines = ["# Soak: does anything grow?", "", how, "", PROTOCOL, ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for one in found["trends"]:
        lines.append(
            f"| {one['name']} | {one['level']:,.2f} | {one['rise']:+,.2f} | {one['low']:+,.2f} … {one['high']:+,.2f} "
            f"| {one['allowed']:,.2f} | {one['verdict']} |"
        )
    steady = found["samples"][-1]["sent"] - found["warm"][0]
    memory = [one for one in found["trends"] if one["name"] == "site_mb"]
    lines += ["", f"Requests: {found['requests']}; how they ended: {found['ends']} {found['whys']}."]
    if memory and steady > 0:
        share = memory[0]["high"] * 1e6 / steady
        lines.append(f"The site's memory rose by at most {share:.0f} bytes a request (upper bound of the interval).")
    lines += ["", f"At the start: {_told(found['at_start'])}.", f"At rest: {_told(found['at_rest'])}."]
    lines.append(f"At rest, when collector and allocator had given back: {_told(found['after_giving_back'])}.")
    lines += ["", f"Faults: {'; '.join(found['faults']) or 'none'}."]
    return "\n".join(lines) + "\n"


def _told(held: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,.2f}".removesuffix(".00") for name, value in held.items())
