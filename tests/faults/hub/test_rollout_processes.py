"""A whole rollout over the wire: two processes of a hub, each killed once; a publisher, an operator, and sites."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.e2e.test_hub import ECOTONE, Up, session, up
from tests.hub.press import text

from ecotone import access
from ecotone.hub import settings
from ecotone.hub.serving import opened
from ecotone.hub.sites_tokens import TokenAsked

SITES = ("s0", "s1", "s2", "s3")
QUICK = ("--gate", "hours_min=0", "--gate", "requests_min=0", "--gate", "reports_min=1")


class Site:
    """Takes what it is wished and calls it good."""

    def __init__(self, name: str, at: Up, token: str) -> None:
        self.name, self.at, self.seq, self.generation = name, at, 0, 0
        self.key = Ed25519PrivateKey.generate()
        public = base64.b64encode(self.key.public_key().public_bytes_raw()).decode()
        assert at.ask("POST", "/v1/enroll", {"token": token, "site": name, "key": public})[0] == 201
        self.bearer = session(at, self.key, name)
        self.report()

    def report(self, *assets: dict[str, Any]) -> None:
        self.seq += 1
        said = {"type": "ecotone-report", "site": self.name, "seq": self.seq, "made_s": time.time(), "assets": assets}
        status, answer = self.at.ask(
            "POST", f"/v1/sites/{self.name}/reports", {**said, "generation": self.generation}, self.bearer
        )
        assert (status, answer["ack_seq"]) == (200, self.seq)

    def look(self, asset: dict[str, Any]) -> None:
        path = f"/v1/sites/{self.name}/desired?after={self.generation}&wait=0"
        status, said = self.at.ask("GET", path, token=self.bearer)
        if status == 200 and said["generation"] > self.generation:
            self.generation = said["generation"]
            fields = ("name", "version", "kind", "sha256", "attempt")
            self.report({**{field: asset[field] for field in fields}, "state": "good", "since_s": time.time()})


class Operator:
    """Commands against the hub's address, with a key."""

    def __init__(self, folder: Path, url: str, key: str) -> None:
        self.folder, self.url, self.key = folder, url, key

    def run(self, *arguments: str) -> Any:
        environment = {**os.environ, "ECOTONE_HUB_KEY": self.key}
        done = subprocess.run(
            [ECOTONE, "hub", *arguments, "--json"],
            capture_output=True, text=True, cwd=self.folder, env=environment, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + done.stdout
        return json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path, database_url: str) -> Path:
    subprocess.run([ECOTONE, "hub", "init", "hub"], cwd=tmp_path, check=True, capture_output=True)
    url = database_url.replace("postgres:@", "postgres@")  # no password, and none that is empty
    (tmp_path / "hub.yaml").write_text(json.dumps({"folder": str(tmp_path / "hub"), "database": {"url": url}}))
    (tmp_path / "smol.txt").write_bytes(text(1))
    return tmp_path


def key_of(folder: Path) -> str:
    done = subprocess.run(
        [ECOTONE, "hub", "people", "add", "hub.yaml", "ann", "--role", "owner", "--json"],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return str(json.loads(done.stdout)["key"])


def tokens(folder: Path) -> list[str]:
    with opened(settings.load(None, folder / "hub.yaml")) as hub:
        new = hub.sites.tokens.new
        return [new(access.owner("local:test"), TokenAsked(site=site))[1] for site in SITES]


def test_a_rollout_survives_the_death_of_each_process(folder: Path) -> None:
    key, tickets = key_of(folder), tokens(folder)
    with up(folder, "-c", "hub.yaml", "--listen", "127.0.0.1:0", "--processes", "2") as at:
        ann = Operator(folder, at.url, key)
        about = ("--name", "smol", "--version", "1", "--licence", "MIT", "--key", "hub.keys/publisher-models.key")
        made = ann.run("send", at.url, "smol.txt", *about)
        assert made["state"] == "announced"
        sites = [Site(name, at, ticket) for name, ticket in zip(SITES, tickets, strict=True)]
        release = ann.run("release", "start", at.url, "smol@1", "--wave", "2", "--wave", "100%", *QUICK)
        asset, victims = release["variants"][0], list(at.children)
        until_s = time.monotonic() + 120
        while (state := ann.run("release", "show", at.url, release["id"])["state"]) != "done":
            assert time.monotonic() < until_s, state
            if victims:
                os.kill(victims.pop(), signal.SIGKILL)
            for site in sites:
                for _ in range(20):
                    try:
                        site.look(asset)
                        break
                    except OSError:  # it died while it was asked: the other one answers
                        time.sleep(0.1)
        assert [site.generation for site in sites] == [1] * len(SITES)
        shown = ann.run("release", "list", at.url)["releases"]
        assert [one["state"] for one in shown] == ["done"]
        assert ann.run("garbage", at.url)["ripe_objects"] == 0
        assert ann.run("pin", at.url, "s0", "smol")["version"] == "1"
        assert ann.run("unpin", at.url, "s0", "smol") == {"was_pinned": True}
        assert at.stop() == 0
    with opened(settings.load(None, folder / "hub.yaml")) as hub:
        assert hub.acts.verify().bad is None
        acts = [entry.body["act"] for entry in hub.acts.tail(limit=1000) if entry.kind == "act"]
        assert acts.count("release.wish") == 2
        assert acts.count("release.done") == acts.count("publish.announce") == 1
