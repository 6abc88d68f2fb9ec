"""The delivery child of a running site: verifies, fetches and installs what the hub wants, beside the site.

It is a process of its own, so that what it reads of others, and the memory that takes, are not the gateway's. It goes
last at the scheduler and the disk, may be killed at any instant (the next one goes on at the segment), and makes no
name lead anywhere: that is the site's own decision. What it says and hears is `ecotone.agent.errands`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from ecotone.agent import errands
from ecotone.agent.errands import Done, Failed, Job, Offer, Ready, Refused, Renew, Step, Take, Token, Wished
from ecotone.assets import FetchError, StoreError
from ecotone.delivery import site_trust
from ecotone.delivery.install import collect, install
from ecotone.delivery.neighbour import mirror
from ecotone.delivery.sources import HttpSource, Rate, Source
from ecotone.transfer import Manifest
from ecotone.trust import Agreed, Assigned
from ecotone.values import EcotoneError

__all__ = ["Child", "main"]

PR_SET_PDEATHSIG: Final = 1
NICE: Final = 15
IDLE_CLASS: Final = 3 << 13
"""`ioprio_set`: served when nobody else wants the disk."""
IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
"""Number of the system call, by machine."""
STEP_EVERY_S: Final = 1.0
RENEW_WAIT_S: Final = 120.0
TAKE_WAIT_S: Final = 300.0

Say = Callable[[errands.Event], None]


def main() -> None:
    """Works until it is done, or the site goes."""
    be_modest()
    orders: queue.Queue[errands.Order | None] = queue.Queue()
    listener = threading.Thread(target=listen, args=(sys.stdin.buffer, orders), daemon=True)
    listener.start()
    job = orders.get()
    if isinstance(job, Job):
        if job.proxy:
            go_through(job.proxy, job.direct)
        Child(job, orders, said_on(sys.stdout.buffer)).run()
    os._exit(0)  # the listener waits on standard input, and an orderly end would wait for it


def be_modest() -> None:
    """The site goes first at the scheduler and the disk; this process ends with it, and is the one that dies where
    memory is short."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    with contextlib.suppress(OSError):
        os.nice(NICE)
    number = IOPRIO_SET.get(platform.machine())
    if number is not None:
        libc.syscall(number, 1, 0, IDLE_CLASS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("800")


def go_through(proxy: str, direct: Sequence[str]) -> None:
    """All of this process's requests go through the proxy, whatever its environment says."""
    for name in ("https_proxy", "http_proxy", "no_proxy"):
        os.environ.pop(name.upper(), None)
    os.environ.update({"https_proxy": proxy, "http_proxy": proxy, "no_proxy": ",".join(direct)})


def listen(lines: BinaryIO, orders: queue.Queue[errands.Order | None]) -> None:
    """Puts what the site says into the queue; None at its end."""
    while True:
        line = lines.readline(errands.LINE_BYTES_MAX)
        try:
            orders.put(errands.order(line) if line else None)
        except msgspec.DecodeError:
            line = b""
            orders.put(None)
        if not line:
            return


def said_on(out: BinaryIO) -> Say:
    """Says one event a line."""

    def say(event: errands.Event) -> None:
        out.write(errands.line(event))
        out.flush()

    return say


class Child:
    """One errand.

    Attributes:
        token: The session's, see `sources.Session`.
    """

    def __init__(self, job: Job, orders: queue.Queue[errands.Order | None], say: Say) -> None:
        self.token = job.token
        self._job, self._orders, self._say = job, orders, say
        self._store = Path(job.store)
        self._rate = Rate(bytes_per_s=job.bytes_per_s)

    def run(self) -> None:
        """The errand, to its end."""
        try:
            hub = HttpSource(self._job.url, self._rate, session=self, ca_file=self._job.ca_file)
            agreed = site_trust.desired(hub, self._store, is_import=False)
            made = [(assigned, site_trust.manifest_of(assigned)) for assigned in agreed.assets]
            self._say(self._wished(agreed, made))
        except EcotoneError as error:
            self._say(Failed(error.code, error.message))
            return
        order = self._next(TAKE_WAIT_S)
        if not isinstance(order, Take):
            return
        packs = [*(mirror(url, self._rate) for url in self._job.mirrors), hub]
        by_digest = {assigned.asset.sha256: (assigned, manifest) for assigned, manifest in made}
        for sha256 in order.sha256s:
            if sha256 in by_digest:
                self._install(*by_digest[sha256], packs)
        self._tidy()

    def renew(self) -> bool:
        """See `sources.Session`."""
        self._say(Renew())
        order = self._next(RENEW_WAIT_S)
        if not isinstance(order, Token) or order.token == self.token:
            return False
        self.token = order.token
        return True

    def _next(self, wait_s: float) -> errands.Order | None:
        try:
            return self._orders.get(timeout=wait_s)
        except queue.Empty:
            return None

    def _wished(self, agreed: Agreed, made: list[tuple[Assigned, Manifest]]) -> Wished:
        known = site_trust.memory(self._store)
        return Wished(
            generation=agreed.generation,
            issued_s=known.issued_s,
            expires_s=known.expires_s,
            floor_s=known.floor_s,
            offers=tuple(_offer(assigned, manifest) for assigned, manifest in made),
        )

    def _install(self, assigned: Assigned, manifest: Manifest, packs: list[Source]) -> None:
        sha256 = assigned.asset.sha256
        try:
            install(manifest, packs, self._store, progress=_Steps(sha256, self._say), is_switched=False)
        except EcotoneError as error:
            is_cut = isinstance(error, FetchError)
            is_passing = is_cut or isinstance(error, StoreError)
            self._say(Refused(sha256, error.code, error.message, is_passing, is_cut))
            return
        self._say(Ready(sha256))

    def _tidy(self) -> None:
        try:
            self._say(Done(collect(self._store, in_use=self._job.in_use)))
        except EcotoneError:
            self._say(Done())


class _Steps:
    """See `assets.Progress`: how much is left, once a second."""

    def __init__(self, sha256: str, say: Say) -> None:
        self._sha256, self._say = sha256, say
        self._left, self._told_s = 0, 0.0

    def start(self, total_bytes: int | None, what: str) -> None:
        """See `assets.Progress`."""
        self._left, self._told_s = total_bytes or 0, 0.0
        self.advance(0)

    def advance(self, n: int) -> None:
        """See `assets.Progress`."""
        self._left = max(0, self._left - n)
        now_s = time.monotonic()
        if now_s >= self._told_s + STEP_EVERY_S:
            self._told_s = now_s
            self._say(Step(self._sha256, self._left))

    def step(self, text: str) -> None:
        """See `assets.Progress`; the site has no use for words."""

    def done(self) -> None:
        """See `assets.Progress`."""


def _offer(assigned: Assigned, manifest: Manifest) -> Offer:
    asset = assigned.asset
    return Offer(
        name=asset.name,
        version=asset.version,
        kind=asset.kind,
        sha256=asset.sha256,
        attempt=asset.attempt,
        terms=asset.terms,
        decode_tok_s_min=asset.decode_tok_s_min,
        bytes=manifest.bytes,
        memory_bytes=manifest.requires.memory_bytes,
        cpu=manifest.requires.cpu,
    )


if __name__ == "__main__":
    main()
