"""A whole site under load while it is killed, starved, reloaded and left: nothing is lost, nothing leaks."""

from __future__ import annotations

import contextlib
import hmac
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ECOTONE, Site, Start, Upstream, poll

from ecotone.store.disk import Disk
from ecotone.store.keys import digest_key
from ecotone.values import binding

ROUNDS = int(os.environ.get("ECOTONE_FAULT_ROUNDS", "3"))
ENV = {"UP_KEY": "sk-planted-key-42"}
CHAT = {"model": "assistant", "messages": [{"role": "user", "content": "hello"}]}
STREAM = CHAT | {"stream": True}
LEAVERS = 200


def cloud(upstream: Upstream, **more: Any) -> dict[str, Any]:
    """One cloud target behind the name `assistant`."""
    big = {"url": upstream.url, "model": "large-1", "key": "env:UP_KEY", "at": "cloud"}
    return {"targets": {"big": big}, "models": {"assistant": {"targets": ["big"]}}} | more


def pair(upstream: Upstream, ward: Upstream) -> dict[str, Any]:
    """A cloud target first, a server on the premises second."""
    config = cloud(upstream)
    config["targets"]["ward"] = {"url": ward.url, "model": "small-1", "at": "edge"}
    config["models"]["assistant"] = {"targets": ["big", "ward"], "mode": "cloud"}
    return config


@pytest.fixture
def ward() -> Iterator[Upstream]:
    """The instrument on the premises."""
    made = Upstream()
    made.words = ["The ", "edge ", "says ", "hello."]
    yield made
    made.close()


def side_by_side(count: int, work: Callable[[int], None]) -> None:
    """Runs `work(0)`, `work(1)`, ... in threads; the first failure is raised."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def ask_until_it_dies(site: Site, number: int) -> None:
    """One caller after another: JSON and streams by turns."""
    turn = number
    with contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            turn += 1
            body = CHAT | {"stream": turn % 2 == 0, "user": f"caller-{number}-{turn}"}
            assert site.ask("POST", "/v1/chat/completions", body)[0] == 200


def test_a_site_killed_at_any_instant_has_every_egress_on_record(tmp_path: Path, upstream: Upstream) -> None:
    upstream.gap_s = 0.002
    dice = random.Random(20261123)
    config, starts_s = cloud(upstream), []
    for _ in range(ROUNDS):
        began_s = time.monotonic()
        site = Site(tmp_path, config, ENV, ()).wait()
        try:
            starts_s.append(time.monotonic() - began_s)
            after_s = dice.uniform(0.05, 0.5)
            killer = threading.Timer(after_s, site.process.kill)
            killer.start()
            side_by_side(6, lambda number, site=site: ask_until_it_dies(site, number))  # type: ignore[misc]
            killer.join()
        finally:
            site.stop(signal.SIGKILL)
    site = Site(tmp_path, config, ENV, ()).wait()
    assert site.ask("POST", "/v1/chat/completions", CHAT)[0] == 200
    assert site.stop() == 0
    verify = [ECOTONE, "ledger", "verify", "-c", str(site.file)]
    told = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=30)
    assert told.returncode == 0, told.stdout + told.stderr
    key = digest_key(site.store, Disk())
    on_record = {entry["body"]["digest"] for entry in site.ledger() if entry["kind"] == "egress"}
    sent = [hmac.digest(key, binding("none", raw).encode(), "sha256").hex() for raw in upstream.raw]
    assert len(sent) > ROUNDS
    assert [digest for digest in sent if digest not in on_record] == []
    assert max(starts_s) < 3.0
    print(f"\nMEASURED {ROUNDS} kills, {len(sent)} bodies sent, all on record; start {min(starts_s):.3f} to "
          f"{max(starts_s):.3f} s")  # fmt: skip


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no mounts here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (65536, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


def test_on_a_full_disk_the_cloud_stops_with_a_reason_and_the_edge_goes_on(
    start: Start, upstream: Upstream, ward: Upstream, small_disk: Path
) -> None:
    site = start(pair(upstream, ward) | {"store": {"path": str(small_disk / "store")}}, ENV)
    assert site.ask("POST", "/v1/chat/completions", CHAT)[1]["ecotone-placed"] == "cloud"
    filler = fill(small_disk)
    # What is left of the last block may still take an entry or two.
    poll(lambda: site.ask("POST", "/v1/chat/completions", CHAT)[1]["ecotone-placed"] == "edge", "the cloud stops")
    sent = len(upstream.bodies)
    for stream in (False, True):
        status, headers, _ = site.ask("POST", "/v1/chat/completions", CHAT | {"stream": stream})
        assert (status, headers["ecotone-placed"]) == (200, "edge")
        assert headers["ecotone-reason"] in ("fallback.egress_refused", "edge.offline")
    assert any("nothing may leave" in trouble for trouble in site.status()["troubles"])
    assert site.ask("GET", "/readyz")[0] == 200
    ward.behaviour = "503"
    status, headers, body = site.ask("POST", "/v1/chat/completions", CHAT)
    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert b"No space left" in body or b"ledger" in body or b"egress_refused" in body
    ward.behaviour = "ok"
    assert len(upstream.bodies) == sent
    filler.unlink()
    freed_s = time.monotonic()
    poll(lambda: site.ask("POST", "/v1/chat/completions", CHAT)[1]["ecotone-placed"] == "cloud", "it recovers", 15)
    print(f"\nMEASURED room again to cloud again: {time.monotonic() - freed_s:.3f} s")
    assert site.stop() == 0
    verify = [ECOTONE, "ledger", "verify", "-c", str(site.file)]
    assert subprocess.run(verify, capture_output=True, check=False, timeout=30).returncode == 0


def deaf(site: Site) -> socket.socket:
    """A caller with a small buffer who asks for a stream and never reads."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.connect(("127.0.0.1", site.port))
    body = json.dumps(STREAM).encode()
    caller.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    return caller


