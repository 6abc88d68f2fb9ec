"""The append-only ledger: `ports.Journal` over a hash chain on the disk (invariants 2 and 9).

What runs on the loop thread is kept small: encode, number, append to a deque. `writer` does the rest.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ecotone.store import attesting, chain, reading, signing
from ecotone.store.disk import Disk, Lock
from ecotone.store.keys import digest_key
from ecotone.store.limits import LedgerLimits
from ecotone.store.segments import repaired
from ecotone.store.shape import encoded
from ecotone.store.writer import BARRIER, EGRESS, Item, Writer, refusal
from ecotone.values import ConfigError, Permit, Receipt, RefusalError

__all__ = ["FOLDER", "LOCK", "Ledger", "LedgerStatus"]

FOLDER: Final = "ledger"
"""Folder of the segments, below the store's."""
LOCK: Final = "ledger.lock"
"""File in the store that its writer holds locked."""
STEP_BACK_MS: Final = 60_000
"""A clock that falls back by less stands still in the ledger; by more, a new segment begins."""
WATCH_S: Final = 0.001
GIVE_WAY_S: Final = 0.0001
"""While a permit waits and no write ends, the loop thread pauses so long every `WATCH_S`: see `Ledger._give_way`."""
_NONE: Final = MappingProxyType[str, int]({})
_KIND: Final = re.compile(r"[a-z][a-z0-9_.]{0,63}")


