"""Files and batches as rows: each method is part of a transaction of the writer (or a read)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from ecotone.store.queue_limits import QueueLimits
from ecotone.store.sealing import Sealer, UnsealError
from ecotone.values import Batch, RefusalError, RequestError, StoredFile

__all__ = ["FileRows"]

PIECE_BYTES: Final = 256 << 10
"""A file lies in pieces of at most this, each sealed alone, so that a part of it costs no more than that."""
FULL_RETRY_AFTER_S: Final = 60.0
_FILE: Final = "SELECT seq, id, size, is_whole, facts FROM files WHERE id = ?"
_FILES: Final = """
    SELECT seq, id, size, is_whole, facts FROM files WHERE is_whole AND (?1 IS NULL OR key = ?1)
        AND (?2 = '' OR seq < (SELECT seq FROM files WHERE id = ?2)) ORDER BY seq DESC LIMIT ?3"""
_BATCHES: Final = """
    SELECT id, facts FROM batches WHERE (?1 IS NULL OR key = ?1)
        AND (?2 = '' OR seq < (SELECT seq FROM batches WHERE id = ?2)) ORDER BY seq DESC LIMIT ?3"""
_OVER: Final = ("completed", "failed", "expired", "cancelled")


class FileRows:
    """What the writer does to files and batches."""

    def __init__(self, sealer: Sealer, limits: QueueLimits) -> None:
        self._sealer, self._limits = sealer, limits

    def begin(self, connection: sqlite3.Connection, file: StoredFile) -> None:
        """See `ports.Files.begin_file`."""
        held = connection.execute(_FILE, (file.id,)).fetchone()
        if held is not None:
            if held[3]:
                raise RequestError("request.file", f"The file {file.id} is whole already.", status=409)
            self._drop(connection, [held[0]])
        if connection.execute("SELECT count(*) FROM files").fetchone()[0] >= self._limits.files_max:
            message = f"This site keeps {self._limits.files_max} files and no more; delete some."
            raise RefusalError("refused.queue_full", message, status=429, retry_after_s=FULL_RETRY_AFTER_S)
        facts = self._sealer.seal(msgspec.json.encode(file), "files", file.id)
        connection.execute(
            "INSERT INTO files (id, key, size, is_whole, expires_at_ms, facts) VALUES (?, ?, 0, 0, ?, ?)",
            (file.id, file.key, file.expires_at_ms, facts),
        )

    def append(self, connection: sqlite3.Connection, name: str, content: bytes) -> int:
        """See `ports.Files.append_file`."""
        seq, size = self._unfinished(connection, name)
        if size + len(content) > self._limits.file_bytes_max:
            message = f"The file is longer than this site keeps ({self._limits.file_bytes_max} bytes)."
            raise RequestError("request.too_large", message, status=413)
        for start in range(0, len(content), PIECE_BYTES):
            at = size + start
            piece = self._sealer.seal(content[start : start + PIECE_BYTES], "pieces", name, str(at))
            connection.execute("INSERT INTO pieces (file, start, content) VALUES (?, ?, ?)", (seq, at, piece))
        connection.execute("UPDATE files SET size = ? WHERE seq = ?", (size + len(content), seq))
        return size + len(content)

    def finish(self, connection: sqlite3.Connection, name: str) -> StoredFile:
        """See `ports.Files.finish_file`."""
        seq, _ = self._unfinished(connection, name)
        connection.execute("UPDATE files SET is_whole = 1 WHERE seq = ?", (seq,))
        found = self.file(connection, name)
        if found is None:
            raise RequestError("request.file", f"The file {name} can no longer be read.", status=404)
        return found

    def file(self, connection: sqlite3.Connection, name: str) -> StoredFile | None:
        """See `ports.Files.file`."""
        held = connection.execute(_FILE, (name,)).fetchone()
        return self._told(held) if held is not None else None

    def files(self, connection: sqlite3.Connection, key: str | None, after: str, limit: int) -> tuple[StoredFile, ...]:
        """See `ports.Files.files`."""
        found = (self._told(held) for held in connection.execute(_FILES, (key, after, limit)))
        return tuple(file for file in found if file is not None)

    def read(self, connection: sqlite3.Connection, name: str, start: int, limit: int) -> bytes | None:
        """See `ports.Files.read_file`."""
        held = connection.execute(_FILE, (name,)).fetchone()
        if held is None:
            return None
        end = min(start + limit, held[2])
        query = "SELECT start, content FROM pieces WHERE file = ? AND start > ? AND start < ? ORDER BY start"
        parts, at = [], start
        for first, sealed in connection.execute(query, (held[0], start - PIECE_BYTES, end)):
            try:
                piece = self._sealer.unseal(sealed, "pieces", name, str(first))
            except UnsealError:
                return None
            part = piece[at - first : end - first] if first <= at else b""
            parts.append(part)
            at += len(part)
        return b"".join(parts) if at >= end else None

    def delete(self, connection: sqlite3.Connection, name: str) -> bool:
        """See `ports.Files.delete_file`."""
        held = connection.execute(_FILE, (name,)).fetchone()
        self._drop(connection, [held[0]] if held is not None else [])
        return held is not None

    def drop_unfinished(self, connection: sqlite3.Connection) -> int:
        """At start: whoever was writing files is gone."""
        return self._drop(
            connection, [seq for (seq,) in connection.execute("SELECT seq FROM files WHERE NOT is_whole")]
        )

    def drop_expired(self, connection: sqlite3.Connection, now_ms: int) -> int:
        """Files whose time is over."""
        query = "SELECT seq FROM files WHERE is_whole AND expires_at_ms > 0 AND expires_at_ms <= ?"
        return self._drop(connection, [seq for (seq,) in connection.execute(query, (now_ms,))])

    def put_batch(self, connection: sqlite3.Connection, batch: Batch) -> None:
        """See `ports.Batches.put_batch`."""
        facts = self._sealer.seal(msgspec.json.encode(batch), "batches", batch.id)
        connection.execute(
            """INSERT INTO batches (id, key, state, expires_at_ms, facts) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET state = excluded.state, facts = excluded.facts""",
            (batch.id, batch.key, batch.state, batch.expires_at_ms, facts),
        )

    def batch(self, connection: sqlite3.Connection, name: str) -> Batch | None:
        """See `ports.Batches.batch`."""
        found = self._batches(connection.execute("SELECT id, facts FROM batches WHERE id = ?", (name,)))
        return found[0] if found else None

    def batches(self, connection: sqlite3.Connection, key: str | None, after: str, limit: int) -> tuple[Batch, ...]:
        """See `ports.Batches.batches`."""
        return self._batches(connection.execute(_BATCHES, (key, after, limit)))

    def drop_batches(self, connection: sqlite3.Connection, before_ms: int) -> int:
        """Batches that are over, were to end before an instant, and have no jobs any more."""
        change = """DELETE FROM batches WHERE state IN (?, ?, ?, ?) AND expires_at_ms < ?
            AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.batch = batches.id AND jobs.batch != '')"""
        return connection.execute(change, (*_OVER, before_ms)).rowcount

    def _unfinished(self, connection: sqlite3.Connection, name: str) -> tuple[int, int]:
        """(row, size) of a file that is being written.

        Raises:
            RequestError: `request.file`.
        """
        held = connection.execute(_FILE, (name,)).fetchone()
        if held is None or held[3]:
            raise RequestError("request.file", f"No file {name} is being written.", status=404)
        return held[0], held[2]

    def _drop(self, connection: sqlite3.Connection, rows: Sequence[int]) -> int:
        for table in ("pieces WHERE file", "files WHERE seq"):
            connection.executemany(f"DELETE FROM {table} = ?", [(seq,) for seq in rows])  # noqa: S608 - two constants
        return len(rows)

    def _told(self, held: Sequence[Any]) -> StoredFile | None:
        """The file of a row; None where it cannot be read."""
        _, name, size, is_whole, facts = held
        try:
            file = msgspec.json.decode(self._sealer.unseal(facts, "files", name), type=StoredFile)
        except (UnsealError, msgspec.DecodeError):
            return None
        return msgspec.structs.replace(file, size=size, is_whole=bool(is_whole))

    def _batches(self, rows: Iterable[Sequence[Any]]) -> tuple[Batch, ...]:
        """The batches of rows, those that can be read."""
        found = []
        for name, facts in rows:
            try:
                found.append(msgspec.json.decode(self._sealer.unseal(facts, "batches", name), type=Batch))
            except (UnsealError, msgspec.DecodeError):
                continue
        return tuple(found)
