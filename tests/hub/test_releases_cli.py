"""`ecotone hub release`, `pin`, `garbage` on the hub's own machine, and `send` over a wire that fails."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.hub.fleets import enrolled
from tests.hub.members import Machine
from tests.hub.press import text
from tests.hub.served import Served, made

from ecotone.access import owner
from ecotone.cli import hub_releases, hub_sending
from ecotone.cli.failures import UnreachableError
from ecotone.cli.hub_remote import exchange
from ecotone.cli.root import ecotone
from ecotone.delivery.packs import Packed
from ecotone.hub import work_jobs
from ecotone.hub.serving import opened
from ecotone.hub.settings import Settings
from ecotone.values import RequestError


def run(*arguments: object, code: int = 0, **env: str) -> str:
    done: Result = CliRunner().invoke(ecotone, ["hub", *map(str, arguments)], env=env)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture
def chosen(tmp_path: Path) -> Settings:
    """A hub with two versions of `smol` and two sites."""
    given = made(tmp_path, f"sqlite:///{tmp_path / 'hub.state' / 'hub.sqlite'}")
    with opened(given) as hub:
        enrolled(hub.database, "s0", "s1", key=Machine("s").public)
    return given


def looked(chosen: Settings, release: str) -> None:
    """What `hub up` would do meanwhile."""
    with opened(chosen) as hub:
        work = work_jobs.work(hub)
        look = work._jobs["look"]
        for _ in range(2):
            look(lambda name, function: function(), release)


def test_from_start_to_abort(chosen: Settings) -> None:
    where = chosen.folder
    assert "there is no release yet" in run("release", "list", where)
    said = run("release", "start", where, "smol@1", "--wave", "1", "--wave", "100%", "--gate", "hours_min=0.5")
    assert "is `ecotone hub up` running?" in said
    (one,) = json.loads(run("release", "list", where, "--json"))["releases"]
    assert one["plan"]["gate"]["hours_min"] == 0.5
    assert one["plan"]["waves"] == [
        {"share": None, "count": 1, "group": None},
        {"share": 1.0, "count": None, "group": None},
    ]
    looked(chosen, one["id"])
    shown = run("release", "show", where, one["id"])
    assert "wave 1 of 2" in shown
    assert "why: gate." in shown
    assert "1 wished" in shown
    listed = run("release", "list", where)
    assert one["id"] in listed
    assert "smol@1" in listed
    assert "paused: nothing more is wished" in run("release", "pause", where, one["id"])
    assert "rolling" in run("release", "resume", where, one["id"])
    assert "rolling_back" in run("release", "abort", where, one["id"])
    stay = json.loads(run("release", "start", where, "smol@2", "--at-once", "--site", "s0", "--json", code=2))
    assert stay["error"]["code"] == "release.state"
    looked(chosen, one["id"])
    two = json.loads(
        run("release", "start", where, "smol@2", "--at-once", "--site", "s0", "--trial", "hours_min=0", "--json")
    )
    assert (two["scope"]["sites"], len(two["plan"]["waves"])) == (["s0"], 1)
    looked(chosen, two["id"])
    assert "held at s0" in run("pin", where, "s0", "smol")
    assert json.loads(run("pin", where, "s0", "smol@2", "--json"))["version"] == "2"
    assert "may change it again" in run("unpin", where, "s0", "smol")
    assert "not pinned" in run("unpin", where, "s0", "smol")
    assert json.loads(run("unpin", where, "s0", "smol", "--json")) == {"was_pinned": False}
    assert "aborted" in run("release", "abort", where, two["id"], "--stay")


def test_garbage_is_shown_and_collected(chosen: Settings) -> None:
    assert "are needed by nobody" in run("garbage", chosen.folder)
    assert json.loads(run("garbage", chosen.folder, "--json"))["ripe_objects"] == 0
    assert "as soon as" in run("garbage", chosen.folder, "--collect")
    with opened(chosen) as hub:
        assert [task.kind for task in hub.tasks.due()] == ["collect"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("smol",),
        ("smol@1", "--wave", "many"),
        ("smol@1", "--wave", "5", "--at-once"),
        ("smol@1", "--gate", "hours_min"),
        ("smol@1", "--gate", "hours_mni=3"),
        ("smol@1", "--trial", "errors_over=x"),
    ],
)
def test_what_is_asked_wrongly_is_said(chosen: Settings, arguments: tuple[str, ...]) -> None:
    said = json.loads(run("release", "start", chosen.folder, *arguments, "--json", code=2))
    assert said["error"]["code"] == "hub.asked"


def test_waves_as_they_are_written() -> None:
    assert hub_releases.wave("5%") == {"share": 0.05}
    assert hub_releases.wave("20") == {"count": 20}
    assert hub_releases.wave("group:first") == {"group": "first"}


class Working:
    """A hub that answers, and works."""

    def __init__(self, chosen: Settings) -> None:
        self.chosen = chosen
        self.served = Served(chosen)
        self.served.start()
        self.url = f"http://127.0.0.1:{self.served.port}"
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._work)
        self.thread.start()
        with opened(chosen) as hub:
            ann = owner("local:test")
            hub.people.add(ann, "ann")
            from ecotone.access import Grant

            hub.people.grant(ann, "ann", Grant(role="owner"))
            self.key = hub.people.key(ann, "ann")[1]

    def _work(self) -> None:
        with opened(self.chosen) as hub:
            publish = work_jobs.work(hub)._jobs["publish"]
            while not self.over.wait(0.05):
                for task in hub.tasks.due():
                    if task.kind == "publish":
                        woken = hub.tasks.woken(task.kind, task.subject)
                        done = publish(lambda name, function: function(), task.subject)
                        hub.tasks.finished((task.kind, task.subject, task.number), woken, done)

    def stop(self) -> None:
        self.over.set()
        self.thread.join(30)
        self.served.stop()


@pytest.fixture
def working(chosen: Settings) -> Iterator[Working]:
    up = Working(chosen)
    yield up
    up.stop()


@pytest.fixture
def sending(tmp_path: Path, working: Working, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Arguments that publish a file of 600 kB in small pieces."""
    monkeypatch.setattr(hub_sending, "PIECE_BYTES_MAX", hub_sending.PIECE_BYTES_MIN)
    monkeypatch.setattr("ecotone.cli.hub_sending.time.sleep", lambda s: working.over.wait(min(s, 0.05)))
    path = tmp_path / "smol.txt"
    path.write_bytes(text(7, 9_000))
    key = working.chosen.keys / "publisher-models.key"
    return [working.url, path, "--name", "smol", "--version", "7", "--licence", "MIT", "--key", key]


