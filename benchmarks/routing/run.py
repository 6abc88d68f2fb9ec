"""`make bench-routing`: placement that learns, on labelled data, beside its baselines, in one run.

Writes benchmarks/results/routing-DATE.{md,json}. The data lies outside the repository (`--data`); the definitions stand
in `metrics.py`, each protocol at the head of its file. What is measured is the product's own `Signals`, `Learner` and
`Lessons`. Its few constants were looked for on the mixture, on GSM8K and on MMLU, so the figures to trust most are
those of data that is not here.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Read before numpy is loaded: one thread, so that CPU time is that of one request.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("ECOTONE_ROUTING_DATA", ROOT.parent / "shared" / "data" / "routing"))

SECTIONS = {
    "cost": "Cost of a decision",
    "offline": "Offline: from some labels to a ranking of all others",
    "cascade": "Cascade: the edge's own answer decides",
    "online": "Online: learned from the traffic itself",
    "promise": "The promise",
    "drift": "Drift in mid-stream",
}


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def parse_options(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help=f"where the labelled prompts lie (default {DATA})")
    parser.add_argument("--quick", action="store_true", help="fewer splits, streams and baselines: a few minutes")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"some of {','.join(SECTIONS)} (default all)")
    parser.add_argument(
        "--out", type=Path, help="result files without their endings (default: by date; none with --only)"
    )
    options = parser.parse_args(argv)
    options.only = options.only.split(",")
    unknown = [name for name in options.only if name not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}: there are {', '.join(SECTIONS)}")
    if not options.data.is_dir():
        parser.error(f"{options.data} is no folder. Mend: --data FOLDER, the folder with the labelled prompts")
    return options


def _at(figures: Mapping[str, Any], *path: str) -> float | None:
    found: Any = figures
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return float(found)


def goals(figures: Mapping[str, Any]) -> list[tuple[str, str, float, bool]]:
    """(what, the goal in words, what was found, met) for each goal that this run can speak about."""
    offline, online = ("offline",), ("online",)
    mmlu, mixed = (*offline, "mmlu, 1,500 labels", "Ecotone"), (*offline, "mixture, 1,000 labels")
    p50, p99 = (float("nan"),) * 2
    if "cost" in figures:
        p50, _, p99 = figures["cost"]["both"]
    wanted: list[tuple[str, float, bool, float | None]] = [
        ("MMLU, 1,500 labels: APGR", 0.645, True, _at(figures, *mmlu, "apgr")),
        ("MMLU, 1,500 labels: CPT50", 30.5, False, _at(figures, *mmlu, "cpt50")),
        ("MMLU, 1,500 labels: CPT80", 64.0, False, _at(figures, *mmlu, "cpt80")),
        ("mixture, 1,000 labels: APGR", 0.71, True, _at(figures, *mixed, "Ecotone", "apgr")),
        ("the same with group keys: APGR", 0.735, True, _at(figures, *mixed, "Ecotone, group keys", "apgr")),
        ("online, iid: PGR at 40 % cloud calls", 0.71, True, _at(figures, *online, "iid", "Ecotone, rate", "pgr")),
        ("online, iid: PGR, 2nd half", 0.71, True, _at(figures, *online, "iid", "Ecotone, rate", "pgr_late")),
        (
            "online, task blocks, price: lift",
            0.24,
            True,
            _at(figures, *online, "in task blocks", "Ecotone, price 0.0003", "lift"),
        ),
        (
            "cascade gsm: APGR",
            0.76,
            True,
            _at(figures, "cascade", "gsm", "+ agreement with Qwen2-7B-Instruct too", "apgr"),
        ),
        (
            "cascade gsm: c95",
            43.0,
            False,
            _at(figures, "cascade", "gsm", "+ agreement with Qwen2-7B-Instruct too", "c95"),
        ),
        (
            "cascade crux: APGR",
            0.63,
            True,
            _at(figures, "cascade", "crux", "+ agreement with Qwen2.5-7B-Instruct too", "apgr"),
        ),
        ("signals + prediction: p50, µs", 150.0, False, None if "cost" not in figures else p50),
        ("signals + prediction: p99, µs", 600.0, False, None if "cost" not in figures else p99),
    ]
    return [
        (what, f"{'≥' if is_least else '≤'} {goal:g}", found, found >= goal if is_least else found <= goal)
        for what, goal, is_least, found in wanted
        if found is not None
    ]


def main(argv: Sequence[str]) -> int:
    """Runs the sections, prints the page and writes the results."""
    options = parse_options(argv)
    figures: dict[str, Any] = {}
    pages: list[str] = []
    for name in options.only:
        start = time.process_time()
        lines, figures[name] = importlib.import_module(name).run(options.data, is_quick=options.quick)
        pages += ["", f"### {SECTIONS[name]}", *lines]
        say(f"{name}: {time.process_time() - start:.0f} s of CPU")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    reached = goals(figures)
    head = [
        f"# bench-routing, {today}{' (--quick)' if options.quick else ''}",
        "",
        f"`{platform.machine()}`, Python {platform.python_version()}, one thread. Definitions: `routing/metrics.py`.",
        "",
        "| goal | wanted | found | |",
        "|---|---|---|---|",
        *(
            f"| {what} | {goal} | {found:.3f} | {'met' if is_met else '**not met**'} |"
            for what, goal, found, is_met in reached
        ),
    ]
    page = "\n".join([*head, *pages]) + "\n"
    print(page)
    out = options.out or (RESULTS / f"routing-{today}" if set(options.only) == set(SECTIONS) else None)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{out}.md").write_text(page)
        Path(f"{out}.json").write_text(
            json.dumps({"date": today, "quick": options.quick, "figures": figures}, indent=1)
        )
        say(f"written: {out}.md and {out}.json")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
