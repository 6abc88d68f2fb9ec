"""The hub's ledger: every act of a person or of the hub itself, chained and signed as a site's ledger is.

It lies in the database, so that any process of the hub may write it and an act can be one transaction with what it
does. What `export` writes is a ledger like a site's: `ecotone ledger verify` and `ecotone evidence` read it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import Connection, select

from ecotone.assets import files
from ecotone.delivery import hub_keys
from ecotone.hub.database import Database
from ecotone.hub.tables import acts, checkpoints
from ecotone.store import CHECKPOINTS, PUBLIC, Entry, Report, Trust, chain, merkle, notes, shape, verify
from ecotone.store.segments import named
from ecotone.store.signing import Signer
from ecotone.values import ConfigError

__all__ = ["ACT", "Acts", "signer"]

ACT: Final = "act"
"""Kind of an entry. Its body: `actor`, `act`, `subject`, `digest` (SHA-256 of the request; may be empty), `figures`."""
KEY: Final = "hub.key"
"""File of the key that signs, beside the hub's other keys."""
CHECKPOINT_ENTRIES: Final = 256
"""So many acts after the last checkpoint the next one is signed by whoever writes."""
STEP_BACK_MS: Final = 60_000
_LOCK: Final = "acts"
_ROWS: Final = 1000
_WORD: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")

Figure = int | float | str | bool


def signer(keys: Path, name: str) -> Signer:
    """What signs the ledger of the hub of this name; its key is made where there is none.

    Raises:
        ConfigError: `hub.keys`: it is damaged.
        StoreError: `asset.io`, `asset.disk_full`.
    """
    path = keys / KEY
    if not path.exists():
        try:
            hub_keys.written(hub_keys.made(), path)
        except ConfigError:
            if not path.exists():  # else another process was faster
                raise
    return Signer(hub_keys.read(path).private_bytes, name)


