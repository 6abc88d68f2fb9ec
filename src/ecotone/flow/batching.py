"""Batches: a file of lines becomes jobs of the queue, and their ends become files (OpenAI's `/v1/batches`).

A batch goes through `validating`, `in_progress`, `finalizing` (or `cancelling`) to its end, in small steps; between
them everybody else has their turn. Each step can be repeated: the ids of jobs and files follow from the batch's id and
the line, so that a site that was killed at any instant goes on where it was, and no line is done twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import msgspec

from ecotone.flow.accepting import Terms, accept, note_accepted, unaccepted
from ecotone.flow.site import Site
from ecotone.ports import Queue
from ecotone.values import Batch, EcotoneError, Endpoint, Job, JobEvent, JobFilter, JobState, RequestError, StoredFile
from ecotone.wire.batches import OVER, encode_result, read_line, tally
from ecotone.wire.request import Head, decode

LOOK_EVERY_S: Final = 0.5
PIECE_BYTES: Final = 256 * 1024
LINES_MAX: Final = 100_000
LINE_BYTES_MAX: Final = 16 * 1024 * 1024
ERRORS_MAX: Final = 100
"""So many wrong lines are named."""
CHECK_LINES: Final = 64
"""Lines looked at before others have their turn."""
PUT_LINES: Final = 32
"""Lines that become jobs in one transaction."""
WAITING_MAX: Final = 10_000
"""Where so many jobs wait, batches add none: there stays room for other callers' jobs."""
PAGE: Final = 64
KEEP_FILES_MS: Final = 30 * 24 * 3600 * 1000


class Lines:
    """The lines of a stored file that are not blank, in pieces."""

    def __init__(self, queue: Queue, file: str) -> None:
        self._queue = queue
        self._file = file
        self._at = 0
        self._rest = b""
        self._ready: list[bytes] = []
        self._is_read = False
        self.number = 0

    async def take(self, most: int) -> list[tuple[int, bytes]]:
        """The next lines with their numbers from 1; none at the end.

        Raises:
            RequestError: the file is gone, or a line is too long.
        """
        taken: list[tuple[int, bytes]] = []
        while len(taken) < most:
            if not self._ready:
                if self._is_read:
                    break
                await self._more()
                continue
            line = self._ready.pop().strip()
            self.number += 1
            if line:
                taken.append((self.number, line))
        return taken

    async def _more(self) -> None:
        piece = await self._queue.read_file(self._file, self._at, PIECE_BYTES)
        if piece is None:
            raise RequestError("input_file_missing", "The input file is not there any more.")
        self._at += len(piece)
        self._is_read = len(piece) < PIECE_BYTES
        held = self._rest + piece
        lines = held.split(b"\n")
        self._rest = b"" if self._is_read else lines.pop()
        if len(self._rest) > LINE_BYTES_MAX:
            raise RequestError("line_too_long", f"A line is longer than {LINE_BYTES_MAX} bytes.")
        self._ready = lines[::-1]


class _Progress:
    """How far a batch's file has been read in this process.

    Attributes:
        seen: Digests of the lines' names.
        wrong: (code, message, line) of wrong lines.
        count: Lines so far.
    """

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.seen: set[bytes] = set()
        self.wrong: list[tuple[str, str, int]] = []
        self.count = 0


