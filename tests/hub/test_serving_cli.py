"""`ecotone hub validate`, `schema`, `restored` and what `up` refuses, in the test's own process."""

from __future__ import annotations

import json
from pathlib import Path

import click.testing
import pytest
from tests.hub.served import made

from ecotone.cli import extra
from ecotone.cli.root import ecotone
from ecotone.hub import settings
from ecotone.hub.serving import opened


def run(*arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(ecotone, [str(argument) for argument in arguments])


def test_a_file_is_checked_and_nothing_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "hub.yaml"
    for text, says in (
        ("folder: /srv/hub\n", "SQLite, objects in the folder"),
        ('database: {url: "postgresql://u@db/hub"}\nobjects: {url: "s3://b/p"}\n', "PostgreSQL, objects in s3://b/p"),
        ('database: {url: "env:NOT_SET"}\n', "the database of env:NOT_SET"),
    ):
        file.write_text(text)
        done = run("hub", "validate", file)
        assert done.exit_code == 0, done.output
        assert says in done.output
    assert json.loads(run("hub", "validate", file, "--json").output)["valid"] is True
    file.write_text("objs: 1\nlisten: {port: x}\n")
    done = run("hub", "validate", file)
    assert done.exit_code == 2
    assert "hub.yaml:1:1: objs" in done.output
    assert "hub.yaml:2:16: listen.port" in done.output


def test_the_schema_is_printed() -> None:
    assert json.loads(run("hub", "schema").output) == settings.json_schema()


def test_a_restored_hub_signs_above_what_was_seen(tmp_path: Path) -> None:
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.state' / 'hub.sqlite'}")
    with opened(chosen) as hub:
        assets = [hub.repositories.find("smol", "1").asset]
        before = hub.wishes.set({"harbour": assets}, "test")["harbour"]
    done = run("hub", "restored", chosen.folder, "--json")
    assert json.loads(done.output) == {"sites": 1}, done.output
    assert "each site (1) lies above" in run("hub", "restored", chosen.folder).output
    with opened(chosen) as hub:
        assets = [hub.repositories.find("smol", "2").asset]
        assert hub.wishes.set({"harbour": assets}, "test")["harbour"] > before + 1000
        assert [entry.kind for entry in hub.acts.tail()].count("act") == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--listen", "nowhere"), "hub.listen"),
        (("--listen", "127.0.0.1:70000"), "hub.listen"),
        (("--listen", "0.0.0.0:0"), "hub.exposed"),
        (("--listen", "127.0.0.1:0", "--open", "--processes", "1"), "hub.folder"),
    ],
)
def test_what_up_refuses(tmp_path: Path, arguments: tuple[str, ...], code: str) -> None:
    done = run("hub", "up", tmp_path / "none", *arguments, "--json")
    assert done.exit_code == 2
    assert json.loads(done.output.splitlines()[-1])["error"]["code"] == code
    assert json.loads(run("hub", "up", "--json").output)["error"]["code"] == "hub.folder"


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "obstore" else object())
    done = run("hub", "up", tmp_path, "--json")
    assert (done.exit_code, json.loads(done.output)["error"]["code"]) == (2, "hub.extra")
    assert "ecotone[server]" in done.output
