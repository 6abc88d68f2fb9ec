"""The hub's web side under what goes wrong, and under what somebody makes go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.hub.served import Limits, Served, assign, joined, key, made, serving

from ecotone.assets import StoreError
from ecotone.hub.serving import opened
from ecotone.values import ConfigError


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Served]:
    with serving(made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")) as at:
        yield at


def raw(port: int, head: str, body: bytes = b"") -> bytes:
    """What comes back for bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode() + body)
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


def test_no_header_and_no_coding_leads_beside_what_is_granted(sqlite: Served) -> None:
    site = joined(sqlite, "harbour")
    assign(sqlite, "harbour", "smol@1")
    with opened(sqlite.settings) as hub:
        mine, other = (
            set(hub.repositories.manifest(hub.repositories.find("smol", version).asset).packs) for version in "12"
        )
    secret = (other - mine).pop()
    bearer = f"Authorization: Bearer {site.token}\r\nConnection: close\r\n"
    for path, host in (
        (f"/packs/{secret}", "hub"),
        ("/trust.json", f"hub/packs/{secret}?"),
        (f"/packs/{mine.pop()}/../{secret}", "hub"),
        (f"/packs/%2e%2e/packs/{secret}", "hub"),
        (f"//packs/{secret}", "hub"),
        ("/packs/..%2f..%2fhub.keys%2fdirector.key", "hub"),
        ("/director/../../hub.keys/director.key", "hub"),
        (f"/packs/{secret}%00", "hub"),
        (f"http://hub/packs/{secret}", "hub"),
    ):
        answer = raw(sqlite.port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n")
        status = int(answer[9:12])
        assert status in (200, 400, 404), (path, status)
        if status == 200:  # what was asked for by the path alone
            assert b"ecotone-roots" in answer or b"_type" in answer, path


def test_sites_that_wait_take_no_room_from_those_that_ask(tmp_path: Path) -> None:
    chosen = made(
        tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=Limits(in_flight_max=2, waiting_max=6, site_waiting_max=9)
    )
    with serving(chosen) as at:
        site = joined(at, "harbour")
        held = []
        for _ in range(6):
            connection = http.client.HTTPConnection("127.0.0.1", at.port, timeout=30)
            path = "/v1/sites/harbour/desired?after=0&wait=300"
            connection.request("GET", path, headers={"authorization": f"Bearer {site.token}"})
            held.append(connection)
        while len(at.process._waiting) < 6:
            time.sleep(0.01)
        assert site.get("/trust.json").status == 200
        full = site.get("/v1/sites/harbour/desired?after=0&wait=300")
        assert (full.status, full.code, full.headers["retry-after"]) == (503, "hub.waiting", "30")
        for connection in held:
            connection.close()


def test_one_body_of_reports_at_a_time(sqlite: Served) -> None:
    site = joined(sqlite, "harbour")
    head = f"POST /v1/sites/harbour/reports HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {site.token}\r\n"
    with socket.create_connection(("127.0.0.1", sqlite.port), timeout=20) as slow:
        slow.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode() + b"x")
        until_s = time.monotonic() + 20
        while True:
            answer = site.report(b"{}")
            if answer.status == 503 or time.monotonic() > until_s:
                break
        assert (answer.status, answer.code) == (503, "hub.busy")
    until_s = time.monotonic() + 20
    while site.report(b"{}").status == 503 and time.monotonic() < until_s:
        time.sleep(0.05)
    assert site.report(b"{}").code == "hub.report"


def test_a_body_that_is_not_ended_is_nobodys_report(sqlite: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.hub.routes_sites.REPORTS_S", 0.2)
    site = joined(sqlite, "harbour")
    head = f"POST /v1/sites/harbour/reports HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {site.token}\r\n"
    with socket.create_connection(("127.0.0.1", sqlite.port), timeout=20) as slow:
        slow.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode() + b"x")
        assert b" 408 " in slow.recv(4096)


def test_databases_connections_that_were_cut_are_made_anew(tmp_path: Path, postgres_url: str) -> None:
    import psycopg

    with serving(made(tmp_path, postgres_url)) as at:
        site = joined(at, "harbour")
        found: list[Any] = []
        waiter = threading.Thread(target=lambda: found.append(site.get("/v1/sites/harbour/desired?after=0&wait=60")))
        waiter.start()
        while len(at.process._waiting) == 0:
            time.sleep(0.01)
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        until_s = time.monotonic() + 30
        while site.get("/trust.json").status != 200 and time.monotonic() < until_s:
            time.sleep(0.1)
        assert site.get("/trust.json").status == 200
        assign(at, "harbour", "smol")
        waiter.join(30)
        assert found[0].status == 200
        assert at.ask("GET", "/readyz").status == 200


