"""`make bench-engine`: one worker, spoken to through Ecotone's endpoint and directly, in turns, in one run.

Both ways lead to the *same* process, so that what differs is the way alone. A site is started with a known worker key;
a client of plain sockets sends the same bodies to the site over TCP and to the worker over its Unix socket.

`cN_tokens_per_s`: all tokens of N streams side by side over the time until the last one ended, prefill and queue
included. `cN_ttft_ms`: median of their times to the first content. `decode_tokens_per_s`: one stream, from its first
token on. `cached_ttft_ms`: one stream whose prompt is in the engine's cache, so that the way is most of it. Memory is
PSS of the site and its worker.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
STORE = Path(os.environ.get("ECOTONE_TEST_STORE", ROOT / ".venv" / ".ecotone-test-store"))
MODEL = "smollm2-135m"
KEY = "known-to-the-bench"
TURNS = (1, 4, 1, 8, 4)
"""Streams side by side, turn by turn within a round: short turns, so that both ways meet the same neighbours."""

TOKENS = 64
TTFT_PAIRS = 20
START_S = 60.0
ANSWER_S = 300.0
SITE = f"""
import secrets, sys
secrets.token_urlsafe = lambda size=None: {KEY!r}
from ecotone.cli import main
sys.argv = ["ecotone", "up", "-c", sys.argv[1]]
main()
"""
GOALS = {
    "decode_ratio": (0.98, False),
    "decode_ratio_best": (0.98, False),
    "ttft_added_ms": (3.0, True),
    "memory_mib": (330.0, True),
}


@dataclass
class Way:
    """How the worker is spoken to, and what was found that way."""

    name: str
    connect: Any
    path: str
    key: str
    found: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, value: float) -> None:
        """One more value of a figure."""
        self.found.setdefault(what, []).append(value)


@dataclass
class Answer:
    """One stream: seconds to the first content, from there to the last, and pieces of content."""

    ttft_s: float
    decode_s: float
    tokens: int


def body(text: str, tokens: int) -> bytes:
    """A request whose answer has exactly so many tokens."""
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return json.dumps(asked).encode()


async def ask(way: Way, data: bytes) -> Answer:
    """Sends a request on a new connection and reads its stream to the end."""
    head = f"POST {way.path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"authorization: Bearer {way.key}\r\nconnection: close\r\ncontent-length: {len(data)}\r\n\r\n"
    reader, writer = await way.connect()
    began_s = time.perf_counter()
    writer.write(head.encode() + data)
    first_s = last_s = 0.0
    tokens = 0
    seen = b""
    async with asyncio.timeout(ANSWER_S):
        while piece := await reader.read(65536):
            now_s = time.perf_counter()
            seen += piece
            pieces = piece.count(b'"content":"') - piece.count(b'"content":""')
            if pieces > 0:
                first_s = first_s or now_s
                last_s = now_s
            tokens += max(pieces, 0)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    assert b"data: [DONE]" in seen, f"{way.name}: {seen[-300:]!r}"
    usage = json.loads(seen.rpartition(b'"usage":')[2].partition(b"}}")[0] + b"}}")
    return Answer(first_s - began_s, last_s - first_s, usage["completion_tokens"])


async def decode(way: Way, streams: int, mark: str) -> None:
    """`streams` answers side by side: tokens per second of all, and of one stream from its first token on."""
    words = f"{mark}{len(way.found)}. Tell of a river that rises in the hills and meets the sea, and of its people."
    began_s = time.perf_counter()
    answers = await asyncio.gather(*(ask(way, body(f"{number}-{words}", TOKENS)) for number in range(streams)))
    took_s = time.perf_counter() - began_s
    way.add(f"c{streams}_tokens_per_s", sum(answer.tokens for answer in answers) / took_s)
    way.add(f"c{streams}_ttft_ms", statistics.median(answer.ttft_s for answer in answers) * 1e3)
    if streams == 1:
        way.add("decode_tokens_per_s", (answers[0].tokens - 1) / answers[0].decode_s)


async def first_tokens(ways: Sequence[Way], pairs: int) -> None:
    """Time to the first token with the prompt in the engine's cache: what is left is the way there and back."""
    data = body("Say hello to the river.", 2)
    for way in ways:
        await ask(way, data)
    for number in range(pairs):
        for way in ways if number % 2 else ways[::-1]:
            way.add("cached_ttft_ms", (await ask(way, data)).ttft_s * 1e3)


@contextlib.asynccontextmanager
async def site(threads: int) -> AsyncIterator[tuple[int, int, Path]]:
    """A site on a free port: (port, process id, the worker's socket)."""
    with tempfile.TemporaryDirectory(prefix="eco-") as name:
        folder = Path(name)
        (folder / "store").mkdir()
        (folder / "store" / "assets").symlink_to(STORE / "assets")
        config = {
            "site": "bench",
            "listen": {"port": 0},
            "store": {"path": str(folder / "store")},
            "targets": {"small": {"engine": "llama.cpp", "model": MODEL, "slots": 2, "threads": threads}},
            "engines": {"measure": False},
        }
        (folder / "ecotone.yaml").write_text(json.dumps(config))
        env = {key: value for key, value in os.environ.items() if not key.startswith("ECOTONE_")}
        with (folder / "log").open("wb") as log:
            command = [sys.executable, "-c", SITE, str(folder / "ecotone.yaml")]
            process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        try:
            port = await _port(process, folder / "log")
            sockets = folder / "store" / "run" / str(process.pid)
            async with asyncio.timeout(START_S):
                while not list(sockets.glob("*.sock")):
                    await asyncio.sleep(0.05)
            yield port, process.pid, next(sockets.glob("*.sock"))
        finally:
            process.terminate()
            process.wait(30)


