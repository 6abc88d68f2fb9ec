"""A neighbour gives what was delivered to it and nothing else, and what it gives is checked like anything else."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.unit.delivery.hubs import QUICK, Hub, Server, serving

from ecotone.assets import FetchError, open_store
from ecotone.assets.web import Cut
from ecotone.delivery import neighbour_server
from ecotone.delivery.fetch import FolderSource, HttpSource, Rate, Source, SourceMissing, Tally
from ecotone.delivery.install import install
from ecotone.delivery.neighbour import LENGTH, Neighbour, mirror
from ecotone.delivery.neighbour_server import Bucket, NeighbourServer, Segments
from ecotone.transfer import Manifest, encode
from ecotone.values import ConfigError, TrustError

RATE = Rate(stall_s=5.0)


def delivered(hub: Hub, manifest: Manifest, store: Path) -> None:
    """As `site_trust.deliver` leaves a site: installed, its manifest beside."""
    install(manifest, [FolderSource(hub.folder)], store)
    said = encode(manifest)
    kept = store / "trust" / "manifests" / hashlib.sha256(said).hexdigest()
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(said)


@contextlib.contextmanager
def up(store: Path, bytes_per_s: float | None = None) -> Iterator[NeighbourServer]:
    server = NeighbourServer(store, "127.0.0.1", 0, bytes_per_s)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def url_of(server: ThreadingHTTPServer) -> str:
    return f"neighbour+http://127.0.0.1:{server.server_address[1]}"


@contextlib.contextmanager
def answering(body: Callable[[list[str]], bytes], status: int = 200) -> Iterator[ThreadingHTTPServer]:
    """Something that answers as it is told; a client's view of a bad neighbour."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            names = self.rfile.read(int(self.headers["Content-Length"])).decode().split()
            content = body(names)
            self.send_response(status)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def wan(hub: Hub) -> Iterator[Server]:
    with serving(hub.folder) as state:
        yield state


def weights_of(store: Path) -> bytes:
    held = open_store(store)
    asset = held.resolve("hub:small")
    assert asset is not None
    return held.checked_path(asset).read_bytes()


def asked(server: NeighbourServer, body: bytes, path: str = "/v1/segments", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_version_comes_from_the_neighbour_and_nothing_of_it_over_the_wan(
    hub: Hub, wan: Server, tmp_path: Path
) -> None:
    delivered(hub, hub.second, tmp_path / "near")
    tally = Tally()
    with up(tmp_path / "near") as server:
        sources: list[Source] = [Neighbour(url_of(server)), HttpSource(wan.url, RATE)]
        install(hub.second, sources, tmp_path / "site", patience=QUICK, tally=tally)
    assert wan.requests == []
    assert tally.nearby == tally.fetched == server.given_bytes >= hub.second.bytes * 0.99
    assert weights_of(tmp_path / "site") == weights_of(tmp_path / "near")


def test_what_the_neighbour_has_not_comes_from_the_hub(hub: Hub, wan: Server, tmp_path: Path) -> None:
    delivered(hub, hub.first, tmp_path / "near")  # six of eight tensors are the same in the second
    tally = Tally()
    with up(tmp_path / "near") as server:
        sources: list[Source] = [Neighbour(url_of(server)), HttpSource(wan.url, RATE)]
        install(hub.second, sources, tmp_path / "site", patience=QUICK, tally=tally)
    assert tally.nearby >= 1_200_000
    assert 200_000 <= wan.sent <= 420_000  # one tensor whole, one by delta or whole
    assert tally.nearby + wan.sent == tally.fetched


def test_a_neighbour_that_lies_costs_its_bytes_and_no_more(hub: Hub, wan: Server, tmp_path: Path) -> None:
    sizes = {one.blake3: one.length for part in hub.second.parts for one in part.segments}
    lie = lambda names: b"".join(LENGTH.pack(sizes[name]) + bytes(sizes[name]) for name in names)  # noqa: E731 - one use
    tally = Tally()
    with answering(lie) as server:
        sources: list[Source] = [Neighbour(url_of(server)), HttpSource(wan.url, RATE)]
        install(hub.second, sources, tmp_path / "site", patience=QUICK, tally=tally)
        assert tally.wasted >= hub.second.bytes * 0.99
        with pytest.raises(TrustError, match=r"delivery\.segment"):
            install(hub.second, [Neighbour(url_of(server))], tmp_path / "other", patience=QUICK)


def test_a_neighbour_that_is_gone_costs_two_tries(hub: Hub, wan: Server, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gone = Neighbour(f"neighbour+http://127.0.0.1:{closed.getsockname()[1]}")
        install(hub.second, [gone, HttpSource(wan.url, RATE)], tmp_path / "site", patience=QUICK)
        with pytest.raises(FetchError, match=r"asset\.unreachable.*after 2 tries"):
            install(hub.second, [gone], tmp_path / "other", patience=QUICK)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (lambda names: LENGTH.pack(7) + b"seven b", 200, "offers 7 bytes"),
        (lambda names: LENGTH.pack(1 << 31), 200, "offers"),
        (lambda names: LENGTH.pack(100) + b"x" * 100 + b"more", 200, "more than it was asked"),
        (lambda names: b"", 404, "answered 404"),
        (lambda names: b"", 302, "answered 302"),
    ],
)
def test_what_answers_in_another_way_is_no_neighbour(
    body: Callable[[list[str]], bytes], status: int, error: str
) -> None:
    with answering(body, status) as server, pytest.raises(FetchError, match=error):
        list(Neighbour(url_of(server)).segments([("a" * 64, 100)]))


