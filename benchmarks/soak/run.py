"""`make soak`: a real site at moderate load for an hour; callers leave, targets fail. Does anything grow?"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "outage"))
sys.path.append(str(Path(__file__).resolve().parent.parent / "gateway"))

from callers import Ask, Caller
from contenders import KEY, WORK, ecotone_binary
from slopes import Trend, judge, page
from world import Server

YAML = """\
site: soak
listen: {{address: 127.0.0.1, port: {port}}}
store: {{path: {directory}/store}}
targets:
  big: {{url: "http://127.0.0.1:{cloud}/v1", model: large-1, key: "env:UP_KEY", at: cloud}}
  ward: {{url: "http://127.0.0.1:{edge}/v1", model: small-1, at: edge, capabilities: [stream, continue, stop, seed]}}
models:
  assistant: {{targets: [big, ward], mode: cloud, handover: continue}}
privacy: {{detectors: [patterns]}}
timeouts: {{idle_s: 1.5}}
keys: {{bench: "env:BENCH_KEY"}}
"""
FATES = ("ok", "ok", "503", "ok", "429", "ok", "portal", "ok", "stall")
FATE_S = 4.0
LEAVING = 0.15
"""Share of callers who leave before the end."""
WARM_SHARE, WARM_S_MIN = 0.25, 15.0
WARM_REQUESTS, WARM_RATE_MAX = 22_000, 150.0
"""The warm-up of a long run is quicker, to fill what is bounded by a count: the site remembers 20,000 pieces of text
that it has looked at, and 8,192 permits that were used."""
SHORT_S = 300.0


class Load:
    """Callers at a steady rate, whatever becomes of them."""

    def __init__(self, port: int, cloud: Server, seed: int) -> None:
        self._caller = Caller(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), port, KEY, has_jobs=True)
        self._port = port
        self._cloud = cloud
        self._dice = random.Random(seed)
        self.ends: Counter[str] = Counter()
        self.whys: Counter[str] = Counter()
        self.sent = 0

    async def run(self, seconds: float, rate: float, warm_s: float) -> None:
        """Until the time is over and all callers have ended."""
        warm_rate = rate if seconds < SHORT_S else max(rate, min(WARM_RATE_MAX, WARM_REQUESTS / warm_s))
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while (now_s := time.monotonic() - began_s) < seconds:
                self._cloud.behaviour = FATES[int(now_s / FATE_S) % len(FATES)]
                group.create_task(self._one())
                self.sent += 1
                await asyncio.sleep(self._dice.expovariate(warm_rate if now_s < warm_s else rate))

    async def _one(self) -> None:
        kind = self._dice.choices(("json", "stream", "job"), (60, 35, 5))[0]
        ask = Ask(f"r{self.sent}", kind, 0.0, self._dice.randint(2, 30))
        self._cloud.seen.clear()
        if kind != "job" and self._dice.random() < LEAVING:
            await self._leave(ask)
            self.ends["left"] += 1
        else:
            told = await self._caller.ask(ask)
            # Jobs wait for the cloud until their deadline is near, behind everybody else: counted, and no verdict here.
            self.ends[f"job {told.end}" if kind == "job" else told.end] += 1
            if told.end != "answered":
                self.whys[f"{kind}: {told.why or told.end}"] += 1

    async def _leave(self, ask: Ask) -> None:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            body = json.dumps(ask.body()).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: site\r\nauthorization: Bearer {KEY}\r\n"
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._dice.uniform(0.0, 0.3)):
                    while await reader.read(4096):
                        pass
            writer.transport.abort()


def sample(pid: int, store: Path) -> dict[str, float]:
    """What the site holds now, its workers included; the store in bytes on disk."""
    found = {"memory_mb": 0.0, "fds": 0.0, "threads": 0.0}
    for one in _tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Anonymous:", "Swap:")):
                    found["memory_mb"] += int(line.split()[1]) / 1024
            found["fds"] += len(os.listdir(f"/proc/{one}/fd"))
            found["threads"] += len(os.listdir(f"/proc/{one}/task"))
    size = 0
    for path in store.rglob("*"):
        with contextlib.suppress(OSError):
            size += path.stat().st_blocks * 512 if path.is_file() else 0
    return found | {"store_mb": size / 1e6}


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        with contextlib.suppress(OSError):
            for path in Path(f"/proc/{one}/task").glob("*/children"):
                found += [int(child) for child in path.read_text().split()]
    return found


async def gauges(port: int) -> dict[str, float]:
    """Requests and connections that the site says it holds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = ["GET /metrics HTTP/1.1", "host: site", f"authorization: Bearer {KEY}", "connection: close", "", ""]
    writer.write("\r\n".join(lines).encode())
    text = (await reader.read(-1)).decode()
    writer.close()
    found = {}
    for line in text.splitlines():
        if line.startswith(("ecotone_in_flight ", "ecotone_connections ")):
            found[line.split()[0].removeprefix("ecotone_")] = float(line.split()[1])
    return found


