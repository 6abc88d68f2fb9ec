"""The thread that puts entries on the disk: one group after the other, each with one synchronous write.

All entries that arrived while a group was being written go into the next one. The loop thread only appends to a
deque; the chain is computed here, when an entry's predecessor is known to be durable, so that after a failure
nothing has to be taken back.

When a write fails, nothing of that group counts: permits are told so and their entries become `voided`, the segment
is cut back to its last durable entry (after a failed fsync the page cache is not to be trusted), and the group is
written again to a new segment, every `retry_s` until that succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from ecotone.store import chain
from ecotone.store.attesting import Attester
from ecotone.store.disk import Disk
from ecotone.store.limits import LedgerLimits
from ecotone.store.segments import Tail, named
from ecotone.values import RefusalError

__all__ = ["BARRIER", "EGRESS", "VOIDED", "Item", "Writer", "refusal"]

EGRESS: Final = b"egress"
VOIDED: Final = b"voided"
"""Kind of an egress entry whose permit was never used: its write failed, or its request had ended by then."""
BARRIER: Final = b""
"""Kind of an item that is no entry: it only wants to know when all before it is durable."""
RETRY_AFTER_S: Final = 1.0
_DAY_MS: Final = 86_400_000


class Item(msgspec.Struct, gc=False):
    """One entry on its way to the disk; `future` belongs to whoever waits for it."""

    seq: int
    at_ms: int
    kind: bytes
    body: bytes
    future: asyncio.Future[None] | None = None


class Writer:
    """Owns the open segment. Each attribute is written by one thread only.

    By the loop thread: `asked` (items that somebody waits for), `asked_bytes`, `is_closing`, and the two signals.
    By the writer thread, for the loop thread to read:

    Attributes:
        failure: Why nothing can be written now, in words; None while all is well.
        outages: (Failure, wall time of the first item it hit, ms) of failures that were overcome; the ledger owes
            an entry for each.
        done_bytes: Bytes of bodies that are durable.
        groups: Writes that succeeded.
        head: The last durable entry.
        attester: Signs what is durable; its entries wait in `attester.said`.
    """

    def __init__(self, folder: Path, tail: Tail, disk: Disk, limits: LedgerLimits, attester: Attester) -> None:
        self.pending: deque[Item] = deque()
        self.asked = 0
        self.asked_bytes = 0
        self.is_closing = False
        self.is_awake = False
        self.is_hurried = False
        self.loop: asyncio.AbstractEventLoop | None = None
        self.failure: str | None = None
        self.outages: deque[tuple[str, int]] = deque()
        self.done_bytes = 0
        self.groups = 0
        self.head = chain.Head(tail.entry.seq, tail.entry.hash) if tail.entry else chain.Head(-1, "")
        self.attester = attester
        self._folder, self._disk, self._limits = folder, disk, limits
        self._path, self._size = tail.path, tail.size
        self._day = tail.entry.at_ms // _DAY_MS if tail.entry else 0
        self._at_ms = tail.entry.at_ms if tail.entry else 0
        self._prev = tail.entry.hash.encode() if tail.entry else chain.NOTHING
        self._fd = -1
        self._is_suspect = False
        self._is_given_up = False
        self._answered = 0
        self._group: list[Item] = []
        self._failed_at_ms = 0
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """From the loop thread: there is something to write, soon."""
        self.is_awake = True
        self._signals.put(None)

    def hurry(self) -> None:
        """From the loop thread: there is something to write, now."""
        if not self.is_hurried:
            self.is_hurried = self.is_awake = True
            self._signals.put(None)

    def stop(self, limit_s: float) -> int:
        """Writes what is left and ends the thread; the number of entries that are not durable after `limit_s`."""
        self.is_closing = True
        self._signals.put(None)
        self._thread.join(limit_s)
        return sum(item.kind != BARRIER for item in [*self._group, *list(self.pending)])

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for an answer that is not given yet."""
        return self.asked != self._answered or bool(self._group)

    @property
    def is_over(self) -> bool:
        """Whether the thread has ended, so that nothing will be written any more."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        """The thread: group after group."""
        try:
            while self._has_work():
                self._group = self._take()
                self._commit(self._group)
                self._group = []
        finally:
            # Also where a defect ends the thread: nobody may wait for ever, and nothing may leave.
            self.failure = self.failure or "the ledger's writer has ended"
            self._refuse(self._group)
            self._group = []
            self._let_go()
            self.attester.close()

    def _has_work(self) -> bool:
        """Waits until a group is due; False when all is over."""
        due_s: float | None = None
        while True:
            self.is_hurried = False  # from here on, who appends and hurries signals again
            if self.is_closing:
                return bool(self.pending) and not self._is_given_up
            is_full = self.asked_bytes - self.done_bytes >= self._limits.group_bytes_max
            if self.asked != self._answered or (is_full and self.failure is None):
                return True
            due_s = self._wait(due_s)
            if due_s is not None and (time.monotonic() >= due_s or self.failure is not None):
                return True

    def _wait(self, due_s: float | None) -> float | None:
        """Waits for a signal, at most until `due_s`; returns the instant by which a group must start, if any."""
        if not self.pending:
            self.is_awake = False  # from here on, who appends signals
            if not self.pending:
                self._rest()
            self.is_awake = True
            return None
        if due_s is None:
            delay_s = self._limits.note_delay_s if self.failure is None else self._limits.retry_s
            due_s = time.monotonic() + delay_s
        with contextlib.suppress(queue.Empty):
            self._signals.get(timeout=max(0.0, due_s - time.monotonic()))
        return due_s

    def _rest(self) -> None:
        """Waits for a signal; does meanwhile what is due for proof."""
        try:
            self._signals.get(timeout=self.attester.rest_s())
        except queue.Empty:
            self.attester.tick()

    def _take(self) -> list[Item]:
        """The next group: as many as fit, of one day, and none whose clock was set back behind the one before it."""
        group: list[Item] = []
        pending, size, at_ms, until_ms = self.pending, 0, 0, 0
        while pending and size < self._limits.group_bytes_max:
            item = pending[0]
            if item.kind != BARRIER:
                if until_ms and not at_ms <= item.at_ms < until_ms:
                    break
                at_ms = item.at_ms
                until_ms = until_ms or (at_ms // _DAY_MS + 1) * _DAY_MS
            pending.popleft()
            if item.future is not None:
                self._answered += 1
                if item.kind == EGRESS and item.future.cancelled():
                    item.kind = VOIDED
            group.append(item)
            size += len(item.body)
        return group

    def _commit(self, group: list[Item]) -> None:
        """Makes a group durable and says so, or says that it is not."""
        entries = [item for item in group if item.kind != BARRIER]
        lines: list[bytes] = []
        try:
            if entries:
                lines = self._write(entries)
        except OSError as error:
            self._failed(error, group)
            return
        if self.failure is not None and entries:
            self.outages.append((self.failure, self._failed_at_ms))
            self.failure = None
        self._answer([item.future for item in group if item.future is not None], None)
        if lines:
            self.attester.added(lines)
        self.attester.tick()

    def _write(self, entries: list[Item]) -> list[bytes]:
        """Appends entries to the open segment, or to a new one; their lines.

        Raises:
            OSError: none of them may count as written.
        """
        if self._is_suspect:
            self._cut_back()
        is_new = self._place(entries[0])
        prev, lines = self._prev, []
        for item in entries:
            text, prev = chain.line(item.seq, item.at_ms, item.kind, item.body, prev)
            lines.append(text)
        content = b"".join(lines)
        self._is_suspect = True
        self._disk.append(self._fd, content)
        if is_new:
            self._disk.sync_folder(self._folder)
        self._is_suspect = False
        self._size += len(content)
        self._prev = prev
        self._at_ms = entries[-1].at_ms
        self.head = chain.Head(entries[-1].seq, prev.decode())
        self.groups += 1
        self.done_bytes += sum(len(item.body) for item in entries)
        return lines

    def _place(self, first: Item) -> bool:
        """A segment is open that may take an entry; True where it is a new one."""
        day = first.at_ms // _DAY_MS
        is_over = self._size >= self._limits.segment_bytes_max or day != self._day or first.at_ms < self._at_ms
        if self._path is not None and not is_over:
            if self._fd < 0:
                self._is_suspect = True
                self._fd = self._disk.reopen(self._path)
                self._is_suspect = False
            return False
        self._let_go()
        self.attester.begin_segment()
        path = named(self._folder, first.seq)
        self._is_suspect = True
        self._path, self._size, self._day = path, 0, day
        self._fd = self._disk.create(path)
        return True

    def _cut_back(self) -> None:
        """After a failed write: the segment ends with its last durable entry, and the next write starts a new one."""
        self._let_go()
        if self._path is not None:
            if self._size:
                self._disk.cut(self._path, self._size)
            else:
                self._disk.remove(self._path)
                self._disk.sync_folder(self._folder)
        self._path, self._size = None, 0
        self._is_suspect = False

    def _let_go(self) -> None:
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def _failed(self, error: OSError, group: list[Item]) -> None:
        """Nothing of a group counts; it goes back to the front, and nobody waits for it any longer."""
        if self.failure is None:
            self._failed_at_ms = next(item.at_ms for item in group if item.kind != BARRIER)
        self.failure = os.strerror(error.errno) if error.errno else type(error).__name__
        self._is_given_up = self.is_closing
        self._refuse(group)

    def _refuse(self, group: list[Item]) -> None:
        """Fails all that wait; entries stay for the next attempt, those of permits as `voided`."""
        futures: list[asyncio.Future[None]] = []
        kept = []
        for item in group:
            if item.future is not None:
                futures.append(item.future)
                item.future = None
            if item.kind != BARRIER:
                item.kind = VOIDED if item.kind == EGRESS else item.kind
                kept.append(item)
        for item in list(self.pending):  # a copy in one step: the loop thread may append meanwhile
            if item.future is not None:
                futures.append(item.future)
                item.future = None
                item.kind = VOIDED if item.kind == EGRESS else item.kind
                self._answered += 1
        self.pending.extendleft(reversed(kept))
        self._answer(futures, self.failure)

    def _answer(self, futures: list[asyncio.Future[None]], failure: str | None) -> None:
        """Completes futures on their loop, all with one call."""
        if futures and self.loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self.loop.call_soon_threadsafe(_complete, futures, failure)


def refusal(failure: str) -> RefusalError:
    """The ledger cannot be written; nothing may leave."""
    message = f"The site's ledger cannot be written, so nothing may leave it: {failure}."
    return RefusalError("refused.ledger", message, status=503, retry_after_s=RETRY_AFTER_S)


def _complete(futures: list[asyncio.Future[None]], failure: str | None) -> None:
    for future in futures:
        if not future.done():
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(refusal(failure))
