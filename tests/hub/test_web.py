"""The hub over real sockets, on each database: who is let in, what each may have, and how it is said that not."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.hub.served import OWNER, Limits, Served, Site, assign, joined, key, made, publish, serving

from ecotone.access import session_message
from ecotone.hub.serving import opened
from ecotone.values.fleet import Report


@pytest.fixture
def served(tmp_path: Path, database_url: str) -> Iterator[Served]:
    with serving(made(tmp_path, database_url)) as at:
        yield at


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Served]:
    """Where the database makes no difference."""
    with serving(made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")) as at:
        yield at


def report(site: str, seq: int, **about: Any) -> bytes:
    return msgspec.json.encode(Report(site=site, seq=seq, made_s=1.0, **about))


def test_a_site_is_enrolled_hears_of_news_and_fetches_what_it_is_granted(served: Served) -> None:
    site = joined(served, "harbour")
    assert site.get("/v1/sites/harbour/desired?after=0&wait=0").status == 304
    assert site.get("/trust.json").status == 200

    generation = assign(served, "harbour", "smol@1")
    answer = site.get("/v1/sites/harbour/desired?after=0&wait=20")
    assert (answer.status, answer.json["generation"]) == (200, generation)
    assert site.get(f"/v1/sites/harbour/desired?after={generation}&wait=0").status == 304

    with opened(served.settings) as hub:
        mine, other = (hub.repositories.manifest(hub.repositories.find("smol", version).asset) for version in "12")
        state = hub.wishes.state("harbour")
        assert state is not None
        asset = state.assets[0]
    manifest = site.get(f"/catalogue/targets/models/{asset.sha256}.smol@1")
    assert manifest.status == 200
    assert json.loads(manifest.body)["version"] == "1"
    assert manifest.headers["cache-control"] == "private, max-age=31536000, immutable"
    whole = site.get(f"/packs/{mine.packs[0]}")
    assert (whole.status, len(whole.body)) == (200, int(whole.headers["content-length"]))
    part = site.get(f"/packs/{mine.packs[0]}", range="bytes=10-19")
    assert (part.status, part.body) == (206, whole.body[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.body)}"
    known = site.get(f"/packs/{mine.packs[0]}", **{"if-none-match": whole.headers["etag"]})
    assert (known.status, known.body) == (304, b"")
    past = site.get(f"/packs/{mine.packs[0]}", range=f"bytes={len(whole.body)}-")
    assert (past.status, past.headers["content-range"]) == (416, f"bytes */{len(whole.body)}")
    head = served.ask("HEAD", f"/packs/{mine.packs[0]}", token=site.token)
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(whole.body)), b"")
    # What is not granted, and what is not there, are the same.
    only = set(other.packs) - set(mine.packs)
    for path in (f"/packs/{only.pop()}", "/packs/" + "0" * 64, "/packs/../hub.keys/director.key", "/catalogue/x"):
        refused = site.get(path)
        assert (refused.status, refused.code) == (404, "hub.not_found"), path
        assert refused.json == site.get("/packs/nothing").json


def test_metadata_is_every_sites_and_a_wish_its_own_sites(served: Served) -> None:
    one, two = joined(served, "one"), joined(served, "two")
    assign(served, "one", "smol")
    assign(served, "two", "smol@1")
    for folder in ("catalogue", "director"):
        stamp = one.get(f"/{folder}/metadata/timestamp.json")
        assert (stamp.status, stamp.headers["cache-control"]) == (200, "no-cache")
    with opened(served.settings) as hub:
        names = [each.name for each in hub.objects.list("director/targets/sites/")]
    for name in names:
        for site in (one, two):
            is_mine = name.endswith(f".{site.name}.json")
            assert site.get(f"/{name}").status == (200 if is_mine else 404)


def test_nobody_else_is_let_in_and_nothing_says_why(served: Served) -> None:
    site = joined(served, "harbour")
    stranger = Site(served, "nobody")
    thief = Site(served, "harbour")
    told = [stranger.sign_in(), thief.sign_in(), served.ask("GET", "/v1/sites/harbour/desired")]
    told += [served.ask("GET", "/v1/sites/harbour/desired", token=bad) for bad in ("x", "a.b.c", site.token[:-2])]
    told.append(served.ask("GET", "/trust.json"))
    assert {(answer.status, answer.body) for answer in told} == {(401, told[0].body)}
    assert told[0].code == "hub.session"
    assert "www-authenticate" in told[0].headers
    assert served.ask("POST", "/v1/sites/a%00b/challenge").status == 404
    said = {"token": "eco1.a\x00b.c", "site": "a\x00b", "key": "\x00"}
    assert served.ask("POST", "/v1/enroll", said).status in (400, 401)
    # Another's paths are not there.
    joined(served, "other")
    assert site.get("/v1/sites/other/desired?after=0").status == 404
    assert served.ask("POST", "/v1/sites/other/reports", report("other", 1), token=site.token).status == 404
    # A token was for one use.
    again = Site(served, "third").enroll("eco1.x.y")
    assert (again.status, again.code) == (401, "hub.token")


def test_a_revoked_site_is_served_nothing_from_the_next_request_on(served: Served) -> None:
    site = joined(served, "harbour")
    assign(served, "harbour", "smol")
    assert site.get("/trust.json").status == 200
    with opened(served.settings) as hub:
        hub.sites.revoke(OWNER, "harbour", "stolen")
    answers = [
        site.get("/trust.json"),
        site.get("/v1/sites/harbour/desired?after=0"),
        site.report(report("harbour", 1)),
    ]
    answers.append(site.sign_in())
    assert {(answer.status, answer.code) for answer in answers} == {(403, "hub.revoked")}


def test_reports_are_taken_once_and_what_cannot_be_read_is_passed_over(served: Served) -> None:
    site = joined(served, "harbour")
    answer = site.report(report("harbour", 1), report("harbour", 3), report("harbour", 2))
    assert (answer.status, answer.json["ack_seq"], answer.json["refused"]) == (200, 3, 0)
    assert site.report(report("harbour", 2)).json["ack_seq"] == 3
    newer = b'{"type": "ecotone-report", "format": 2, "seq": 5, "site": "harbour"}'
    answer = site.report(report("harbour", 4), newer, b"not json")
    assert (answer.json["ack_seq"], answer.json["refused"]) == (5, 2)
    for body in (b"not json", b"", b"\n\n"):
        refused = site.report(body)
        assert (refused.status, refused.code) == (400, "hub.report")
    with opened(served.settings) as hub:
        raw = hub.reports.newest("harbour")
        assert raw is not None
        assert json.loads(raw)["seq"] == 4


def test_reports_may_be_packed_but_never_beyond_their_bound(sqlite: Served) -> None:
    from backports import zstd

    site = joined(sqlite, "harbour")
    packed = zstd.compress(report("harbour", 1))
    assert site.report(packed, **{"content-encoding": "zstd"}).json["ack_seq"] == 1
    bomb = zstd.compress(b" " * (64 << 20))
    assert len(bomb) < 10_000
    for body, coding, status, code in (
        (bomb, "zstd", 413, "hub.too_large"),
        (packed[:-3], "zstd", 400, "hub.body"),
        (packed + b"x", "zstd", 400, "hub.body"),
        (b"nothing", "zstd", 400, "hub.body"),
        (packed, "br", 415, "hub.coding"),
        (b"x" * (5 << 20), "identity", 413, "hub.too_large"),
        (b"\n".join([report("harbour", 1)] * 1001), "identity", 413, "hub.too_large"),
    ):
        answer = site.report(body, **{"content-encoding": coding})
        assert (answer.status, answer.code) == (status, code)


def test_a_long_poll_is_answered_when_the_wish_is_signed_by_another_process(served: Served) -> None:
    site = joined(served, "harbour")
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(site.get("/v1/sites/harbour/desired?after=0&wait=60")))
    waiter.start()
    while len(served.process._waiting) == 0:
        time.sleep(0.01)
    assign(served, "harbour", "smol")
    waiter.join(20)
    assert found[0].status == 200


def test_a_stop_sends_waiting_sites_home_and_lets_answers_end(sqlite: Served) -> None:
    site = joined(sqlite, "harbour")
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(site.get("/v1/sites/harbour/desired?after=0&wait=300")))
    waiter.start()
    while len(sqlite.process._waiting) == 0:
        time.sleep(0.01)
    sqlite.stop()
    waiter.join(20)
    assert (found[0].status, found[0].headers.get("connection")) == (304, "close")
    with pytest.raises(ConnectionRefusedError):
        sqlite.ask("GET", "/healthz")


def test_who_leaves_while_waiting_is_forgotten(sqlite: Served) -> None:
    site = joined(sqlite, "harbour")
    connection = http.client.HTTPConnection("127.0.0.1", sqlite.port)
    connection.request(
        "GET", "/v1/sites/harbour/desired?after=0&wait=300", headers={"authorization": f"Bearer {site.token}"}
    )
    while len(sqlite.process._waiting) == 0:
        time.sleep(0.01)
    connection.close()
    until_s = time.monotonic() + 20
    while len(sqlite.process._waiting) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert len(sqlite.process._waiting) == 0


def test_a_hub_restored_from_a_copy_learns_from_a_site_how_far_it_was(served: Served) -> None:
    site = joined(served, "harbour")
    generation = assign(served, "harbour", "smol@1")
    ahead = generation + 7
    assert site.get(f"/v1/sites/harbour/desired?after={ahead}&wait=0").status == 304
    assert assign(served, "harbour", "smol@2") > ahead
    # What no hub can have said is not believed.
    assert site.get(f"/v1/sites/harbour/desired?after={1 << 52}&wait=0").status == 304
    assert assign(served, "harbour", "smol@1") < 1 << 40
    assert site.get("/v1/sites/harbour/desired?after=x").code == "hub.query"


def test_residency_is_asked_for_again_when_a_pack_is_served(sqlite: Served) -> None:
    with opened(sqlite.settings) as hub:
        publish(hub, "here", "1", residency=("eu",))
        asset = hub.repositories.find("here").asset
        pack = hub.repositories.manifest(asset).packs[0]
    at_home, abroad = joined(sqlite, "home", region="eu"), joined(sqlite, "abroad", region="us")
    for site in (at_home, abroad):
        assign(sqlite, site.name, "here")
    assert at_home.get(f"/packs/{pack}").status == 200
    assert abroad.get(f"/packs/{pack}").status == 404
    assert abroad.get(f"/catalogue/targets/models/{asset.sha256}.here@1").status == 404


def test_an_open_hub_gives_its_signed_files_to_anybody_and_nothing_else(tmp_path: Path) -> None:
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", is_open=True)
    with serving(chosen) as at, opened(chosen) as hub:
        pack = hub.repositories.manifest(hub.repositories.find("smol").asset).packs[0]
        answer = at.ask("GET", f"/packs/{pack}", headers={"range": "bytes=0-3"})
        assert (answer.status, answer.headers["cache-control"]) == (206, "public, max-age=31536000, immutable")
        assert at.ask("GET", "/trust.json").status == 200
        assert at.ask("GET", "/v1/sites/x/desired").status == 401
        for path in ("/packs/..%2f..%2fhub.keys%2fdirector.key", "/catalogue/metadata/../../trust.json", "/packs/"):
            assert at.ask("GET", path).status == 404


def test_people_need_a_key_and_whoever_guesses_is_stopped(tmp_path: Path) -> None:
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=Limits(failures_per_minute=10))
    with serving(chosen) as at:
        secret = key(at, "rita", "reader")
        me = at.ask("GET", "/admin/me", token=secret)
        assert (me.status, me.json["who"]) == (200, "rita")
        assert at.ask("POST", "/admin/people", {"name": "x"}, token=secret).status == 403
        assert at.ask("POST", "/admin/people", b"[]", token=secret).code == "hub.body"
        for method, path, body in (
            ("POST", "/admin/people", b'{"name": "a\\u0000b"}'),
            ("POST", "/admin/people", b'{"x": [{"y\\u0000": 1}]}'),
            ("GET", "/admin/sites?find=%00", None),
        ):
            assert at.ask(method, path, body, token=secret).code == "hub.body", path
        assert at.ask("POST", "/admin/people", b"x" * (2 << 20), token=secret).code == "hub.too_large"
        answers = [at.ask("GET", "/admin/me", token=f"guess{number}") for number in range(12)]
        assert [answer.status for answer in answers] == [401] * 10 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) >= 1


def test_one_site_that_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=Limits(site_files_per_minute=60))
    with serving(chosen) as at:
        eager, calm = joined(at, "eager"), joined(at, "calm")
        answers = [eager.get("/trust.json") for _ in range(20)]
        refused = [answer for answer in answers if answer.status == 429]
        assert refused
        assert refused[0].code == "hub.rate"
        assert int(refused[0].headers["retry-after"]) >= 1
        assert calm.get("/trust.json").status == 200


def test_what_holds_for_every_answer(sqlite: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ecotone.hub.access")
    site = joined(sqlite, "harbour")
    answers = [
        sqlite.ask("GET", "/healthz"),
        sqlite.ask("GET", "/nothing?secret=hunter2"),
        sqlite.ask("DELETE", "/healthz"),
        site.get("/v1/sites/harbour/desired?after=0"),
    ]
    assert [answer.status for answer in answers] == [200, 404, 405, 304]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.headers["x-request-id"]) == 16
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    assert sqlite.ask("GET", "/readyz").json == {"status": "ok"}
    lines = [record.fields for record in caplog.records if record.name == "ecotone.hub.access"]
    routes = {(line["route"], line["status"], line["who"]) for line in lines}
    assert ("/v1/sites/{site}/desired", 304, "harbour") in routes
    assert ("other", 404, "") in routes
    told = json.dumps(lines)
    assert site.token not in told
    assert "hunter2" not in told
    assert site.public not in told


def test_figures_are_for_this_machine_and_for_people(sqlite: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    joined(sqlite, "harbour")
    text = sqlite.ask("GET", "/metrics").body.decode()
    assert 'ecotone_hub_requests_total{route="/v1/enroll",status="201"} 1.0' in text
    monkeypatch.setattr("ecotone.hub.routes_public.PublicRoutes._is_local", lambda *_: False)
    assert sqlite.ask("GET", "/metrics").status == 401
    assert sqlite.ask("GET", "/metrics", token=key(sqlite, "rita", "reader")).status == 200


def test_the_console_is_one_page_without_anything_from_outside(sqlite: Served) -> None:
    page = sqlite.ask("GET", "/")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert sqlite.ask("GET", "/", headers={"if-none-match": page.headers["etag"]}).status == 304
    for path in ("/console.css", "/console.js"):
        assert sqlite.ask("GET", path).status == 200


def test_a_database_that_is_away_is_told_of_and_nothing_of_the_inside(
    sqlite: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    site = joined(sqlite, "harbour")

    def broken(*_: Any) -> None:
        raise OperationalError("SELECT secret", {}, Exception("at 10.0.0.5"))

    monkeypatch.setattr(type(sqlite.process._hub.sites), "authenticate", broken)
    answer = site.get("/trust.json")
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "hub.unavailable", "5")

    def failing(*_: Any) -> None:
        raise KeyError("inside")

    monkeypatch.setattr(type(sqlite.process._hub.sites), "authenticate", failing)
    answer = site.get("/trust.json")
    assert (answer.status, answer.code) == (500, "hub.internal")
    assert "inside" not in answer.body.decode()


def test_headers_and_time_have_bounds(tmp_path: Path) -> None:
    limits = Limits(head_s=0.5, connections_max=5)
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=limits)
    with serving(chosen) as at:
        assert at.ask("GET", "/healthz", headers={"x": "y" * 40_000}).status == 431
        with socket.create_connection(("127.0.0.1", at.port), timeout=20) as slow:
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
            assert b"408" in slow.recv(4096)
        held = [socket.create_connection(("127.0.0.1", at.port), timeout=20) for _ in range(6)]
        assert b"503" in held[-1].recv(4096)
        for each in held:
            each.close()


def test_behind_a_proxy_the_last_address_it_tells_is_the_callers(tmp_path: Path) -> None:
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=Limits(address_per_minute=60), behind_proxy=True)
    with serving(chosen) as at:

        def ask(address: str) -> int:
            return at.ask("POST", "/v1/sites/x/challenge", headers={"x-forwarded-for": address}).status

        assert [ask(f"spoofed.{number}, 192.0.2.1") for number in range(14)][-1] == 429
        assert ask("192.0.2.1, 192.0.2.2") == 200
        assert [ask(f"2001:db8::{number:x}") for number in range(14)][-1] == 429
        assert ask("2001:db8:0:1::1") == 200
        assert at.ask("GET", "/metrics").status == 401


def test_two_hubs_on_one_database_are_one(tmp_path: Path, database_url: str) -> None:
    chosen = made(tmp_path, database_url)
    with serving(chosen) as one, serving(chosen) as other:
        site = joined(one, "harbour")
        # A session of one holds at the other, and so does a challenge, once.
        assert other.ask("GET", "/trust.json", token=site.token).status == 200
        challenge = one.ask("POST", "/v1/sites/harbour/challenge").json["challenge"]
        signature = base64.b64encode(site.key.sign(session_message("harbour", challenge))).decode()
        said = {"challenge": challenge, "signature": signature}
        answers = [at.ask("POST", "/v1/sites/harbour/session", said).status for at in (other, one, other)]
        assert answers == [200, 401, 401]
        # A report that one has taken is known to the other.
        assert site.report(report("harbour", 5)).json["ack_seq"] == 5
        there = Site(other, "harbour")
        there.key, there.token = site.key, site.token
        assert there.report(report("harbour", 4)).json["ack_seq"] == 5
        with opened(chosen) as hub:
            hub.sites.revoke(OWNER, "harbour", "stolen")
        assert {at.ask("GET", "/trust.json", token=site.token).status for at in (one, other)} == {403}
