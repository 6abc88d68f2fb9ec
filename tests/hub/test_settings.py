"""`hub.yaml`: every mistake with its place, every default in its own, and no secret in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.docs.blocks import blocks

from ecotone.hub import settings
from ecotone.values import ConfigError

WHOLE = """
name: harbour
folder: /srv/hub
keys: /srv/keys
state: /var/lib/ecotone-hub
listen: {address: 0.0.0.0, port: 443}
public_url: https://hub.example.org/
database: {url: "postgresql://hub@db/hub", password: "env:PGPASSWORD"}
objects:
  {url: "s3://models/hub", endpoint: "https://s3.example.org", key_id: "env:KEY_ID", key: "file:/run/key", region: eu}
tls: {cert: /etc/tls/cert.pem, key: /etc/tls/key.pem}
open: false
encrypt: {key: "file:/run/seal", earlier: ["env:OLD"]}
oidc: {issuer: "https://sso.example.org", audience: ecotone, roles_claim: groups, roles_map: {admins: owner}}
limits: {waiting_max: 50}
processes: 3
"""


def wrong(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings.parse(text, "hub.yaml")
    return list(caught.value.problems)


def test_a_folder_alone_is_enough() -> None:
    found = settings.load(Path("/srv/hub"), None)
    assert (found.name, found.keys, found.state) == ("hub", Path("/srv/hub.keys"), Path("/srv/hub.state"))
    assert (found.listen.address, found.listen.port, found.processes) == ("127.0.0.1", 3269, 1)
    assert found.database_url() == "sqlite:////srv/hub.state/hub.sqlite"
    assert found.is_sqlite
    settings.check_exposure(found, is_insecure_meant=False)


def test_a_file_says_the_rest_and_what_the_command_names_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "hub.yaml"
    file.write_text(WHOLE)
    found = settings.load(None, file)
    assert (found.name, found.folder, found.keys) == ("harbour", Path("/srv/hub"), Path("/srv/keys"))
    assert found.public_url == "https://hub.example.org"
    assert found.oidc is not None
    assert found.oidc.roles_map == {"admins": "owner"}
    assert settings.load(tmp_path / "other", file).folder == tmp_path / "other"
    monkeypatch.setenv("PGPASSWORD", "p@ss/word")
    assert found.database_url() == "postgresql://hub:p%40ss%2Fword@db/hub"
    assert not found.is_sqlite
    assert "p@ss" not in repr(found)


def test_the_whole_address_of_a_database_may_be_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings.parse('database: {url: "env:HUB_DB"}', "hub.yaml")
    found = settings.filled(given, Path("/srv/hub"))
    monkeypatch.setenv("HUB_DB", "postgres://hub:secret@db/hub")
    assert found.database_url() == "postgresql://hub:secret@db/hub"
    monkeypatch.setenv("HUB_DB", "mysql://hub:secret@db/hub")
    with pytest.raises(ConfigError) as caught:
        found.database_url()
    assert "secret" not in str(caught.value)
    monkeypatch.delenv("HUB_DB")
    with pytest.raises(ConfigError, match="HUB_DB"):
        found.database_url()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("listen: {port: 99999}", "hub.yaml:1:16: listen.port: is 99999; must be at most 65535"),
        ("listen: {address: hub.example.org}", "listen.address: 'hub.example.org' is not an IP address"),
        ("objs: {}", "unknown key (did you mean 'objects'?)"),
        ('database: {url: "postgresql://a:b@h/x"}', "holds a password"),
        ('database: {url: "mysql://h/x"}', "expected postgresql://USER@HOST/NAME"),
        ('database: {url: "postgresql://[::1/x"}', "is not an address"),
        ('database: {password: "env:X"}', "there is no `url` with a user"),
        ('database: {url: "postgresql://h/x", password: "env:X"}', "names no user"),
        ("database: {password: hunter2}", "a secret must not stand in the file"),
        ('objects: {url: "ftp://x"}', "expected s3://BUCKET/PREFIX"),
        ('objects: {url: "s3://a:b@x/y"}', "holds a user or password"),
        ('objects: {key: "env:X"}', "belong together"),
        ("oidc: {issuer: https://x, audience: a, roles_map: {admins: boss}}", "oidc.roles_map.admins: expected one of"),
        ("{behind_proxy: true, tls: {cert: a, key: b}}", "one of them ends TLS"),
        ("{processes: 2, listen: {port: 0}}", "with several processes: name the port"),
        ("- a", "the file must be a mapping"),
        ("open: yes", "expected true or false"),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, says: str) -> None:
    problems = wrong(text)
    assert any(says in problem for problem in problems), problems
    assert all(problem.startswith("hub.yaml:") for problem in problems)
    assert "hunter2" not in "".join(problems)


def test_all_mistakes_are_told_at_once() -> None:
    assert len(wrong("listen: {port: -1}\nprocesses: 0\nobjs: 1\n")) == 3


def test_a_hub_must_be_named(tmp_path: Path) -> None:
    for file, code in ((None, "hub.folder"), (tmp_path / "none.yaml", "config.unreadable")):
        with pytest.raises(ConfigError) as caught:
            settings.load(None, file)
        assert caught.value.code == code
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        settings.load(None, tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("said", "is_refused"),
    [
        ("listen: {address: 0.0.0.0}", True),
        ("listen: {address: localhost}", False),
        ('listen: {address: "::1"}', False),
        ("{listen: {address: 0.0.0.0}, behind_proxy: true}", False),
        ("{listen: {address: 0.0.0.0}, tls: {cert: a, key: b}}", False),
    ],
)
def test_nothing_secret_is_taken_over_a_network_without_tls(said: str, is_refused: bool) -> None:
    found = settings.filled(settings.parse(said, "hub.yaml"), Path("/srv/hub"))
    settings.check_exposure(found, is_insecure_meant=True)
    if is_refused:
        with pytest.raises(ConfigError) as caught:
            settings.check_exposure(found, is_insecure_meant=False)
        assert caught.value.code == "hub.exposed"
    else:
        settings.check_exposure(found, is_insecure_meant=False)


def test_the_schema_names_every_key_with_what_it_means() -> None:
    schema = settings.json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert set(schema["properties"]) == set(settings.HubFile.__struct_fields__)
    structs = [schema, *schema["$defs"].values()]
    for struct in structs:
        assert struct["additionalProperties"] is False
        for name, key in struct["properties"].items():
            assert "description" in key or "$ref" in json.dumps(key), name
    assert settings.parse(WHOLE, "hub.yaml").processes == 3


def test_the_examples_of_the_page_are_valid() -> None:
    found = [block.text for block in blocks("docs/how-to/run-a-hub.md") if block.language == "text"]
    assert len(found) == 2
    for text in found:
        assert settings.parse(text, "hub.yaml").folder == "/srv/hub"