def test_callers_who_never_read_cost_no_memory_and_pause_the_target(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream), ENV)
    assert site.ask("POST", "/v1/chat/completions", STREAM)[0] == 200
    upstream.words = ["w" * 4000 + " "] * 50_000
    before_bytes = site.rss_bytes()
    callers = [deaf(site) for _ in range(4)]
    try:
        seen = [-1]

        def stands_still() -> bool:
            seen.append(upstream.written_bytes)
            return len(seen) > 50 and seen[-50] == seen[-1] > 0

        poll(stands_still, "the target is paused", 20)
        grown = site.rss_bytes() - before_bytes
        upstream_words, upstream.words = upstream.words, ["hello"]
        assert site.ask("POST", "/v1/chat/completions", CHAT)[0] == 200, "others are served"
        upstream.words = upstream_words
        print(f"\nMEASURED 4 deaf callers: {upstream.written_bytes / 1e6:.1f} MB let go of (sockets), "
              f"RSS {grown / 1e6:+.1f} MB")  # fmt: skip
        assert grown < 20e6
    finally:
        for caller in callers:
            caller.close()
    poll(lambda: site.gauge("ecotone_in_flight") == 0, "all over")
    assert site.status()["targets"]["big"]["breaker"] == "closed"


def test_callers_who_leave_at_random_leave_nothing_behind(start: Start, upstream: Upstream) -> None:
    dice = random.Random(7)
    plans = [(dice.random() < 0.5, dice.uniform(0.0, 0.4), dice.random() < 0.3) for _ in range(LEAVERS)]
    site = start(cloud(upstream), ENV)
    for body in (CHAT, STREAM):
        assert site.ask("POST", "/v1/chat/completions", body)[0] == 200
    upstream.words, upstream.gap_s = ["w "] * 500, 0.02
    baseline = site.fds()

    def leave(number: int) -> None:
        is_stream, after_s, is_abrupt = plans[number]
        connection = site.begin(CHAT | {"stream": is_stream, "user": str(number)})
        assert connection.sock is not None
        until_s = time.monotonic() + after_s
        with contextlib.suppress(OSError):
            while (left_s := until_s - time.monotonic()) > 0:
                connection.sock.settimeout(left_s)
                assert connection.sock.recv(65536), "the answer takes longer than anybody stays"
        if is_abrupt:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()

    for part in range(4):
        side_by_side(LEAVERS // 4, lambda number, part=part: leave(part * (LEAVERS // 4) + number))  # type: ignore[misc]
    poll(lambda: site.gauge("ecotone_in_flight") == 0, "nothing is under way")
    poll(lambda: site.fds() <= baseline, f"no descriptor is left behind ({baseline} before)", 15)
    big = site.status()["targets"]["big"]
    assert (big["breaker"], big["in_flight"], big["waiting"]) == ("closed", 0, 0)
    upstream.words, upstream.gap_s = ["hello"], 0.0
    status, headers, _ = site.ask("POST", "/v1/chat/completions", CHAT)
    assert (status, headers["ecotone-target"]) == (200, "big")
    site.stop()
    endings = [entry["body"]["ending"] for entry in site.ledger() if entry["kind"] == "outcome"]
    placed = sum(entry["kind"] == "placed" for entry in site.ledger())
    assert len(endings) == placed, "each request that was placed has one outcome"
    assert endings.count("left") > LEAVERS / 2
    assert b"Traceback" not in site.log.read_bytes()


@pytest.mark.parametrize("when", ["in mid-stream", "before the first token", "waiting for JSON"])
def test_the_target_learns_at_once_that_the_caller_has_left(start: Start, upstream: Upstream, when: str) -> None:
    site = start(cloud(upstream), ENV)
    upstream.words, upstream.gap_s = ["w "] * 5000, 0.005
    if when != "in mid-stream":
        upstream.behaviour = "silent"
    waits_s = []
    for _ in range(10):
        upstream.gone.clear()
        upstream.begun.clear()
        with contextlib.closing(site.begin(CHAT if when == "waiting for JSON" else STREAM)) as connection:
            assert upstream.begun.wait(5)
            answer = connection.getresponse() if when == "in mid-stream" else None
            if answer is not None:
                answer.read1(10)
                answer.close()
            left_s = time.monotonic()
        assert upstream.gone.wait(5), "the target was not told"
        waits_s.append(upstream.gone_at_s[-1] - left_s)
    print(f"\nMEASURED left {when}: target knows after {sorted(waits_s)[5] * 1e3:.1f} ms, at most "
          f"{max(waits_s) * 1e3:.1f} ms")  # fmt: skip
    assert sorted(waits_s)[5] < 0.2


def test_twenty_reloads_break_no_stream(start: Start, upstream: Upstream, ward: Upstream) -> None:
    site = start(pair(upstream, ward), ENV)
    upstream.words, upstream.gap_s = [f"w{number} " for number in range(150)], 0.02
    good = site.file.read_text()
    done = threading.Event()

    def stream(number: int) -> None:
        if number == 0:
            try:
                for turn in range(20):
                    site.file.write_text(good.replace("mode: cloud", f"mode: {('edge', 'cloud')[turn % 2]}"))
                    status, _, body = site.ask("POST", "/admin/reload")
                    assert (status, json.loads(body)["reloaded"]) == (200, True), body
            finally:
                done.set()
            return
        while True:
            status, headers, body = site.ask("POST", "/v1/chat/completions", STREAM)
            assert status == 200
            assert body.endswith(b"data: [DONE]\n\n")
            words = upstream.words if headers["ecotone-placed"] == "cloud" else ward.words
            assert [word for word in words if json.dumps(word).encode() not in body] == []
            if done.is_set():
                return

    upstream.gap_s = 0.005
    side_by_side(5, stream)
    reloads = site.status()["configuration"]["reloads"]
    assert reloads == 20
    fds = site.fds()
    for turn in range(10):
        site.file.write_text(good.replace("mode: cloud", f"mode: {('edge', 'cloud')[turn % 2]}"))
        assert site.ask("POST", "/admin/reload")[0] == 200
    assert site.fds() <= fds + 2, "a reload leaves nothing open"


def test_a_site_told_to_stop_finishes_what_it_began_and_takes_nothing_new(start: Start, upstream: Upstream) -> None:
    upstream.words, upstream.gap_s = ["w "] * 100, 0.01
    site = start(cloud(upstream), ENV)
    with contextlib.closing(site.begin(STREAM)) as connection:
        answer = connection.getresponse()
        seen = answer.read1(10)
        site.process.send_signal(signal.SIGTERM)

        def is_refused() -> bool:
            try:
                site.connect(1.0).close()
            except OSError:
                return True
            return False

        poll(is_refused, "no new callers")
        seen += answer.read()
    assert seen.endswith(b"data: [DONE]\n\n")
    assert site.process.wait(10) == 0


def test_told_to_stop_twice_it_ends_at_once_and_says_so(start: Start, upstream: Upstream) -> None:
    upstream.words, upstream.gap_s = ["w "] * 5000, 0.01
    site = start(cloud(upstream), ENV)
    with contextlib.closing(site.begin(STREAM)) as connection, contextlib.closing(site.begin(CHAT)) as waiting:
        answer = connection.getresponse()
        answer.read1(10)
        site.process.send_signal(signal.SIGTERM)
        poll(lambda: _is_closed(site), "it stops")
        told_s = time.monotonic()
        site.process.send_signal(signal.SIGTERM)
        with pytest.raises(http.client.IncompleteRead) as caught:
            answer.read()
        assert b"refused.shutdown" in caught.value.partial
        assert waiting.getresponse().status == 503
    assert site.process.wait(10) == 0
    assert time.monotonic() - told_s < 3.0
    assert upstream.gone.wait(5)


def _is_closed(site: Site) -> bool:
    try:
        site.connect(1.0).close()
    except OSError:
        return True
    return False
