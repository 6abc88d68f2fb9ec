"""Follows README.md and the tutorial as a new user would, against a real site, and compares what they promise.

Blocks run as they stand, in order, in a fresh folder with a fresh HOME:

- `sh` by bash; one that holds `ecotone up` starts the site, after the one before it was stopped by Ctrl-C;
- `python` by this interpreter; `yaml` is saved as `ecotone.yaml`;
- a block without a language is a promise: each of its lines must stand in what the last command printed, or within a
  limit in what the site prints. `…` stands for anything, and a row of spaces for any other.

Three things differ from a user's machine: the starter model is already in the store, the engine is not measured, and
where port 3266 is taken another one is put in its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.docs.blocks import Block, blocks

PAGES = ("README.md", "docs/tutorial/first-site.md")
PORT = 3266
LIMIT_S = 30.0
STORE = Path(os.environ.get("ECOTONE_TEST_STORE", Path(sys.prefix) / ".ecotone-test-store"))

NOT_RUN = {
    "make up": "makes a .venv and fetches the model; `ecotone up`, which it ends with, is run in its place",
    "make test": "runs this test",
}
"""Commands that cannot run in a test, and why."""

LANGUAGES = ("sh", "python", "yaml", "")

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not (STORE / "assets").is_dir(), reason=f"no starter model in {STORE}; `make test` fetches it"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl"),
]


def commands(block: Block) -> list[str]:
    """The lines of a block without comments and white space."""
    lines = (line.split("  #")[0].strip() for line in block.text.splitlines())
    return [line for line in lines if line]


def is_listed(block: Block) -> bool:
    """Whether all of a block is among those that cannot run here."""
    return block.language == "sh" and all(line in NOT_RUN for line in commands(block))


class Reader:
    """Somebody with a fresh folder who does what a page says.

    Attributes:
        printed: What the last command printed.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.printed = ""
        self._request = ""
        self._log = folder / "site.log"
        self._site: subprocess.Popen[bytes] | None = None
        (folder / ".venv").symlink_to(Path(sys.prefix))
        home = folder / "home"
        shutil.copytree(STORE / "assets", home / ".local/share/ecotone/assets", copy_function=_link)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
        self.environ = kept | {"HOME": str(home), "ECOTONE_ENGINES_MEASURE": "false", "ECOTONE_LISTEN_PORT": str(port)}

    def follow(self, block: Block) -> None:
        """Does what the block says, or checks what it promises."""
        text = block.text.replace(str(PORT), str(self.port))
        if block.language == "":
            self._check(block, text)
        elif block.language == "yaml":
            (self.folder / "ecotone.yaml").write_text(text)
        elif block.language == "python":
            self._run(block, [sys.executable, "-c", text])
            assert self.printed.strip(), f"{block.place} prints nothing"
        elif is_listed(block):
            if "make up" in commands(block):
                self.start(".venv/bin/ecotone up")
        elif "ecotone up" in text:
            self.start(text)
        else:
            # The pages say: take the id of your own answer.
            self._run(block, ["bash", "-euc", re.sub(r"req-[0-9a-f]+-[0-9a-f]+", self._request, text)])
            if "/chat/completions" in text:
                self._check_answer(block)

    def start(self, text: str, prefix: tuple[str, ...] = ()) -> int:
        """Starts a site in the first terminal and waits until it listens; gives the process id."""
        self.stop()
        with self._log.open("wb") as log:
            self._site = subprocess.Popen(
                [*prefix, "bash", "-c", text], stdout=log, stderr=log, cwd=self.folder, env=self.environ,
                start_new_session=True,
            )  # fmt: skip
        until_s = time.monotonic() + LIMIT_S
        while "listening on" not in self._log.read_text():
            assert self._site.poll() is None, self._log.read_text()
            assert time.monotonic() < until_s, self._log.read_text()
            time.sleep(0.02)
        return self._site.pid

    def stop(self) -> None:
        """Ctrl-C in the first terminal."""
        if self._site is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._site.pid, signal.SIGINT)
        try:
            self._site.wait(LIMIT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._site.pid, signal.SIGKILL)
            self._site.wait()
            self._site = None

    def _run(self, block: Block, command: list[str]) -> None:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, f"{block.place}\n{done.stdout}\n{done.stderr}\n{self._log.read_text()}"
        self.printed = done.stdout
        found = re.search(r"^Ecotone-Id: (\S+)", done.stdout, re.MULTILINE)
        self._request = found[1] if found else self._request

    def _check_answer(self, block: Block) -> None:
        """What every answer of the local model looks like, streamed or not."""
        if "data: " in self.printed:
            events = [line.removeprefix("data: ") for line in self.printed.splitlines() if line.startswith("data: ")]
            assert events.pop() == "[DONE]", block.place
            answers: list[dict[str, Any]] = [json.loads(event) for event in events]
        else:
            answers = [json.loads(self.printed.splitlines()[-1])]
        assert {answer["model"] for answer in answers} == {"smollm2-135m"}, block.place
        finish = [choice["finish_reason"] for answer in answers for choice in answer["choices"]][-1]
        assert finish in ("stop", "length", "tool_calls"), f"{block.place}: {finish}"

    def _check(self, block: Block, text: str) -> None:
        until_s = time.monotonic() + LIMIT_S
        while True:
            seen = [_even(line) for line in (self.printed + "\n" + self._log.read_text()).splitlines()]
            missing = [line for line in text.splitlines() if not any(_pattern(line).search(other) for other in seen)]
            if not missing:
                return
            assert time.monotonic() < until_s, f"{block.place} promises {missing}, and there was\n" + "\n".join(seen)
            time.sleep(0.05)


def _link(source: str, target: str) -> None:
    """A hard link, or a copy across file systems."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _even(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str) -> re.Pattern[str]:
    words = re.sub(r"req-[0-9a-f]+-[0-9a-f]+", "…", _even(line))
    return re.compile(r"\s*.*?\s*".join(re.escape(part.strip()) for part in words.split("…")))


def _port(wanted: int) -> int:
    """This port where it is free, else another one."""
    for port in (wanted, 0):
        with socket.socket() as free, contextlib.suppress(OSError):
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
            return int(free.getsockname()[1])
    raise AssertionError("no port is free")


@pytest.fixture
def port() -> Iterator[int]:
    """The pages' port, if no other worker of this run, and nobody else, has it."""
    with (Path(tempfile.gettempdir()) / f"ecotone-docs-{PORT}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = _port(0)
        else:
            found = _port(PORT)
        if found != PORT:
            print(f"port {PORT} is taken: the pages are followed with {found} in its place")
        yield found


@pytest.fixture
def reader(tmp_path: Path, port: int) -> Iterator[Reader]:
    """A new user; the site is stopped in the end."""
    made = Reader(tmp_path, port)
    yield made
    made.stop()


@pytest.mark.parametrize("page", PAGES)
def test_the_page_does_what_it_says(reader: Reader, page: str) -> None:
    for block in blocks(page):
        reader.follow(block)


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root and unshare for a netns")
def test_the_first_question_is_answered_with_no_network_at_all(reader: Reader) -> None:
    first = next(block for block in blocks(PAGES[1]) if "/chat/completions" in block.text)
    pid = reader.start(".venv/bin/ecotone up", ("unshare", "-n", "bash", "-c", 'ip link set lo up && exec "$@"', "-"))
    inside = first.text.replace("curl ", f"nsenter -t {pid} -n curl ").replace(str(PORT), str(reader.port))
    reader.follow(first._replace(text=inside))
