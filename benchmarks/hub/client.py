"""Sites as a hub sees them: one process with many real connections, signatures, long-polls, reports, ranges of packs.

client.py URL COUNT SEEDS.json   then one line of JSON on standard input for each phase, one on standard output back
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ecotone import access
from ecotone.values.fleet import AssetReport, Figures, MachineReport, Report, Traffic

AGAIN_S = 0.1
TRIES = 200
PIECE_BYTES = 1 << 20


class Line:
    """One kept connection. What a cut connection had under way is asked again by who asked."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Status and body. Raises OSError, or EOFError, when the connection breaks."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        try:
            lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
            head = f"{method} {path} HTTP/1.1\r\nhost: hub\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
            writer.write(head.encode() + body)
            head_bytes = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status = int(head_bytes[9:12])
            length = 0
            for line in head_bytes.lower().split("\r\n")[1:]:
                if line.startswith("content-length:"):
                    length = int(line.partition(":")[2])
                if line == "connection: close":
                    self._streams = None
            content = await reader.readexactly(length) if status != 304 else b""
        except (OSError, EOFError):
            self.close()
            raise
        return status, content

    async def send(self, path: str, token: str) -> None:
        """Asks, and does not wait for the answer."""
        self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        self._streams[1].write(f"GET {path} HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {token}\r\n\r\n".encode())

    def close(self) -> None:
        """The connection is given up."""
        if self._streams is not None:
            with contextlib.suppress(OSError):
                self._streams[1].close()
            self._streams = None


