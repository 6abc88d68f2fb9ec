"""`make faults`: a site is killed 200 times at random instants, in ten kinds of trouble by turns. What was lost?

    .venv/bin/python benchmarks/faults/run.py [--rounds 200] [--seed 20261126] [--out benchmarks/results]

The rounds themselves are in `tests/faults/rounds`. Leaves with 1 where anything was found that must not be.
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

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT))

from tests.faults.rounds.campaign import Round, campaign, summary  # noqa: E402 - the house stands two floors up

MEANT = {
    "kill": "SIGKILL alone",
    "power": "what was not synchronised when the site was killed is new, zero or rubbish, sector by sector",
    "EIO": "calls that change files fail at random (2 % to all), in spells, and as the site is killed",
    "ENOSPC": "the same, with a full disk's error",
    "lying disk": "the last page of the WAL and of the ledger is cut or flipped, although it was synchronised",
    "clock": "the clock jumps by 1 to 20 hours, forth and back",
    "engine killed": "SIGKILL of the engine's worker under load",
    "engine hung": "SIGSTOP of the engine's worker under load",
    "full pipe": "nobody reads standard output and error, and their pipe is full from the first byte",
    "sick start": "calls fail (1 to 30 %) while the site starts",
}


TOP = """\
# Faults: what is lost when a site is killed

{at}, {rounds} rounds in {took_min:.0f} minutes, seed {seed}; load average {load_before} before, {load_after} after (2
cores). Command: `{command}`.

In each round a real site (local engine, a detector with a process of its own, a cloud target and a server on the
premises, both of them instruments) serves streams, JSON, jobs, batches and somebody who follows the events; trouble
comes; SIGKILL at a random instant; the store is used again. After each: no process is left, every body that the cloud
got has its entry on the disk, the ledger verifies, the queue's file is whole. At a store's end: every job and batch
that was acknowledged has ended, once, with its own answer or a reason, and every event that was told is there still.

| trouble | rounds | faults | ready p50 / max, s | orphans gone within, ms | calls that failed | files torn |
|---|---|---|---|---|---|---|
"""
MIDDLE = """
Ready (`/healthz` and `/v1/models`) after {ready[p50]:.2f} s (p50), {ready[p95]:.2f} s (p95), {ready[max]:.2f} s (max).
A site that nothing befalls, in the same run: {quiet[p50]:.2f} s (p50), {quiet[max]:.2f} s (max); ratio of the medians
{ratio:.2f}. Seconds from the engine's trouble to its next answer, where it was waited for: {hit}.

| store | rounds | jobs | how they ended | batches | events told | bodies to the cloud | lost by the lying disk |
|---|---|---|---|---|---|---|---|
"""


def page(found: dict[str, Any]) -> str:
    """The report as Markdown."""
    ready, quiet, kinds = found["ready_s"], found["undisturbed_ready_s"], found["kinds"]
    text = TOP.format(took_min=found["took_s"] / 60, **found)
    for kind, one in kinds.items():
        row = (
            f"| {kind}: {MEANT[kind]} | {one['rounds']} | {one['faults']} | {one['ready_s_p50']} / {one['ready_s_max']}"
        )
        text += f"{row} | {one['orphans_gone_ms_max']} | {one['failed_calls']} | {one['torn']} |\n"
    hit = {kind: one["recovered_s"] for kind, one in kinds.items() if kind.startswith("engine")}
    text += MIDDLE.format(ready=ready, quiet=quiet, ratio=ready["p50"] / quiet["p50"], hit=hit)
    for one in found["stores"]:
        ends = ", ".join(f"{count} {how}" for how, count in sorted(one.get("ends", {"not seen": 1}).items()))
        row = f"| {one['store']} | {one['rounds']} | {one['jobs']} | {ends} | {one['batches']} | {one['events']}"
        text += f"{row} | {one['bodies']} | {one['lost by the medium']} |\n"
    text += "\nFound:\n\n" if found["faults"] else "\nNothing was found that must not be.\n"
    return text + "".join(f"- {' '.join(fault.split())[:400]}\n" for fault in found["faults"])


def main() -> int:
    """Plays the rounds and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20261126)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    began_s, before = time.monotonic(), os.getloadavg()
    print(f"seed {options.seed}", flush=True)

    def told(one: Round) -> None:
        at_s = time.monotonic() - began_s
        print(
            f"{at_s:6.0f} s  {one.number} {one.kind}: ready after {one.ready_s:.2f} s; {one.fault or 'well'}",
            flush=True,
        )

    with tempfile.TemporaryDirectory(prefix="ecotone-rounds-") as folder:
        with campaign(Path(folder), options.seed) as rounds:
            rounds.run(options.rounds, told)
        found: dict[str, Any] = {
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
            "command": f"benchmarks/faults/run.py --rounds {options.rounds} --seed {options.seed}",
            "seed": options.seed,
            "took_s": round(time.monotonic() - began_s),
            "load_before": [round(one, 2) for one in before],
            "load_after": [round(one, 2) for one in os.getloadavg()],
            **summary(rounds),
        }
    options.out.mkdir(parents=True, exist_ok=True)
    name = options.out / f"faults-{found['at'][:10]}"
    name.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    name.with_suffix(".md").write_text(page(found))
    print(page(found))
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
