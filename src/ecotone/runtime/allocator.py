"""What the C library's allocator keeps for itself, kept small: a site runs for months.

glibc gives each thread that allocates an arena of its own, up to eight a core, and returns free memory only from the
end of one. Bodies of many sizes, made in one thread and freed in another, leave all of them full of holes.
Source: mallopt(3), malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any, Final

ARENAS_MAX: Final = 2
_M_ARENA_MAX: Final = -8


@functools.cache
def _library() -> Any:
    """The process's C library where it is glibc, else None. Loaded once, before the guard stands."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


def bound_arenas() -> bool:
    """Has all threads share two arenas; before the first thread is made. False where there is no glibc."""
    library = _library()
    return library is not None and library.mallopt(_M_ARENA_MAX, ARENAS_MAX) == 1


def give_back() -> bool:
    """Returns free memory to the system; takes milliseconds, and may run in a thread. False where nothing was."""
    library = _library()
    return library is not None and library.malloc_trim(0) == 1
