"""`make bench-gateway`: direct, nginx, Ecotone and LiteLLM against one fast fake upstream, in one go.

See benchmarks/README.md for what each figure means.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import contenders
import machine
import reporting
from contenders import CONTENDERS, Contender, SetupError
from measuring import QUICK, SECTIONS, Block, Plan, measure
from processes import INSTRUMENT_CORE, Processes
from starting import start_upstream

RESULTS = contenders.HERE.parent / "results"


def parse_options(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ",".join(CONTENDERS)
    parser.add_argument("--contenders", default=names, help=f"some of {names} (default all; direct is always in)")
    parser.add_argument("--rounds", type=int, help="rounds, contenders interleaved (default 3)")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="measure only this section (may be repeated)")
    parser.add_argument("--out", type=Path, help=f"where the report goes (default {RESULTS}; partial runs: .work)")
    options = parser.parse_args(argv)
    options.contenders = list(dict.fromkeys(["direct", *options.contenders.split(",")]))
    unknown = [name for name in options.contenders if name not in CONTENDERS]
    if unknown:
        parser.error(f"no such contender: {', '.join(unknown)} (there are {names})")
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.only = options.only or list(SECTIONS)
    return options


def build_instruments() -> None:
    """Compiles upstream and load.

    Raises:
        SetupError: there is no gcc, or it fails.
    """
    contenders.WORK.mkdir(parents=True, exist_ok=True)
    for name in ("upstream", "load"):
        source, binary = contenders.HERE / f"{name}.c", contenders.WORK / name
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"]
        contenders.run_tool(["gcc", *flags, "-o", str(binary), str(source)], 60)


def find_versions(names: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Versions of the contenders that are there (installed if need be), and the reasons of those that are not."""
    versions, missing = {}, {}
    for name in names:
        try:
            versions[name] = CONTENDERS[name].version()
        except SetupError as error:
            missing[name] = str(error)
    return versions, missing


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def run_rounds(options: argparse.Namespace, chosen: Sequence[Contender], plan: Plan) -> list[dict[str, Block]]:
    """All rounds, contenders in turn; each round begins with another one, so that no one always runs first."""
    rounds = []
    with Processes() as processes:
        upstream_port = start_upstream(processes, plan.chunks)
        for number in range(options.rounds):
            turn = number % len(chosen)
            this_round = {}
            for contender in [*chosen[turn:], *chosen[:turn]]:
                began_s = time.monotonic()
                block = measure(processes, contender, upstream_port, plan, options.only)
                this_round[contender.name] = block
                notes = "".join(f"\n    {note}" for note in block.notes)
                say(f"round {number + 1}/{options.rounds} {contender.name}: {time.monotonic() - began_s:.0f} s{notes}")
            rounds.append({contender.name: this_round[contender.name] for contender in chosen})
            reporting.add_differences(rounds[-1])
    return rounds


def build_result(options: argparse.Namespace) -> dict[str, Any]:
    """Measures, and returns everything that the report shows."""
    build_instruments()
    began_s, load_before = time.monotonic(), machine.load_average()
    versions, missing = find_versions(options.contenders)
    for name, reason in missing.items():
        say(f"{name} is left out: {reason}")
    plan = QUICK if options.quick else Plan()
    rounds = run_rounds(options, [CONTENDERS[name] for name in versions], plan)
    for name, reason in missing.items():
        rounds[0][name] = Block(notes=[f"FAILED: {reason}"])
    summary, shares = reporting.summarise(rounds), reporting.ratios(rounds)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "is_quick": options.quick,
        "sections": options.only,
        "plan": asdict(plan),
        "machine": machine.describe(),
        "load_average_before": load_before,
        "load_average_after": machine.load_average(),
        "took_s": time.monotonic() - began_s,
        "versions": versions,
        "summary": summary,
        "ratios": shares,
        "goals": reporting.verdicts(summary, shares, len(rounds)),
        "rounds": [{name: asdict(block) for name, block in this_round.items()} for this_round in rounds],
    }


def write_report(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Writes the JSON and Markdown files and prints the page."""
    is_whole = set(options.contenders) == set(CONTENDERS) and set(options.only) == set(SECTIONS)
    directory: Path = options.out or (RESULTS if is_whole else contenders.WORK)
    directory.mkdir(parents=True, exist_ok=True)
    name = f"gateway-{result['date']}" + ("-quick" if options.quick else "") + ("" if is_whole else "-partial")
    text = reporting.page(result)
    (directory / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    (directory / f"{name}.md").write_text(text)
    print(text)
    print(f"written: {directory / name}.json and .md")


def main() -> int:
    """Exit code 0: measured; 2: the instruments cannot be built or started."""
    options = parse_options(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.sched_setaffinity(0, {INSTRUMENT_CORE})
    try:
        result = build_result(options)
    except SetupError as error:
        say(f"bench-gateway: {error}")
        return 2
    write_report(options, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
