"""The site that is watched: its configuration, its process and workers, and what they hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from contenders import KEY, WORK

HERE: Final = Path(__file__).resolve().parent
MODELS: Final = Path(os.environ.get("ECOTONE_TEST_STORE", WORK.parent.parent / ".venv" / ".ecotone-test-store"))
START_S: Final = 90.0
TELL_S: Final = 10.0
STOP_S: Final = 30.0

YAML: Final = """\
site: soak
listen: {{address: 127.0.0.1, port: {port}}}
store: {{path: {folder}/store}}
targets:
  big: {{url: "http://127.0.0.1:{cloud}/v1", model: large-1, key: "env:UP_KEY", at: cloud}}
  ward: {{url: "http://127.0.0.1:{edge}/v1", model: small-1, at: edge, capabilities: [stream, continue, stop, seed]}}
{engine}models:
  assistant: {{targets: [big, ward], mode: cloud, handover: continue}}
{local}{learned}privacy: {{detectors: [{detectors}]}}
timeouts: {{idle_s: 1.5}}
jobs: {{keep_days: 0.001}}
keys: {{bench: "env:BENCH_KEY"}}
"""
ENGINE: Final = "  starter: {engine: llama.cpp, model: smollm2-135m, threads: 1, slots: 1, context_tokens: 1024}\n"
LOCAL: Final = "  local: {targets: [starter]}\n"

LEARNED: Final = "  learned: {targets: [ward, big], mode: auto, cascade: true, quality: {loss_max: 0.1}}\n"


def has_model() -> bool:
    """Whether the starter model is on this machine (`make soak` fetches it)."""
    return (MODELS / "assets").is_dir()


class Site:
    """One site in a folder of its own.

    Attributes:
        port: Where it listens.
        pid: Its process.
    """

    def __init__(
        self,
        folder: Path,
        ports: tuple[int, int],
        *,
        is_small: bool,
        detectors: list[str],
        has_learned: bool = False,
    ) -> None:
        """Takes the ports of the cloud and the edge.

        Args:
            is_small: No engine, and small caches (see `inside`).
            has_learned: A model name that promises quality is there too.
        """
        self.folder = folder
        self.store = folder / "store"
        self._told = folder / "told"
        self.has_local = not is_small and has_model()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.store.mkdir(parents=True)
        if self.has_local:
            (self.store / "assets").symlink_to(MODELS / "assets")
        text = YAML.format(
            port=self.port, folder=folder, cloud=ports[0], edge=ports[1], detectors=", ".join(detectors),
            engine=ENGINE if self.has_local else "", local=LOCAL if self.has_local else "",
            learned=LEARNED if has_learned else "",
        )  # fmt: skip
        (folder / "ecotone.yaml").write_text(text)
        env = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
        env |= {"UP_KEY": "sk-up", "BENCH_KEY": KEY, "SOAK_TELL": str(self._told)}
        if is_small:
            env["SOAK_SMALL"] = "1"
        argv = [sys.executable, str(HERE / "inside.py"), "up", "-c", str(folder / "ecotone.yaml")]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=env)
        self.pid = self._process.pid

    async def ready(self) -> None:
        """Returns when it is ready to serve, its engine and detectors included.

        Raises:
            TimeoutError: it is not, after `START_S`.
        """
        async with asyncio.timeout(START_S):
            while await self._status("/readyz") != 200 or not self._has_workers():
                await asyncio.sleep(0.2)

    def _has_workers(self) -> bool:
        names = [name for _, name in self._members()]
        wanted = ["detectors"] * ("names" in (self.folder / "ecotone.yaml").read_text()) + ["engine"] * self.has_local
        return all(name in names for name in wanted)

    async def get(self, path: str) -> tuple[int, str]:
        """(status, body) of a page of the site's."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"GET {path} HTTP/1.1", "host: site", f"authorization: Bearer {KEY}", "connection: close", "", ""]
        writer.write("\r\n".join(lines).encode())
        text = (await reader.read(-1)).decode()
        writer.close()
        return int(text.split(" ", 2)[1]), text.partition("\r\n\r\n")[2]

    async def _status(self, path: str) -> int:
        with contextlib.suppress(OSError, IndexError, ValueError):
            return (await self.get(path))[0]
        return 0

    async def sample(self) -> dict[str, float]:
        """What the site holds now."""
        told = await self.tell()
        found = {name: float(told[name]) for name in ("tasks", "blocks") if name in told}
        return found | self._memory() | self._stored() | await self._gauges()

    async def tell(self, *, is_end: bool = False) -> dict[str, Any]:
        """What the process says of itself (see `inside`). `is_end`: after it gave back what it could."""
        self._told.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1 if is_end else signal.SIGUSR2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TELL_S):
                while not self._told.exists():
                    await asyncio.sleep(0.02)
                found: dict[str, Any] = json.loads(self._told.read_text())
                return found
        return {}

    def _members(self) -> list[tuple[int, str]]:
        """(process, what it is) of the site and all that it started."""
        found = [(self.pid, "site")]
        for one, _ in found:
            with contextlib.suppress(OSError):
                for path in Path(f"/proc/{one}/task").glob("*/children"):
                    found += [(int(child), _kind(int(child))) for child in path.read_text().split()]
        return found

    def _memory(self) -> dict[str, float]:
        """Anonymous and swapped memory by process, MB; descriptors and threads of all together."""
        found = {"fds": 0.0, "threads": 0.0}
        for one, kind in self._members():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                    if line.startswith(("Anonymous:", "Swap:")):
                        found[f"{kind}_mb"] = found.get(f"{kind}_mb", 0.0) + int(line.split()[1]) * 1024 / 1e6
                found["fds"] += len(os.listdir(f"/proc/{one}/fd"))
                found["threads"] += len(os.listdir(f"/proc/{one}/task"))
        return found

    def _stored(self) -> dict[str, float]:
        """Bytes on the disk, MB: of the ledger, of jobs, and of all else that is the site's own."""
        found = {"ledger_mb": 0.0, "jobs_mb": 0.0, "rest_mb": 0.0}
        for path in self.store.rglob("*"):
            kind = "ledger" if path.parent.name == "ledger" else "jobs" if path.name.startswith("jobs.db") else "rest"
            with contextlib.suppress(OSError):
                found[f"{kind}_mb"] += path.stat().st_blocks * 512 / 1e6 if path.is_file() else 0.0
        return found

    async def _gauges(self) -> dict[str, float]:
        """Requests and connections that the site says it holds."""
        found = {}
        for line in (await self.get("/metrics"))[1].splitlines():
            if line.startswith(("ecotone_in_flight ", "ecotone_connections ")):
                found[line.split()[0].removeprefix("ecotone_")] = float(line.split()[1])
        return found

    def stop(self) -> int | None:
        """Ends it in good order; its exit code, or None where it had to be killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None


def _kind(pid: int) -> str:
    with contextlib.suppress(OSError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"detectors.worker" in command:
            return "detectors"
        if b"engines" in command and b"worker" in command:
            return "engine"
    return "other"
