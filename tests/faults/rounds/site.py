"""A site that is killed and started again over one store, and a watch over the processes that it leaves behind."""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from tests.e2e.conftest import ECOTONE, MODEL_STORE, Site, link_starter, poll
from tests.faults.rounds.shim import Shim

PR_SET_CHILD_SUBREAPER: Final = 36
GONE_S_MAX: Final = 5.0
READY_S_MAX: Final = 60.0
NAMES: Final = ("talk", "local", "work", "away")
"""Model names of the site: interactive work in the cloud, the local engine, jobs at the edge and in the cloud."""


class RoundSite(Site):
    """One life of a home's site.

    Attributes:
        began_s: Monotonic time at which its process was made.
    """

    def __init__(self, home: Home, *, is_pipe: bool = False) -> None:
        self.file, self.store, self.log = home.file, home.store, home.folder / "site.log"
        self.around = contextlib.nullcontext
        self.port = home.port
        self.pipe = -1
        env = {key: value for key, value in os.environ.items() if not key.startswith("ECOTONE_")}
        with contextlib.ExitStack() as closing:
            if is_pipe:
                self.pipe, out = os.pipe()
                closing.callback(os.close, out)
                self._full = f"/proc/self/fd/{out}"
            else:
                out = closing.enter_context(self.log.open("wb")).fileno()
            self.began_s = time.monotonic()
            self.process = subprocess.Popen(
                [ECOTONE, "up", "-c", str(self.file)],
                stdout=out, stderr=out, env=env | home.environ, cwd=home.folder,
            )  # fmt: skip
            if is_pipe:
                fill_pipe(self._full)

    def ready_s(self) -> float:
        """Seconds from the process's making until it says that it is well and which models it has.

        Raises:
            AssertionError: it ended, or not within `READY_S_MAX`.
        """
        poll(self._is_ready, "the site is ready", READY_S_MAX)
        return time.monotonic() - self.began_s

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.words()[-2000:]}"
        try:
            if self.ask("GET", "/healthz")[0] != 200:
                return False
            status, _, body = self.ask("GET", "/v1/models")
        except (OSError, http.client.HTTPException):
            return False
        return status == 200 and all(f'"{name}"'.encode() in body for name in NAMES)

    def words(self) -> str:
        """All that it said; with a pipe nobody reads it."""
        return "" if self.pipe >= 0 else self.log.read_text(errors="replace")

    def workers(self, what: str) -> list[int]:
        """Its child processes whose command line holds a word."""
        found = []
        for pid in self.children():
            with contextlib.suppress(OSError):
                if what.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def end(self, how: signal.Signals) -> int:
        """Ends it; its exit code."""
        try:
            return self.stop(how)
        finally:
            if self.pipe >= 0:
                os.close(self.pipe)
                self.pipe = -1


def fill_pipe(path: str) -> None:
    """Not one byte more fits into a pipe. An open file of its own: not to block is a property of the open file."""
    filler = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for size in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(filler, b"x" * size)
    finally:
        os.close(filler)


class Home:
    """One store, and the sites that live in it one after the other.

    Attributes:
        environ: Of its sites, the shim's included.
        shim: What they stand on.
    """

    def __init__(
        self, folder: Path, library: Path, urls: dict[str, str], dice: random.Random, *, has_names: bool = True
    ) -> None:
        folder.mkdir(parents=True)
        self.folder, self.store, self.file = folder, folder / "store", folder / "ecotone.yaml"
        self.port = free_port(dice)
        self.store.mkdir(mode=0o700)
        link_starter(self.store)
        self.file.write_text(yaml.safe_dump(configuration(self.store, self.port, urls, has_names=has_names)))
        self.shim = Shim(library, folder, self.store, dice.getrandbits(63))
        self.environ = {"UP_KEY": "sk-planted-key-42"} | self.shim.environ


def configuration(store: Path, port: int, urls: dict[str, str], *, has_names: bool) -> dict[str, Any]:
    """A site with a cloud target, a server on the premises and a local engine.

    Args:
        has_names: Whether it has a detector with a process of its own; without it, the cloud is asked from the start.
    """
    small = {"engine": "llama.cpp", "model": "smollm2-135m", "slots": 2, "context_tokens": 512, "threads": 1}
    return {
        "site": "rounds",
        "listen": {"address": "127.0.0.1", "port": port},
        "store": {"path": str(store)},
        "targets": {
            "big": {"url": urls["big"], "model": "large-1", "key": "env:UP_KEY", "at": "cloud"},
            "ward": {"url": urls["ward"], "model": "small-1", "at": "edge"},
            "small": small,
        },
        "models": {
            "talk": {"targets": ["big", "ward"], "mode": "cloud"},
            "local": {"targets": ["small"]},
            "work": {"targets": ["ward"]},
            "away": {"targets": ["big"]},
        },
        "privacy": {"detectors": ["patterns", "names"] if has_names else ["patterns"]},
        "engines": {"measure": False},
        "jobs": {"concurrent": 8, "keep_days": 3000, "free_mb_min": 0},
        "breaker": {"open_s": 0.2, "open_s_max": 1.0},
    }


def has_model() -> bool:
    """Whether the starter model is on this machine."""
    return (MODEL_STORE / "assets").is_dir()


def free_port(dice: random.Random) -> int:
    """A port that nobody has, below those that the system gives away."""
    while True:
        port = dice.randrange(20_000, 30_000)
        with contextlib.closing(socket.socket()) as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port


class Orphans:
    """While this lives, whoever loses its parent becomes a child of this process, and so is seen."""

    def __init__(self) -> None:
        self._others: set[int] = set()

    @contextlib.contextmanager
    def watched(self) -> Iterator[Orphans]:
        """Takes the orphans in until the end."""
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        self._others = children()
        try:
            yield self
        finally:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def gone_s(self) -> tuple[int, float]:
        """(How many processes outlived their site, seconds until the last one was gone). No site may live.

        Raises:
            AssertionError: one lived on for `GONE_S_MAX`.
        """
        began_s = time.monotonic()
        seen: set[int] = set()
        while left := children() - self._others:
            seen |= left
            for pid in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            assert time.monotonic() < began_s + GONE_S_MAX, f"orphans: {[_told(pid) for pid in left]}"
            time.sleep(0.002)
        return len(seen), time.monotonic() - began_s


def children() -> set[int]:
    """This process's children, zombies included."""
    found = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in path.read_text().split()}
    return found


def _told(pid: int) -> str:
    with contextlib.suppress(OSError):
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes()!r} {Path(f'/proc/{pid}/stat').read_text()[:40]}"
    return str(pid)
