"""The machine as the engines may use it: cores and memory within affinity and cgroup, and a fingerprint."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import Final

import msgspec

FLAGS: Final = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "asimd", "sve")
"""CPU features that change how fast an engine is."""

_UNLIMITED_BYTES: Final = 1 << 60
_GIB: Final = 1 << 30


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What engines run on.

    Attributes:
        cores: Whole cores that this process may use: affinity and cgroup quota, at least 1.
        memory_bytes: Memory that it may use: the machine's, or the cgroup's limit.
        cpu: The CPU's name.
        flags: Those of `FLAGS` that it has.
        arch: Such as `x86_64`.
    """

    cores: int
    memory_bytes: int
    cpu: str
    flags: tuple[str, ...]
    arch: str

    @property
    def is_x86(self) -> bool:
        """Whether the CPU is x86-64."""
        return self.arch in ("x86_64", "AMD64")

    @property
    def threads(self) -> int:
        """Threads of an engine where nothing was measured: one core is left for all else (RESEARCH-engines, 5)."""
        return max(self.cores - 1, 1)

    @property
    def budget_bytes(self) -> int:
        """Memory for models where none is configured: six tenths."""
        return max(self.memory_bytes * 6 // 10, 256 << 20)

    @property
    def fingerprint(self) -> str:
        """Changes with whatever makes measured settings wrong; memory counts in whole GiB."""
        facts = (self.cpu, self.flags, self.arch, self.cores, self.memory_bytes // _GIB)
        return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()[:16]


def machine(root: Path = Path("/")) -> Machine:
    """This machine, read from `proc` and `sys` below `root`."""
    cpu, flags = _cpu(_text(root / "proc/cpuinfo"))
    groups = _groups(root)
    allowed = len(os.sched_getaffinity(0)) if root == Path("/") else _listed(_text(root / "proc/cpuinfo"))
    quotas = [allowed, *(quota for group in groups if (quota := _quota(group)) is not None)]
    total = _meminfo(_text(root / "proc/meminfo"))
    memory = [total, *(limit for group in groups if (limit := _memory_limit(group)) is not None)]
    return Machine(
        cores=max(int(min(quotas)), 1),
        memory_bytes=min(memory),
        cpu=cpu or platform.machine(),
        flags=tuple(flag for flag in FLAGS if flag in flags),
        arch=platform.machine(),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _cpu(cpuinfo: str) -> tuple[str, frozenset[str]]:
    """(name, flags) of the first core; ARM has no name and calls its flags Features."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found.get("model name", ""), frozenset((found.get("flags") or found.get("Features") or "").split())


def _listed(cpuinfo: str) -> int:
    return sum(line.startswith("processor") for line in cpuinfo.splitlines())


def _meminfo(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return _UNLIMITED_BYTES


def _groups(root: Path) -> list[Path]:
    """Folders of this process's control groups and all above them, version 1 and 2."""
    found: list[Path] = []
    base = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for part in controllers.split(",") if controllers else [""]:
            if part not in ("", "cpu", "memory"):
                continue
            group = base / part / path.lstrip("/")
            found += [folder for folder in (group, *group.parents) if folder.is_relative_to(base / part)]
    return found


def _quota(group: Path) -> float | None:
    """Cores that the group may use."""
    words = _text(group / "cpu.max").split()
    if len(words) == 2 and words[0] != "max":
        return int(words[0]) / int(words[1])
    quota, period = _text(group / "cpu.cfs_quota_us").strip(), _text(group / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and period != "0" else None


def _memory_limit(group: Path) -> int | None:
    """Bytes that the group may use."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        text = _text(group / name).strip()
        if text.isdigit() and int(text) < _UNLIMITED_BYTES:
            return int(text)
    return None