class Batching:
    """The worker on one queue's batches; the only one that changes them."""

    def __init__(self, current: Callable[[], Site], queue: Queue) -> None:
        """`current` gives the site as it is now; a reload replaces it."""
        self._current = current
        self._queue = queue
        self._live: dict[str, Batch] = {}
        self._progress: dict[str, _Progress] = {}
        self._wake = asyncio.Event()

    async def forever(self) -> None:
        """Until cancelled. What is under way then goes on at the next start."""
        is_loaded = False
        while True:
            is_busy = False
            if not is_loaded:
                with contextlib.suppress(EcotoneError):
                    await self._load()
                    is_loaded = True
            for name in list(self._live):
                # A queue that is full or refuses is asked again at the next look.
                with contextlib.suppress(EcotoneError):
                    is_busy = await self._step(name) or is_busy
            if not is_busy:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._wake.wait()
                self._wake.clear()

    async def create(self, batch: Batch) -> None:
        """Takes a new batch; durable when this returns."""
        await self._queue.put_batch(batch)
        self._live[batch.id] = batch
        self._wake.set()

    async def cancel(self, batch: Batch) -> Batch:
        """The batch as it is once it was told to stop; one that is over or nearly so stays as it is."""
        known = self._live.get(batch.id, batch)
        if known.state not in ("validating", "in_progress"):
            return known
        self._progress.pop(known.id, None)
        known = self._live[known.id] = self._moved(known, "cancelling")
        await self._queue.cancel_batch(known, now_ms=self._now_ms())
        self._wake.set()
        return known

    def told(self, event: JobEvent) -> None:
        """A job has ended."""
        if event.batch in self._live:
            self._wake.set()

    def oldest_ms(self) -> int | None:
        """When the oldest batch under way was created: its jobs must be kept."""
        return min((batch.created_at_ms for batch in self._live.values()), default=None)

    async def _load(self) -> None:
        after = ""
        while True:
            page = await self._queue.batches(after=after, limit=PAGE)
            self._live |= {batch.id: batch for batch in page if batch.state not in OVER and batch.id not in self._live}
            if len(page) < PAGE:
                return
            after = page[-1].id

    async def _step(self, name: str) -> bool:
        """Does a little for one batch; whether there is more to do at once."""
        batch = self._live[name]
        if batch.state == "validating":
            return await self._guarded(batch, self._check)
        if batch.state == "in_progress":
            return await self._guarded(batch, self._enqueue)
        if batch.state != "finalizing":
            # Once more: lines may have become jobs while it was being cancelled.
            await self._queue.cancel_batch(batch, now_ms=self._now_ms())
        if batch.state == "failed":
            self._live.pop(name)
        else:
            await self._finalize(batch)
        return False

    async def _guarded(self, batch: Batch, work: Callable[[Batch], Any]) -> bool:
        """A step; what is wrong with the input ends the batch."""
        try:
            return bool(await work(batch))
        except RequestError as error:
            if self._is_current(batch):
                await self._fail(batch, [(error.code, error.message, 0)])
            return False

    # Validating.

    async def _check(self, batch: Batch) -> bool:
        progress = self._progress.setdefault(batch.id, _Progress(Lines(self._queue, batch.input_file)))
        lines = await progress.lines.take(CHECK_LINES)
        for number, line in lines:
            progress.count += 1
            _look(progress, number, line, batch.endpoint)
        await asyncio.sleep(0)
        if progress.count > LINES_MAX:
            raise RequestError("too_many_tasks", f"The file has more than {LINES_MAX} lines.")
        if not self._is_current(batch):
            return False
        if len(lines) == CHECK_LINES and len(progress.wrong) < ERRORS_MAX:
            return True
        self._progress.pop(batch.id, None)
        if progress.wrong:
            await self._fail(batch, progress.wrong)
        elif not progress.count:
            raise RequestError("empty_file", "The file has no lines.")
        else:
            await self._change(self._moved(batch, "in_progress", total=progress.count))
        return True

    async def _fail(self, batch: Batch, wrong: list[tuple[str, str, int]]) -> None:
        """The batch ends without results; none of its lines is done any more."""
        self._progress.pop(batch.id, None)
        await self._change(self._moved(batch, "failed", errors=tuple(wrong[:ERRORS_MAX])))
        self._wake.set()

    # In progress.

    async def _enqueue(self, batch: Batch) -> bool:
        progress = self._progress.get(batch.id)
        if progress is None:
            progress = await self._resumed(batch)
        if progress.count >= batch.total:
            return await self._is_done(batch)
        if self._queue.status().states.get(JobState.WAITING, 0) >= WAITING_MAX and self._now_ms() < batch.expires_at_ms:
            return False
        jobs: list[tuple[Job, bytes]] = []
        for _, line in await progress.lines.take(min(PUT_LINES, batch.total - progress.count)):
            jobs.append(self._job(batch, progress.count + len(jobs), line))
            await asyncio.sleep(0)
        if not jobs:
            raise RequestError("input_file_missing", "The input file is not what it was when it was checked.")
        if not self._is_current(batch):
            return False
        try:
            await self._queue.put(jobs)
        except EcotoneError:
            # Read anew: some of these lines may have been taken.
            self._progress.pop(batch.id, None)
            raise
        for job, _ in jobs:
            note_accepted(self._current(), job)
        progress.count += len(jobs)
        return True

    async def _resumed(self, batch: Batch) -> _Progress:
        """Behind the lines that are jobs already: lines become jobs in their order."""
        counts = await self._queue.counts(batch.id)
        progress = _Progress(Lines(self._queue, batch.input_file))
        skip = sum(counts.values())
        while progress.count < skip:
            lines = await progress.lines.take(min(CHECK_LINES, skip - progress.count))
            if not lines:
                break
            progress.count += len(lines)
            await asyncio.sleep(0)
        if self._is_current(batch):
            self._progress[batch.id] = progress
        return progress

    def _job(self, batch: Batch, index: int, line: bytes) -> tuple[Job, bytes]:
        """The job of a line. One that can never be served becomes a job too, and fails with the reason why."""
        asked = read_line(line, batch.endpoint)
        endpoint = Endpoint(batch.endpoint)
        terms = Terms(
            id=f"job-{batch.id.removeprefix('batch-')}-{index:06d}",
            deadline_at_ms=batch.expires_at_ms,
            priority=batch.priority,
            batch=batch.id,
            line=index,
            custom_id=asked.custom_id,
        )
        site = self._current()
        head = Head(
            id=terms.id,
            received_at_s=site.clock.now_s(),
            key=batch.key,
            wish=batch.wish,
            labels=batch.labels,
            seed=index,
        )
        try:
            return accept(site, decode(endpoint, asked.body, head), terms)
        except EcotoneError:
            return unaccepted(site, head, endpoint, terms), asked.body

    async def _is_done(self, batch: Batch) -> bool:
        counts = await self._queue.counts(batch.id)
        if counts.get(JobState.WAITING, 0) or counts.get(JobState.RUNNING, 0) or not self._is_current(batch):
            return False
        self._progress.pop(batch.id, None)
        await self._change(self._moved(batch, "finalizing"))
        return True

    # Its end.

    async def _finalize(self, batch: Batch) -> None:
        """Writes the files anew from the queue, then ends the batch."""
        counts = await self._queue.counts(batch.id)
        suffix = batch.id.removeprefix("batch-")
        output = _Results(self._queue, self._file(batch, f"file-{suffix}-output", "output"))
        errors = _Results(self._queue, self._file(batch, f"file-{suffix}-error", "error"))
        try:
            await self._write(batch, output, errors)
        except RequestError as error:
            await self._fail(batch, [(error.code, error.message, 0)])
            return
        state = (
            "cancelled" if batch.state == "cancelling" else "expired" if counts.get(JobState.EXPIRED) else "completed"
        )
        done, failed = tally(counts)
        ended = self._moved(batch, state, completed=done, failed=failed)
        ended = msgspec.structs.replace(ended, output_file=output.name, error_file=errors.name)
        await self._queue.put_batch(ended)
        self._live.pop(batch.id, None)

    async def _write(self, batch: Batch, output: _Results, errors: _Results) -> None:
        for results in (output, errors):
            await results.begin()
        after = ""
        while True:
            page = await self._queue.page(JobFilter(batch=batch.id, is_oldest_first=True, after=after), limit=PAGE)
            for job in page.jobs:
                is_good, line = encode_result(job, await self._queue.answer(job.id))
                await (output if is_good else errors).add(line)
            if not page.has_more:
                break
            after = page.jobs[-1].id
        for results in (output, errors):
            await results.finish()

    def _file(self, batch: Batch, name: str, what: str) -> StoredFile:
        now_ms = self._now_ms()
        return StoredFile(
            id=name,
            name=f"{batch.id}_{what}.jsonl",
            purpose="batch_output",
            created_at_ms=now_ms,
            key=batch.key,
            labels=batch.labels,
            expires_at_ms=now_ms + KEEP_FILES_MS,
        )

    # What is known of batches.

    def _moved(self, batch: Batch, state: str, **changes: Any) -> Batch:
        times = {**batch.times, state: self._now_ms()}
        return msgspec.structs.replace(batch, state=state, times=times, **changes)

    async def _change(self, batch: Batch) -> None:
        self._live[batch.id] = batch
        await self._queue.put_batch(batch)

    def _is_current(self, batch: Batch) -> bool:
        """Nobody changed it while something was awaited."""
        return self._live.get(batch.id) is batch

    def _now_ms(self) -> int:
        return int(self._current().clock.wall_s() * 1e3)


class _Results:
    """A file of results that is being written.

    Attributes:
        name: Its id; `''` while nothing was written.
    """

    def __init__(self, queue: Queue, file: StoredFile) -> None:
        self._queue = queue
        self._file = file
        self._held = bytearray()
        self.name = ""

    async def begin(self) -> None:
        """What an earlier process had written is not trusted."""
        await self._queue.delete_file(self._file.id)

    async def add(self, line: bytes) -> None:
        """One more line."""
        if not self.name:
            await self._queue.begin_file(self._file)
            self.name = self._file.id
        self._held += line
        if len(self._held) >= PIECE_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """All lines are there."""
        if self.name:
            await self._flush()
            await self._queue.finish_file(self.name)

    async def _flush(self) -> None:
        held = bytes(self._held)
        self._held.clear()
        if held:
            await self._queue.append_file(self.name, held)


def _look(progress: _Progress, number: int, line: bytes, endpoint: str) -> None:
    """Whether a line can become a job."""
    try:
        name = read_line(line, endpoint).custom_id
    except RequestError as error:
        progress.wrong.append((error.code, error.message, number))
        return
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if digest in progress.seen:
        progress.wrong.append(("duplicate_custom_id", "custom_id: another line has the same one", number))
    progress.seen.add(digest)
