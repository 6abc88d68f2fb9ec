"""`ecotone hub up` as people run it: real processes and sockets, one killed, all stopped, TLS renewed."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ecotone import access
from tests.hub.test_tls import write as write_certificate

ECOTONE = str(Path(sys.executable).parent / "ecotone")


def run(*arguments: str, cwd: Path) -> str:
    done = subprocess.run([ECOTONE, *arguments], capture_output=True, text=True, cwd=cwd, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a hub in `hub`, which has one published version that `harbour` shall have."""
    run("hub", "init", "hub", cwd=tmp_path)
    (tmp_path / "smol.txt").write_text("weights " * 20_000)
    about = ("--name", "smol", "--version", "1", "--licence", "MIT", "--key", "hub.keys/publisher-models.key")
    run("hub", "publish", "hub", "smol.txt", *about, cwd=tmp_path)
    return tmp_path


class Up:
    """A running `ecotone hub up`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.log = (folder / "up.log").open("a+")
        self.process = subprocess.Popen(
            [ECOTONE, "hub", "up", *arguments, "--json"],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=folder,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, (folder / "up.log").read_text()
        self.url = str(json.loads(line)["url"])
        self.port = int(self.url.rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            headers = {"authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
            is_json = answer.getheader("content-type", "") == "application/json"
            return answer.status, json.loads(raw) if is_json else raw

    @property
    def children(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def stop(self) -> int:
        self.process.terminate()
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        return code


@contextlib.contextmanager
def up(folder: Path, *arguments: str) -> Iterator[Up]:
    running = Up(folder, *arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


def token_for(folder: Path, site: str) -> str:
    """As `ecotone hub token` makes one."""
    from ecotone.hub import settings
    from ecotone.hub.serving import opened
    from ecotone.hub.sites_tokens import TokenAsked

    with opened(settings.load(folder / "hub", None)) as hub:
        return hub.sites.tokens.new(access.owner("local:test"), TokenAsked(site=site))[1]


def session(at: Up, key: Ed25519PrivateKey, site: str) -> str:
    status, said = at.ask("POST", f"/v1/sites/{site}/challenge")
    assert status == 200
    signature = base64.b64encode(key.sign(access.session_message(site, said["challenge"]))).decode()
    body = {"challenge": said["challenge"], "signature": signature}
    status, said = at.ask("POST", f"/v1/sites/{site}/session", body)
    assert status == 200, said
    return str(said["token"])


def test_one_command_makes_a_hub_that_sites_can_join(folder: Path) -> None:
    token = token_for(folder, "harbour")
    run("hub", "assign", "hub", "harbour", "smol", cwd=folder)
    with up(folder, "hub", "--listen", "127.0.0.1:0") as at:
        assert at.ask("GET", "/readyz")[0] == 200
        assert at.ask("GET", "/trust.json")[0] == 401
        key = Ed25519PrivateKey.generate()
        public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
        status, said = at.ask("POST", "/v1/enroll", {"token": token, "site": "harbour", "key": public})
        assert (status, said["hub"]) == (201, "hub")
        assert said["trust"] == json.loads((folder / "hub" / "trust.json").read_text())
        bearer = session(at, key, "harbour")
        # What was assigned by the folder's own command before the hub ran counts too.
        status, said = at.ask("GET", "/v1/sites/harbour/desired?after=0&wait=10", token=bearer)
        assert (status, said["generation"]) == (200, 1)
        assert at.stop() == 0
    state = {path.name for path in (folder / "hub.state").iterdir()}
    assert "hub.sqlite" in state
    assert not [name for name in state if name.startswith("figures-")]
    assert token not in (folder / "up.log").read_text()
    assert bearer not in (folder / "up.log").read_text()


def test_several_processes_take_each_others_sessions_and_a_killed_one_is_replaced(folder: Path) -> None:
    token = token_for(folder, "harbour")
    with up(folder, "hub", "--listen", f"127.0.0.1:{free_port()}", "--processes", "2") as at:
        first = at.children
        assert len(first) == 2
        key = Ed25519PrivateKey.generate()
        public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
        assert at.ask("POST", "/v1/enroll", {"token": token, "site": "harbour", "key": public})[0] == 201
        bearer = session(at, key, "harbour")
        assert {at.ask("GET", "/trust.json", token=bearer)[0] for _ in range(20)} == {200}
        os.kill(first[0], signal.SIGKILL)
        assert {at.ask("GET", "/trust.json", token=bearer)[0] for _ in range(20)} == {200}
        until_s = time.monotonic() + 60
        while (len(at.children) < 2 or first[0] in at.children) and time.monotonic() < until_s:
            time.sleep(0.05)
        assert len(at.children) == 2
        # Counters of both, and of the one that was killed, are one.
        while True:
            status, said = at.ask("GET", "/metrics")
            assert status == 200, (said, (folder / "up.log").read_text()[-3000:])
            text = said.decode()
            if "ecotone_hub_restarts_total 1.0" in text:
                break
            assert time.monotonic() < until_s + 60
        line = next(line for line in text.splitlines() if 'route="/trust.json",status="200"' in line)
        # An answer is counted when it is on its way: the last one of who is killed may not be.
        assert float(line.rpartition(" ")[2]) in (39, 40)
        last = at.children
        assert at.stop() == 0
        assert not [pid for pid in last if Path(f"/proc/{pid}").exists()]


def test_children_end_when_their_parent_was_killed(folder: Path) -> None:
    with up(folder, "hub", "--listen", f"127.0.0.1:{free_port()}", "--processes", "2") as at:
        children = at.children
        at.process.kill()
        at.process.wait()
        until_s = time.monotonic() + 60
        while any(_lives(pid) for pid in children) and time.monotonic() < until_s:
            time.sleep(0.05)
        assert not any(_lives(pid) for pid in children)
        assert at.process.stdout is not None
        at.process.stdout.close()
        at.log.close()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_tls_is_renewed_while_it_runs(folder: Path) -> None:
    files = write_certificate(folder, "first")
    tls = f"tls: {{cert: {files.cert}, key: {files.key}}}"
    (folder / "hub.yaml").write_text(f"folder: hub\nlisten: {{address: 0.0.0.0, port: {free_port()}}}\n{tls}\n")
    with up(folder, "-c", "hub.yaml") as at:
        assert at.url.startswith("https://")
        before = shown(at.port)
        context = ssl.create_default_context(cafile=files.cert)
        kept = http.client.HTTPSConnection("localhost", at.port, timeout=30, context=context)
        assert asked(kept) == (200, "max-age=31536000")
        write_certificate(folder, "second")
        until_s = time.monotonic() + 60
        while shown(at.port) == before and time.monotonic() < until_s:
            time.sleep(0.1)
        assert shown(at.port) != before
        # The connection from before goes on, and a new one needs the new certificate.
        assert asked(kept) == (200, "max-age=31536000")
        kept.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            asked(http.client.HTTPSConnection("localhost", at.port, timeout=30, context=context))


def asked(connection: http.client.HTTPSConnection) -> tuple[int, str | None]:
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    return answer.status, answer.getheader("strict-transport-security")


def shown(port: int) -> str:
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=30)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("folder: hub\nlisten: {address: 0.0.0.0}\n", "there is no TLS"),
        ("folder: nothing\n", "is no hub's folder"),
        ("folder: hub\ntls: {cert: none.pem, key: none.pem}\nlisten: {port: 0}\n", "are no certificate and its key"),
        ('folder: hub\ndatabase: {url: "postgresql://u@127.0.0.1:1/x"}\n', "Connection refused"),
        ("folder: hub\nobjs: 1\n", "hub.yaml:2:1: objs: unknown key"),
    ],
)
def test_what_cannot_start_says_why_and_leaves(folder: Path, text: str, says: str) -> None:
    (folder / "hub.yaml").write_text(text)
    done = subprocess.run(
        [ECOTONE, "hub", "up", "-c", "hub.yaml"], capture_output=True, text=True, cwd=folder, timeout=120, check=False
    )
    assert says in done.stderr, done.stderr
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
