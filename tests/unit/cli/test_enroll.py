"""Joining a hub: what is asked, what is kept, what is left to do, and each way in which it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from tests.hub.served import OWNER, TokenAsked, made

from ecotone.agent import joined_file
from ecotone.agent.outbox import Outbox
from ecotone.cli import hub_remote
from ecotone.cli.failures import UnreachableError
from ecotone.cli.root import ecotone
from ecotone.delivery import site_trust
from ecotone.hub.serving import Hub, opened
from ecotone.store import Lock
from ecotone.store.ledger import LOCK

Shell = Callable[..., Any]
URL = "https://hub.example.org"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A hub's services, reached without a network."""
    chosen = made(tmp_path / "far", f"sqlite:///{tmp_path / 'far' / 'state' / 'hub.db'}")
    with opened(chosen) as services:
        asked: list[str] = []

        def exchange(method: str, url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
            asked.append(f"{method} {url}")
            said = msgspec.json.decode(body)
            found = services.sites.enroll(said["token"], said["site"], said["key"])
            trust = msgspec.Raw((chosen.folder / "trust.json").read_bytes())
            return 201, msgspec.json.encode({"site": found.site, "hub": found.hub, "trust": trust, "now_s": 1.0})

        monkeypatch.setattr(hub_remote, "exchange", exchange)
        yield services


def token(hub: Hub, **about: Any) -> str:
    return str(hub.sites.tokens.new(OWNER, TokenAsked(site="clinic-7", **about))[1])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ecotone.yaml").write_text("site: clinic-7\nstore: {path: store}\n")
    return tmp_path


def test_a_site_joins_and_is_told_what_is_left_to_do(shell: Shell, hub: Hub, here: Path) -> None:
    done = shell("enroll", f"{URL}/", token(hub))
    assert done.exit_code == 0, done.output
    assert "write `hub: {url: https://hub.example.org}`" in done.output
    joined = joined_file.read(here / "store")
    assert joined is not None
    assert (joined.url, joined.site) == (URL, "clinic-7")
    assert site_trust.memory(here / "store").site == "clinic-7"
    assert (here / "store" / "hub" / "identity.key").stat().st_mode & 0o777 == 0o600


def test_again_with_a_new_token_and_while_a_site_runs(shell: Shell, hub: Hub, here: Path) -> None:
    assert shell("enroll", URL, token(hub)).exit_code == 0
    key = (here / "store" / "hub" / "identity.key").read_bytes()
    (here / "ecotone.yaml").write_text(
        "site: clinic-7\nstore: {path: store}\nhub: {url: 'https://other.example.org'}\n"
    )
    lock = Lock(here / "store" / LOCK)
    try:
        done = shell("enroll", URL, token(hub, again=True))
    finally:
        lock.release()
    assert done.exit_code == 0, done.output
    assert "names https://other.example.org as the hub" in done.output
    assert "restart the site" in done.output
    assert (here / "store" / "hub" / "identity.key").read_bytes() != key


def test_what_is_shown_as_json_and_a_token_by_standard_input(shell: Shell, hub: Hub, here: Path) -> None:
    arguments = ["enroll", URL, "-", "--site", "clinic-7", "--json"]
    done = CliRunner().invoke(ecotone, arguments, input=f"{token(hub)}\n")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    again = shell("enroll", URL, token(hub, again=True), "--fingerprint", said["fingerprint"].upper())
    assert again.exit_code == 0, again.output
    assert "compare them" not in again.output


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("ftp://x", "eco1.a.b"), 2, "not an address"),
        (("http://hub.example.org", "eco1.a.b"), 2, "https"),
        ((URL, "no-token"), 2, "begins with `eco1.`"),
        ((URL, "eco1.a.b", "--site", "No Name"), 2, "cannot be a site's name"),
        ((URL, "eco1.nobody.knows-it"), 2, ""),
    ],
)
def test_what_is_wrong_is_told(
    shell: Shell, hub: Hub, here: Path, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    done = shell("enroll", *arguments)
    assert done.exit_code == exit_code, done.output
    assert words in done.output
    assert joined_file.read(here / "store") is None


@pytest.mark.parametrize(
    ("status", "body", "exit_code"),
    [
        (401, b'{"error": {"code": "hub.token", "message": "no such token"}}', 2),
        (403, b'{"error": {"code": "hub.revoked", "message": "not here"}}', 1),
        (503, b'{"error": {"code": "hub.unavailable", "message": "soon"}}', 3),
        (200, b"<html>log in</html>", 3),
        (201, b"{}", 3),
    ],
)
def test_what_a_hub_may_answer(
    shell: Shell, here: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, exit_code: int
) -> None:
    monkeypatch.setattr(hub_remote, "exchange", lambda *_: (status, body))
    done = shell("enroll", URL, "eco1.a.b")
    assert done.exit_code == exit_code, done.output
    assert joined_file.read(here / "store") is None


def test_nobody_there_and_other_roots_than_were_named(
    shell: Shell, hub: Hub, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = token(hub)
    wrong = shell("enroll", URL, given, "--fingerprint", "00" * 32)
    assert wrong.exit_code == 1
    assert "not trusted" in wrong.output
    assert joined_file.read(here / "store") is None

    def nobody(*_: object) -> tuple[int, bytes]:
        raise UnreachableError("hub.unreachable", "nobody answers")

    monkeypatch.setattr(hub_remote, "exchange", nobody)
    assert shell("enroll", URL, given).exit_code == 3


def test_what_was_sent_is_shown_word_by_word(shell: Shell, here: Path) -> None:
    nothing = shell("status", "--sent", "--json")
    assert json.loads(nothing.stdout) == {"sent": [], "waiting": 0}
    box = Outbox(here / "store" / "hub" / "outbox.sqlite")
    for _ in range(3):
        box.put(lambda seq, dropped: b'{"seq":%d,"link":"up"}' % seq, "state", 1.0)
    box.sending(box.unsent()[:2], 86_400.0)
    box.acked(1, entry=42)
    done = shell("status", "--sent")
    assert done.exit_code == 0, done.output
    assert "# 1970-01-02 00:00:00 UTC, report 1, entry 42 of the ledger" in done.output
    assert "report 2, no answer came" in done.output
    assert '"link": "up"' in done.output
    assert "2 sent, 2 waiting" in done.output
