"""What a malicious site, a stranger, or somebody with a narrow grant tries at a hub; each was found to work once."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.hub.members import Machine
from tests.hub.rollout import Rollout
from tests.hub.served import OWNER, Limits, Served, joined, key, made, serving

from ecotone.access import Actor, Grant, Person
from ecotone.hub import releases_doors, status_doors
from ecotone.hub.database import Database
from ecotone.hub.releases_values import Scope, Start
from ecotone.hub.serving import Hub, opened
from ecotone.hub.sites_tokens import TokenAsked
from ecotone.values import EcotoneError

DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Served]:
    with serving(made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")) as at:
        yield at


def report(site: str, seq: int) -> bytes:
    return msgspec.json.encode({"site": site, "seq": seq, "made_s": 1.0})


def test_json_that_is_deep_is_the_callers_fault_and_no_fault_of_the_hub(sqlite: Served) -> None:
    deep = b'{"token": "t", "site": "s", "key": "k", "more": ' + DEEP[:8_000] + DEEP[-8_000:] + b"}"
    answer = sqlite.ask("POST", "/v1/enroll", deep)
    assert (answer.status, answer.code) == (400, "hub.body")
    site = joined(sqlite, "harbour")
    answer = site.report(b'{"seq": 5, "more": ' + DEEP + b"}")
    assert (answer.status, answer.code) == (400, "hub.report")
    assert site.report(report("harbour", 6)).json["ack_seq"] == 6


def test_who_sends_a_small_body_slowly_holds_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.hub.web_asking.BODY_S", 0.3)
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=Limits(in_flight_max=3))
    with serving(chosen) as at, contextlib.ExitStack() as held:
        owner = key(at, "olga", "owner")
        heads = ["POST /v1/enroll HTTP/1.1\r\n", "POST /v1/sites/x/session HTTP/1.1\r\n"]
        heads.append(f"POST /admin/people HTTP/1.1\r\nAuthorization: Bearer {owner}\r\n")
        slow = [held.enter_context(socket.create_connection(("127.0.0.1", at.port), timeout=20)) for _ in heads]
        for connection, head in zip(slow, heads, strict=True):
            connection.sendall(f"{head}Host: hub\r\nContent-Length: 900\r\n\r\nx".encode())
        for connection in slow:
            assert b" 408 " in connection.recv(4096)
        until_s = time.monotonic() + 20
        while at.ask("POST", "/v1/sites/x/challenge").status != 200:
            assert time.monotonic() < until_s


def test_an_address_that_a_caller_adds_in_a_line_of_its_own_is_not_believed(tmp_path: Path) -> None:
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.db'}", limits=Limits(address_per_minute=60), behind_proxy=True)
    with serving(chosen) as at:
        found = []
        for number in range(14):
            lines = f"X-Forwarded-For: 198.51.100.{number}\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 0\r\n\r\n"
            with socket.create_connection(("127.0.0.1", at.port), timeout=20) as connection:
                connection.sendall(f"POST /v1/sites/x/challenge HTTP/1.1\r\nHost: hub\r\n{lines}".encode())
                found.append(connection.recv(65536)[9:12])
        assert found[-1] == b"429"


def test_a_thief_cannot_mute_the_site_that_comes_after_it(sqlite: Served) -> None:
    thief = joined(sqlite, "harbour")
    assert thief.report(report("harbour", 1 << 53)).status == 200
    with opened(sqlite.settings) as hub:
        hub.sites.revoke(OWNER, "harbour")
        _, token = hub.sites.tokens.new(OWNER, TokenAsked(site="harbour", again=True))
    again = type(thief)(sqlite, "harbour")
    assert again.enroll(token).status == 201
    assert again.sign_in().status == 200
    assert again.report(report("harbour", 1)).json["ack_seq"] == 1, "its numbers begin anew with its key"
    with opened(sqlite.settings) as hub:
        assert b'"seq":1,' in (hub.reports.newest("harbour") or b"")


@pytest.mark.parametrize("attempt", [1 << 53, (1 << 53) - 1, 1 << 40])
def test_one_site_that_lies_about_attempts_keeps_no_version_from_being_released(
    database: Database, tmp_path: Path, attempt: int
) -> None:
    rollout = Rollout(database, tmp_path)
    for version in ("1", "2"):
        rollout.shelf.publish("smol", version)
    liar, honest, _ = rollout.enroll(3)
    first = rollout.look(rollout.start("2"))
    told = rollout.told(liar, rollout.at(liar)[0])
    rollout.report(liar, msgspec.structs.replace(told, state="failed", attempt=attempt))
    rollout.report(honest, msgspec.structs.replace(told, state="failed"))
    rollout.releases.abort(OWNER, first.id)
    rollout.look(first)
    again = rollout.look(rollout.start("2"))
    assert again.plan.attempt == first.plan.attempt + 1
    assert all(asset.attempt == again.plan.attempt for site in rollout.wished() for asset in rollout.at(site))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with opened(made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")) as at:
        at.prepare()
        for name, group in (("ship-1", "ships"), ("lab-1", "labs")):
            _, token = at.sites.tokens.new(OWNER, TokenAsked(site=name, groups=(group,)))
            at.sites.enroll(token, name, Machine(name).public)
            wished = [at.repositories.find("smol", "1").asset]
            at.wishes.set({name: wished}, "test")
            at.releases.pin(OWNER, name, "smol", "1")
        yield at


def reader(assets: tuple[str, ...] = ("*",), groups: tuple[str, ...] = ("*",)) -> Actor:
    grant = Grant(role="reader", assets=assets, groups=groups)
    return Actor(Person(name="eve", grants=(grant,)), "key:1")


def test_who_may_see_one_group_sees_no_release_pin_or_task_of_another(hub: Hub) -> None:
    theirs = hub.releases.start(OWNER, Start(name="smol", version="2", scope=Scope(groups=("labs",))))
    own = Actor(Person(name="own", grants=(Grant(role="owner"),)), "key:2")
    eve, lab = reader(groups=("ships",)), reader(groups=("labs",))
    for path in ("/releases", "/pins", "/work"):
        door = releases_doors.DOORS["GET", path]
        said = {who.name: msgspec.json.encode(door(hub, who, {}, {}, {})[1]).decode() for who in (own, eve)}
        for secret in ("lab-1", "labs", theirs.id):
            assert secret not in said[eve.name], path
        assert any(secret in said[own.name] for secret in ("lab-1", "labs", theirs.id)), path
    show = releases_doors.DOORS["GET", "/releases/{id}"]
    with pytest.raises(EcotoneError) as found:
        show(hub, eve, {"id": theirs.id}, {}, {})
    assert found.value.code == "hub.unknown"
    assert show(hub, lab, {"id": theirs.id}, {}, {})[0] == 200
    assert "ship-1" in msgspec.json.encode(releases_doors.DOORS["GET", "/pins"](hub, eve, {}, {}, {})[1]).decode()


def test_who_may_see_some_assets_is_told_of_these_alone(hub: Hub) -> None:
    door = releases_doors.DOORS["GET", "/assets"]
    assert b'"smol"' in msgspec.json.encode(door(hub, reader(assets=("models/smol",)), {}, {}, {})[1])
    assert b'"smol"' not in msgspec.json.encode(door(hub, reader(assets=("models/other",)), {}, {}, {})[1])


def test_a_number_that_no_database_takes_is_a_wrong_question(hub: Hub) -> None:
    with pytest.raises(EcotoneError) as found:
        status_doors.DOORS["GET", "/acts"](hub, OWNER, {}, {}, {"limit": "1", "before": "9" * 19})
    assert found.value.code == "hub.asked"


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nContent-Length: 90",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Content-Length: +5",
        "X-Folded: a\r\n b",
    ],
)
def test_a_request_that_two_readers_could_read_in_two_ways_is_none(sqlite: Served, framing: str) -> None:
    inner = "GET /healthz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", sqlite.port), timeout=20) as connection:
        said = f"POST /v1/sites/x/challenge HTTP/1.1\r\nHost: hub\r\n{framing}\r\n\r\n0\r\n\r\n{inner}"
        connection.sendall(said.encode())
        found = b""
        while piece := connection.recv(65536):
            found += piece
    assert found.startswith(b"HTTP/1.1 400 ")
    assert b"HTTP/1.1 200" not in found, "what was hidden in it is not answered"
