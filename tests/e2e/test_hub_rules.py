"""Two of the ten rules of the hub with real processes: a month unplugged, and a cloud that is dead in every mode."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecotone.delivery import bundle
from ecotone.hub.serving import opened
from ecotone.hub.settings import Settings
from tests.e2e.conftest import ECOTONE, Site, Start, Upstream, poll
from tests.e2e.test_joined import ASK, QUICK, ecotone, newest, settings, states, token
from tests.e2e.test_joined_clocks import clock, turn
from tests.hub.served import assign, serving

__all__ = ["clock", "settings"]

DAY_S = 86_400.0


class Plug:
    """A cable to the hub that can be pulled: forwards one port to another while it is in."""

    def __init__(self) -> None:
        self.to: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def pull(self) -> None:
        self.to = None
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._open.append(self._listener)
        self.pull()
        for each in self._open:
            each.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.to is None:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.to))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pour, args=(one, other), daemon=True).start()

    def _pour(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(1 << 16):
                other.sendall(piece)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


@pytest.fixture
def plug() -> Iterator[Plug]:
    made = Plug()
    yield made
    made.close()


def begin(site: Site, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    """The site's process anew, after it was killed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("ECOTONE_")} | environ
    command = [ECOTONE, "up", "-c", str(site.file)]
    again = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    assert again.stdout is not None
    site.port = int(again.stdout.readline().decode().rsplit(":", 1)[1])
    again.stdout.close()
    return again


def outbox(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.status()["hub"]["outbox"]
    return found


def test_a_month_unplugged_with_kills_and_a_stick_and_then_all_in_order(
    start: Start, settings: Settings, upstream: Upstream, clock: dict[str, str], plug: Plug, tmp_path: Path
) -> None:
    """Rule 1."""
    ward = {"url": f"http://127.0.0.1:{upstream.server.server_port}/v1", "model": "m", "at": "edge"}
    config = {"hub": {"url": f"http://127.0.0.1:{plug.port}", **QUICK}, "targets": {"ward": ward}}
    with serving(settings) as hub:
        plug.to = hub.port

        def join(store: Path) -> None:
            url = f"http://127.0.0.1:{plug.port}"
            done = ecotone("enroll", url, token(hub, "test"), folder=store.parent)
            assert done.returncode == 0, done.stderr

        site = start(config, environ=clock, fill=join)
        assign(hub, "test", "smol@1")
        poll(lambda: states(site) == {"smol@1": "good"}, "the wish is carried out", 60)
        plug.pull()
        assign(hub, "test", "smol@2")
        with opened(settings) as rooms:
            bundle.export(rooms.repositories, "test", 1, tmp_path / "stick", rooms.clock())

        acked, running = outbox(site)["acked_seq"], None
        try:
            for day in range(3, 31, 3):
                turn(clock, day * DAY_S)
                if day in (9, 18, 27):
                    if running is None:
                        site.stop(signal.SIGKILL)
                    else:
                        running.kill()
                        running.wait(30)
                    running = begin(site, clock)
                if day == 15:
                    taken = ecotone("bundle", "import", str(tmp_path / "stick"), "--json", folder=site.store.parent)
                    assert taken.returncode == 0, taken.stderr + taken.stdout
                assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
                before = outbox(site)["last_seq"]
                poll(lambda seq=before: outbox(site)["last_seq"] > seq, f"a report of day {day}", 60)  # type: ignore[misc] # bound per turn
            assert "hub:smol@2" in ecotone("models", "list", folder=site.store.parent).stdout
            told = outbox(site)
            assert told["acked_seq"] == acked
            assert 0 < told["waiting"] <= 200
            assert sum(path.stat().st_size for path in (site.store / "hub").glob("outbox.sqlite*")) < 8 << 20

            plug.to = hub.port
            poll(lambda: not outbox(site)["waiting"] or None, "all has gone up", 120)
            assert newest(hub)["seq"] >= told["last_seq"]
            sent = json.loads(ecotone("status", "--sent", "--json", folder=site.store.parent).stdout)["sent"]
            numbers = [one["report"]["seq"] for one in sent]
            assert numbers == sorted(set(numbers)), "in their order, none twice"
            assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
        finally:
            if running is not None:
                running.send_signal(signal.SIGTERM)
                running.wait(30)


@pytest.fixture
def ward() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.mark.parametrize("mode", ["cloud", "shadow", "auto", "edge"])
@pytest.mark.parametrize("how", ["nobody listens", "nobody answers"])
def test_a_dead_cloud_leaves_an_answer_of_the_edge_or_a_word_of_policy(
    start: Start, ward: Upstream, mode: str, how: str
) -> None:
    """Rule 9."""
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        if how == "nobody answers":
            dead.listen(64)
        url = f"http://127.0.0.1:{dead.getsockname()[1]}/v1"
        targets: dict[str, Any] = {
            "big": {"url": url, "model": "large-1", "key": "env:UP_KEY", "at": "cloud"},
            "ward": {"url": ward.url, "model": "small-1", "at": "edge"},
        }
        models = {"both": {"targets": ["big", "ward"], "mode": mode}, "far": {"targets": ["big"]}}
        timeouts = {"connect_s": 1.0, "first_byte_s": 1.0}
        site = start({"targets": targets, "models": models, "timeouts": timeouts}, {"UP_KEY": "sk-1"})
        placed = []
        for number in range(12):
            labels = {"Ecotone-Labels": "secret"} if number % 3 == 0 else {}
            said = {"model": "both", "messages": [{"role": "user", "content": f"hello {number}"}]}
            status, headers, body = site.ask("POST", "/v1/chat/completions", said, labels)
            assert status == 200, (number, body)
            placed.append(headers["ecotone-placed"])
        assert placed == ["edge"] * 12
        far = {"model": "far", "messages": [{"role": "user", "content": "hello"}]}
        status, _, body = site.ask("POST", "/v1/chat/completions", far, {"Ecotone-Labels": "secret"})
        assert status in (403, 503)
        assert b"secret" in body or b"policy" in body or b"private" in body, body