def test_it_is_sent_over_a_wire_that_cuts_and_loses_answers(
    working: Working, sending: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    dice, sent = random.Random(4), list[int]()

    def failing(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        fate = dice.random()
        if method == "PATCH" and fate < 0.2:
            raise UnreachableError("hub.unreachable", "the line was cut before it came there")
        answer = exchange(method, url, body, headers)
        if method == "PATCH":
            sent.append(len(body or b""))
            if fate < 0.4:
                raise UnreachableError("hub.unreachable", "the answer was lost")
        return answer

    monkeypatch.setattr(hub_sending, "exchange", failing)
    assert "is announced" in run("send", *sending, ECOTONE_HUB_KEY=working.key)
    # What had come was not sent again, though its answer was lost.
    assert sum(sent) == Path(str(sending[1])).stat().st_size
    with opened(working.chosen) as hub:
        manifest = hub.repositories.manifest(hub.repositories.find("smol", "7").asset)
        content = Path(str(sending[1])).read_bytes()
        assert Packed(hub.objects, manifest, manifest.parts[0]).read(0, len(content)) == content


def test_the_same_command_goes_on_where_it_was_cut_off(
    working: Working, sending: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    def dying(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if method == "PATCH" and len(sent) == 3:
            raise KeyboardInterrupt
        if method == "POST" and url.endswith("/signed") and len(sent) < 100:
            sent.extend([0] * 100)
            raise KeyboardInterrupt
        if method == "PATCH":
            sent.append(len(body or b""))
        return exchange(method, url, body, headers)

    monkeypatch.setattr(hub_sending, "exchange", dying)
    run("send", *sending, code=1, ECOTONE_HUB_KEY=working.key)
    sent.append(0)
    run("send", *sending, code=1, ECOTONE_HUB_KEY=working.key)
    assert sum(sent) == Path(str(sending[1])).stat().st_size
    assert "is announced" in run("send", *sending, ECOTONE_HUB_KEY=working.key)
    assert sum(sent) == Path(str(sending[1])).stat().st_size
    with opened(working.chosen) as hub:
        assert hub.repositories.find("smol", "7")


def test_with_other_files_it_begins_anew(
    working: Working, sending: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(self: object, publication: str, raw: bytes) -> dict[str, Any]:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(hub_sending.Sender, "sign", interrupted)
        run("send", *sending, code=1, ECOTONE_HUB_KEY=working.key)
    Path(str(sending[1])).write_bytes(text(8, 2_000))
    assert "is announced" in run("send", *sending, ECOTONE_HUB_KEY=working.key)


def test_a_hub_that_made_something_else_gets_no_signature(
    working: Working, sending: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(str(sending[1]))
    content = path.read_bytes()
    upload = hub_sending.Sender.upload

    def changed(self: hub_sending.Sender, given: Path) -> str:
        """The hub is sent one file, and this machine then has another."""
        done = upload(self, given)
        path.write_bytes(content[:-1] + b"x")
        return done

    monkeypatch.setattr(hub_sending.Sender, "upload", changed)
    assert "prepared something else" in run("send", *sending, code=1, ECOTONE_HUB_KEY=working.key)
    with opened(working.chosen) as hub:
        assert {one.asset.version for one in hub.repositories.assets()} == {"1", "2"}


def test_what_cannot_be_published_is_said(working: Working, sending: list[object], tmp_path: Path) -> None:
    Path(str(sending[1])).write_bytes(b"\x80\x04K\x01.")
    assert "a pickle, which runs code" in run("send", *sending, code=1, ECOTONE_HUB_KEY=working.key)
    assert "ecotone hub login" in run("send", *sending, code=2, ECOTONE_HUB_KEY="eco_wrong_key")
    card = tmp_path / "card"
    card.write_bytes(b"\xff\xfe")
    assert "cannot be read as text" in run("send", *sending, "--card", card, code=2, ECOTONE_HUB_KEY=working.key)


def test_what_the_hub_says_is_an_error_of_the_right_kind() -> None:
    assert isinstance(hub_sending._error(503, {}), UnreachableError)
    told = hub_sending._error(409, {"error": {"code": "hub.stale", "message": "sign again"}})
    assert isinstance(told, RequestError)
    assert (told.code, told.status) == ("hub.stale", 409)
    assert hub_sending._error(500, "?").code == "hub.answer"
