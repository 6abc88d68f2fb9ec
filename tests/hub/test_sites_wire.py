"""A hub of two real processes, commands in others, and a site's own identity: from the first token to the theft."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecotone.agent.identity import Enrolment, Identity

ECOTONE = str(Path(sys.executable).parent / "ecotone")


class Site:
    """A site's side, by `agent.identity`, over real sockets; each request may meet another process of the hub."""

    def __init__(self, url: str, store: Path, name: str) -> None:
        self.port = int(url.rpartition(":")[2])
        self.store, self.name, self.token = store, name, ""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
        return answer.status, json.loads(raw) if raw else None

    def enroll(self, token: str) -> tuple[int, Any]:
        enrolment = Enrolment.begun(self.store, token)
        status, said = self.ask("POST", "/v1/enroll", enrolment.body(token, self.name))
        if status == 201:
            enrolment.done()
        return status, said

    def challenge(self) -> str:
        return str(self.ask("POST", f"/v1/sites/{self.name}/challenge")[1]["challenge"])

    def sign_in(self, body: dict[str, Any]) -> tuple[int, Any]:
        status, said = self.ask("POST", f"/v1/sites/{self.name}/session", body)
        if status == 200:
            self.token = said["token"]
        return status, said

    def session(self) -> tuple[int, Any]:
        return self.sign_in(Identity.load(self.store).session_body(self.name, self.challenge()))

    def desired(self) -> tuple[int, Any]:
        return self.ask("GET", f"/v1/sites/{self.name}/desired?after=0&wait=0")


class Commands:
    """`ecotone hub ...`, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}

    def run(self, *arguments: str, code: int = 0, **env: str) -> Any:
        done = subprocess.run(
            [ECOTONE, "hub", *arguments, "--json"],
            capture_output=True, text=True, cwd=self.folder, timeout=120, check=False, env={**self.env, **env},
        )  # fmt: skip
        assert done.returncode == code, (done.stdout, done.stderr)
        return json.loads(done.stdout)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    made = Commands(tmp_path)
    made.run("init", "hub")
    return made


@pytest.fixture
def url(commands: Commands) -> Iterator[str]:
    """Where two processes of the hub answer."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (commands.folder / "up.log").open("w") as log:
        process = subprocess.Popen(
            [ECOTONE, "hub", "up", "hub", "--processes", "2", "--listen", f"127.0.0.1:{port}", "--json"],
            stdout=subprocess.PIPE, stderr=log, text=True, cwd=commands.folder,
        )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (commands.folder / "up.log").read_text()
        yield str(json.loads(line)["url"])
        process.terminate()
        process.wait(60)
        process.stdout.close()


def test_from_the_first_token_to_the_theft_and_back(commands: Commands, url: str, tmp_path: Path) -> None:
    token = commands.run("token", "new", "hub", "--site", "clinic-7", "--group", "clinics", "--region", "eu")["token"]
    site = Site(url, tmp_path / "store", "clinic-7")
    status, said = site.enroll(token)
    assert (status, said["site"]) == (201, "clinic-7")
    assert said["trust"]
    assert site.session()[0] == 200
    assert [site.desired()[0] for _ in range(8)] == [304] * 8, "whichever process answers"

    identity = Identity.load(site.store)
    assert site.sign_in(identity.session_body("clinic-7", site.challenge(), is_changing=True))[0] == 200
    old = identity.session_body("clinic-7", site.challenge())
    assert site.sign_in(identity.next_body("clinic-7", site.challenge()))[0] == 200
    identity.promote()
    assert site.sign_in(old)[0] == 401, "the old key is good for nothing once the new one was used"
    assert site.desired()[0] == 304

    assert commands.run("sites", "revoke", "hub", "clinic-7", "--why", "stolen")["state"] == "revoked"
    answers = {(status, said["error"]["code"]) for status, said in (site.desired() for _ in range(8))}
    assert answers == {(403, "hub.revoked")}
    for path in ("/trust.json", "/catalogue/metadata/timestamp.json", "/packs/x"):
        assert site.ask("GET", path)[0] == 403
    assert site.session()[0] == 403

    again = commands.run("token", "new", "hub", "--site", "clinic-7", "--again")["token"]
    thief, site.store = Site(url, site.store, "clinic-7"), tmp_path / "new-store"
    assert site.enroll(again)[0] == 201
    assert site.session()[0] == 200
    assert thief.session()[0] == 401
    assert thief.enroll(again)[0] == 401
    assert [one["name"] for one in commands.run("sites", "list", "hub", "--group", "clinics")["sites"]] == ["clinic-7"]


def test_people_govern_from_afar_as_far_as_they_may(commands: Commands, url: str, tmp_path: Path) -> None:
    commands.run("people", "add", "hub", "ann", "--role", "owner")
    owner = {"ECOTONE_HUB_KEY": commands.run("people", "key", "hub", "ann", "--days", "1")["key"]}
    assert commands.run("whoami", url, **owner)["who"] == "ann"
    made = commands.run("people", "add", url, "bob", **owner)
    scope = ("--assets", "models/clinic-*", "--group", "clinics", "--region", "eu")
    grant = commands.run("grant", "give", url, "bob", "operator", *scope, **owner)["id"]
    bob = {"ECOTONE_HUB_KEY": made["key"]}
    new = ("token", "new", url, "--site", "clinic-*", "--uses", "2", "--region", "eu")
    assert commands.run(*new, "--group", "prod", code=1, **bob)["error"]["code"] == "hub.may"
    token = commands.run(*new, "--group", "clinics", **bob)["token"]
    assert Site(url, tmp_path / "store", "clinic-7").enroll(token)[0] == 201
    assert commands.run("sites", "label", url, "clinic-7", "--label", "ward=3", **bob)["labels"] == {"ward": "3"}
    assert commands.run("people", "list", url, code=1, **bob)["error"]["code"] == "hub.may"
    assert commands.run("sites", "revoke", url, "nobody", code=1, **bob)["error"]["code"] == "hub.unknown_site"
    commands.run("grant", "take", url, grant, **owner)
    assert commands.run("sites", "list", url, code=1, **bob)["error"]["code"] == "hub.may"
    assert commands.run("people", "revoke-key", url, made["id"], **owner)
    assert commands.run("whoami", url, code=2, **bob)["error"]["code"] == "hub.key"
    assert commands.run("whoami", url, code=2)["error"]["code"] == "hub.key"
    assert commands.run("whoami", "http://127.0.0.1:1", code=3)["error"]["code"] == "hub.unreachable"
    assert commands.run("whoami", "http://hub.example.org", code=2)["error"]["code"] == "hub.url"
