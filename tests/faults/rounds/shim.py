"""The shim below a site (`shim.c`): built once, and steered through a file that both sides have mapped."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("shim.c")
CALLS: Final = ("write", "pwrite", "fsync", "ftruncate", "open", "rename")
NS: Final = 1_000_000_000
_NONE: Final = (1 << 63) - 1
_PAGES: Final = 256
_CLOCK, _FAIL, _FAILED, _WAL, _PAGE, _LEDGER = 0, 8, 24, 72, 88, 96 + 16 * _PAGES
"""Offsets in `struct state`; the dice stand at 16."""
_SPARED: Final = _LEDGER + 16 + 512
_SIZE: Final = _SPARED + 8


def build(folder: Path) -> Path:
    """The shim as a library, made anew.

    Raises:
        OSError: there is no C compiler, or it cannot build the shim.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise OSError("no C compiler")
    library = folder / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o", str(library), str(SOURCE), "-ldl"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        raise OSError(f"the shim cannot be built: {told.stderr[:300]}")
    return library


class Shim:
    """What one store's site is put on. It outlives the site: a clock that has jumped stays where it is.

    Attributes:
        environ: What the site's environment needs.
    """

    def __init__(self, library: Path, folder: Path, store: Path, seed: int) -> None:
        path = folder / "shim.state"
        path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        struct.pack_into("<Q", self._map, 16, seed)
        struct.pack_into("<qq", self._map, _WAL, _NONE, 0)
        self.environ = {"LD_PRELOAD": str(library), "SHIM_STATE": str(path), "SHIM_STORE": str(store)}

    def jump(self, to_s: float) -> None:
        """From now on the clock is so many seconds ahead of the true one (behind, where negative)."""
        struct.pack_into("<q", self._map, _CLOCK, int(to_s * NS))

    def fail(self, share: float, code: int = 0, *, spared: int = 0) -> None:
        """From now on so large a share of calls that change files fails, with this errno (0: EIO or ENOSPC).

        Args:
            spared: So many calls go well before that.
        """
        struct.pack_into("<q", self._map, _SPARED, spared)
        struct.pack_into("<II", self._map, _FAIL, int(share * 1e6), code)

    def failures(self) -> dict[str, int]:
        """How many calls failed so far, by name."""
        return dict(zip(CALLS, struct.unpack_from(f"<{len(CALLS)}Q", self._map, _FAILED), strict=True))

    def unsynced_wal(self) -> tuple[int, int]:
        """(first, end) of the bytes of the WAL that are not known to be on the disk; empty where first >= end."""
        first, end = struct.unpack_from("<qq", self._map, _WAL)
        return int(first), int(end)

    def unsynced_pages(self) -> list[tuple[int, int]]:
        """(offset, size) of writes to the queue's file that are not known to be on the disk, as far as remembered."""
        (count,) = struct.unpack_from("<q", self._map, _PAGE)
        if count > _PAGES:
            return []
        return [struct.unpack_from("<qq", self._map, _PAGE + 8 + 16 * number) for number in range(count)]

    def unfinished_entry(self) -> tuple[str, int] | None:
        """(Segment, offset) of the write to the ledger that was under way as the site died; None where none was."""
        is_writing, begin = struct.unpack_from("<qq", self._map, _LEDGER)
        name = bytes(self._map[_LEDGER + 16 : _SPARED]).partition(b"\0")[0].decode()
        return (name, int(begin)) if is_writing else None

    def forget(self) -> None:
        """After a loss of power: what is in the files now is all that there is."""
        struct.pack_into("<qq", self._map, _WAL, _NONE, 0)
        struct.pack_into("<q", self._map, _PAGE, 0)
        struct.pack_into("<q", self._map, _LEDGER, 0)

    def close(self) -> None:
        """Lets go of the shared file."""
        self._map.close()
