"""`make bench-learning`: a site with real models finds out by itself which applications its small model serves.

At the edge SmolLM2-135M, in the cloud Qwen2.5-Coder-0.5B, both run here; nine applications, right answers by code. A
site in mode `shadow` with `advance: auto` gets their traffic until it has certified something; then fresh requests show
what went where, how good the answers were beside all-cloud and all-edge, and whether the promise was kept. In between
it is ended twice, and at last its edge model is replaced. Then the same with the gate on the answer (`cascade`).

Latencies at the edge are those of this machine, with both models and the callers on its few cores; a cloud answer takes
a made way of 0.15 s (`cloud.py`). Quality, loss, shares and cost do not depend on either.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloud
import figures
import models
import phases
from driving import TARGET, standing
from plotting import picture
from site_process import BenchError, Site
from tasks import MODEL, NAMES, Traffic

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
LOSS_MAX, CONFIDENCE = 0.05, 0.9
"""Five points, not two: ten minutes on two cores give a few hundred pairs, and by so many two points can only be shown
of an edge that hardly ever fails. The way is measured here; `make bench-routing` has the volume."""

SEED = "main-1"
HELD_SEED = "held-1"
CONTEXT_TOKENS = 320
BIG = "big"


def site_config(cloud_port: int, *, cascade: bool, threads: int, edge: Mapping[str, Any]) -> dict[str, Any]:
    """The site, as an operator would write it."""
    promising = {
        "targets": [TARGET, BIG],
        "mode": "shadow",
        "advance": "auto",
        "quality": {"loss_max": LOSS_MAX, "confidence": CONFIDENCE},
        "cascade": cascade,
    }
    small = {"engine": "llama.cpp", "slots": len(NAMES), "context_tokens": CONTEXT_TOKENS, "threads": threads}
    big = {
        "url": f"http://127.0.0.1:{cloud_port}/v1",
        "model": BIG,
        "at": "cloud",
        "region": "eu",
        "price": dict(phases.PRICE),
    }
    return {
        "site": "bench",
        "targets": {TARGET: small | dict(edge), BIG: big},
        "models": {MODEL: promising, phases.EDGE_ALONE: {"targets": [TARGET]}},
    }


def cloud_config(file: Path, threads: int) -> dict[str, Any]:
    """The other place: the larger model on its own."""
    slots = {"slots": len(NAMES), "context_tokens": CONTEXT_TOKENS, "threads": threads}
    target = {"engine": "llama.cpp", "model": f"file:{file}", "sha256": models.CLOUD_SHA256, **slots}
    return {"site": "cloud", "targets": {BIG: target}, "models": {BIG: {"targets": [BIG]}}}


@contextlib.contextmanager
def running(folder: Path, config: Mapping[str, Any]) -> Iterator[Site]:
    """A site that is ended at the end, whatever happened."""
    site = Site(folder, config)
    try:
        yield site
    finally:
        site.stop()


@contextlib.contextmanager
def larger(folder: Path, options: argparse.Namespace) -> Iterator[int]:
    """Port of the place that runs the larger model."""
    if options.cloud_port:
        yield options.cloud_port
        return
    with running(folder / "cloud", cloud_config(options.cloud_file, options.threads)) as site:
        yield site.port


def measure(site: Site, record: cloud.Record, model_port: int, options: argparse.Namespace, gate: str) -> phases.Shown:
    """One site from its first request to the last held-out one."""
    is_first = gate == "prompt"
    within_s = options.minutes * 60.0
    with contextlib.closing(cloud.Ahead(record, model_port, Traffic(SEED))) as traffic:
        shown = phases.learn(site, traffic, options.requests, within_s, say, restarts=is_first)
    before = len(site.ledger())
    with contextlib.closing(cloud.Ahead(record, model_port, Traffic(HELD_SEED))) as traffic:
        shown.held = phases.hold_out(site, record, model_port, traffic, options.held, within_s)
        phases.expect(shown.held)
        shown.last = standing(site)
        say(f"held out: {len(shown.held)} requests, {sum(one.is_edge for one in shown.held)} at the edge")
        shown.paid_usd = paid_usd(site.ledger()[before:])
        if is_first and shown.last.number:
            edge = {"model": f"file:{options.cloud_file}", "sha256": models.CLOUD_SHA256}
            other = site_config(options.record_port, cascade=False, threads=options.threads, edge=edge)
            shown.change = phases.change_edge(site, other, traffic, say)
    shown.steps = [entry["body"] for entry in site.ledger() if entry["kind"] == "step"]
    return shown


def one_site(
    folder: Path, record: cloud.Record, model_port: int, options: argparse.Namespace, gate: str
) -> phases.Shown:
    """The whole way of one site, and what the tools make of its ledger."""
    edge = {"model": "smollm2-135m"}
    config = site_config(options.record_port, cascade=gate == "answer", threads=options.threads, edge=edge)
    threading.current_thread().name = f"gate on the {gate}"
    with running(folder / gate, config) as site:
        shown = measure(site, record, model_port, options, gate)
        site.stop()
        site.write(config)
        shown.tools = told(site, config, options.out, f"learning-{gate}")
        if options.keep:
            shutil.copytree(site.store, Path(options.keep) / gate, dirs_exist_ok=True)
    return shown


def paid_usd(entries: Sequence[Mapping[str, Any]]) -> float:
    """What comparing cost, by the ledger."""
    own = [entry["body"] for entry in entries if entry["kind"] == "outcome" and entry["body"].get("purpose")]
    return sum(float(outcome.get("cost_usd", 0.0)) for outcome in own)


def told(site: Site, config: Mapping[str, Any], out: Path, name: str) -> dict[str, Any]:
    """What `ecotone report` and `ecotone replay` make of the ledger of this run.

    Replayed are the rung that the site reached, and all at the edge: what that would cost in quality was measured too.
    """
    common = ("-c", str(site.file), "--model", MODEL)
    done = {
        "page": site.command("report", *common, "--html", str(out / f"{name}.html")),
        "report": site.command("report", *common, "--json"),
    }
    others: list[str] = []
    for mode in ("auto", "edge"):
        model = dict(config["models"][MODEL]) | {"mode": mode, "advance": "manual"}
        others += ["-c", str(site.beside(f"{mode}.yaml", dict(config) | {"models": {MODEL: model}}))]
    done["replay"] = site.command("replay", str(site.store), "--as-recorded", *others, "--model", MODEL, "--json")
    for what in ("report", "replay"):
        (out / f"{name}-{what}.json").write_text(done[what].stdout)
    for what, one in done.items():
        if one.returncode:
            say(f"{what} left with {one.returncode}: {(one.stderr or one.stdout).strip()[:400]}")
    found: dict[str, Any] = {"left_with": {what: one.returncode for what, one in done.items()}, "replay": {}}
    if not done["replay"].returncode:
        for one in json.loads(done["replay"].stdout)["configurations"]:
            found["replay"][one["name"]] = {
                key: [one[key][part] for part in ("mean", "low", "high")] for key in ("edge_share", "loss")
            }
    return found


def say(text: str) -> None:
    """Progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {threading.current_thread().name}: {text}", flush=True)


