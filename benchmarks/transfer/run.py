"""What a delivery costs in bytes and time, beside other ways, over links that cut and with a process that dies.

    make bench-transfer                      (ARGS=--quick: three steps)

Each step is a real delivery by `ecotone.delivery` over loopback: a fifth of all answers end half-way, and the process
is killed once (SIGKILL) when two fifths of its bytes have come. Every byte that the server hands over is counted, the
manifest and 500 bytes for each request included. 'Plain' is a resumable download of the whole file under the same
troubles (`assets`), once: no version costs it less. The link is slowed so that a step takes some seconds. The others
are computed: their bytes, without cuts.

Times at a rate are virtual, `bytes * 8 / rate + 2 * RTT * requests + CPU`, with an RTT of 100 ms; one step is also run
in real time at 10 Mbit/s to hold against that.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent))

import baselines
import link as links
import variants

from ecotone.assets import open_store
from ecotone.delivery.packs import About, publish
from ecotone.transfer import Manifest, encode, plan

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).parent / "client.py"
WORK = ROOT / "benchmarks" / ".work" / "transfer"
RATES = {"64 kbit/s": 64e3, "1 Mbit/s": 1e6, "10 Mbit/s": 10e6, "100 Mbit/s": 100e6}
RTT_S = 0.1
STEP_S = 3.0
"""What the link is slowed down for: no step takes less, or what the kernels hold would count more than what is lost."""
LOOPBACK_BYTES_PER_S = 40e6
CUT_SHARE = 0.2
KILL_AT = 0.4
QUICK = ("B1-last-blocks", "FT-0.1pct", "LoRA-file")


class Cost(msgspec.Struct):
    """A delivery: what it needed at least (bytes), what went over the wire, and the client's processor time."""

    least_bytes: int
    body_bytes: int
    wire_bytes: int
    requests: int
    cpu_s: float
    kills: int

    @property
    def waste(self) -> float:
        """Share of body bytes that came for nothing."""
        return self.body_bytes / self.least_bytes - 1

    def time_s(self, rate: float) -> float:
        """Time at a rate (bit/s), seconds."""
        return self.wire_bytes * 8 / rate + 2 * RTT_S * self.requests + self.cpu_s


def delivered(command: list[str], link: links.Link, least_bytes: int) -> Cost:
    """Runs the client to its end; it is killed once on the way."""
    before, kills = resource.getrusage(resource.RUSAGE_CHILDREN), 0
    begun_bytes, begun_requests = link.body_bytes, link.requests
    child = subprocess.Popen([sys.executable, str(CLIENT), *command], stdout=subprocess.DEVNULL)
    while child.poll() is None:
        if kills == 0 and link.body_bytes - begun_bytes > KILL_AT * least_bytes:
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
            child = subprocess.Popen([sys.executable, str(CLIENT), *command], stdout=subprocess.DEVNULL)
        time.sleep(0.001)
    assert child.returncode == 0, "the delivery ends well"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    body, requests = link.body_bytes - begun_bytes, link.requests - begun_requests
    return Cost(least_bytes, body, body + links.HEADER_BYTES * requests, requests, cpu_s, kills)


class Bench:
    """The hub, its versions, and what each delivery cost."""

    def __init__(self, folder: Path, paths: dict[str, Path]) -> None:
        self.folder, self.paths = folder, paths
        self.hub = folder / "hub"
        self.publish_cpu_s: dict[str, float] = {}
        self.base = self._published("base", None)
        self.held = {segment.blake3 for part in self.base.parts for segment in part.segments}

    def _published(self, name: str, base: Manifest | None) -> Manifest:
        began_s = time.process_time()
        about = About(name="smol" if name != "LoRA-file" else "adapter", version=name, licence="Apache-2.0")
        path = self.paths[name]
        manifest = publish([path], self.hub, about, earlier=() if base is None else (base,), base=base)
        self.publish_cpu_s[name] = time.process_time() - began_s
        return manifest

    def step(self, name: str, *, bytes_per_s: float | None = None, real: bool = False) -> Cost:
        """From the base (or from nothing, for the base itself) to the version."""
        manifest = self.base if name == "base" else self._published(name, self.base)
        store = self.folder / f"store-{name}-{real}"
        if name != "base":
            shutil.copytree(self.folder / "store-base-False", store)
        document = self.folder / f"{name}.manifest"
        document.write_bytes(encode(manifest))
        least = plan(manifest, set() if name == "base" else self.held).fetch_bytes
        bytes_per_s = bytes_per_s or min(LOOPBACK_BYTES_PER_S, least / STEP_S)
        with links.serving(self.hub, bytes_per_s, 0.0 if real else CUT_SHARE) as link:
            began_s = time.perf_counter()
            cost = delivered(["ours", str(document), link.url, str(store)], link, 1 << 60 if real else least)
            self.took_s = time.perf_counter() - began_s
        asset = open_store(store).resolve(f"hub:{manifest.name}")
        assert asset is not None
        assert open_store(store).checked_path(asset).read_bytes() == self.paths[name].read_bytes()
        cost.wire_bytes += len(encode(manifest))
        cost.least_bytes = least
        if name != "base":
            shutil.rmtree(store)
        return cost

    def plain(self) -> Cost:
        """The whole file, resumed."""
        path = self.paths["base"]
        sha256 = self.base.parts[0].sha256
        with links.serving(path.parent, LOOPBACK_BYTES_PER_S, CUT_SHARE) as link:
            part = self.folder / "plain.part"
            return delivered(["plain", f"{link.url}/{path.name}", sha256, str(part)], link, path.stat().st_size)


