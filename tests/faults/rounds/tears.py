"""Torn files: what a loss of power leaves of them, and what a lying disk forgets although it was synchronised."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.faults.rounds.site import Home

SECTOR: Final = 512
WAL_HEADER: Final = 32
FRAME_HEADER: Final = 24
PAGE: Final = 4096


class Snapshot(msgspec.Struct, frozen=True):
    """What a home's files hold, while no site runs.

    Attributes:
        last_event: Number of the last one.
        digests: Of bodies that left the site, by the ledger.
        lines: Of the ledger.
    """

    jobs: frozenset[str]
    batches: frozenset[str]
    last_event: int
    digests: frozenset[str]
    lines: list[bytes]


def snapshot(home: Home) -> Snapshot:
    """See there. The files are copied first: SQLite would put them in order."""
    with tempfile.TemporaryDirectory(dir=home.folder) as name:
        folder = Path(name)
        for side in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(home.store / f"jobs.db{side}", folder / f"jobs.db{side}")
        with contextlib.closing(sqlite3.connect(folder / "jobs.db")) as connection:
            jobs = frozenset(str(one) for (one,) in _rows(connection, "SELECT id FROM jobs"))
            batches = frozenset(str(one) for (one,) in _rows(connection, "SELECT id FROM batches"))
            last = max((int(one) for (one,) in _rows(connection, "SELECT max(seq) FROM events") if one), default=0)
    lines = ledger_lines(home)
    return Snapshot(jobs, batches, last, frozenset(digests(lines)), lines)


def _rows(connection: sqlite3.Connection, query: str) -> list[tuple[Any, ...]]:
    """All rows; none where the first start came to no table."""
    try:
        return connection.execute(query).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise


def segments(home: Home) -> list[Path]:
    """The ledger's files, oldest first."""
    return sorted((home.store / "ledger").glob("*.jsonl"))


def ledger_lines(home: Home) -> list[bytes]:
    """All whole lines of the ledger."""
    found: list[bytes] = []
    for path in segments(home):
        found += [line for line in path.read_bytes().split(b"\n")[:-1] if line]
    return found


def digests(lines: list[bytes]) -> list[str]:
    """Of bodies that left, as the entries say."""
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            if b'"kind":"egress"' in line:
                found.append(json.loads(line)["body"]["digest"])
    return found


def lose_power(home: Home, dice: random.Random) -> list[str]:
    """Of each write that nobody was told is durable, the disk has any part. What was torn."""
    shim, torn = home.shim, []
    first, end = shim.unsynced_wal()
    wal = home.store / "jobs.db-wal"
    if wal.exists() and first < (end := min(end, wal.stat().st_size)):
        spoil(wal, first, end, dice)
        torn.append("wal")
    for at, size in shim.unsynced_pages():
        spoil(home.store / "jobs.db", at, min(at + size, (home.store / "jobs.db").stat().st_size), dice, may_end=False)
        torn += ["page"] if "page" not in torn else []
    unfinished = shim.unfinished_entry()
    if unfinished is not None and (path := home.store / unfinished[0]).exists():
        spoil(path, unfinished[1], path.stat().st_size, dice)
        torn.append("entry")
    elif segments(home):
        half_an_entry(segments(home)[-1], dice)
        torn.append("half an entry")
    shim.forget()
    return torn


def spoil(path: Path, first: int, end: int, dice: random.Random, *, may_end: bool = True) -> None:
    """Bytes of a file were on their way: each sector is new, zero or rubbish, and the file may end among them."""
    if first >= end:
        return
    with path.open("r+b") as file:
        is_last = end == path.stat().st_size
        for at in range(first, end, SECTOR):
            size = min(SECTOR, end - at)
            if dice.random() < 0.75:
                file.seek(at)
                file.write(dice.choice((bytes(size), dice.randbytes(size))))
        if may_end and is_last and dice.random() < 0.5:
            file.truncate(dice.randrange(first, end + 1))


def half_an_entry(path: Path, dice: random.Random) -> None:
    """A write that had only begun: half a line like the last one, or room that was taken and never filled."""
    last = path.read_bytes().splitlines()[-1]
    rest = dice.choice((last[: dice.randrange(1, len(last))], bytes(dice.randrange(1, 5000))))
    with path.open("ab") as file:
        file.write(rest)


def lie(home: Home, dice: random.Random) -> list[str]:
    """The last page of the WAL and of the ledger is not what it was, though it was synchronised. What was torn."""
    torn = []
    wal, end = home.store / "jobs.db-wal", valid_end(home.store / "jobs.db-wal")
    if end > WAL_HEADER:
        damage(wal, max(WAL_HEADER, end - dice.randrange(1, 4) * (PAGE + FRAME_HEADER)), end, dice)
        torn.append("wal")
    path = segments(home)[-1]
    size = path.stat().st_size
    damage(path, max(0, size - PAGE), size, dice)
    torn.append("ledger")
    home.shim.forget()
    return torn


def damage(path: Path, first: int, end: int, dice: random.Random) -> None:
    """The file ends too soon, or a byte of it is another one."""
    at = dice.randrange(first, end)
    with path.open("r+b") as file:
        if dice.random() < 0.5:
            file.truncate(at)
        else:
            file.seek(at)
            old = file.read(1)[0]
            file.seek(at)
            file.write(bytes([old ^ (1 << dice.randrange(8))]))


def valid_end(wal: Path) -> int:
    """Where the frames end that belong to the file as it is now; older ones may stand behind them.

    Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log (4.1: salts of header and frames).
    """
    if not wal.exists() or wal.stat().st_size < WAL_HEADER:
        return 0
    content = wal.read_bytes()
    salts, at = content[16:24], WAL_HEADER
    while at + FRAME_HEADER + PAGE <= len(content) and content[at + 8 : at + 16] == salts:
        at += FRAME_HEADER + PAGE
    return at
