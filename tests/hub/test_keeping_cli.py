"""`ecotone hub acts verify` and `ecotone hub reseal`, as they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from tests.unit.trust.made_hub import manifest

from ecotone.cli.root import ecotone
from ecotone.delivery import hub_keys
from ecotone.delivery.hub_folder import Hub
from ecotone.hub import acts, serving, settings
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    hub = Hub(tmp_path / "hub", 1.8e9)
    hub.create(["models"])
    hub.publish(manifest("smol", "1"), hub_keys.read(tmp_path / "hub.keys" / "publisher-models.key"))
    hub.refresh([hub_keys.read(tmp_path / "hub.keys" / "online.key")])
    return hub.folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(ecotone, ["hub", *map(str, arguments)])


def database(folder: Path) -> Database:
    return Database.open(settings.load(folder, None).database_url())


def test_the_ledger_is_verified_where_it_lies(folder: Path) -> None:
    own = database(folder)
    ledger = Acts(own, acts.signer(folder.with_name("hub.keys"), "hub"))
    ledger.write("person:ann", "look", "x")
    ledger.checkpoint()
    told = run("acts", "verify", folder)
    assert told.exit_code == 0, told.output
    assert "signed: entries up to" in told.output
    own.run(lambda connection: connection.execute(text("UPDATE hub_acts SET line = substr(line, 2) WHERE seq = 1")))
    own.close()
    told = run("acts", "verify", folder, "--json")
    assert told.exit_code == 1
    assert json.loads(told.output)["report"]["bad"]["seq"] in (0, 1)


def test_what_was_plain_is_sealed_and_a_new_key_takes_over(folder: Path, tmp_path: Path) -> None:
    assert run("reseal", folder).exit_code == 2
    for name, key in (("a", "1" * 64), ("b", "2" * 64)):
        (tmp_path / name).write_text(key)
    file = tmp_path / "hub.yaml"
    before = next((folder / "catalogue" / "targets" / "models").iterdir()).read_bytes()
    file.write_text(f"folder: {folder}\nencrypt: {{key: 'file:{tmp_path / 'a'}'}}\n")
    done = run("reseal", "-c", file, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["done"] == 1
    sealed = next((folder / "catalogue" / "targets" / "models").iterdir()).read_bytes()
    assert before.startswith(b"{")
    assert sealed.startswith(b"ECOSEAL1")
    file.write_text(
        f"folder: {folder}\nencrypt: {{key: 'file:{tmp_path / 'b'}', earlier: ['file:{tmp_path / 'a'}']}}\n"
    )
    assert json.loads(run("reseal", "-c", file, "--json").output)["done"] == 1
    assert "1 were sealed by this key" in run("reseal", "-c", file).output


def test_a_folder_that_is_no_hub(tmp_path: Path) -> None:
    assert run("acts", "verify", tmp_path / "none").exit_code != 0


def test_a_version_is_published_into_an_encrypted_hub_by_its_configuration(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1" * 64)
    file, model = tmp_path / "hub.yaml", tmp_path / "m.txt"
    file.write_text(f"folder: {folder}\nobjects: {{region: eu}}\nencrypt: {{key: 'file:{tmp_path / 'a'}'}}\n")
    model.write_text("a small model " * 10_000)
    assert run("reseal", "-c", file).exit_code == 0
    about = ["--name", "smol", "--version", "2", "--licence", "MIT", "--key"]
    about += [tmp_path / "hub.keys" / "publisher-models.key"]
    told = run("publish", folder, model, *about)
    assert told.exit_code == 2
    assert "-c hub.yaml" in told.output
    told = run("publish", folder, model, *about, "-c", file)
    assert told.exit_code == 0, told.output
    assert [path for path in (folder / "packs").iterdir() if not path.read_bytes().startswith(b"ECOSEAL1")] == []
    with serving.opened(settings.load(folder, file)) as hub:
        assert hub.repositories.find("smol", "2").publisher == "models"
        assert hub.acts.newest(1)[0].body["act"] == "publish.here"
