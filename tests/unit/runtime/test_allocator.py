"""What malloc keeps is bounded, and is given back when asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ecotone.runtime import allocator

PROBE = """
import ctypes, sys, threading
from ecotone.runtime import allocator

malloc = ctypes.CDLL(None).malloc
malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
if sys.argv[1] == "bounded":
    assert allocator.bound_arenas()
gate, heaps = threading.Barrier(8), set()

def take():
    gate.wait()
    heaps.add(malloc(1000) >> 26)  # the heaps of further arenas are aligned to 64 MiB

threads = [threading.Thread(target=take) for _ in range(8)]
[one.start() for one in threads]
[one.join() for one in threads]
print(len(heaps))
"""
GLIBC = sys.platform.startswith("linux") and Path("/proc/self/maps").read_text().find("musl") < 0


def _heaps(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROBE, how], capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)


@pytest.mark.skipif(not GLIBC, reason="only glibc has arenas")
def test_threads_share_two_arenas() -> None:
    assert _heaps("bounded") <= 2 < _heaps("free")


@pytest.mark.skipif(not GLIBC, reason="only glibc gives back when asked")
def test_free_memory_goes_back_to_the_system() -> None:
    script = (
        "from ecotone.runtime import allocator\n"
        "rss = lambda: int(open('/proc/self/statm').read().split()[1])\n"
        "import ctypes\n"
        "c = ctypes.CDLL(None)\n"
        "c.malloc.restype, c.malloc.argtypes, c.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]\n"
        "held = [c.malloc(60_000) for _ in range(1000)]\n"
        "[ctypes.memset(one, 1, 60_000) for one in held]\n"
        "full = rss()\n"
        "[c.free(one) for one in held[:-1]]\n"  # the last one keeps the top of the heap in use
        "before = rss()\n"
        "assert allocator.give_back()\n"
        "print(full, before, rss())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    full, before, after = map(int, done.stdout.split())
    assert before > 0.9 * full
    assert after < 0.5 * full


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_library", lambda: None)
    assert not allocator.bound_arenas()
    assert not allocator.give_back()
