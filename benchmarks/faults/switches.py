"""`make faults`: versions come, are tried and gone back from, while everything is killed. Does the site answer?

    .venv/bin/python benchmarks/faults/switches.py [--rounds 200] [--seed 20261126] [--out benchmarks/results]

The rounds and the steps are in `tests/faults/switch`. Leaves with 1 where anything was found that must not be.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT))

from tests.faults.switch.campaign import Round, campaign, summary  # noqa: E402 - the house stands two floors up
from tests.faults.switch.steps import HOWS, SCENARIOS, every  # noqa: E402 - as above

MEANT = {
    "pin": "a version is delivered and switched to by an order at the site; SIGKILL",
    "trial": "a version that waits is switched to and tried; SIGKILL",
    "bad": "the same with a file of an unknown architecture, which is gone back from; SIGKILL",
    "rollback": "an order to go back; SIGKILL",
    "delivery killed": "the delivery is killed as well",
    "ENOSPC": "calls that change files fail (10 % to all) with a full disk's error from some instant on; SIGKILL",
    "EIO": "the same, with a broken disk's error",
    "SIGTERM": "as `pin`, and the site is stopped in order",
    "quiet": "a last life that nothing befalls",
}
DONE = {
    "kill": "SIGKILL",
    "power": "SIGKILL, and what was not synchronised is lost",
    "full": "the disk is full from there",
}
TOP = """\
# Faults: versions that come and go

{at}, {rounds} rounds in {took_min:.0f} minutes, seed {seed}; load average {load_before} before, {load_after} after (2
cores). Command: `{command}`.

## Every step

A process takes a version in from a hub's folder, checks it, switches to it, tries it, calls it good or goes back, and
collects what is left over. It dies at each of its operations on files in turn (or its disk is full from there on); then
`hub:NAME` leads to the old version or to the new one, whole, and the next start comes to the same end.

| what befalls it | version | operations | tried | old / new in force then | torn or undone | faults |
|---|---|---|---|---|---|---|
"""
MIDDLE = """
## Rounds with real sites

In each round a real site with the real engine (98 MB) answers callers who never pause, a delivery in a process of its
own brings a version, and the site switches, tries or goes back; after 0 to 5 s it is killed. In the next life the
model must answer, and what runs must be what `hub:NAME` leads to. Before the kill no request may fail (but where the
disk does). Answers are whole ones, by two callers.

| trouble | rounds | version changed | answers | calls that failed | ready p50 / max, s | faults |
|---|---|---|---|---|---|---|
"""


def page(found: dict[str, Any]) -> str:
    """The report as Markdown."""
    text = TOP.format(took_min=found["took_s"] / 60, **found)
    for one in found["steps"]:
        row = f"| {DONE[one['how']]} | {one['scenario']} | {one['operations']} | {one['tried']}"
        text += f"{row} | {one['old']} / {one['new']} | {one['torn']} | {one['fault'] or 0} |\n"
    text += MIDDLE
    for kind, one in found["kinds"].items():
        row = f"| {kind}: {MEANT[kind]} | {one['rounds']} | {one['changed']} | {one['answers']} | {one['failed_calls']}"
        text += f"{row} | {one['ready_s_p50']} / {one['ready_s_max']} | {one['faults']} |\n"
    text += "\nFound:\n\n" if found["faults"] else "\nNothing was found that must not be.\n"
    return text + "".join(f"- {' '.join(fault.split())[:400]}\n" for fault in found["faults"])


def steps(folder: Path) -> list[dict[str, Any]]:
    """Every step of every way."""
    found = []
    for how in HOWS:
        for scenario in SCENARIOS:
            there = folder / f"{how}-{scenario}"
            there.mkdir()
            row: dict[str, Any] = {"how": how, "scenario": scenario, "fault": ""}
            try:
                row |= msgspec.to_builtins(every(there, scenario, how, 1))
            except AssertionError as error:
                row |= {"operations": 0, "tried": 0, "old": 0, "new": 0, "torn": 0, "fault": str(error)[:300]}
            print(row, flush=True)
            found.append(row)
    return found


def main() -> int:
    """Plays all and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=600.0, help="no round begins after so long")
    parser.add_argument("--seed", type=int, default=20261126)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    began_s, before = time.monotonic(), os.getloadavg()
    os.environ["OLLAMA_MODELS"] = "/nonexistent"

    def told(one: Round) -> None:
        at_s = time.monotonic() - began_s
        print(f"{at_s:6.0f} s  {one.number} {one.kind}: {one.before} -> {one.after}, {one.fault or 'well'}", flush=True)

    with tempfile.TemporaryDirectory(prefix="ecotone-steps-") as folder:
        stepped = steps(Path(folder))
    with tempfile.TemporaryDirectory(prefix="ecotone-switches-") as folder:
        with campaign(Path(folder), options.seed) as rounds:
            rounds.run(options.rounds, told, until_s=began_s + options.minutes * 60)
        found: dict[str, Any] = {
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
            "command": f"benchmarks/faults/switches.py --rounds {options.rounds} --seed {options.seed}",
            "seed": options.seed,
            "took_s": round(time.monotonic() - began_s),
            "load_before": [round(one, 2) for one in before],
            "load_after": [round(one, 2) for one in os.getloadavg()],
            "steps": stepped,
            **summary(rounds),
        }
    found["faults"] += [f"{one['how']} {one['scenario']}: {one['fault']}" for one in stepped if one["fault"]]
    options.out.mkdir(parents=True, exist_ok=True)
    name = options.out / f"switches-{found['at'][:10]}"
    name.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    name.with_suffix(".md").write_text(page(found))
    print(page(found))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