def others(name: str, paths: dict[str, Path], folder: Path) -> dict[str, int | None]:
    """The same step by other means, bytes."""
    path, base = paths[name], paths["base"]
    if name == "base":
        whole = path.stat().st_size
        return {
            "whole": whole,
            "zstd": baselines.zstd_whole(path),
            "zstd_patch_from": None,
            "cdc": None,
            "casync": None,
        }
    return {
        "whole": path.stat().st_size,
        "zstd": baselines.zstd_whole(path),
        "zstd_patch_from": baselines.zstd_prefix(path, base),
        "cdc": baselines.cdc(path, base),
        "casync": baselines.casync(path, base, folder / "casync"),
    }


def shown(size: float | None, whole: int) -> str:
    return "–" if size is None else f"{size / 1e6:.2f} MB ({100 * size / whole:.2f} %)"


def tables(report: dict[str, dict[str, object]], plain: Cost) -> list[str]:
    """The report as Markdown."""
    lines = [
        "| step | Ecotone | waste | whole | zstd -3 | zstd --patch-from | CDC 64 KiB | casync 64 KiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in report.items():
        cost, other = row["cost"], row["others"]
        assert isinstance(cost, Cost)
        assert isinstance(other, dict)
        whole = other["whole"]
        cells = [shown(other[key], whole) for key in ("zstd", "zstd_patch_from", "cdc", "casync")]
        ours = f"**{shown(cost.wire_bytes, whole)}** | {100 * cost.waste:.2f} %"
        lines.append(f"| {name} | {ours} | {whole / 1e6:.2f} MB | {' | '.join(cells)} |")
    lines += ["", "| time to | " + " | ".join(RATES) + " |", "|---|" + "---|" * len(RATES)]
    rows = [("base, plain resumable HTTP", plain), *((name, row["cost"]) for name, row in report.items())]
    for name, cost in rows:
        assert isinstance(cost, Cost)
        lines.append(f"| {name} | " + " | ".join(spoken(cost.time_s(rate)) for rate in RATES.values()) + " |")
    return lines


def spoken(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.1f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def main() -> None:
    options = argparse.ArgumentParser(description="Deliveries beside other ways.")
    options.add_argument("--quick", action="store_true", help="three steps instead of all")
    options.add_argument("--out", type=Path, help="write PATH.md and PATH.json")
    given = options.parse_args()
    os.environ["OLLAMA_MODELS"] = "/nonexistent"
    starter = open_store(os.environ.get("ECOTONE_TEST_STORE", ROOT / ".venv" / ".ecotone-test-store")).pull(
        "smollm2-135m"
    )
    paths = variants.write_all(Path(starter.path), WORK / "variants")
    names = ["base", *(name for name in paths if name != "base" and (not given.quick or name in QUICK))]
    with tempfile.TemporaryDirectory(dir=WORK) as temporary:
        folder = Path(temporary)
        bench = Bench(folder, paths)
        report: dict[str, dict[str, object]] = {}
        for name in names:
            print(name, file=sys.stderr)
            cost = bench.step(name)
            report[name] = {
                "cost": cost,
                "others": others(name, paths, folder),
                "publish_cpu_s": bench.publish_cpu_s[name],
            }
        plain = bench.plain()
        real = bench.step("B1-last-blocks", bytes_per_s=10e6 / 8, real=True)
        lines = tables(report, plain)
        whole = shown(plain.wire_bytes, plain.least_bytes)
        lines += ["", f"Plain resumable HTTP, the whole base: {whole}, waste {100 * plain.waste:.2f} %."]
        virtual_s = real.wire_bytes * 8 / 10e6 + real.cpu_s
        took = f"B1 took {bench.took_s:.1f} s in real time at 10 Mbit/s"
        lines.append(f"{took}; virtual and without an RTT, as over loopback: {virtual_s:.1f} s.")
    print("\n".join(lines))
    if given.out is not None:
        write(given.out, lines, report, plain)


def write(out: Path, lines: list[str], report: dict[str, dict[str, object]], plain: Cost) -> None:
    machine = (
        f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    )
    when = datetime.datetime.now(datetime.UTC).date().isoformat()
    head = [f"# Transfer, {when}", "", f"`make bench-transfer`; {machine}; load {os.getloadavg()[0]:.0f}.", ""]
    out.with_suffix(".md").write_text("\n".join([*head, *lines, ""]))
    tree = {"machine": machine, "date": when, "steps": report, "plain": plain}
    out.with_suffix(".json").write_text(json.dumps(msgspec.to_builtins(tree), indent=1) + "\n")


if __name__ == "__main__":
    main()
