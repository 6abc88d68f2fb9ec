"""`ecotone hub`, `trust`, `bundle` and `models pull hub:NAME`."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ecotone.cli import extra

MODEL = "hub.keys/publisher-models.key"


@pytest.fixture
def hub(shell: Any) -> Any:
    """A hub with a version, which `harbour` shall have, and that site."""
    shell.environ["ECOTONE_STORE_PATH"] = str(shell.folder / "store")
    done(shell, "hub", "init", "hub")
    shell.write("smol.txt", "weights " * 20_000)
    shell.write("card.md", "# Card")
    publish(shell, "1", "--card", "card.md", "--made-from", "base@1", "--region", "eu", "--needs-memory-mb", "5")
    done(shell, "hub", "assign", "hub", "harbour", "smol", "--region", "eu")
    done(shell, "trust", "hub", "--site", "harbour")
    return shell


def done(shell: Any, *arguments: str) -> str:
    result = shell(*arguments)
    assert result.exit_code == 0, result.output
    text: str = result.output
    return text


def said(shell: Any, *arguments: str) -> Any:
    result = shell(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(shell: Any, code: str, *arguments: str) -> int:
    result = shell(*arguments, "--json")
    assert json.loads(result.stdout)["error"]["code"] == code
    exit_code: int = result.exit_code
    return exit_code


def publish(shell: Any, version: str, *more: str) -> str:
    options = ["--name", "smol", "--version", version, "--licence", "MIT", "--key", MODEL]
    return done(shell, "hub", "publish", "hub", "smol.txt", *options, *more)


def test_a_hub_tells_what_goes_where(shell: Any) -> None:
    text = done(shell, "hub", "init", "one", "--publisher", "research")
    assert "root-2.key" in text
    assert "publisher-research.key" in text
    assert "not encrypted" in text
    assert refused(shell, "hub.folder", "hub", "init", "one") == 2
    made = said(shell, "hub", "init", "two")
    assert len(made["keys"]) == 6
    assert made["fingerprint"] == said(shell, "hub", "show", "two")["fingerprint"]


def test_a_version_goes_from_the_publisher_to_the_site(hub: Any) -> None:
    assert "hub:smol is 1 now" in done(hub, "models", "pull", "hub:smol", "--from", "hub")
    publish(hub, "2")
    said(hub, "hub", "assign", "hub", "harbour", "smol", "--region", "eu")
    made = said(hub, "bundle", "export", "hub", "--for", "harbour", "--since", "1", "-o", "a.bundle")
    assert made["packs_bytes"] == 0, "the same weights need not travel"
    imported = said(hub, "bundle", "import", "a.bundle")
    assert imported["generation"] == 2
    status = said(hub, "trust")
    assert (status["generation"], status["installed"], status["is_stale"]) == (2, {"smol": "2"}, False)
    assert "installed    hub:smol 2" in done(hub, "trust")
    assert "smol 2 for harbour" in done(hub, "bundle", "export", "hub", "--for", "harbour", "-o", "b.bundle")
    assert "generation 2 of 'harbour' is here" in done(hub, "bundle", "import", "b.bundle")
    done(hub, "models", "rm", "hub:smol")
    assert said(hub, "trust")["installed"] == {}
    done(hub, "bundle", "import", "b.bundle")
    assert said(hub, "trust")["installed"] == {"smol": "2"}


def test_all_models_of_the_configuration_come_where_they_are_from(hub: Any) -> None:
    hub.write("ecotone.yaml", "targets:\n  a: {engine: llama.cpp, model: 'hub:smol'}\n")
    rows = said(hub, "models", "pull", "--from", "hub")
    assert {row["name"] for row in rows} == {"hub:smol", "hub:smol/smol.txt"}
    assert refused(hub, "hub.url", "models", "pull", "hub:smol") == 2
    assert hub("models", "pull", "hub:smol", "--sha256", "ab" * 32).exit_code == 2


def test_a_site_whose_hub_wants_nothing(hub: Any) -> None:
    assert "shall have nothing" in done(hub, "hub", "assign", "hub", "harbour")
    done(hub, "bundle", "export", "hub", "--for", "harbour", "-o", "empty.bundle")
    assert "wants nothing here" in done(hub, "bundle", "import", "empty.bundle")


def test_what_is_refused(hub: Any) -> None:
    done(hub, "hub", "assign", "hub", "inland", "smol", "--region", "eu")
    done(hub, "bundle", "export", "hub", "--for", "inland", "-o", "inland.bundle")
    assert refused(hub, "trust.other_site", "bundle", "import", "inland.bundle") == 1
    assert refused(hub, "hub.file", "bundle", "import", "none.bundle") == 2
    assert refused(hub, "hub.assign", "hub", "assign", "hub", "harbour", "smol", "smol@1") == 2
    assert refused(hub, "hub.listen", "hub", "up", "hub", "--listen", "nowhere") == 2
    assert refused(hub, "hub.keys", "hub", "revoke", "hub", "asset", "smol@1") == 2
    options = ["--name", "a", "--version", "1", "--licence", "MIT", "--key", MODEL, "--card", "none.md"]
    assert refused(hub, "hub.card", "hub", "publish", "hub", "smol.txt", *options) == 2
    assert refused(hub, "trust.fingerprint", "trust", "hub", "--site", "harbour", "--fingerprint", "ab") == 1
    assert refused(hub, "hub.file", "trust", "none.json", "--site", "harbour") == 2
    assert hub("trust", "hub").exit_code == 2


def test_a_pin_by_its_fingerprint(hub: Any) -> None:
    fingerprint = said(hub, "hub", "show", "hub")["fingerprint"]
    pin = ["trust", "hub/trust.json", "--site", "harbour", "--fingerprint", fingerprint.upper()]
    assert said(hub, *pin)["fingerprint"] == fingerprint
    assert "hub heard    never" in done(hub, "trust")


def test_keys_are_rotated_and_trust_is_taken_back(hub: Any) -> None:
    done(hub, "models", "pull", "hub:smol", "--from", "hub")
    for role in ("root", "online", "director", "publisher"):
        assert "former key" in done(hub, "hub", "rotate", "hub", role)
    assert len(said(hub, "hub", "rotate", "hub", "publisher", "--name", "vision")["keys"]) == 1
    assert len(list(Path("hub.keys").glob("*.old"))) == 6
    done(hub, "models", "pull", "hub:smol", "--from", "hub")
    publish(hub, "2")
    assert "smol@2 is revoked" in done(hub, "hub", "revoke", "hub", "asset", "smol@2", "--key", MODEL)
    assert said(hub, "hub", "revoke", "hub", "publisher", "vision")["is_announced"]
    shown = said(hub, "hub", "show", "hub")
    assert (shown["publishers"], [row["version"] for row in shown["assets"]]) == (["models"], ["1"])
    assert "harbour" in done(hub, "hub", "show", "hub")


def test_a_rotation_that_is_refused_leaves_no_keys(hub: Any) -> None:
    before = sorted(Path("hub.keys").iterdir())
    rotate = ["hub", "rotate", "hub", "director", "--root-key", "hub.keys/root-1.key"]
    assert refused(hub, "hub.keys", *rotate) == 2
    assert sorted(Path("hub.keys").iterdir()) == before


def test_without_the_online_key_a_version_waits_for_it(hub: Any) -> None:
    Path("hub.keys/online.key").rename("online.key")
    assert "counts after `ecotone hub sign`" in publish(hub, "2")
    done(hub, "hub", "assign", "hub", "harbour", "smol@2")
    assert refused(hub, "trust.not_in_both", "models", "pull", "hub:smol", "--from", "hub") == 1
    Path("online.key").rename("hub.keys/online.key")
    assert "catalogue, director" in done(hub, "hub", "sign", "hub")
    assert said(hub, "hub", "sign", "hub") == {"signed": ["catalogue", "director"]}
    assert "smol is 2 now" in done(hub, "models", "pull", "hub:smol", "--from", "hub")


def test_a_hub_is_served_until_it_is_stopped(hub: Any) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ECOTONE_")}
    command = [
        sys.executable,
        "-c",
        "from ecotone.cli import main; main()",
        "hub",
        "up",
        "hub",
        "--listen",
        "127.0.0.1:0",
        "--open",
        "--json",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/trust.json")
        assert connection.getresponse().read() == Path("hub/trust.json").read_bytes()
        connection.close()
        hub.write("ecotone.yaml", f"hub: {{url: '{url}'}}\n")
        assert "hub:smol is 1 now" in done(hub, "models", "pull", "hub:smol")
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def test_what_is_not_installed_is_named(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "tuf" else object())
    for command in (["hub", "show", "hub"], ["bundle", "import", "x"], ["trust"], ["models", "pull", "hub:x"]):
        assert refused(shell, "hub.extra", *command) == 2
