"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import contenders
from processes import CORES, GATEWAY_CORE, INSTRUMENT_CORE


def describe() -> dict[str, Any]:
    """Machine, system and compiler, as found."""
    return {
        "cpu": _after_colon("/proc/cpuinfo", "model name"),
        "cores": len(CORES),
        "gateway_core": GATEWAY_CORE,
        "instrument_core": INSTRUMENT_CORE,
        "memory_gb": round(int(_after_colon("/proc/meminfo", "MemTotal").split()[0]) / 1024**2, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "gcc": contenders.run_tool(["gcc", "-dumpfullversion"], 10).strip(),
        "disk": _file_system(contenders.WORK),
        "fdatasync_us_p50": round(fdatasync_us(contenders.WORK)),
    }


def load_average() -> str:
    """The 1, 5 and 15 minute load averages."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def fdatasync_us(directory: Path, times: int = 50) -> float:
    """Median time of a 512-byte append with fdatasync, microseconds: what one durable ledger entry waits for here."""
    took_us = []
    with tempfile.TemporaryFile(dir=directory) as file:
        for _ in range(times):
            file.write(b"x" * 512)
            file.flush()
            began_ns = time.perf_counter_ns()
            os.fdatasync(file.fileno())
            took_us.append((time.perf_counter_ns() - began_ns) / 1000)
    return statistics.median(took_us)


def _after_colon(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "?"


def _file_system(path: Path) -> str:
    """Type of the file system that holds `path`."""
    best, kind = "", "?"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, name, *_ = line.split()
        if str(path.resolve()).startswith(mount) and len(mount) > len(best):
            best, kind = mount, name
    return kind
