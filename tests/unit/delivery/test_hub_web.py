"""A hub over HTTP: its files, ranges of them, and nothing else."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.delivery.made_site import SECOND, Site

from ecotone.delivery import hub_web, site_trust
from ecotone.delivery.hub_web import HubServer
from ecotone.delivery.sources import HttpSource
from ecotone.values import ConfigError

PACK = "packs/" + "a" * 64


@pytest.fixture
def served(tmp_path: Path) -> Iterator[HubServer]:
    folder = tmp_path / "hub"
    (folder / "packs").mkdir(parents=True)
    (folder / PACK).write_bytes(b"0123456789")
    (folder / "packs" / "empty").write_bytes(b"")
    (folder / "packs" / "link").symlink_to("/etc/passwd")
    (folder / "packs" / "inner").mkdir()
    (folder / "trust.json").write_bytes(b"{}")
    (tmp_path / "hub.keys").mkdir()
    (tmp_path / "hub.keys" / "root-1.key").write_bytes(b"secret")
    server = HubServer(folder, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def asked(server: HubServer, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("asks", "status", "body", "span"),
    [
        ("", 200, b"0123456789", None),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=7-99", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-9", 200, b"0123456789", None),
        ("bytes=10-12", 416, b"", "bytes */10"),
        ("bytes=5-3", 416, b"", "bytes */10"),
        ("bytes=1-2,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_files_and_single_ranges(served: HubServer, asks: str, status: int, body: bytes, span: str | None) -> None:
    got, headers, content = asked(served, f"/{PACK}", Range=asks)
    assert (got, content, headers.get("content-range")) == (status, body, span)
    if status < 400:
        assert "immutable" in headers["cache-control"]


def test_only_what_may_change_is_asked_for_anew(served: HubServer) -> None:
    assert asked(served, "/trust.json")[1]["cache-control"] == "no-cache"
    status, headers, body = asked(served, f"/{PACK}", "HEAD")
    assert (status, headers["content-length"], body) == (200, "10", b"")
    assert asked(served, f"/{PACK}", "POST")[0] == 501


@pytest.mark.parametrize(
    "path",
    [
        "/", "/packs", "/packs/", "/packs/inner", "/packs/link", "/packs/none", "/hub.keys/root-1.key",
        "/../hub.keys/root-1.key", "/packs/../../hub.keys/root-1.key", "/packs/%2e%2e/%2e%2e/hub.keys/root-1.key",
        "/catalogue/metadata/..%2f..%2ftrust.json", "//etc/passwd", "/packs/.hidden",
    ],
)  # fmt: skip
def test_nothing_else_is_served(served: HubServer, path: str) -> None:
    status, _, body = asked(served, path)
    assert (status, body) == (404, b"")


def test_an_empty_file_is_whole(served: HubServer) -> None:
    assert asked(served, "/packs/empty")[::2] == (200, b"")


def test_so_many_connections_and_no_more(served: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "_room", threading.BoundedSemaphore(1))
    first = http.client.HTTPConnection("127.0.0.1", served.server_address[1], timeout=10)
    first.request("GET", f"/{PACK}")
    assert first.getresponse().read() == b"0123456789"
    with pytest.raises((http.client.HTTPException, OSError)):
        asked(served, f"/{PACK}")
    first.close()


def test_an_address_that_cannot_be_listened_at(served: HubServer, tmp_path: Path) -> None:
    for host, port in (("127.0.0.1", served.server_address[1]), ("2001:db8::1", 0)):
        with pytest.raises(ConfigError, match=r"hub\.listen"):
            HubServer(tmp_path, host, port)


def test_a_site_takes_what_it_shall_have(tmp_path: Path) -> None:
    site = Site(tmp_path)
    server = HubServer(site.world.folder, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        source = HttpSource(f"http://127.0.0.1:{server.server_address[1]}")
        assert site_trust.deliver(source, [source], site.store, is_import=False).generation == 2
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert site.installed() == SECOND
    assert hub_web.CONNECTIONS_MAX > 1