def run(options: argparse.Namespace) -> int:
    """The whole measurement; 0 where all that was to be shown was."""
    began_s = time.monotonic()
    load = os.getloadavg()[0]
    options.cloud_file = models.cloud_model()
    record = cloud.Record(models.WORK / f"answers-{models.CLOUD_SHA256[:12]}.jsonl", BIG)
    runs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="eco-learning-") as name:
        folder = Path(name)
        with larger(folder, options) as model_port, cloud.serve(record, model_port) as record_port:
            options.record_port = record_port
            with ThreadPoolExecutor(len(options.gates)) as both:
                done = {
                    gate: both.submit(one_site, folder, record, model_port, options, gate) for gate in options.gates
                }
            for gate, found in done.items():
                shown = found.result()
                runs[gate] = figures.of(shown, LOSS_MAX)
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load average": f"{load:.1f} before, {os.getloadavg()[0]:.1f} after",
        "took": f"{(time.monotonic() - began_s) / 60:.1f} minutes",
        "edge": f"SmolLM2-135M-Instruct Q4_1, {options.threads} thread(s)",
        "cloud": f"{models.CLOUD_NAME}, {options.threads} thread(s) of the same machine; {len(record.made_s)} answers "
        f"made, {record.given - len(record.made_s)} of the record, each with a way of {cloud.WAY_S} s",
        "promise": f"loss_max {LOSS_MAX}, confidence {CONFIDENCE}",
        "traffic": f"{len(NAMES)} applications; at most {options.requests} requests to learn from, {options.held} held",
        "command": "make bench-learning" + (f" ARGS='{' '.join(sys.argv[1:])}'" if sys.argv[1:] else ""),
    }
    page = figures.page(runs, about)
    write(options, {"about": about, "runs": runs}, page)
    print(page)
    return 0 if all(is_met for run_ in runs.values() for _, is_met in run_["verdicts"]) else 1


def write(options: argparse.Namespace, found: Mapping[str, Any], page: str) -> None:
    """The report as Markdown, JSON and SVG."""
    name = f"learning-{found['about']['date']}" + ("-quick" if options.quick else "")
    out = options.out
    (out / f"{name}.md").write_text(page + f"\n![What moved, and what it cost]({name}.svg)\n")
    (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / f"{name}.svg").write_text(picture(found["runs"]))
    say(f"wrote {out / name}.md, .json and .svg")


def main() -> int:
    """Reads the options and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_500, help="at most so many requests to learn from")
    parser.add_argument("--held", type=int, default=300, help="held-out requests")
    parser.add_argument("--minutes", type=float, default=20.0, help="most that one part may take")
    parser.add_argument("--threads", type=int, default=1, help="of each model; more only on idle cores")
    parser.add_argument("--cloud-port", type=int, default=0, help="of a site that serves the larger model as `big`")
    parser.add_argument("--gates", nargs="+", choices=("prompt", "answer"), default=("prompt", "answer"))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    parser.add_argument("--keep", help="folder for copies of the sites' stores")
    parser.add_argument("--quick", action="store_true", help="a short run that certifies nothing: does all of it work?")
    options = parser.parse_args()
    if options.quick:
        options.requests, options.held = 170, 20
    if options.quick and options.out == RESULTS:
        options.out = models.WORK
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        return run(options)
    except (BenchError, models.FetchError) as error:
        print(f"bench-learning: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
