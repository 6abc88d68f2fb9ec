"""Commands of people, grants, tokens, sites and acts: on the hub's folder, and from afar over a real socket."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.hub import issuer as issuers
from tests.hub.served import Served, key, made, serving

from ecotone.cli import hub_login, hub_remote
from ecotone.cli.failures import UnreachableError
from ecotone.cli.hub_asking import known
from ecotone.cli.hub_remote import Kept, Remote
from ecotone.cli.root import ecotone
from ecotone.hub import settings as hub_settings
from ecotone.values import ConfigError, RequestError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ECOTONE_HUB_KEY", raising=False)
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config" / "ecotone" / "hubs.json"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(made(tmp_path, f"sqlite:///{tmp_path / 'hub.state' / 'hub.sqlite'}")) as at:
        yield at


@pytest.fixture
def url(served: Served) -> str:
    return f"http://127.0.0.1:{served.port}"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    made(tmp_path, f"sqlite:///{tmp_path / 'hub.state' / 'hub.sqlite'}")
    return str(tmp_path / "hub")


def run(*arguments: str, code: int = 0, given: str | None = None) -> str:
    done = CliRunner().invoke(ecotone, ["hub", *arguments], input=given)
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout + done.stderr


def test_a_hubs_folder_is_governed_in_words(folder: str, tmp_path: Path) -> None:
    assert "nobody yet" in run("people", "list", folder)
    shown = run("people", "add", folder, "ann", "--role", "owner", "--days", "30")
    assert shown.startswith("eco_")
    assert "shown this once" in shown
    assert run("people", "key", folder, "ann").startswith("eco_")
    given = run("grant", "give", folder, "ann", "reader", "--group", "clinics", "--deny", "--days", "2")
    assert "is denied reader" in given
    listed = run("people", "list", folder)
    assert "NOT reader on groups clinics" in listed
    assert "until 20" in listed
    assert "is taken" in run("grant", "take", folder, given.split()[1].rstrip(":"))
    assert "none: every asset" in run("grant", "confinements", folder)
    rule = run("grant", "confine", folder, "models/*", "--region", "eu").split()[1]
    assert "models/* only to regions eu" in run("grant", "confinements", folder)
    assert "is gone" in run("grant", "free", folder, rule)
    assert "none" in run("token", "list", folder)
    token = run("token", "new", folder, "--site", "clinic-*", "--uses", "2", "--label", "ward=3", "--region", "eu")
    assert "--site NAME" in token
    assert "clinic-*  all in eu  2 left" in run("token", "list", folder)
    assert "any more" in run("token", "revoke", folder, token.split(".")[1])
    assert "0 of 0" in run("sites", "list", folder)
    assert "token.revoke" in run("acts", "list", folder, "--limit", "1")
    assert "is gone" in run("people", "remove", folder, "ann")
    assert "local:" in run("whoami", folder)
    run("acts", "export", folder, str(tmp_path / "acts"))
    done = CliRunner().invoke(ecotone, ["ledger", "verify", str(tmp_path / "acts")])
    assert done.exit_code == 0
    assert "whole" in done.output


def test_what_is_wrong_is_told_with_its_exit_code(folder: str, tmp_path: Path) -> None:
    assert "NAME=TEXT" in run("token", "new", folder, "--site", "a", "--label", "x", code=2)
    assert "no site of this name" in run("sites", "revoke", folder, "x", code=1)
    assert "somebody of this name" in run("people", "add", folder, "a", code=0) + run(
        "people", "add", folder, "a", code=2
    )
    assert "is no hub" in run("people", "list", str(tmp_path / "nothing"), code=1)
    assert "own machine" in run("acts", "export", "https://hub.example.org", str(tmp_path / "x"), code=2)
    wrong = tmp_path / "hub.yaml"
    wrong.write_text("folders: 1\n")
    assert "folders" in run("people", "list", str(wrong), code=2)
    wrong.write_text(f"folder: {folder}\ndatabase: {{url: 'sqlite:///{tmp_path / 'hub.state' / 'hub.sqlite'}'}}\n")
    assert "a" in run("people", "list", str(wrong))
    assert "a" in run("people", "list", folder, "-c", str(wrong))


def test_sites_are_listed_labelled_assigned_and_revoked(
    served: Served, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.hub.served import joined

    joined(served, "clinic-7", groups=("clinics",))
    monkeypatch.setenv("ECOTONE_HUB_KEY", key(served, "ann", "owner"))
    assert "clinic-7  enrolled  all,clinics  -  seen" in run("sites", "list", url, "--group", "clinics")
    labelled = run("sites", "label", url, "clinic-7", "--region", "eu", "--label", "ward=3", "--group", "labs")
    assert "all,labs  eu" in labelled
    assert "ward=3" in labelled
    assert "all  eu" in run("sites", "label", url, "clinic-7", "--no-group")
    assert "generation 1" in run("sites", "assign", url, "clinic-7", "smol@1")
    assert "nothing more" in run("sites", "revoke", url, "clinic-7", "--why", "lost")
    assert "lost" in run("sites", "list", url)
    assert "site.revoke" in run("acts", "list", url)


def test_a_key_is_kept_for_its_user_alone_and_forgotten(served: Served, url: str, home: Path) -> None:
    assert "hub login" in run("whoami", url, code=2)
    secret = key(served, "ann", "operator")
    assert "ann at" in run("login", url, "--key", given=f"{secret}\n")
    assert stat.S_IMODE(home.stat().st_mode) == 0o600
    assert "operator" in run("whoami", url)
    said = CliRunner().invoke(ecotone, ["hub", "login", url + "/", "--key", "--json"], input=f"{secret}\n")
    again = json.loads(said.stdout)
    assert again["who"] == "ann"
    assert "forgotten" in run("logout", url)
    assert "nothing was kept" in run("logout", url)
    run("login", url, "--key", given="nonsense\n", code=2)
    assert json.loads(home.read_text()) == {}, "what the hub does not take is not kept"


def test_somebody_signs_in_at_the_issuer_and_works_from_afar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr(hub_login, "INTERVAL_S", 1.0)
    with issuers.running() as issuer:
        oidc = hub_settings.Oidc(issuer=issuer.url, audience="hub", roles_claim="groups", roles_map={"ops": "operator"})
        chosen = made(tmp_path, f"sqlite:///{tmp_path / 'hub.state' / 'hub.sqlite'}", oidc=oidc)
        now_s = int(time.time())
        token = issuer.token(issuer.claims(groups=["ops"], iat=now_s, exp=now_s + 600))
        issuer.polls = [{"id_token": token, "expires_in": 600}]
        with serving(chosen) as at:
            where = f"http://127.0.0.1:{at.port}"
            said = run("login", where)
            assert "ABCD-EFGH" in said
            assert "oidc:ann at" in said
            assert "operator on everything" in run("whoami", where)
            assert "eco1." in run("token", "new", where, "--site", "a")


def test_what_ran_out_or_was_damaged_is_not_used(home: Path) -> None:
    url = "https://hub.example.org"
    hub_remote.keep(url, Kept(key="old", until_s=1.0))
    assert Remote.at(url).key == ""
    hub_remote.keep(url, Kept(key="new"))
    assert Remote.at(f"{url}/").key == "new"
    assert "new" not in f"{Remote.at(url)} {hub_remote.kept()}", "no key is shown where somebody prints it"
    home.write_text("{")
    with pytest.raises(ConfigError) as found:
        Remote.at(url)
    assert found.value.code == "hub.logins"
    home.unlink()
    home.mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        hub_remote._write({})


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x",
        "https://",
        "https://a b",
        "https://u:p@x",
        "https://x?a",
        "https://x:0",
        "http://x",
        "https://[",
        "hub",
    ],
)
def test_a_key_is_sent_to_no_address_but_a_hubs(url: str) -> None:
    with pytest.raises(ConfigError) as found:
        Remote.at(url)
    assert found.value.code == "hub.url"


def test_a_proxy_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_remote._proxy("https", "hub.example.org") is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    found = hub_remote._proxy("https", "hub.example.org")
    assert found is not None
    assert (found.hostname, found.port) == ("proxy", 3128)
    assert hub_remote._proxy("http", "localhost") is None
    for without in ("example.org", ".example.org", "hub.example.org", "x, *"):
        monkeypatch.setenv("NO_PROXY", without)
        assert hub_remote._proxy("https", "hub.example.org") is None
    monkeypatch.setenv("NO_PROXY", "ample.org")
    assert hub_remote._proxy("https", "hub.example.org") is not None


def test_what_answers_and_is_no_hub_is_told() -> None:
    with issuers.running() as other:
        other.answers["/admin/me"] = b"<html>"
        remote = Remote(other.url)
        for path in ("/me", "/nothing"):
            with pytest.raises(UnreachableError):
                remote.get(path)
        other.answers["/admin/me"] = {"error": {"code": "x", "message": "y"}}
        with pytest.raises(RequestError, match="y"):
            remote.get("/me")


def test_who_works_at_the_hubs_machine_has_a_name_that_a_ledger_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass

    for said, expected in (("ann", "ann"), ("anné w", "annw"), ("é", "unknown")):
        monkeypatch.setattr(getpass, "getuser", lambda said=said: said)
        assert known() == expected

    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert known() == "unknown"


def test_programs_read_json(folder: str, tmp_path: Path) -> None:
    def said(*arguments: str, given: str | None = None) -> dict[str, object]:
        done = CliRunner().invoke(ecotone, ["hub", *arguments, "--json"], input=given)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    made_key = said("people", "add", folder, "ann", "--role", "owner")
    assert said("people", "revoke-key", folder, str(made_key["id"])) == {"revoked": made_key["id"]}
    assert set(said("people", "list", folder)) == {"people"}
    assert set(said("grant", "confinements", folder)) == {"confinements"}
    assert set(said("token", "new", folder, "--site", "a")) == {"id", "token"}
    assert set(said("token", "list", folder)) == {"tokens"}
    assert said("sites", "list", folder)["total"] == 0
    assert said("whoami", folder)["via"] == "local"
    assert said("sites", "renew-sessions", folder) == {"renewed": True}
    assert set(said("acts", "list", folder, "--before", "3")) == {"acts"}
    assert "acts" in str(said("acts", "export", folder, str(tmp_path / "acts"))["folder"])
    done = CliRunner().invoke(ecotone, ["hub", "grant", "take", folder, "ffff", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (1, "hub.unknown_grant")