def test_an_upload_comes_in_pieces_through_threads_and_is_bounded(tmp_path: Path) -> None:
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=Limits(upload_bytes_max=1 << 20))
    with serving(chosen) as at:
        secret = key(at, "paula", "publisher")
        content = b"weights " * 150_000
        about = {"file": "w.txt", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        begun = at.ask("POST", "/admin/uploads", about, token=secret)
        assert begun.status == 201, begun.body
        path = f"/admin/uploads/{begun.json['id']}"
        too_long = at.ask("PATCH", path, content, {"upload-offset": "0"}, token=secret)
        assert (too_long.status, too_long.code) == (413, "hub.too_large")
        offset = 0
        while offset < len(content):
            piece = content[offset : offset + (1 << 20)]
            answer = at.ask("PATCH", path, piece, {"upload-offset": str(offset)}, token=secret)
            assert answer.status == 204, answer.body
            offset = int(answer.headers["upload-offset"])
        assert at.ask("HEAD", path, token=secret).headers["upload-offset"] == str(len(content))
        assert at.ask("PATCH", path, b"x").status == 401
        # What is being brought is nobody's to read.
        site = joined(at, "harbour")
        with opened(chosen) as hub:
            names = [each.name for each in hub.objects.list("uploads/")]
        assert names
        assert {site.get(f"/{name}").status for name in names} == {404}


def test_packs_that_rest_encrypted_are_served_plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.hub.settings import Encrypt

    monkeypatch.setenv("HUB_SEAL", "ab" * 32)
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", encrypt=Encrypt(key="env:HUB_SEAL"))
    with serving(chosen) as at:
        site = joined(at, "harbour")
        assign(at, "harbour", "smol@1")
        with opened(chosen) as hub:
            pack = hub.repositories.manifest(hub.repositories.find("smol", "1").asset).packs[0]
        answer = site.get(f"/packs/{pack}", range="bytes=70-140")
        assert (answer.status, answer.body) == (206, (b"smol 1 " * 21)[70:141])
        assert b"smol 1 " not in (chosen.folder / "packs" / pack).read_bytes()


def test_a_pack_that_was_cut_short_is_cut_short_and_not_told_as_whole(
    sqlite: Served, caplog: pytest.LogCaptureFixture
) -> None:
    site = joined(sqlite, "harbour")
    assign(sqlite, "harbour", "smol@1")
    with opened(sqlite.settings) as hub:
        pack = hub.repositories.manifest(hub.repositories.find("smol", "1").asset).packs[0]
        size = hub.objects.size(f"packs/{pack}")
        files = type(sqlite.process._hub.objects)
    assert size is not None
    original = files.size
    with pytest.MonkeyPatch.context() as patched:
        # As if it lost its end between the two looks.
        patched.setattr(
            files, "size", lambda self, name: 3 * size if name.startswith("packs/") else original(self, name)
        )
        connection = http.client.HTTPConnection("127.0.0.1", sqlite.port, timeout=20)
        with contextlib.closing(connection), caplog.at_level(logging.ERROR):
            connection.request("GET", f"/packs/{pack}", headers={"authorization": f"Bearer {site.token}"})
            answer = connection.getresponse()
            assert answer.status == 200
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
    assert not [record for record in caplog.records if record.name == "uvicorn.error"]


def test_who_reads_slowly_holds_little(sqlite: Served) -> None:
    site = joined(sqlite, "harbour")
    assign(sqlite, "harbour", "smol@1")
    with opened(sqlite.settings) as hub:
        pack = hub.repositories.manifest(hub.repositories.find("smol", "1").asset).packs[0]
    with socket.create_connection(("127.0.0.1", sqlite.port), timeout=20) as slow:
        head = f"GET /packs/{pack} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {site.token}\r\n\r\n"
        slow.sendall(head.encode())
        time.sleep(0.2)
        assert json.loads(sqlite.ask("GET", "/healthz").body)["status"] == "ok"


def test_what_is_withdrawn_damaged_or_gone_is_not_there(sqlite: Served) -> None:
    site = joined(sqlite, "harbour")
    assign(sqlite, "harbour", "smol@1")
    with opened(sqlite.settings) as hub:
        asset = hub.repositories.find("smol", "1").asset
        pack = hub.repositories.manifest(asset).packs[0]
        hub.objects.put(f"catalogue/targets/models/{asset.sha256}.smol@1", b"damaged")
    assert site.get(f"/packs/{pack}").status == 404
    assert site.get("/director/metadata/999.root.json").status == 404


def test_a_file_that_goes_while_it_is_looked_at_is_not_there(sqlite: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    site = joined(sqlite, "harbour")
    monkeypatch.setattr(type(sqlite.process._hub.objects), "size", lambda *_: 100)
    assert site.get("/director/metadata/999.root.json").status == 404


def test_readiness_is_lost_before_the_process_stops(sqlite: Served) -> None:
    assert sqlite.ask("GET", "/readyz").status == 200
    sqlite.process._front.is_stopping = True
    sqlite.process._waiting._looked_s = -1e9
    answer = sqlite.ask("GET", "/readyz")
    assert answer.status == 503
    assert answer.json["why"][0] == "stopping"
    assert sqlite.ask("GET", "/admin/sign-in").json == {}


def test_a_process_that_has_not_looked_yet_sends_sites_away_for_a_moment(sqlite: Served) -> None:
    site = joined(sqlite, "harbour")
    sqlite.process._waiting._mark = -1
    # The next look, within a second, mends it.
    answer = site.get("/v1/sites/harbour/desired?after=0")
    assert answer.status in (503, 304)
    sqlite.process._waiting._mark = -1
    sqlite.process._waiting._changed = _never  # type: ignore[misc]
    answer = site.get("/v1/sites/harbour/desired?after=0")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")


async def _never(_: int) -> Any:
    raise StoreError("hub.database", "gone")


def test_bodies_without_a_length_are_bounded_too(tmp_path: Path) -> None:
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=Limits(upload_bytes_max=1 << 20))
    with serving(chosen) as at:
        site = joined(at, "harbour")
        head = f"POST /v1/sites/harbour/reports HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {site.token}\r\n"
        chunk = b"%x\r\n%b\r\n" % (1 << 20, b"x" * (1 << 20))
        answer = raw(at.port, f"{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", chunk * 5)
        assert b" 413 " in answer[:20]
        secret = key(at, "paula", "publisher")
        about = {"file": "w.txt", "bytes": 4 << 20, "sha256": "0" * 64}
        path = f"/admin/uploads/{at.ask('POST', '/admin/uploads', about, token=secret).json['id']}"
        head = f"PATCH {path} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {secret}\r\nUpload-Offset: 0\r\n"
        answer = raw(at.port, f"{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n", chunk * 3)
        assert b" 413 " in answer[:20]
        # A caller that leaves in the middle: what came is kept, and it goes on from there.
        with socket.create_connection(("127.0.0.1", at.port), timeout=20) as leaving:
            offset = int(at.ask("HEAD", path, token=secret).headers["upload-offset"])
            head = head.replace("Offset: 0", f"Offset: {offset}")
            leaving.sendall(f"{head}Content-Length: 900000\r\n\r\n".encode() + b"y" * 500_000)
            time.sleep(0.3)
        until_s = time.monotonic() + 20
        while int(at.ask("HEAD", path, token=secret).headers["upload-offset"]) == offset:
            assert time.monotonic() < until_s
            time.sleep(0.05)


def test_what_is_wrong_at_the_hub_is_told_to_people_and_not_to_sites(
    sqlite: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, secret = joined(sqlite, "harbour"), key(sqlite, "rita", "reader")

    def broken(*_: Any) -> None:
        raise ConfigError("hub.keys", "/srv/hub.keys/x cannot be read")

    hub = sqlite.process._hub
    monkeypatch.setattr(type(hub.sites), "authenticate", broken)
    monkeypatch.setattr(type(hub.people), "me", broken)
    told, shown = site.get("/trust.json"), sqlite.ask("GET", "/admin/me", token=secret)
    assert (told.status, told.code, b"/srv" in told.body) == (500, "hub.internal", False)
    assert (shown.status, shown.code, b"/srv" in shown.body) == (400, "hub.keys", True)
