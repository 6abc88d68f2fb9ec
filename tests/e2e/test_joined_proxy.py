"""Rule 10: everything that a joined site sends goes through one HTTP proxy, whose name is all that it looks up."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Start, Upstream, poll
from tests.e2e.test_joined import ASK, QUICK, entries, joining, newest, settings, states, url
from tests.hub.served import Settings, assign, serving

__all__ = ["settings"]


class Proxy:
    """A measuring instrument: tunnels and plain requests for names that only it knows.

    Attributes:
        asked: First lines of what it was asked, and the credentials that came with them.
    """

    def __init__(self, known: dict[str, int]) -> None:
        self.known = known
        self.asked: list[tuple[str, str]] = []
        self.is_open = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = sock.recv(65536)
                if not piece:
                    return
                head += piece
            line, *lines = head.split(b"\r\n\r\n")[0].decode().split("\r\n")
            given = [one.partition(": ")[2] for one in lines if one.lower().startswith("proxy-authorization")]
            self.asked.append((line, given[0] if given else ""))
            method, where, _ = line.split(" ")
            host = where if method == "CONNECT" else where.removeprefix("http://").partition("/")[0]
            port = self.known.get(host)
            if port is None or not self.is_open:
                sock.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", port)) as far:
                if method == "CONNECT":
                    sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    path = "/" + where.removeprefix("http://").partition("/")[2]
                    far.sendall(head.replace(where.encode(), path.encode(), 1))
                there = threading.Thread(target=_pump, args=(sock, far), daemon=True)
                there.start()
                _pump(far, sock)
                there.join()


def _pump(near: socket.socket, far: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := near.recv(65536):
            far.sendall(piece)
    for one in (near, far):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy({})
    yield made
    made.close()


def test_all_that_leaves_goes_through_one_proxy(
    start: Start, settings: Settings, upstream: Upstream, proxy: Proxy
) -> None:
    with serving(settings) as hub:
        proxy.known = {"hub.invalid:80": hub.port, "hub.invalid": hub.port,
                       "cloud.invalid:80": upstream.server.server_port}  # fmt: skip
        tree = {
            "hub": {"url": "http://hub.invalid", **QUICK},
            "proxy": {"url": f"http://127.0.0.1:{proxy.port}", "credentials": "env:PROXY_LOGIN"},
            "targets": {"big": {"url": "http://cloud.invalid/v1", "model": "m", "at": "cloud"}},
            "timeouts": {"connect_s": 5},
        }
        site = start(tree, environ={"PROXY_LOGIN": "site:s3cret"}, fill=joining(hub))
        assign(hub, "test", "smol@1")
        poll(lambda: states(site) == {"smol@1": "good"}, "a delivery through the proxy", 60)
        poll(lambda: newest(hub), "a report through the proxy", 30)
        status, headers, _ = site.ask("POST", "/v1/chat/completions", ASK)
        assert (status, headers["ecotone-placed"]) == (200, "cloud")

        # Permits and entries name the hub and the target, and not the proxy.
        site.stop()
        assert {one["origin"] for one in entries(site)} == {"http://hub.invalid:80"}
        login = "Basic " + base64.b64encode(b"site:s3cret").decode()
        assert {given for _, given in proxy.asked} == {login}
        lines = [line for line, _ in proxy.asked]
        assert any(line.startswith("CONNECT cloud.invalid:80 ") for line in lines)
        assert any(line.startswith("CONNECT hub.invalid:80 ") for line in lines)
        assert any(line.startswith("GET http://hub.invalid/catalogue/") for line in lines)
        everything = site.log.read_text() + "".join(str(line) for line in site.ledger())
        assert "s3cret" not in everything


def test_a_proxy_that_lets_nobody_through_harms_no_request_at_the_edge(
    start: Start, settings: Settings, upstream: Upstream, proxy: Proxy
) -> None:
    with serving(settings) as hub:
        proxy.is_open = False
        tree = {
            "hub": {"url": "http://hub.invalid", **QUICK},
            "proxy": {"url": f"http://127.0.0.1:{proxy.port}"},
            "targets": {
                "big": {"url": "http://cloud.invalid/v1", "model": "m", "at": "cloud"},
                "ward": {"url": f"http://127.0.0.1:{upstream.server.server_port}/v1", "model": "m", "at": "edge"},
            },
        }
        site = start(tree, fill=joining(hub))
        status, headers, _ = site.ask("POST", "/v1/chat/completions", ASK)
        assert (status, headers["ecotone-placed"]) == (200, "edge")
        poll(lambda: site.status()["hub"]["state"] == "down", "the hub is out of reach", 30)
        assert newest(hub) == {}
        assert url(hub)
