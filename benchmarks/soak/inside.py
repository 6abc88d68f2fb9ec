"""The site, as `ecotone up` starts it, with one thing more: on SIGUSR2 it tells what only a process itself can know.

    SOAK_TELL=FILE python inside.py up -c ecotone.yaml

Each signal writes FILE anew, one JSON object. SIGUSR1 lets the collector and the allocator give back what they can and
tells then: it changes what is measured, and is for the end. `SOAK_DEEP=types` tells the types of objects too,
`SOAK_DEEP=lines` also where memory was allocated: for looking into, not for measuring. With `SOAK_SMALL=1` memories
that are bounded by a count hold a fortieth, so that a short run fills them: what else grows, grows the same.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any, Final

SMALLER: Final = 40
LINES_MAX: Final = 60
FRAMES: Final = 8


class _Arenas(ctypes.Structure):
    """glibc's `struct mallinfo2`. Source: mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


POOL_S: Final = 0.5
"""For so long all threads of the loop's pool are busy at once, so that each of them is there."""

LIBC: Final = ctypes.CDLL(None)
"""Made once: each one makes classes, which the collector would have to find."""

_mallinfo: Final = getattr(LIBC, "mallinfo2", None)
if _mallinfo is not None:
    _mallinfo.restype = _Arenas


def arenas() -> dict[str, float]:
    """What malloc holds, MB: in use, free and kept, mapped apart. Empty where there is no glibc of 2.33 or newer."""
    if _mallinfo is None:
        return {}
    found = _mallinfo()
    return {
        "malloc_used_mb": found.uordblks / 1e6,
        "malloc_free_mb": found.fordblks / 1e6,
        "malloc_mapped_mb": found.hblkhd / 1e6,
    }


def told() -> dict[str, Any]:
    """Tasks of the loop, live blocks of Python's allocator, collections so far, malloc's arenas."""
    try:
        tasks = len(asyncio.all_tasks(asyncio.get_running_loop()))
    except RuntimeError:
        tasks = -1
    return {
        "tasks": tasks,
        "blocks": sys.getallocatedblocks(),
        "gc": [one["collections"] for one in gc.get_stats()],
        "gc_waiting": list(gc.get_count()),
        **arenas(),
    }


def deep() -> dict[str, Any]:
    """Objects by type and bytes by the line that allocated them; the lines where tracemalloc runs."""
    kinds = collections.Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    found: dict[str, Any] = {"objects": dict(kinds.most_common(LINES_MAX))}
    if tracemalloc.is_tracing():
        shot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, tracemalloc.__file__)])
        found["traced_mb"] = tracemalloc.get_traced_memory()[0] / 1e6
        found["lines"] = [
            [one.size, one.count, [f"{frame.filename}:{frame.lineno}" for frame in one.traceback]]
            for one in shot.statistics("traceback")[:LINES_MAX]
        ]
    return found


def fill_pool() -> None:
    """Has the loop's pool make all of its threads now: it makes the last ones whenever so many first meet.

    They are bounded (`concurrent.futures`: processors + 4, 32 at most), and what is looked for is what is not.
    """
    with contextlib.suppress(RuntimeError):
        loop = asyncio.get_running_loop()
        for _ in range(min(32, (os.cpu_count() or 1) + 4)):
            loop.run_in_executor(None, time.sleep, POOL_S)


def _tell(path: Path, is_deep: bool, is_end: bool) -> None:
    if is_end:
        gc.collect()
        LIBC.malloc_trim(0)
    found = told() | (deep() if is_deep else {})
    made = path.with_suffix(".new")
    made.write_text(json.dumps(found))
    made.replace(path)


def shrink() -> None:
    """Memories bounded by a count hold less: texts looked at, permits used, requests that feedback may
    come for, shapes and words met by the patterns.

    And jobs are forgotten more often than every ten minutes.
    """
    from ecotone.flow import feedback
    from ecotone.privacy.inspect import Look
    from ecotone.privacy.patterns import shapes, triggers
    from ecotone.runtime import working
    from ecotone.upstreams import egress

    kept = Look.__init__.__kwdefaults__
    assert kept is not None, "its bound is an argument by name"
    kept["kept_max"] //= SMALLER
    memories = (
        (shapes, "_REMEMBERED_MAX"),
        (triggers, "_REMEMBERED_MAX"),
        (egress, "USED_MAX"),
        (feedback, "REMEMBERED_MAX"),
    )
    for module, name in memories:
        setattr(module, name, getattr(module, name) // SMALLER)
    working.FORGET_EVERY_S /= SMALLER


def main() -> None:
    """Sets the signals, then becomes the command line."""
    path, depth = Path(os.environ.pop("SOAK_TELL")), os.environ.pop("SOAK_DEEP", "")
    if os.environ.pop("SOAK_SMALL", ""):
        shrink()

    def first(*_: object) -> None:
        signal.signal(signal.SIGUSR2, lambda *_: _tell(path, bool(depth), is_end=False))
        fill_pool()
        _tell(path, bool(depth), is_end=False)

    signal.signal(signal.SIGUSR2, first)
    signal.signal(signal.SIGUSR1, lambda *_: _tell(path, bool(depth), is_end=True))
    if depth == "lines":
        tracemalloc.start(FRAMES)
    from ecotone.cli import main as ecotone

    sys.argv[0] = "ecotone"
    ecotone()


if __name__ == "__main__":
    main()
