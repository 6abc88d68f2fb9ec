"""`make soak`: a real site at moderate load for an hour; callers leave, targets fail. Does anything grow?"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from load import Load
from report import page
from slopes import FAIL, OPEN, judge
from watched import Site

HERE: Final = Path(__file__).resolve().parent
WORK: Final = HERE.parent / ".work"

from world import Server  # noqa: E402 - `load` has made its folder known

WARM: Final = (24_000, 60.0)
"""Requests of the warm-up, and how many a second. They fill what is bounded by a count: 20,000 pieces of text that were
looked at by each detector, 8,192 permits that were used, the shapes and words that the patterns have met."""
WARM_SMALL: Final = (900, 30.0)
"""The same where these memories hold a fortieth."""
SETTLE_S: Final = 20.0
"""After the warm-up, before the window: what its higher rate took is given back."""
SAMPLES: Final = 600
HANGS_MAX: Final = 0.005
"""Share of callers who may hear nothing a second after their deadline, on a machine that others fill."""
REST_S: Final = 15.0
"""After the last caller: connections to targets are kept for a while, and nothing else."""


async def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole run."""
    # Connections that callers and targets tear are no news of the loop's.
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    loop.set_exception_handler(lambda loop, context: None)
    assert this is not None, "within a task"
    loop.add_signal_handler(signal.SIGTERM, this.cancel)  # the site is not left behind
    cloud, edge = Server(first_s=0.03), Server(gap_s=0.015)
    ports = []
    for server in (cloud, edge):
        made = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        ports.append(made.sockets[0].getsockname()[1])
    detectors = ["patterns"] if options.small else ["patterns", "names", "topics"]
    site = Site(folder, (ports[0], ports[1]), is_small=options.small, detectors=detectors, has_learned=options.learn)
    try:
        await site.ready()
        load = Load(site.port, cloud, options.seed, has_local=site.has_local, has_learned=options.learn)
        found = await _watched(options, load, site)
    except BaseException:
        sys.stderr.write((folder / "log").read_text()[-2000:])
        raise
    finally:
        code = site.stop()
    return found | {
        "exit_code": code,
        "detectors": detectors,
        "has_local": site.has_local,
        "has_learned": options.learn,
    }


async def _watched(options: argparse.Namespace, load: Load, site: Site) -> dict[str, Any]:
    """Load and samples, side by side."""
    start, window_s = await site.sample(), options.minutes * 60
    warm = WARM_SMALL if options.small else WARM
    warm = (options.warm or warm[0], warm[1])
    began_s = time.monotonic()
    task = asyncio.create_task(load.run(warm, options.rate, window_s))
    samples: list[dict[str, float]] = []
    pause_s = max(0.5, window_s / SAMPLES)
    while not task.done():
        one = {"at_s": round(time.monotonic() - began_s, 2), "sent": float(load.sent), **await site.sample()}
        if not task.done():
            samples.append({name: round(value, 4) for name, value in one.items()})
        await asyncio.wait({task}, timeout=pause_s)
    await task
    warm_s = load.began_s - began_s + min(SETTLE_S, window_s / 10)
    samples = [one for one in samples if one["at_s"] < load.began_s - began_s + window_s]
    await asyncio.sleep(REST_S)
    rest = await site.sample()
    kept = await site.tell(is_end=True)
    return {
        "minutes": options.minutes, "rate": options.rate, "seed": options.seed, "warm": warm,
        "warm_s": round(warm_s, 1), "requests": load.sent, "ends": dict(load.ends),
        "whys": dict(load.whys.most_common(12)), "at_start": start, "at_rest": rest, "kept": kept,
        "after_giving_back": await site.sample(), "samples": samples,
    }  # fmt: skip


def faults(found: dict[str, Any]) -> list[str]:
    """What was wrong with a run, in words; none where all is well."""
    wrong = [f"{one['name']} grows" for one in found["trends"] if one["verdict"] == FAIL]
    wrong += [f"{one['name']}: {OPEN}" for one in found["trends"] if one["verdict"] == OPEN]
    start, rest = found["at_start"], found["at_rest"]
    if rest["in_flight"]:
        wrong.append(f"{rest['in_flight']:.0f} requests in flight at rest")
    if rest["tasks"] > start["tasks"] + 2:
        wrong.append(f"{rest['tasks']:.0f} tasks at rest, {start['tasks']:.0f} at the start")
    if found["ends"].get("unexplained"):
        wrong.append("errors that nobody explained")
    if found["ends"].get("hangs", 0) > HANGS_MAX * found["requests"]:
        wrong.append(f"{found['ends']['hangs']} callers gave up waiting")
    if found["exit_code"] != 0:
        wrong.append(f"the site ended with {found['exit_code']}")
    return wrong


def verdict(found: dict[str, Any]) -> dict[str, Any]:
    """A run with its trends and faults, from its samples after the warm-up."""
    window = [one for one in found["samples"] if one["at_s"] >= found["warm_s"]]
    found["trends"] = [trend.told() for trend in judge(window, found["minutes"])]
    return found | {"faults": faults(found)}


def main(argv: list[str] | None = None) -> int:
    """Measures, writes JSON and Markdown; 1 where something grows or cannot be told from growth."""
    options = _options(argv)
    began = datetime.datetime.now(datetime.UTC)
    if options.judge is not None:
        found = verdict(json.loads(options.judge.read_text()))
        file = options.judge
    else:
        WORK.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="soak-", dir=WORK) as folder:
            found = asyncio.run(soak(options, Path(folder)))
        found |= {"date": began.isoformat(timespec="minutes"), "load": [round(one, 2) for one in os.getloadavg()]}
        found = verdict(found)
        out = options.out or (WORK.parent / "results" if options.minutes >= 30 else WORK)
        out.mkdir(parents=True, exist_ok=True)
        file = out / f"soak-{began:%Y-%m-%d}{options.name}.json"
    file.write_text(json.dumps(found) + "\n")
    file.with_suffix(".md").write_text(page(found))
    print(page(found))
    return int(bool(found["faults"]))


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="after the warm-up")
    parser.add_argument("--rate", type=float, default=12.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--small", action="store_true", help="no engine, patterns only, small memories")
    parser.add_argument("--learn", action="store_true", help="a model name that promises quality is asked too")
    parser.add_argument("--warm", type=int, help="requests of the warm-up, where it shall not fill all memories")
    parser.add_argument("--name", default="", help="added to the name of the results: --name=-learning")
    parser.add_argument("--out", type=Path, help="folder for results; default: results, or .work below half an hour")
    parser.add_argument("--judge", type=Path, help="measure nothing: judge the samples of this JSON anew")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
