"""Cores and memory within affinity and cgroups."""

from __future__ import annotations

import pytest

from ecotone.engines.machine import Machine, machine

CPU = "processor\t: 0\nmodel name\t: Made CPU\nflags\t\t: fpu avx2 fma\n\nprocessor\t: 1\nmodel name\t: Made CPU\n"


def made(root, files):
    files = {"proc/cpuinfo": CPU, "proc/meminfo": "MemFree: 1 kB\nMemTotal: 8388608 kB\n"} | files
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return machine(root)


def test_this_machine_has_cores_and_memory():
    found = machine()
    assert found.cores >= 1
    assert found.memory_bytes > 1 << 28
    assert found.fingerprint == machine().fingerprint


def test_without_limits_all_is_ours(tmp_path):
    found = made(tmp_path, {})
    assert (found.cores, found.memory_bytes, found.cpu, found.flags) == (2, 8 << 30, "Made CPU", ("avx2", "fma"))
    assert found.threads == 1
    assert found.budget_bytes == (8 << 30) * 6 // 10


@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("0::/site.slice/one\n", {"sys/fs/cgroup/site.slice/cpu.max": "150000 100000\n",
                                  "sys/fs/cgroup/site.slice/one/memory.max": "1073741824\n",
                                  "sys/fs/cgroup/site.slice/one/cpu.max": "max 100000\n"}),
        ("4:memory:/a\n3:cpu,cpuacct:/a\n2:pids:/a\n", {"sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "150000\n",
                                                        "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
                                                        "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n"}),
    ],
)  # fmt: skip
def test_a_control_group_bounds_both_in_either_version(tmp_path, group, files):
    found = made(tmp_path, {"proc/self/cgroup": group} | files)
    assert (found.cores, found.memory_bytes) == (1, 1 << 30)


def test_limits_that_are_none_do_not_count(tmp_path):
    files = {
        "proc/self/cgroup": "4:memory:/\n3:cpu:/\n0::/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": str(2**63 - 4096),
    }
    assert made(tmp_path, files).memory_bytes == 8 << 30


def test_a_machine_that_tells_nothing_still_has_one_core(tmp_path):
    found = machine(tmp_path)
    assert found.cores == 1
    assert found.cpu
    assert found.threads == 1


def test_the_fingerprint_changes_with_the_cpu():
    one = Machine(cores=2, memory_bytes=1 << 30, cpu="a", flags=(), arch="x86_64")
    other = Machine(cores=2, memory_bytes=1 << 30, cpu="b", flags=(), arch="x86_64")
    assert one.fingerprint != other.fingerprint
    assert one.is_x86
    assert not Machine(cores=2, memory_bytes=1, cpu="a", flags=(), arch="aarch64").is_x86
    assert Machine(cores=2, memory_bytes=1, cpu="a", flags=(), arch="aarch64").budget_bytes == 256 << 20