class EgressEntry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Body of an `egress` entry: what a permit lets leave.

    Attributes:
        labels: Of the conversation, as it stands at the site.
        replaced: How many values of each label went as surrogates; left out where none was.
        digest: HMAC-SHA-256, under the store's digest key, of the permit's digest: a short prompt cannot be guessed
            from a copied ledger.
    """

    request: str
    target: str
    origin: str
    region: str | None
    digest: str
    transform: str
    rule: str
    labels: Sequence[str]
    body_bytes: int
    replaced: dict[str, int] = {}


class LedgerStatus(msgspec.Struct, frozen=True):
    """How the ledger is doing.

    Attributes:
        next_seq: Position that the next entry gets.
        durable: The last entry that is on the disk.
        failure: Why it cannot be written now, or `''`.
        buffered_bytes: Entries that wait to be written.
        groups: Writes so far.
        refused: Notes and permits refused since start because the ledger could not be written.
        signing: Why the last checkpoint could not be signed and kept, or `''`; the entries themselves are safe.
    """

    next_seq: int
    durable: chain.Head
    failure: str
    buffered_bytes: int
    groups: int
    refused: int
    signing: str = ""


class Ledger:
    """The ledger of one site; implements `ports.Journal`. All methods but `close` are for one thread."""

    def __init__(self, lock: Lock, writer: Writer, folder: Path, limits: LedgerLimits, key: bytes) -> None:
        """See `open`."""
        self._lock, self._writer, self._folder, self._limits, self._key = lock, writer, folder, limits, key
        self._seq = writer.head.seq + 1
        self._at_ms = 0
        self._wall_s: Callable[[], float] = time.time
        self._refused = 0
        self._refused_told = 0
        self._is_closed = False
        self._watched: asyncio.AbstractEventLoop | None = None
        self._watched_groups = 0

    @classmethod
    def open(
        cls,
        store: Path,
        site: str,
        *,
        limits: LedgerLimits | None = None,
        wall_s: Callable[[], float] = time.time,
        disk: Disk | None = None,
        site_key: bytes | None = None,
    ) -> Ledger:
        """The ledger in a store's folder, made where there is none. Reads the end of the last segment only.

        Args:
            site: Name of the site, for the entries `genesis` and `opened`.
            wall_s: Seconds since the Unix epoch.
            site_key: The private key that signs, if it is not to be the store's own (see `signing.site_key`).

        Raises:
            ConfigError: `store.locked`: another process writes it; `store.path`: the folder cannot be used;
                `store.ledger`: it holds segments without entries; `store.key`, `store.site_key`: a key is damaged.
        """
        limits, disk = limits or LedgerLimits(), disk or Disk()
        folder = store / FOLDER
        lock = None
        try:
            store.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
            lock = Lock(store / LOCK)
            key = digest_key(store, disk)
            tail, repairs = repaired(folder, disk)
            attester, losses = attesting.opened(folder, tail, signing.site_key(store, disk, site, site_key), disk)
        except (OSError, ConfigError) as error:
            if lock is not None:
                lock.release()
            if isinstance(error, ConfigError):
                raise
            raise ConfigError("store.path", f"store.path: {error}; check owner, rights and free space") from error
        attester.limits, attester.wall_s = limits, wall_s
        ledger = cls(lock, Writer(folder, tail, disk, limits, attester), folder, limits, key)
        ledger._wall_s = wall_s
        ledger._at_ms = tail.entry.at_ms if tail.entry else 0
        ledger._writer.start()
        about = {"site": site, "digest_key": hmac.digest(key, b"id", "sha256").hex()[:16], "origin": attester.origin}
        if tail.entry is None:
            ledger.note("genesis", {"format": "ecotone-ledger", "version": chain.VERSION, "hash": "sha256", **about})
        ledger.note("opened", about)
        for repair in (*repairs, *losses):
            ledger.note("recovered", repair)
        return ledger

    def note(self, kind: str, entry: Mapping[str, Any] | msgspec.Struct) -> int:
        """See `ports.Journal.note`. Asserts that the entry can hold no content (`shape`)."""
        seq = self._append(_kind(kind), entry, None)
        writer = self._writer
        if not writer.is_awake:
            writer.wake()
        elif writer.asked_bytes - writer.done_bytes >= self._limits.group_bytes_max:
            writer.hurry()
        return seq

    async def permit(
        self,
        permit: Permit,
        *,
        body_bytes: int,
        labels: Sequence[str],
        region: str | None,
        replaced: Mapping[str, int] = _NONE,
    ) -> Receipt:
        """See `ports.Journal.permit`. Cancelling it is safe: no receipt is given."""
        entry = EgressEntry(
            permit.request,
            permit.target,
            permit.origin,
            region,
            hmac.digest(self._key, permit.digest.encode(), "sha256").hex(),
            permit.transform,
            permit.rule,
            labels,
            body_bytes,
            dict(replaced),
        )
        future = self._future()
        seq = self._append(EGRESS, entry, future)
        await self._answered(future)
        return Receipt(seq, permit.seal)

    async def flush(self) -> None:
        """Returns when all that was noted before is durable. While the disk fails, this tries it again at once.

        Raises:
            RefusalError: `refused.ledger`: it could not be written.
        """
        if self._is_closed:
            raise refusal("it is closed")
        future = self._future()
        self._writer.pending.append(Item(-1, 0, BARRIER, b"", future))
        await self._answered(future)

    async def checkpoint(self) -> bytes:
        """A signed note over all that was noted before (see `notes`); `b''` where none could be kept yet.

        Raises:
            RefusalError: `refused.ledger`: what was noted could not be written.
        """
        for _ in range(2):  # an answer comes before its group is in the tree; the next group's comes after that
            await self.flush()
        return await asyncio.to_thread(self._writer.attester.checkpoint)

    def status(self) -> LedgerStatus:
        """How the ledger is doing, now."""
        writer = self._writer
        buffered, unsigned = writer.asked_bytes - writer.done_bytes, writer.attester.failure
        return LedgerStatus(
            self._seq, writer.head, writer.failure or "", buffered, writer.groups, self._refused, unsigned
        )

    def last(self, kind: str) -> chain.Entry | None:
        """The last durable entry of a kind, if it is near the end; reads the disk. See `reading.last`."""
        return reading.last(self._folder, kind)

    def find(self, request: str) -> list[chain.Entry]:
        """All durable entries of one request; reads the disk. See `reading.find`."""
        return reading.find(self._folder, request)

    def close(self, limit_s: float = 5.0) -> int:
        """Writes what is left and lets go of the store; returns how many entries are lost (0 = none). Idempotent.

        Blocks for one write as a rule and never longer than `limit_s`; `asyncio.to_thread` may run it. No `note`
        or `permit` may be under way.
        """
        if self._is_closed:
            return 0
        if self._writer.failure is None:
            self.note("closed", {"refused": self._refused})
        self._is_closed = True
        lost = self._writer.stop(limit_s)
        if self._writer.is_over:  # else the disk hangs: the process keeps the lock, for the write may yet be done
            self._lock.release()
        return lost

    def _append(
        self, kind: bytes, entry: Mapping[str, Any] | msgspec.Struct, future: asyncio.Future[None] | None
    ) -> int:
        """Numbers an entry and hands it to the writer."""
        writer = self._writer
        failure = "it is closed" if self._is_closed else writer.failure
        if failure is not None:
            self._refused += 1
            raise refusal(failure)
        while writer.outages:
            error, since_ms = writer.outages.popleft()
            refused, self._refused_told = self._refused - self._refused_told, self._refused
            self._push(
                b"recovered",
                encoded({"why": "write_failed", "error": error, "since_ms": since_ms, "refused": refused}),
                None,
            )
        while writer.attester.said:
            self._push(*writer.attester.said.popleft(), None)
        body = encoded(entry)
        if writer.asked_bytes - writer.done_bytes + len(body) > self._limits.buffer_bytes_max:
            self._refused += 1
            raise refusal("the disk is too slow, and the buffer is full")
        return self._push(kind, body, future)

    def _push(self, kind: bytes, body: bytes, future: asyncio.Future[None] | None) -> int:
        at_ms = int(self._wall_s() * 1000)
        if at_ms < self._at_ms <= at_ms + STEP_BACK_MS:
            at_ms = self._at_ms
        self._at_ms = at_ms
        seq = self._seq
        self._seq = seq + 1
        self._writer.pending.append(Item(seq, at_ms, kind, body, future))
        self._writer.asked_bytes += len(body)
        return seq

    def _give_way(self) -> None:
        """Lets the writer have the interpreter, where somebody has waited for it for long.

        A loop that is never idle takes the interpreter lock back before a waiting thread has woken up, again and
        again, and the thread's own request for it needs 5 ms without any release: it could starve for a second.
        """
        writer = self._writer
        if writer.is_waited_for:
            if writer.groups == self._watched_groups:  # not one write was finished since the last look
                time.sleep(GIVE_WAY_S)
            self._watched_groups = writer.groups
            asyncio.get_running_loop().call_later(WATCH_S, self._give_way)
        else:
            self._watched = None

    def _future(self) -> asyncio.Future[None]:
        loop = self._writer.loop = asyncio.get_running_loop()
        return loop.create_future()

    async def _answered(self, future: asyncio.Future[None]) -> None:
        self._writer.asked += 1
        self._writer.hurry()
        loop = self._writer.loop
        if loop is not None and loop is not self._watched:
            self._watched, self._watched_groups = loop, self._writer.groups
            loop.call_later(WATCH_S, self._give_way)
        try:
            await future
        except RefusalError:
            self._refused += 1
            raise


@functools.cache
def _kind(kind: str) -> bytes:
    assert _KIND.fullmatch(kind), f"{kind!r} cannot be the kind of a ledger entry"
    return kind.encode()