class Site:
    """One site."""

    def __init__(self, port: int, name: str, key: Ed25519PrivateKey) -> None:
        self.name, self.key = name, key
        self.line, self.poll, self.files = Line(port), Line(port), Line(port)
        self.token, self.seq, self.acked, self.generation = "", 0, 0, 0
        self.has = ("1", "a" * 64, 0)
        self.cuts = 0

    async def again(self, line: Line, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """As a site does: a broken connection, 503 and 429 are waited out."""
        for _ in range(TRIES):
            try:
                async with asyncio.timeout(90):
                    status, content = await line.ask(
                        method, path, body, authorization=f"Bearer {self.token}", **headers
                    )
            except (OSError, EOFError, TimeoutError):
                self.cuts += 1
            else:
                if status not in (429, 503):
                    return status, content
            await asyncio.sleep(AGAIN_S)
        raise RuntimeError(f"{self.name}: {method} {path} never came through")

    async def session(self) -> None:
        """A challenge, signed."""
        _, raw = await self.again(self.line, "POST", f"/v1/sites/{self.name}/challenge")
        challenge = json.loads(raw)["challenge"]
        signature = base64.b64encode(self.key.sign(access.session_message(self.name, challenge))).decode()
        body = json.dumps({"challenge": challenge, "signature": signature}).encode()
        status, raw = await self.again(self.line, "POST", f"/v1/sites/{self.name}/session", body)
        assert status == 200, raw
        self.token = json.loads(raw)["token"]

    async def report(self) -> None:
        """One report; it counts when it is acknowledged."""
        self.seq += 1
        status, raw = await self.again(
            self.line, "POST", f"/v1/sites/{self.name}/reports", report(self.name, self.seq, self.generation, self.has)
        )
        assert status == 200, raw
        self.acked = max(self.acked, json.loads(raw)["ack_seq"])

    async def hear(self) -> float:
        """Waits for a newer generation; the instant at which it came, Unix seconds."""
        while True:
            path = f"/v1/sites/{self.name}/desired?after={self.generation}&wait=55"
            status, raw = await self.again(self.poll, "GET", path)
            if status == 200:
                self.generation = json.loads(raw)["generation"]
                return time.time()
            assert status == 304, raw

    async def fetch(self, pack: str, size: int, piece: int) -> int:
        """A pack, in ranges; the bytes that came."""
        came = 0
        for at in range(0, size, piece):
            last = min(at + piece, size) - 1
            status, content = await self.again(self.files, "GET", f"/packs/{pack}", range=f"bytes={at}-{last}")
            assert status in (200, 206), (status, content)
            came += len(content)
        return came


def report(site: str, seq: int, generation: int, has: tuple[str, str, int]) -> bytes:
    """A report as long as a real one of a site with two models."""
    figures = Figures(hours=12.5, requests=8_123, errors=2, ttft_p50_ms=81.2, ttft_p95_ms=220.1, decode_tok_s=31.7)
    version, sha256, attempt = has
    assets = (
        AssetReport(
            name="smol", version=version, kind="model", sha256=sha256, attempt=attempt, state="good", since_s=1.8e9,
            figures=figures, before=figures,
        ),
        AssetReport(name="names", version="7", kind="model", sha256="b" * 64, state="good", since_s=1.8e9),
    )  # fmt: skip
    machine = MachineReport(cores=4, memory_bytes=8 << 30, disk_free_bytes=100 << 30, arch="x86_64")
    traffic = Traffic(since_s=1.8e9, requests=9_000 + seq, at_edge=8_000, at_cloud=1_000, saved_usd=3.2)
    return msgspec.json.encode(
        Report(
            site=site, seq=seq, boot=1, made_s=time.time(), software="0.1.0", generation=generation, assets=assets,
            machine=machine, traffic=traffic, link="up",
        )
    )  # fmt: skip


class Sites:
    """All of them, and what is timed."""

    def __init__(self, port: int, keys: dict[str, str]) -> None:
        self.all = [
            Site(port, name, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))) for name, seed in keys.items()
        ]
        self.listening: list[asyncio.Task[float]] = []
        self.crowded: list[Line] = []

    async def sessions(self, rounds: int) -> dict[str, Any]:
        """Every site signs in, all at once, so many times."""
        return await self._timed(lambda site: site.session(), rounds)

    async def listen(self) -> dict[str, Any]:
        """Every site begins to wait for news."""
        self.listening = [asyncio.create_task(site.hear()) for site in self.all]
        await asyncio.sleep(2)
        return {"waiting": sum(not task.done() for task in self.listening)}

    async def crowd(self, each: int) -> dict[str, Any]:
        """Every site waits on so many connections more, as if there were so many more sites."""
        self.crowded = [Line(site.poll.port) for site in self.all for _ in range(each)]
        began_s = time.perf_counter()
        for at in range(0, len(self.crowded), 100):
            lines = self.crowded[at : at + 100]
            await asyncio.gather(*(self._crowding(line, number + at) for number, line in enumerate(lines)))
        return {"waiting": len(self.crowded), "opened_s": round(time.perf_counter() - began_s, 1)}

    async def _crowding(self, line: Line, number: int) -> None:
        site = self.all[number % len(self.all)]
        await line.send(f"/v1/sites/{site.name}/desired?after={site.generation}&wait=280", site.token)

    async def dissolve(self) -> dict[str, Any]:
        """They leave."""
        for line in self.crowded:
            line.close()
        self.crowded.clear()
        await asyncio.sleep(1)
        return {}

    async def reports(self, seconds: float, every_s: float) -> dict[str, Any]:
        """Every site reports for so long: each as soon as it may (0), or once in `every_s`."""
        until_s = time.perf_counter() + seconds
        took: list[float] = []

        async def one(site: Site, number: int) -> None:
            await asyncio.sleep(every_s * number / len(self.all))
            while time.perf_counter() < until_s:
                began_s = time.perf_counter()
                await site.report()
                took.append(time.perf_counter() - began_s)
                await asyncio.sleep(max(0.0, every_s - took[-1]))

        began_s = time.perf_counter()
        await asyncio.gather(*(one(site, number) for number, site in enumerate(self.all)))
        return {**_figures(took, time.perf_counter() - began_s), "cuts": sum(site.cuts for site in self.all)}

    async def polls(self, seconds: float) -> dict[str, Any]:
        """Every site asks for news for so long, and there are none."""
        until_s = time.perf_counter() + seconds

        async def one(site: Site) -> None:
            while time.perf_counter() < until_s:
                began_s = time.perf_counter()
                path = f"/v1/sites/{site.name}/desired?after={site.generation}&wait=0"
                status, raw = await site.again(site.line, "GET", path)
                assert status == 304, raw
                took.append(time.perf_counter() - began_s)

        took: list[float] = []
        began_s = time.perf_counter()
        await asyncio.gather(*(one(site) for site in self.all))
        return _figures(took, time.perf_counter() - began_s)

    async def release(self, started_s: float, new: list[Any], pack: tuple[str, int], every_s: float) -> dict[str, Any]:
        """A release comes to all while all report: each hears of it, fetches it, and tells that it is good."""
        is_over = asyncio.Event()
        took: list[float] = []

        async def reporting(site: Site, number: int) -> None:
            await asyncio.sleep(every_s * number / len(self.all))
            while not is_over.is_set():
                began_s = time.perf_counter()
                await site.report()
                took.append(time.perf_counter() - began_s)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(is_over.wait(), every_s)

        async def taking(site: Site) -> float:
            at_s = await site.hear()
            await site.fetch(*pack, PIECE_BYTES)
            site.has = (str(new[0]), str(new[1]), int(new[2]))
            return at_s

        reporters = [asyncio.create_task(reporting(site, number)) for number, site in enumerate(self.all)]
        came = sorted(await asyncio.gather(*(taking(site) for site in self.all)))
        await asyncio.sleep(2 * every_s)
        is_over.set()
        await asyncio.gather(*reporters)
        waits = [at_s - started_s for at_s in came]
        seconds = time.time() - started_s
        return {
            **_figures(took, seconds), "first_s": round(waits[0], 1), "half_s": round(waits[len(waits) // 2], 1),
            "last_s": round(waits[-1], 1),
        }  # fmt: skip

    async def heard(self, signed_s: float) -> dict[str, Any]:
        """When each heard of what was signed then."""
        came = await asyncio.gather(*self.listening)
        self.listening = []
        return _figures([max(0.0, at_s - signed_s) for at_s in came], max(came) - signed_s)

    async def fetch(self, pack: str, size: int) -> dict[str, Any]:
        """Every site fetches a pack, all at once."""
        began_s = time.perf_counter()
        sizes = await asyncio.gather(*(site.fetch(pack, size, PIECE_BYTES) for site in self.all))
        took_s = time.perf_counter() - began_s
        return {"bytes": sum(sizes), "took_s": took_s, "mb_s": sum(sizes) / took_s / 1e6}

    async def acked(self) -> dict[str, Any]:
        """The highest report of each site that the hub has acknowledged."""
        return {site.name: site.acked for site in self.all}

    async def _timed(self, act: Callable[[Site], Any], rounds: int) -> dict[str, Any]:
        took: list[float] = []

        async def one(site: Site) -> None:
            for _ in range(rounds):
                began_s = time.perf_counter()
                await act(site)
                took.append(time.perf_counter() - began_s)

        began_s = time.perf_counter()
        await asyncio.gather(*(one(site) for site in self.all))
        return _figures(took, time.perf_counter() - began_s)


def _figures(took: list[float], all_s: float) -> dict[str, Any]:
    ordered = sorted(took)
    return {
        "count": len(ordered),
        "per_s": round(len(ordered) / all_s, 1),
        "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 1),
        "p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1e3, 1),
        "max_ms": round(ordered[-1] * 1e3, 1),
    }


async def main(port: int, keys: dict[str, str]) -> None:
    """Does what the lines on standard input say."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 60 * len(keys) + 100)), hard))
    sites = Sites(port, keys)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        phase, arguments = json.loads(line)
        found = await getattr(sites, phase)(*arguments)
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    with open(sys.argv[2]) as file:
        uvloop.run(main(int(sys.argv[1]), json.load(file)))
