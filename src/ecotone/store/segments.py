"""The files of a ledger: their names, their tails, and what a crash may have left at the end of the last one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store import chain, notes
from ecotone.store.disk import Disk
from ecotone.values import ConfigError

__all__ = ["Repair", "Tail", "first_seq", "last_entry", "lines_back", "listed", "named", "repaired"]

_NAME: Final = re.compile(r"(\d{16})\.jsonl")
_BLOCK_BYTES: Final = 64 << 10
_DOUBT_BYTES: Final = 1 << 20
"""No write that died under way is longer: what lies further back than this is not looked at for a tear."""


def named(folder: Path, seq: int) -> Path:
    """The segment whose first entry is `seq`."""
    return folder / f"{seq:016d}.jsonl"


def first_seq(path: Path) -> int | None:
    """What a segment's name says of its first entry; None where it is not a segment's name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def listed(folder: Path) -> list[Path]:
    """The segments of a ledger, oldest first.

    Raises:
        OSError: the folder cannot be read.
    """
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def lines_back(fd: int, end: int) -> Iterator[tuple[int, bytes]]:
    """(offset, line with its newline) of all lines before offset `end`, last one first; it may lack its newline."""
    rest, at, size = b"", end, _BLOCK_BYTES
    while at > 0:
        step = min(size, at)
        at -= step
        block = os.pread(fd, step, at) + rest
        parts = block.split(b"\n")
        if len(parts) < 3:
            size *= 2  # a very long line: do not copy it once per block
        start = at + len(block)
        for index in range(len(parts) - 1, 0, -1):
            text = parts[index] if index == len(parts) - 1 else parts[index] + b"\n"
            start -= len(text)
            if text:
                yield start, text
        rest = parts[0] + b"\n" if len(parts) > 1 else block
    if rest:
        yield 0, rest


class Repair(msgspec.Struct, frozen=True):
    """What was cut off the ledger's end at start, as the entry `recovered` gives it.

    Attributes:
        why: `torn_tail`: the process or the machine died while it wrote.
        cut_bytes, cut_lines: How much; complete lines among it were damaged.
        saved: Name of the side file that keeps it, or `''` where the disk had no room for it.
    """

    why: str
    segment: str
    cut_bytes: int
    cut_lines: int
    saved: str


class Tail(msgspec.Struct, frozen=True):
    """Where writing goes on.

    Attributes:
        path: The last segment; None in a new ledger.
        size: Its length in bytes, which ends with a whole entry.
        entry: That entry.
    """

    path: Path | None = None
    size: int = 0
    entry: chain.Entry | None = None


def repaired(folder: Path, disk: Disk) -> tuple[Tail, list[Repair]]:
    """The ledger ends with a whole entry; whatever stood behind it is in a `.torn` file beside it.

    Raises:
        ConfigError: `store.ledger`: there are segments and none of the last two holds an entry.
        OSError: the disk.
    """
    repairs: list[Repair] = []
    for path in reversed(listed(folder)[-2:]):
        size = path.stat().st_size
        end, entry, cut_lines = last_entry(path, size, _covered(folder))
        if end < size:
            repairs.append(_cut(path, end, size, cut_lines, disk))
        if entry is not None:
            return Tail(path, end, entry), repairs
        disk.remove(path)
        disk.sync_folder(folder)
    if listed(folder):
        raise ConfigError(
            "store.ledger",
            f"{folder}: the last two segments hold no entry; run `ecotone ledger verify`, then move the ledger away",
        )
    return Tail(), repairs


def last_entry(path: Path, size: int, covered: int | None = None) -> tuple[int, chain.Entry | None, int]:
    """(offset behind the last intact entry, the entry, complete lines after it).

    Args:
        covered: So many entries were on the disk for sure. One write holds many entries, and a disk that loses
            power under it may have its end and not its middle: all from the first damaged line on was never told of,
            and the last intact entry is the one before that. None: what stands at the end counts.
    """
    cut_lines = lines = 0
    found: tuple[int, chain.Entry] | None = None
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, text in lines_back(fd, size):
            entry = chain.entry(text) if chain.intact(text) else None
            if entry is None:
                cut_lines += lines + text.endswith(b"\n")
                found, lines = None, 0
                continue
            found, lines = found or (start + len(text), entry), lines + 1
            if covered is None or entry.seq <= covered or size - start > _DOUBT_BYTES:
                break
    finally:
        os.close(fd)
    return (*found, cut_lines) if found is not None else (0, None, cut_lines)


def _covered(folder: Path) -> int:
    """The entries that the newest checkpoint covers; it is signed when they are durable."""
    path = folder / notes.CHECKPOINTS
    newest = notes.last(path, lambda _: True) if path.exists() else None
    return newest.size if newest is not None else 0


def _cut(path: Path, end: int, size: int, cut_lines: int, disk: Disk) -> Repair:
    """Moves what stands behind `end` into a side file.

    Half a line was never acknowledged, so on a full disk it is cut all the same; complete lines are not.
    """
    side = path.with_name(f"{path.name}.{end}.torn")
    saved = side.name
    try:
        with path.open("rb") as file:
            file.seek(end)
            disk.save(side, file.read(size - end))
    except OSError:
        if cut_lines:
            raise
        saved = ""
    disk.cut(path, end)
    return Repair("torn_tail", path.name, size - end, cut_lines, saved)
