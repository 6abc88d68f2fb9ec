"""Follows docs/tutorial/first-fleet.md, with a real hub, a real site and the real engine, on ports of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.blocks import blocks
from tests.docs.test_tutorial import STORE, _link

PAGE = "docs/tutorial/first-fleet.md"
LIMIT_S = 120.0
HUB_PORT, SITE_PORT = "3269", "3266"

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not (STORE / "assets").is_dir(), reason=f"no starter model in {STORE}; `make test` fetches it"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the page uses curl"),
]


class Follower:
    """Somebody with three terminals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".venv").symlink_to(Path(sys.prefix))
        home = folder / "home"
        shutil.copytree(STORE / "assets", home / ".local/share/ecotone/assets", copy_function=_link)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
        self.ports = {HUB_PORT: _free(), SITE_PORT: _free()}
        own = {"HOME": str(home), "ECOTONE_ENGINES_MEASURE": "false", "ECOTONE_LISTEN_PORT": self.ports[SITE_PORT]}
        self.environ = kept | own
        self.running: list[subprocess.Popen[bytes]] = []

    def run(self, text: str) -> str:
        """A block in the second terminal; what it printed."""
        for port, own in self.ports.items():
            text = text.replace(port, own)
        done = subprocess.run(
            ["bash", "-euc", text], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=LIMIT_S,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done.stdout

    def start(self, text: str, until: str) -> None:
        """A block that stays in its terminal until it is stopped."""
        if "hub up" in text:
            text = text.replace("hub up hub", f"hub up hub --listen 127.0.0.1:{self.ports[HUB_PORT]}")
        log = self.folder / f"terminal-{len(self.running)}.log"
        with log.open("wb") as file:
            self.running.append(
                subprocess.Popen(
                    ["bash", "-euc", text],
                    stdout=file,
                    stderr=file,
                    cwd=self.folder,
                    env=self.environ,
                    start_new_session=True,
                )
            )
        end_s = time.monotonic() + LIMIT_S
        while until not in log.read_text():
            assert self.running[-1].poll() is None, log.read_text()
            assert time.monotonic() < end_s, log.read_text()
            time.sleep(0.05)

    def logs(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("terminal-*.log")))

    def answered_by(self) -> str:
        body = {"model": "auto", "max_tokens": 2, "messages": [{"role": "user", "content": "Hello!"}]}
        line = f"curl -s --fail http://127.0.0.1:{SITE_PORT}/v1/chat/completions -d '{json.dumps(body)}'"
        return str(json.loads(self.run(line))["model"])

    def stop(self) -> None:
        for one in reversed(self.running):
            for number in (signal.SIGINT, signal.SIGKILL):
                if one.poll() is None:
                    os.killpg(one.pid, number)
                    try:
                        one.wait(30)
                    except subprocess.TimeoutExpired:
                        continue


def _free() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[Follower]:
    found = Follower(tmp_path)
    try:
        yield found
    finally:
        found.stop()


def test_the_page_can_be_followed(follower: Follower) -> None:
    printed, answers = [], []
    for block in blocks(PAGE):
        if block.language == "yaml":
            text = block.text.replace(HUB_PORT, follower.ports[HUB_PORT])
            (follower.folder / "ecotone.yaml").write_text(text)
        elif "hub up hub" in block.text:
            follower.start(block.text, "http://")
        elif "ecotone up" in block.text:
            follower.start(block.text, "listening on")
        else:
            printed.append(follower.run(block.text))
        if "smol@2" in block.text or "/chat/completions" in block.text:
            answers.append(_until(follower, "hub:smol@2" if "smol@2" in block.text else "hub:smol@1"))
    assert answers == ["hub:smol@1", "hub:smol@2"]
    assert any("clinic-1" in text and "smol" in text for text in printed)
    assert _until(follower, "hub:smol@1")


def _until(follower: Follower, wanted: str) -> str:
    """Asks until that version answers: no request fails meanwhile."""
    end_s = time.monotonic() + LIMIT_S
    while (found := follower.answered_by()) != wanted:
        assert time.monotonic() < end_s, f"{found}\n{follower.logs()}"
        time.sleep(0.3)
    return found
