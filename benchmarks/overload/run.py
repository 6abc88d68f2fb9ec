"""`make bench-overload`: what a real site gets done when three times as many come as its target can serve.

    .venv/bin/python benchmarks/overload/run.py [--seconds 16] [--out FOLDER]

The target is a fake upstream on loopback, a measuring instrument: so many slots, each answer takes a random time
(gamma, mean 0.2 s), the rest queue there first come first served, and one whose caller has gone is dropped at once.
Callers come at random (Poisson), each with a deadline of 2 s (ten mean answers), and do not come back. `direct` is the
same crowd at the upstream itself: what no admission gives. Nothing here asserts a figure; the report says met or not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import hashlib
import json
import os
import platform
import random
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results"
ECOTONE = str(Path(sys.executable).parent / "ecotone")
SLOTS, SERVICE_S, SPREAD = 4, 0.2, 4.0
CAPACITY = SLOTS / SERVICE_S
DEADLINE_S = 2.0
KEYS = {"flood": "key-of-flood", "calm": "key-of-calm"}
ANSWER = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 20}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
}  # fmt: skip


class Upstream:
    """The fake model server: `SLOTS` at a time, first come first served."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.slots = asyncio.Semaphore(SLOTS)
        self.begun = self.wasted = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection after the other request on it, until its caller goes."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"content-length:" in head else 0
                await reader.readexactly(size)
                if not await self.answer(reader, writer):
                    break
        writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """False where the caller has gone."""
        gone = asyncio.ensure_future(reader.read(1))
        work = asyncio.ensure_future(self.work())
        try:
            await asyncio.wait((gone, work), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return False
            body = json.dumps(ANSWER).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
            writer.write(body)
            return True
        finally:
            for task in (gone, work):
                task.cancel()
            await asyncio.gather(gone, work, return_exceptions=True)

    async def work(self) -> None:
        """Waits for a slot, and holds it."""
        async with self.slots:
            self.begun += 1
            try:
                await asyncio.sleep(self.dice.gammavariate(SPREAD, SERVICE_S / SPREAD))
            except asyncio.CancelledError:
                self.wasted += 1
                raise


@dataclass
class Tally:
    """What became of a crowd."""

    came: int = 0
    good: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    took_s: dict[str, list[float]] = field(default_factory=dict)
    refused_s: list[float] = field(default_factory=list)
    retry_after: list[int] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)
    began_s: float = field(default_factory=time.perf_counter)


