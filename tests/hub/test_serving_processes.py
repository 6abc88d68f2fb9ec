"""The parent that watches serving processes, and one process without a parent, in the test's own process."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.hub.served import Limits, Settings, made

from ecotone.hub import processes
from ecotone.hub.settings import Listen
from ecotone.values import ConfigError


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Signals and logs are those of the test runner again afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    before = {number: signal.getsignal(number) for number in processes.STOPS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    found = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=Limits(drain_s=5.0))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return msgspec.structs.replace(found, listen=Listen(port=port))


def run(chosen: Settings, then: Callable[[str], None]) -> None:
    """Serves in this thread; when it answers another does `then`, and stops it. What that raised is raised here."""
    faults: list[BaseException] = []

    def act(url: str) -> None:
        try:
            then(url)
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            faults.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    processes.run(chosen, lambda url: threading.Thread(target=act, args=(url,)).start(), "json")
    if faults:
        raise faults[0]


def status(url: str, path: str) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def children() -> list[int]:
    """Serving processes of this one."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return [pid for pid in found if b"ecotone.hub.processes" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_one_process_serves_without_a_parent(chosen: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    seen = []
    run(chosen, lambda url: seen.append((status(url, "/readyz"), children())))
    assert seen == [(200, [])]
    told = capfd.readouterr().err
    assert "root-1.key, root-2.key, root-3.key" in told
    assert "director.key" not in told


def test_a_process_that_ends_is_replaced_and_all_end_with_their_parent(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LIVED_S", 0.0)
    left = chosen.state / "figures-4194305-abc"  # no process can have that number
    left.mkdir()

    def then(url: str) -> None:
        first = children()
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        until_s = time.monotonic() + 60
        while (len(children()) < 2 or first[0] in children()) and time.monotonic() < until_s:
            time.sleep(0.05)
        assert len(children()) == 2
        assert status(url, "/healthz") == 200

    run(msgspec.structs.replace(chosen, processes=2), then)
    assert children() == []
    assert not [path for path in chosen.state.iterdir() if path.name.startswith("figures-")]


def test_a_process_that_cannot_start_ends_all(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.sys, "executable", "/bin/false")
    with pytest.raises(ConfigError) as caught:
        processes.run(msgspec.structs.replace(chosen, processes=2), lambda _: None, "json")
    assert caught.value.code == "hub.process"


def test_those_that_do_not_end_in_time_are_ended(chosen: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "GOODBYE_S", -10.0)

    def then(_: str) -> None:
        for pid in children():
            os.kill(pid, signal.SIGSTOP)

    run(msgspec.structs.replace(chosen, processes=2), then)
    assert children() == []


def test_what_is_told_to_a_child_is_the_same_there(chosen: Settings) -> None:
    order = processes.Order(chosen, 7, 8, "json", is_replacement=True)
    line = processes._encoded(order)
    assert b"\n" not in line
    assert processes._decoded(line) == order