@pytest.mark.parametrize(
    ("body", "status"),
    [(lambda names: LENGTH.pack(100) + b"x" * 50, 200), (lambda names: b"\0", 200), (lambda names: b"", 503)],
)
def test_a_broken_answer_may_be_asked_for_again(body: Callable[[list[str]], bytes], status: int) -> None:
    with answering(body, status) as server, pytest.raises(Cut):
        list(Neighbour(url_of(server)).segments([("a" * 64, 100)]))


def test_a_neighbour_that_falls_silent_or_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        near = Neighbour(f"neighbour+http://127.0.0.1:{silent.getsockname()[1]}", stall_s=0.1)
        with pytest.raises(Cut):
            list(near.segments([("a" * 64, 100)]))
    with answering(lambda names: LENGTH.pack(100) + b"x" * 100) as server:
        near = Neighbour(url_of(server))
        times = iter([0.0, 1.0, 2.0, *[1e6] * 9])
        monkeypatch.setattr("ecotone.delivery.neighbour.time.monotonic", lambda: next(times))
        with pytest.raises(Cut, match="cut after 0 of 100"):
            list(near.segments([("a" * 64, 100)]))


def test_only_what_was_delivered_can_be_had(hub: Hub, tmp_path: Path) -> None:
    from blake3 import blake3

    store = tmp_path / "near"
    delivered(hub, hub.first, store)
    own = b"what somebody put into the store by other ways"
    (store / "assets" / "sha256" / "aa").mkdir(parents=True)
    (store / "assets" / "sha256" / "aa" / ("aa" * 32)).write_bytes(own)
    there = hub.first.parts[0].segments[0]
    with up(store) as server:
        assert len(server.segments) == len({one.blake3 for one in hub.first.parts[0].segments})
        names = f"{blake3(own).hexdigest()}\n{there.blake3}\n".encode()
        status, content = asked(server, names)
    assert status == 200
    assert content[:4] == LENGTH.pack(0)
    assert content[4:8] == LENGTH.pack(there.length)
    assert blake3(content[8:]).hexdigest() == there.blake3


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        (b"", "/v1/segments", 400),
        (b"../../etc/passwd\n", "/v1/segments", 400),
        (b"A" * 64 + b"\n", "/v1/segments", 400),
        (b"a" * 64, "/v1/segments", 400),
        ((b"a" * 64 + b"\n") * 65, "/v1/segments", 413),
        (b"a" * 64 + b"\n", "/v1/other", 404),
    ],
)
def test_nothing_else_is_answered(tmp_path: Path, body: bytes, path: str, status: int) -> None:
    with up(tmp_path) as server:
        assert asked(server, body, path)[0] == status


def test_a_body_without_a_length_is_refused_and_health_is_told(tmp_path: Path) -> None:
    with up(tmp_path) as server:
        for path, said in (("/healthz", b"200"), ("/", b"404"), ("/installed.json", b"404")):
            with socket.create_connection(server.server_address[:2], timeout=10) as raw:  # type: ignore[arg-type] # stubs say any address
                raw.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                assert raw.makefile("rb").read().split()[1] == said
        with socket.create_connection(server.server_address[:2], timeout=10) as raw:  # type: ignore[arg-type] # stubs say any address
            raw.sendall(b"POST /v1/segments HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            assert raw.makefile("rb").read().split()[1] == b"411"


def test_one_address_has_only_so_many_connections(tmp_path: Path) -> None:
    with up(tmp_path) as server, contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(server.server_address[:2], timeout=10))  # type: ignore[arg-type] # stubs say any address
            for _ in range(neighbour_server.CONNECTIONS_EACH_MAX)
        ]
        for one in held:  # each has a thread now
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(12) == b"HTTP/1.1 200"
        with socket.create_connection(server.server_address[:2], timeout=10) as more:  # type: ignore[arg-type] # stubs say any address
            with contextlib.suppress(OSError):
                more.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert more.recv(12) == b""


