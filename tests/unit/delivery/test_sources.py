"""Sources give what was asked for, or say that they cannot: none hangs, leads elsewhere, or sends without end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.delivery.hubs import QUICK, RATE, Hub, Server, serving

from ecotone.assets import FetchError
from ecotone.assets.web import Cut
from ecotone.delivery.fetch import FolderSource, HttpSource, Rate, Source, SourceMissing, document
from ecotone.values import ConfigError


@pytest.fixture
def server(hub: Hub) -> Iterator[Server]:
    with serving(hub.folder) as state:
        yield state


def whole(source: Source, pack: str, offset: int, length: int) -> bytes:
    return b"".join(source.run(pack, offset, length))


def test_a_folder_and_a_server_give_the_same_bytes(hub: Hub, server: Server) -> None:
    pack = hub.first.packs[0]
    content = (hub.folder / "packs" / pack).read_bytes()
    for source in (FolderSource(hub.folder), HttpSource(server.url + "/", RATE)):
        assert whole(source, pack, 100, 300_000) == content[100:300_100]
        assert source.document(f"packs/{pack}", 10 << 20) == content
        assert source.name in (str(hub.folder), server.url)


def test_what_is_not_there_is_said(hub: Hub, server: Server, tmp_path: Path) -> None:
    for source in (FolderSource(hub.folder), HttpSource(server.url, RATE)):
        with pytest.raises(SourceMissing):
            source.document("catalogue/nothing", 10)
        with pytest.raises(SourceMissing):
            whole(source, "f" * 64, 0, 10)
        with pytest.raises(SourceMissing):
            document([source], "catalogue/nothing", 10, patience=QUICK)
    with pytest.raises(FetchError, match="cannot be read"):
        FolderSource(hub.folder).document("packs", 10)
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "a").write_bytes(b"short")
    with pytest.raises(SourceMissing):
        whole(FolderSource(tmp_path), "a", 0, 10)


def test_a_document_comes_from_the_first_that_has_it(hub: Hub, server: Server, tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"this")
    sources = [FolderSource(hub.folder), HttpSource(server.url, RATE), FolderSource(tmp_path)]
    assert document(sources, "there", 10) == b"this"
    with pytest.raises(SourceMissing):
        document([], "there", 10)


def test_endless_documents_are_refused(hub: Hub, server: Server) -> None:
    path = f"packs/{hub.first.packs[0]}"
    for source in (FolderSource(hub.folder), HttpSource(server.url, RATE)):
        with pytest.raises(FetchError, match=r"asset\.too_large"):
            source.document(path, 1000)
    assert server.sent < 1_600_000


@pytest.mark.parametrize("url", ["ftp://hub/x", "file:///etc", "hub.example.org", "https://"])
def test_only_http_is_spoken(url: str) -> None:
    with pytest.raises(ConfigError, match=r"asset\.insecure"):
        HttpSource(url)


def test_a_redirect_to_another_origin_is_refused(hub: Hub, server: Server) -> None:
    with serving(hub.folder) as other:
        server.redirect = f"{other.url}/packs/{hub.first.packs[0]}"
        with pytest.raises(FetchError, match=r"asset\.refused"):
            whole(HttpSource(server.url, RATE), hub.first.packs[0], 0, 10)
        assert other.requests == []


def test_a_redirect_within_the_origin_is_bounded(hub: Hub, server: Server) -> None:
    server.redirect = "/again"
    with pytest.raises(FetchError, match=r"asset\.refused"):
        HttpSource(server.url, RATE).document("x", 10)
    assert len(server.requests) < 10


def test_a_server_without_ranges_is_no_source(hub: Hub, server: Server) -> None:
    server.has_ranges = False
    source = HttpSource(server.url, RATE)
    with pytest.raises(SourceMissing, match="range"):
        whole(source, hub.first.packs[0], 100, 10)
    assert len(whole(source, hub.first.packs[0], 0, 10)) == 10


def test_a_range_other_than_asked_for_is_refused(hub: Hub, server: Server) -> None:
    with pytest.raises(SourceMissing, match="range"):
        whole(HttpSource(server.url, RATE), hub.first.packs[0], 1_600_000, 1000)


@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_says_no_is_asked_again_only_where_that_may_help(hub: Hub, server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(FetchError):
        document([HttpSource(server.url, RATE)], "x", 10, patience=QUICK)
    assert len(server.requests) == (1 if status == 403 else QUICK.tries_max)


def test_a_document_that_is_cut_is_asked_for_again(hub: Hub, server: Server) -> None:
    server.cut_share = 1.0
    pack = hub.first.packs[0]
    with pytest.raises(Cut):
        HttpSource(server.url, RATE).document(f"packs/{pack}", 10 << 20)
    with pytest.raises(FetchError, match=r"asset\.unreachable"):
        document([HttpSource(server.url, RATE)], f"packs/{pack}", 10 << 20, patience=QUICK)


def test_a_server_that_falls_silent_is_given_up(hub: Hub, server: Server) -> None:
    server.stops_after = 0
    with pytest.raises(Cut):
        whole(HttpSource(server.url, Rate(stall_s=0.2)), hub.first.packs[0], 0, 100_000)


class Clock:
    """Time that only sleeping moves, and each look by a little."""

    def __init__(self, look_s: float = 0.0) -> None:
        self.now_s, self.look_s, self.slept_s = 0.0, look_s, 0.0

    def look(self) -> float:
        self.now_s += self.look_s
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds
        self.slept_s += seconds


def test_a_server_that_trickles_is_given_up(hub: Hub, server: Server) -> None:
    clock = Clock(look_s=100.0)
    rate = Rate(stall_s=50.0, slow_bytes_per_s=1e9, now_s=clock.look)
    with pytest.raises(Cut, match="only"):
        whole(HttpSource(server.url, rate), hub.first.packs[0], 0, 500_000)


def test_a_slow_transfer_that_is_fast_enough_goes_on(hub: Hub, server: Server) -> None:
    clock = Clock(look_s=100.0)
    rate = Rate(stall_s=50.0, slow_bytes_per_s=1.0, now_s=clock.look)
    assert len(whole(HttpSource(server.url, rate), hub.first.packs[0], 0, 500_000)) == 500_000


def test_the_rate_that_is_allowed_is_kept(hub: Hub, server: Server) -> None:
    clock = Clock()
    rate = Rate(bytes_per_s=8000, stall_s=20.0, now_s=clock.look, sleep=clock.sleep)
    assert len(whole(HttpSource(server.url, rate), hub.first.packs[0], 0, 80_000)) == 80_000
    assert clock.slept_s == pytest.approx(10.0, abs=0.5)


def test_nothing_is_asked_outside_the_links_window(hub: Hub, server: Server) -> None:
    source = HttpSource(server.url, Rate(is_open=lambda: False))
    with pytest.raises(FetchError, match=r"delivery\.window"):
        whole(source, hub.first.packs[0], 0, 10)
    with pytest.raises(FetchError, match=r"delivery\.window"):
        document([source], "x", 10)
    assert server.requests == []


def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def answer() -> None:
            peer, _ = proxy.accept()
            with peer:
                seen.append(peer.recv(65536))
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nthis")

        thread = threading.Thread(target=answer)
        thread.start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert HttpSource("http://hub.example.invalid/a", RATE).document("b c", 10) == b"this"
        thread.join()
    assert seen[0].startswith(b"GET http://hub.example.invalid/a/b%20c ")


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(FetchError, match=r"asset\.unreachable"):
        document([HttpSource(f"http://127.0.0.1:{port}", RATE)], "x", 10, patience=QUICK)