async def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole run."""
    # Connections that callers and targets tear are no news of the loop's.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    cloud, edge = Server(first_s=0.03), Server(gap_s=0.015)
    ports = []
    for server in (cloud, edge):
        made = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        ports.append(made.sockets[0].getsockname()[1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "ecotone.yaml").write_text(YAML.format(port=port, directory=folder, cloud=ports[0], edge=ports[1]))
    env = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
    argv = [str(ecotone_binary()), "up", "-c", str(folder / "ecotone.yaml")]
    with (folder / "log").open("wb") as log:
        site = subprocess.Popen(argv, stdout=log, stderr=log, env=env | {"UP_KEY": "sk-up", "BENCH_KEY": KEY})
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                await gauges(port)
                break
            await asyncio.sleep(0.1)
        return await _watched(options, Load(port, cloud, options.seed), site.pid, folder / "store", port)
    finally:
        site.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            site.wait(30)
        site.kill()


async def _watched(options: argparse.Namespace, load: Load, pid: int, store: Path, port: int) -> dict[str, Any]:
    seconds = options.minutes * 60
    warm_s = max(WARM_S_MIN, WARM_SHARE * seconds)
    task = asyncio.create_task(load.run(seconds, options.rate, warm_s))
    samples, began_s = [], time.monotonic()
    pause_s = max(0.5, seconds / 600)
    while not task.done():
        at_s = time.monotonic() - began_s
        if at_s < seconds:
            samples.append({"at_s": round(at_s, 2), "sent": load.sent, **sample(pid, store), **await gauges(port)})
        await asyncio.wait({task}, timeout=pause_s)
    await task
    await asyncio.sleep(1.0)
    rest = await gauges(port)
    warm = [one for one in samples if one["at_s"] >= warm_s]
    trends: list[Trend] = judge(warm, is_coarse=options.minutes < 5)
    return {
        "minutes": options.minutes, "rate": options.rate, "seed": options.seed, "warm_s": warm_s,
        "requests": load.sent, "ends": dict(load.ends), "whys": dict(load.whys.most_common(12)), "at_rest": rest,
        "trends": [trend.told() for trend in trends], "samples": samples,
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Measures, writes JSON and Markdown; 1 where something grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=25.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--out", type=Path, help="folder for the results; default: results, or .work under ten minutes")
    options = parser.parse_args(argv)
    began = datetime.datetime.now(datetime.UTC)
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="soak-", dir=WORK) as folder:
        found = asyncio.run(soak(options, Path(folder)))
    found |= {"date": began.isoformat(timespec="minutes"), "load": [round(one, 2) for one in os.getloadavg()]}
    out = options.out or (WORK.parent / "results" if options.minutes >= 10 else WORK)
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"soak-{began:%Y-%m-%d}"
    file.with_suffix(".json").write_text(json.dumps(found) + "\n")
    file.with_suffix(".md").write_text(page(found))
    print(page(found))
    return int(any(trend["grows"] for trend in found["trends"]) or found["ends"].get("unexplained", 0) > 0)


if __name__ == "__main__":
    sys.exit(main())