def test_a_damaged_or_lost_file_is_not_given(hub: Hub, tmp_path: Path) -> None:
    store = tmp_path / "near"
    delivered(hub, hub.first, store)
    part = hub.first.parts[0]
    path = store / "assets" / "sha256" / part.sha256[:2] / part.sha256
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    segments = Segments(store)
    assert segments.read(part.segments[0].blake3) is None
    assert segments.read(part.segments[-1].blake3) is not None
    path.unlink()
    assert segments.read(part.segments[-1].blake3) is None
    path.symlink_to("/etc/passwd")
    assert segments.read(part.segments[-1].blake3) is None


def test_what_is_delivered_later_is_given_too(hub: Hub, tmp_path: Path) -> None:
    now_s = [0.0]
    segments = Segments(tmp_path, lambda: now_s[0])
    name = hub.first.parts[0].segments[0].blake3
    assert segments.read(name) is None
    delivered(hub, hub.first, tmp_path)
    now_s[0] = neighbour_server.LOOK_S
    assert segments.read(name) is not None
    (tmp_path / "delivery" / "installed.json").write_bytes(b"damaged")
    now_s[0] *= 2
    assert segments.read(name) is None


def test_without_its_manifest_a_version_cannot_be_given(hub: Hub, tmp_path: Path) -> None:
    delivered(hub, hub.first, tmp_path)
    for kept in (tmp_path / "trust" / "manifests").iterdir():
        kept.unlink()
    assert len(Segments(tmp_path)) == 0


def test_all_together_get_no_more_than_the_rate() -> None:
    now_s = [0.0]
    slept: list[float] = []
    bucket = Bucket(1000.0, slept.append, lambda: now_s[0])
    bucket.take(500)
    bucket.take(500)  # must wait for the first
    assert slept == [0.5]
    now_s[0] = 10.0
    bucket.take(1)
    assert slept == [0.5]
    Bucket(None, slept.append).take(1 << 40)
    assert slept == [0.5]


def test_the_address_says_what_it_is() -> None:
    assert isinstance(mirror("neighbour+http://10.0.0.9:3270"), Neighbour)
    assert isinstance(mirror("http://10.0.0.9:3270", RATE), HttpSource)
    assert mirror("neighbour+http://[fd00::9]:3270").name == "neighbour+http://[fd00::9]:3270"
    for bad in (
        "neighbour+http://10.0.0.9",
        "neighbour+http://u@10.0.0.9:1",
        "neighbour+http://h:1/x",
        "neighbour+http://h:99999",
    ):
        with pytest.raises(ConfigError, match=r"hub\.neighbour"):
            mirror(bad)


def test_it_has_neither_documents_nor_packs() -> None:
    near = Neighbour("neighbour+http://127.0.0.1:9")
    with pytest.raises(SourceMissing):
        near.document("trust.json", 10)
    with pytest.raises(SourceMissing):
        list(near.run("a" * 64, 0, 1))


def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    with up(tmp_path) as server, pytest.raises(ConfigError, match=r"hub\.listen"):
        NeighbourServer(tmp_path, "127.0.0.1", server.server_address[1])


def said_to(server: NeighbourServer, raw: bytes, *, is_end: bool = False) -> bytes:
    """The status of what is answered to bytes as they are."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as caller:
        caller.sendall(raw)
        if is_end:
            caller.shutdown(socket.SHUT_WR)
        return caller.makefile("rb").read().split()[1]


HEAD = b"POST /v1/segments HTTP/1.1\r\nHost: x\r\nContent-Length: 65\r\n\r\n"


def test_a_body_that_comes_byte_by_byte_holds_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour_server, "TIMEOUT_S", 0.0)
    with up(tmp_path) as server:
        assert said_to(server, HEAD + b"a") == b"400"


def test_a_body_that_ends_early_is_no_question(tmp_path: Path) -> None:
    with up(tmp_path) as server:
        assert said_to(server, HEAD + b"aaa", is_end=True) == b"400"