class Acts:
    """The ledger of one hub. May be used by several threads; several processes may write it."""

    def __init__(
        self, database: Database, signs: Signer | None = None, wall_s: Callable[[], float] = time.time
    ) -> None:
        """Reads nothing yet.

        Args:
            signs: What signs checkpoints; None: nothing is signed here.
            wall_s: Seconds since the Unix epoch.
        """
        self._database, self._signs, self._wall_s = database, signs, wall_s

    def write(
        self,
        actor: str,
        act: str,
        subject: str,
        digest: str = "",
        at: Connection | None = None,
        **figures: Figure,
    ) -> int:
        """Notes an act, before it takes effect; the position of its entry.

        Args:
            actor: Who: `person:ann`, `site:harbour`, `hub`.
            act: What, as a stable word: `release.start`.
            subject: On which.
            digest: SHA-256 (hex) of the request, where there was one.
            at: A transaction that writes: the act is noted with what it does, or neither. None: it is durable at once.
            figures: More of it: numbers and short words, never content.

        Raises:
            StoreError: `hub.database`: it is not noted, and must not take effect.
        """
        assert _WORD.fullmatch(act), f"{act!r} is no stable word"
        body = {"actor": actor, "act": act, "subject": subject, "digest": digest, "figures": dict(figures)}
        if at is not None:
            return self._noted(at, body)
        return self._database.run(lambda connection: self._noted(connection, body))

    def checkpoint(self) -> bytes:
        """Signs all that was noted so far, if anything is new; the newest checkpoint, `b''` without one.

        Raises:
            StoreError: `hub.database`.
        """
        return self._database.run(self._checkpoint)

    def tail(self, after: int = -1, limit: int = 200) -> list[Entry]:
        """Entries behind a position, oldest first; `after=-1` with nothing before it.

        Raises:
            StoreError: `hub.database`.
        """
        asked = select(acts.c.line).where(acts.c.seq > after).order_by(acts.c.seq).limit(limit)
        with self._database.read() as connection:
            found = [chain.entry(bytes(row.line)) for row in connection.execute(asked)]
        return [entry for entry in found if entry is not None]

    def newest(self, limit: int = 200, before: int | None = None) -> list[Entry]:
        """The last entries (before a position), newest first.

        Raises:
            StoreError: `hub.database`.
        """
        asked = select(acts.c.line).order_by(acts.c.seq.desc()).limit(limit)
        if before is not None:
            asked = asked.where(acts.c.seq < before)
        with self._database.read() as connection:
            found = [chain.entry(bytes(row.line)) for row in connection.execute(asked)]
        return [entry for entry in found if entry is not None]

    def export(self, to: Path) -> Path:
        """Writes the ledger into a new folder: segments, checkpoints and, if this hub signs, its public key.

        Raises:
            ConfigError: `hub.file`: there is something already.
            StoreError: `hub.database`, `asset.io`, `asset.disk_full`.
        """
        if to.exists():
            raise ConfigError("hub.file", f"{to} is there already: give the name of a new folder")
        self.checkpoint()
        return self._exported(to)

    def verify(self) -> Report:
        """Recomputes the chain and the tree of what lies in the database, and checks the signatures.

        Raises:
            StoreError: `hub.database`, `asset.io`, `asset.disk_full`.
        """
        with tempfile.TemporaryDirectory(prefix="ecotone-acts-") as folder:
            copy = self._exported(Path(folder) / "ledger")
            return verify(copy, trust=Trust(keys=(self._signs.public,) if self._signs is not None else ()))

    def _exported(self, to: Path) -> Path:
        fresh = to.with_name(f".{to.name}.new")
        with files.durably(f"writing {to}"):
            shutil.rmtree(fresh, ignore_errors=True)
            files.folder(fresh)
            with self._database.snapshot() as connection:  # checkpoints, and entries that repeat them, fit each other
                raws = connection.execute(select(checkpoints.c.note).order_by(checkpoints.c.size)).scalars()
                (fresh / CHECKPOINTS).write_bytes(b"".join(bytes(raw) + b"\n" for raw in raws))
                self._write_segments(connection, fresh)
            if self._signs is not None:
                (fresh / PUBLIC).write_bytes(self._signs.pem())
            fresh.rename(to)
        return to

    def _noted(self, connection: Connection, body: Mapping[str, object]) -> int:
        seq = self._append(connection, ACT, body)
        if seq % CHECKPOINT_ENTRIES == CHECKPOINT_ENTRIES - 1:
            self._checkpoint(connection)
        return seq

    def _append(self, connection: Connection, kind: str, body: Mapping[str, object]) -> int:
        """The next entry, in the order in which transactions end: the lock is held until this one does."""
        self._database.hold(connection, _LOCK)
        asked = select(acts.c.seq, acts.c.at_ms, acts.c.line).order_by(acts.c.seq.desc()).limit(1)
        last = connection.execute(asked).first()
        at_ms = int(self._wall_s() * 1000)
        if last is None:
            origin = self._signs.origin if self._signs is not None else ""
            about = {"format": "ecotone-ledger", "version": chain.VERSION, "hash": "sha256", "origin": origin}
            prev, seq = _put(connection, 0, at_ms, "genesis", about, chain.NOTHING), 1
        else:
            prev, seq = _hash(bytes(last.line)), last.seq + 1
            if last.at_ms - STEP_BACK_MS <= at_ms < last.at_ms:
                at_ms = last.at_ms
        _put(connection, seq, at_ms, kind, body, prev)
        return int(seq)

    def _checkpoint(self, connection: Connection) -> bytes:
        self._database.hold(connection, _LOCK)
        newest = select(checkpoints.c.size, checkpoints.c.note).order_by(checkpoints.c.size.desc()).limit(1)
        row = connection.execute(newest).first()
        raw, size = (bytes(row.note), int(row.size)) if row is not None else (b"", 0)
        last = connection.execute(select(acts.c.seq).order_by(acts.c.seq.desc()).limit(1)).scalar()
        # The one entry behind a checkpoint that only repeats it is nothing new.
        if self._signs is None or last is None or (size and last <= size):
            return raw
        tree = self._tree(connection, raw, size)
        root = tree.root()
        made = self._signs.note(tree.size, root, {"peaks": notes.joined(tree.peaks)})
        connection.execute(checkpoints.insert().values(size=tree.size, note=made))
        self._append(connection, "checkpoint", {"size": tree.size, "root": root.hex()})
        return made

    def _tree(self, connection: Connection, raw: bytes, size: int) -> merkle.Tree:
        """The tree over all entries: it goes on from the last checkpoint, if that is one."""
        note = notes.parse(raw) if raw else None
        tree = (note.tree() if note is not None else None) or merkle.Tree()
        for text in _lines(connection, tree.size):
            tree.append(text[:-1])
        assert tree.size >= size, "entries are only ever added"
        return tree

    def _write_segments(self, connection: Connection, folder: Path) -> None:
        """Time never falls within a segment: where it did, the next one begins."""
        out: BinaryIO | None = None
        last_ms = 0
        try:
            for text in _lines(connection, 0):
                entry = chain.entry(text)
                at_ms = entry.at_ms if entry is not None else last_ms
                if out is None or at_ms < last_ms:
                    if out is not None:
                        out.close()
                    # What is no entry any more is exported as it is: `verify` is to find it.
                    out = named(folder, entry.seq if entry is not None else 0).open("wb")
                out.write(text)
                last_ms = at_ms
        finally:
            if out is not None:
                out.close()


def _put(connection: Connection, seq: int, at_ms: int, kind: str, body: Mapping[str, object], prev: bytes) -> bytes:
    text, own = chain.line(seq, at_ms, kind.encode(), shape.encoded(body), prev)
    connection.execute(acts.insert().values(seq=seq, at_ms=at_ms, line=text))
    return own


def _hash(text: bytes) -> bytes:
    """An entry's own hash, which stands at its end."""
    return text[-len(chain.NOTHING) - 3 : -3]


def _lines(connection: Connection, start: int) -> Iterator[bytes]:
    """Lines from a position on; memory stays bounded."""
    after = start - 1
    while True:
        asked = select(acts.c.seq, acts.c.line).where(acts.c.seq > after).order_by(acts.c.seq).limit(_ROWS)
        rows = connection.execute(asked).all()
        yield from (bytes(row.line) for row in rows)
        if len(rows) < _ROWS:
            return
        after = rows[-1].seq
