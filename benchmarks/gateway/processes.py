"""Child processes of the bench: pinned, limited, measured, and gone when the bench is gone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

PR_SET_PDEATHSIG = 1
CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORE = CORES[0]
INSTRUMENT_CORE = CORES[-1]
MIB = 1024 * 1024


def _before_exec(core: int) -> Callable[[], None]:
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # not KILL: a master must take its workers along
        os.sched_setaffinity(0, {core})

    return prepare


@dataclass
class Processes:
    """Everything that the bench started; leaving the context ends it all, groups included."""

    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for child in list(self.children):
            self.stop(child, grace_s=1)

    def start(
        self, argv: Sequence[str], core: int, log: Path | None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts `argv` in its own process group on `core`; output goes to the file `log`, or to a pipe."""
        sink = log.open("wb") if log else None
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=sink if sink else subprocess.PIPE,
                stderr=subprocess.STDOUT if sink else None,
                env=None if env is None else dict(env),
                start_new_session=True,
                preexec_fn=_before_exec(core),
            )
        finally:
            if sink:
                sink.close()
        self.children.append(child)
        return child

    def stop(self, child: subprocess.Popen[bytes], grace_s: float = 5) -> None:
        """Asks the group to end, then kills what is left of it."""
        _signal_group(child, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace_s)
        _signal_group(child, signal.SIGKILL)
        child.wait(5)
        if child in self.children:
            self.children.remove(child)


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def tree(root: int) -> list[int]:
    """`root` and all its living descendants."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat_fields(int(entry))
            if fields:
                parents[int(entry)] = int(fields[1])
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from `state` on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _process_cpu_ns(pid: int) -> int:
    """User and system time of a process, all its threads, nanoseconds.

    It is what utime + stime of /proc/PID/stat sum up to, without their rounding to 10 ms.
    Source: clock_getcpuclockid(3); kernel, posix-cpu-timers: ((~pid) << 3) | CPUCLOCK_SCHED.
    """
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        fields = _stat_fields(pid)
        ticks = int(fields[11]) + int(fields[12]) if fields else 0
        return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def tree_cpu_ns(root: int) -> dict[int, int]:
    """CPU time by process of the tree under `root`, nanoseconds."""
    return {pid: _process_cpu_ns(pid) for pid in tree(root)}


def spent_ns(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """CPU time between two readings of one tree, nanoseconds; a new process counts from its start."""
    return sum(max(0, ns - before.get(pid, 0)) for pid, ns in after.items())


@dataclass(frozen=True)
class Memory:
    """Memory of a process tree, MiB; `rss` counts a shared page once per process, `pss` once."""

    rss_mb: float
    pss_mb: float
    peak_rss_mb: float


def tree_memory(root: int) -> Memory:
    """Reads the memory of the tree under `root` (smaps_rollup; the peak from VmHWM)."""
    rss = pss = peak = 0
    for pid in tree(root):
        try:
            rollup = _kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text())
            status = _kilobytes(Path(f"/proc/{pid}/status").read_text())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        rss += rollup.get("Rss", 0)
        pss += rollup.get("Pss", 0)
        peak += status.get("VmHWM", 0)
    return Memory(rss / 1024, pss / 1024, peak / 1024)


def _kilobytes(text: str) -> dict[str, int]:
    lines = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) == 3 and words[2] == "kB"}


def core_busy_s(core: int) -> float:
    """Seconds that `core` has been busy since boot, stolen time included."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) for word in rest.split()[:8])
            return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0