async def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        assert process.poll() is None, log.read_text()
        for line in log.read_text().splitlines():
            if "http://127.0.0.1:" in line:
                return int(line.split("http://127.0.0.1:")[1].split("/")[0].split()[0].strip('",'))
        await asyncio.sleep(0.05)
    raise AssertionError(log.read_text())


def memory_mib(pid: int) -> float:
    """Proportional memory of a process and its children, MiB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = sum(memory_mib(int(child)) for child in children)
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return total + int(line.split()[1]) / 1024
    return total


async def measure(rounds: int, threads: int) -> dict[str, Any]:
    """All rounds; both ways take turns, and each round begins with the other one."""
    async with site(threads) as (port, pid, socket):
        through = Way("ecotone", lambda: asyncio.open_connection("127.0.0.1", port), "/v1/chat/completions", "none")
        bare = Way("bare", lambda: asyncio.open_unix_connection(str(socket)), "/v1/chat/completions", KEY)
        ways = [through, bare]
        await ask(through, body("Hello", 4))
        idle = memory_mib(pid)
        for number in range(rounds):
            order = ways if number % 2 else ways[::-1]
            for streams in TURNS:
                for way in order:
                    await decode(way, streams, f"{number}{way.name[0]}")
            await first_tokens(order, TTFT_PAIRS)
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
        return {
            "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "python": platform.python_version()},
            "load_average_at_end": os.getloadavg(),
            "threads": threads,
            "rounds": rounds,
            "tokens": TOKENS,
            "memory_mib": {"after_first_answer": idle, "at_end": memory_mib(pid)},
            "figures": {way.name: way.found for way in ways},
        }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


def judge(found: dict[str, Any]) -> dict[str, Any]:
    """Medians of the ratios and differences within the same round, and whether the goals are met."""
    ours, bare = found["figures"]["ecotone"], found["figures"]["bare"]
    ratios = {
        name: statistics.median(a / b for a, b in zip(ours[name], bare[name], strict=True))
        for name in ours
        if name.endswith("tokens_per_s")
    }
    added = [a - b for a, b in zip(ours["cached_ttft_ms"], bare["cached_ttft_ms"], strict=True)]
    values = {
        "decode_ratio": min(ratios.values()),
        "decode_ratio_best": min(max(ours[name]) / max(bare[name]) for name in ratios),
        "ttft_added_ms": statistics.median(added),
        "memory_mib": found["memory_mib"]["at_end"],
    }
    met = {name: values[name] <= goal if at_most else values[name] >= goal for name, (goal, at_most) in GOALS.items()}
    return {"ratios": ratios, "values": values, "met": met}


def page(found: dict[str, Any], verdict: dict[str, Any]) -> str:
    """The report to read."""
    machine = found["machine"]
    lines = [
        f"# The local engine through Ecotone and bare, {_today()}",
        "",
        (
            f"{machine['cpu']}, {machine['cores']} cores; {MODEL}, {found['threads']} thread(s), 2 slots; "
            f"{found['rounds']} rounds, {found['tokens']} tokens an answer; load average at the end "
            f"{found['load_average_at_end'][0]:.1f}. Both ways lead to the same worker process."
        ),
        "",
        "| figure | through Ecotone (least to most) | bare (least to most) | ratio, median within rounds |",
        "|---|---|---|---|",
    ]
    for name, ours in found["figures"]["ecotone"].items():
        bare = found["figures"]["bare"][name]
        ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
        lines.append(f"| {name} | {_spread(ours)} | {_spread(bare)} | {ratio:.3f} |")
    lines += ["", "| goal | limit | found | |", "|---|---|---|---|"]
    for name, (goal, at_most) in GOALS.items():
        verb = "at most" if at_most else "at least"
        met = "met" if verdict["met"][name] else "**not met**"
        lines.append(f"| {name} | {verb} {goal:g} | {verdict['values'][name]:.3f} | {met} |")
    memory = found["memory_mib"]
    lines += [
        "",
        (
            "`decode_ratio` is the worst of the ratios in tokens/s, by medians within rounds; `decode_ratio_best` by "
            "the best value of each way, which neighbours on the machine disturb least: where the load average is "
            "above the number of cores, only that one can tell 2 %. `ttft_added_ms` is the median difference of "
            f"{len(found['figures']['bare']['cached_ttft_ms'])} pairs with the prompt in the engine's cache; memory is "
            f"the site's with its worker (PSS), {memory['after_first_answer']:.0f} MiB after the first answer."
        ),
        "",
    ]
    return "\n".join(lines)


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Measures, writes the results, prints the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=max((os.cpu_count() or 2) - 1, 1))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = asyncio.run(measure(options.rounds, options.threads))
    verdict = judge(found)
    text = page(found, verdict)
    options.out.mkdir(parents=True, exist_ok=True)
    name = options.out / f"engine-{_today()}"
    name.with_suffix(".json").write_text(json.dumps(found | {"verdict": verdict}, indent=1) + "\n")
    name.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