async def ask(port: int, key: str, tally: Tally) -> None:
    """One caller."""
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "Are you there?"}]}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {KEYS[key]}\r\necotone-deadline-ms: {DEADLINE_S * 1e3:.0f}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    tally.came += 1
    began_s = time.perf_counter()
    status, text = "none", b""
    try:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(head.encode() + body)
                first = await reader.readuntil(b"\r\n\r\n")
                status = first[9:12].decode()
                size = int(first.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                text = await reader.readexactly(size)
            finally:
                writer.close()
    except TimeoutError:
        status = "late"
    except (OSError, asyncio.IncompleteReadError, IndexError):
        status = "broken"
    took_s = time.perf_counter() - began_s
    tally.statuses[status] += 1
    if status == "200" and b"chat.completion" in text:
        tally.good[key] += 1
        tally.ended_s.append(time.perf_counter() - tally.began_s)
        tally.took_s.setdefault(key, []).append(took_s)
    elif status == "429":
        tally.refused_s.append(took_s)
        tally.retry_after.append(int(first.lower().split(b"retry-after:")[1].split(b"\r\n")[0]))


async def crowd(port: int, rate: float, seconds: float, shares: dict[str, float], seed: int) -> Tally:
    """Lets callers come at random for so long, and waits until the last has gone."""
    dice, tally, tasks = random.Random(seed), Tally(), []
    at_s = time.perf_counter()
    end_s = at_s + seconds
    while (at_s := at_s + dice.expovariate(rate)) < end_s:
        await asyncio.sleep(max(0.0, at_s - time.perf_counter()))
        key = dice.choices(list(shares), list(shares.values()))[0]
        tasks.append(asyncio.ensure_future(ask(port, key, tally)))
    await asyncio.gather(*tasks)
    return tally


def quantiles(values: list[float]) -> dict[str, float] | None:
    """p50 and p99, milliseconds."""
    if not values:
        return None
    ordered = sorted(values)
    return {"p50": round(statistics.median(ordered) * 1e3, 1), "p99": round(ordered[int(0.99 * len(ordered))] * 1e3, 1)}


def row(tally: Tally, seconds: float, upstream: Upstream, before: tuple[int, int]) -> dict[str, Any]:
    """One crowd's figures; `good_per_s` is that of the steady part: no queue that fills, none that is worked off."""
    steady = [end_s for end_s in tally.ended_s if DEADLINE_S <= end_s < seconds]
    return {
        "came": tally.came,
        "good_per_s": round(len(steady) / (seconds - DEADLINE_S), 2),
        "good": dict(tally.good),
        "statuses": dict(tally.statuses),
        "answer_ms": {key: quantiles(values) for key, values in tally.took_s.items()},
        "refusal_ms": quantiles(tally.refused_s),
        "retry_after_s": [min(tally.retry_after), max(tally.retry_after)] if tally.retry_after else None,
        "work_begun": upstream.begun - before[0],
        "work_wasted": upstream.wasted - before[1],
    }


@contextlib.asynccontextmanager
async def site(upstream_port: int, folder: Path) -> Any:
    """A real site in a process of its own; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    keys = {name: "sha256:" + hashlib.sha256(key.encode()).hexdigest() for name, key in KEYS.items()}
    target = {"url": f"http://127.0.0.1:{upstream_port}/v1", "model": "m", "at": "edge", "slots": SLOTS}
    config = {
        "listen": {"port": port},
        "store": {"path": str(folder / "store")},
        "targets": {"edge": {**target, "queue_max": 256}},
        "keys": keys,
        "log": {"level": "warning"},
    }
    (folder / "ecotone.yaml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            ECOTONE, "up", "-c", str(folder / "ecotone.yaml"), stdout=log, stderr=log
        )
    try:
        for _ in range(300):
            tally = Tally()
            await ask(port, "calm", tally)
            if tally.good:
                break
            assert child.returncode is None, (folder / "log").read_text()[-2000:]
            await asyncio.sleep(0.1)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        await child.wait()


async def measure(seconds: float) -> dict[str, Any]:
    """All crowds, one after the other."""
    alone, flooded = {"calm": 1.0}, {"flood": 0.96, "calm": 0.04}
    upstream = Upstream(7)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        async with site(port, Path(folder)) as site_port:
            plan = [
                ("direct, at capacity", port, 1, alone),
                ("site, at capacity", site_port, 1, alone),
                ("direct, 3x", port, 3, alone),
                ("site, 3x", site_port, 3, alone),
                ("direct, 3x, one key floods", port, 3, flooded),
                ("site, 3x, one key floods", site_port, 3, flooded),
            ]
            for number, (name, where, times, shares) in enumerate(plan):
                before = upstream.begun, upstream.wasted
                tally = await crowd(where, times * CAPACITY, seconds, shares, number // 2)
                rows[name] = row(tally, seconds, upstream, before)
                print(name, json.dumps(rows[name]), file=sys.stderr, flush=True)
    server.close()
    return rows


def text(result: dict[str, Any]) -> str:
    """The report."""
    rows = result["rows"]
    about = (
        f"{SLOTS} slots, {SERVICE_S} s an answer on average: capacity {CAPACITY:g}/s. Deadline {DEADLINE_S:g} s. "
        f"{result['seconds']:g} s each. {result['machine']}; load average before: {result['load_average']}."
    )
    lines = [
        f"# Overload, {result['date']}",
        "",
        about,
        "",
        "| crowd | came | good/s | statuses | answer p50 / p99, ms | refusal p50 / p99, ms | begun, wasted |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in rows.items():
        told = ", ".join(f"{key} {value['p50']} / {value['p99']}" for key, value in one["answer_ms"].items())
        refusal = one["refusal_ms"]
        refused = f"{refusal['p50']} / {refusal['p99']}" if refusal else "–"
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(one["statuses"].items()))
        lines.append(
            f"| {name} | {one['came']} | {one['good_per_s']} | {statuses} | {told} | {refused} "
            f"| {one['work_begun']}, {one['work_wasted']} |"
        )
    for who in ("direct", "site"):
        lines += ["", f"Goodput of {who} at 3x over that at capacity: {result['ratios'][who]:.2f}"]
    lines[-1] += f" (goal: at least 0.90, **{'met' if result['ratios']['site'] >= 0.9 else 'not met'}**)."
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures, prints and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=16.0, help="how long each of the six crowds comes")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    load_average = " ".join(f"{value:.2f}" for value in os.getloadavg())
    rows = asyncio.run(measure(options.seconds))
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seconds": options.seconds,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_average": load_average,
        "ratios": {who: rows[f"{who}, 3x"]["good_per_s"] / rows[f"{who}, at capacity"]["good_per_s"]
                   for who in ("direct", "site")},
        "rows": rows,
    }  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"overload-{result['date']}.json").write_text(json.dumps(result, indent=2) + "\n")
    (options.out / f"overload-{result['date']}.md").write_text(text(result))
    print(text(result))


if __name__ == "__main__":
    main()
