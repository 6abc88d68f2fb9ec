"""One file over HTTP into a partial file: resumed when cut, bounded, its digest checked at the end."""

from __future__ import annotations

import http.client
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from ecotone.assets import digest, files, resume
from ecotone.assets.errors import FetchError
from ecotone.assets.progress import Progress
from ecotone.assets.resume import Mark, Start, Wanted
from ecotone.assets.web import Cut, Refused, Web, shown
from ecotone.values import ConfigError, TrustError

__all__ = ["Patience", "fetched", "persistently"]

T = TypeVar("T")
CHUNK_BYTES = 1 << 18
SYNC_BYTES = 32 << 20


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long a fetch goes on trying.

    Attributes:
        tries_max: Tries in a row that brought less than `worth_bytes`; a better one starts the count anew, so
            that a large file passes a bad link, and a source that gives a byte at a time is given up.
        wait_first_s: Wait before the second try, seconds; doubled each time, half of it random.
        wait_max_s: Longest wait, seconds; a server's `Retry-After` is heeded up to it.
        slow_window_s: A transfer that brings less than `slow_bytes` in this time counts as cut.
    """

    tries_max: int = 6
    worth_bytes: int = 1 << 20
    wait_first_s: float = 0.5
    wait_max_s: float = 30.0
    slow_window_s: float = 30.0
    slow_bytes: int = 16 << 10
    sleep: Callable[[float], None] = time.sleep
    now_s: Callable[[], float] = time.monotonic


def persistently(
    attempt: Callable[[], T],
    what: str,
    patience: Patience,
    progress: Progress,
    brought: Callable[[], int] = lambda: 0,
) -> T:
    """What `attempt` returns, in the end.

    Args:
        attempt: Does the work; Cut means that another try may do.
        what: Named in what the user reads.
        patience: The limits.
        progress: Told of each wait.
        brought: Bytes so far, to tell a try that made progress from one that did not.

    Raises:
        FetchError: `asset.unreachable`, when the tries are used up.
    """
    dice = random.Random()  # noqa: S311  spreads the tries of many sites; no secret
    tries = 0
    while True:
        before = brought()
        try:
            return attempt()
        except Cut as cut:
            tries = 1 if brought() - before >= patience.worth_bytes else tries + 1
            if tries >= patience.tries_max:
                raise FetchError(
                    "asset.unreachable",
                    f"{what}: given up after {tries} tries without progress; the last: {cut}. What has arrived is "
                    "kept: run the same command again when the link is back",
                ) from cut
            wait_s = patience.wait_first_s * 2 ** (tries - 1) * (0.5 + dice.random() / 2)
            wait_s = min(max(wait_s, cut.retry_after_s or 0.0), patience.wait_max_s)
            progress.step(f"{what}: {cut}; next try in {wait_s:.1f} s")
            patience.sleep(wait_s)


def fetched(web: Web, wanted: Wanted, part: Path, patience: Patience, progress: Progress) -> str:
    """`part` holds the whole file; its SHA-256 is returned. A part of it from an earlier run is used.

    Args:
        web: The way out.
        wanted: What to fetch; where its digest is known, the file has it.
        part: The partial file; `part` + `.json` is kept beside it until the end.
        patience: The limits.
        progress: Told of bytes, waits and checks.

    Raises:
        ConfigError: `asset.not_found`, `asset.insecure`.
        FetchError: `asset.unreachable`, `asset.refused`, `asset.too_large`, `asset.tls`.
        StoreError: `asset.disk_full`, `asset.io`.
        TrustError: `asset.digest`, if a file that came in one piece is not the one that was wanted.
    """
    download = _Download(web, wanted, part, patience, progress)
    while True:
        try:
            persistently(download.attempt, wanted.what, patience, progress, lambda: download.brought)
        except Refused as refused:
            raise _final(refused, wanted) from refused
        found = download.finished()
        if wanted.sha256 in (None, found):
            with files.durably(f"finishing {wanted.what}"):
                download.mark_path.unlink(missing_ok=True)
            progress.done()
            return found
        was_joined = download.is_joined
        download.drop()
        if not was_joined:
            raise TrustError(
                "asset.digest",
                f"{wanted.what} from {shown(wanted.url)} has SHA-256 {found}, and {wanted.sha256} was expected: "
                "it was thrown away. The source gives another file than it promised; do not use it before you know why",
            )
        progress.step(f"{wanted.what}: the joined parts are not of one file; fetching it again in one piece")


class _Download:
    """The partial file and what is known of it."""

    def __init__(self, web: Web, wanted: Wanted, part: Path, patience: Patience, progress: Progress) -> None:
        self.web, self.wanted, self.part = web, wanted, part
        self.patience, self.progress = patience, progress
        self.mark_path = part.with_name(part.name + ".json")
        self.brought = 0
        self.is_joined = False
        self.mark = self._remembered()
        self.have = self._left_over()
        self.is_begun_before = self.have > 0

    def attempt(self) -> None:
        """One request; returns when the file is whole.

        Raises:
            Cut, Refused, ConfigError, FetchError, StoreError: As `fetched` does.
        """
        if not resume.may_resume(self.wanted, self.mark):
            self.have = 0
        if self.have and self.have == (self.mark.total or self.wanted.bytes):
            self._show(self.have)
            self.is_joined = self.is_begun_before
            return
        with self._opened() as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            start = resume.understood(response.status, headers, self.have, self.mark, self.wanted)
            if start is None:
                self.drop()
                raise Cut("the source's file is not the one that was begun; starting again")
            self._fits(start, response)
            self._begin(start)
            self._copy(response, start)

    def finished(self) -> str:
        """Digest of the whole, durable file."""
        self.progress.step(f"checking the SHA-256 of {self.wanted.what}")
        with files.durably(f"reading {self.part}"):
            fd = os.open(self.part, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
                return digest.sha256_of(fd)
            finally:
                os.close(fd)

    def drop(self) -> None:
        """Forgets what has arrived."""
        with files.durably(f"removing {self.part}"):
            self.mark_path.unlink(missing_ok=True)
            self.part.unlink(missing_ok=True)
        self.mark, self.have, self.is_joined, self.is_begun_before = Mark(), 0, False, False

    def _opened(self) -> http.client.HTTPResponse:
        try:
            return self.web.open(self.wanted.url, resume.asked(self.have, self.mark))
        except Refused as refused:
            if refused.status != 416:
                raise
            self.drop()
            raise Cut("the source has fewer bytes than are here; starting again") from refused

    def _fits(self, start: Start, response: http.client.HTTPResponse) -> None:
        expected = self.wanted.bytes
        if expected is not None and start.total is not None and start.total != expected:
            # A captive portal's page, mostly: waiting may mend it.
            raise Cut(f"{shown(response.url)} offers {start.total} bytes where {expected} are expected")
        if start.total is None and not response.chunked and self.wanted.sha256 is None:
            raise FetchError(
                "asset.refused",
                f"{shown(response.url)} does not say how long the file is, so that a cut could not be noticed. "
                "Give its #sha256=, or fetch it by other means and use file:PATH",
            )
        with files.durably(f"fetching {self.wanted.what}"):
            size = start.total or expected or 0
            files.free_space(self.part.parent, max(size - start.at, 0), self.wanted.what)

    def _begin(self, start: Start) -> None:
        self.is_joined = start.at > 0
        self.have = start.at
        mark = Mark(url=self.wanted.url, etag=start.etag or (self.mark.etag if start.at else None), total=start.total)
        self._remember(msgspec.structs.replace(mark, synced=self.mark.synced if start.at else 0))
        self._show(start.at)

    def _copy(self, response: http.client.HTTPResponse, start: Start) -> None:
        limit = next(n for n in (start.total, self.wanted.bytes, self.wanted.bytes_max) if n is not None)
        pace = _Pace(self.patience)
        with files.durably(f"writing {self.part}"):
            fd = os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with files.durably(f"writing {self.part}"):
                os.ftruncate(fd, self.have)
            while chunk := _read(response):
                if self.have + len(chunk) > limit:
                    raise FetchError(
                        "asset.too_large", f"{self.wanted.what}: the source sends more than {limit} bytes; stopped"
                    )
                self._write(fd, chunk)
                pace.saw(len(chunk))
        finally:
            os.close(fd)
        if start.total is not None and self.have < start.total:
            raise Cut(f"cut after {self.have} of {start.total} bytes")

    def _write(self, fd: int, chunk: bytes) -> None:
        with files.durably(f"writing {self.part}"):
            at = 0
            while at < len(chunk):
                n = os.pwrite(fd, memoryview(chunk)[at:], self.have)
                at, self.have, self.brought = at + n, self.have + n, self.brought + n
            if self.have - self.mark.synced >= SYNC_BYTES:
                os.fdatasync(fd)
                self._remember(msgspec.structs.replace(self.mark, synced=self.have))
        self.progress.advance(len(chunk))

    def _show(self, have: int) -> None:
        self.progress.start(self.mark.total or self.wanted.bytes, self.wanted.what)
        if have:
            self.progress.advance(have)

    def _remember(self, mark: Mark) -> None:
        if mark != self.mark:
            self.mark = mark
            with files.durably(f"writing {self.mark_path}"):
                files.written(self.mark_path, msgspec.json.encode(mark))

    def _remembered(self) -> Mark:
        with files.durably(f"reading {self.mark_path}"):
            try:
                mark = msgspec.json.decode(self.mark_path.read_bytes(), type=Mark)
            except (FileNotFoundError, msgspec.DecodeError):
                return Mark()
        # Bytes that another address gave may only be joined where a digest judges the whole.
        return mark if mark.url == self.wanted.url else Mark(total=self.wanted.bytes)

    def _left_over(self) -> int:
        with files.durably(f"reading {self.part}"):
            try:
                size = self.part.stat().st_size
            except FileNotFoundError:
                return 0
        if self.wanted.sha256 is None:
            # After a power cut a file can have its length and not its bytes, and no digest would tell.
            size = min(size, self.mark.synced)
        known = self.mark.total or self.wanted.bytes
        return size if known is None or size <= known else 0


class _Pace:
    """Notices a transfer that trickles."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.since_s, self.bytes = patience.now_s(), 0

    def saw(self, n: int) -> None:
        """Counts `n` bytes; raises Cut when a whole window brought too few."""
        self.bytes += n
        passed_s = self.patience.now_s() - self.since_s
        if passed_s < self.patience.slow_window_s:
            return
        if self.bytes < self.patience.slow_bytes:
            raise Cut(f"only {self.bytes} bytes came in {passed_s:.0f} s")
        self.since_s, self.bytes = self.patience.now_s(), 0


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Cut(f"cut: {error or type(error).__name__}") from error


def _final(refused: Refused, wanted: Wanted) -> ConfigError | FetchError:
    if refused.status in (404, 410):
        return ConfigError("asset.not_found", f"{wanted.what}: {refused}. Check its name and version")
    return FetchError(
        "asset.refused", f"{wanted.what}: {refused}. If it needs a login, give pip's index URL (or HF_TOKEN) one"
    )
