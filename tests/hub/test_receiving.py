"""What a stick brings back: the same as over the link, once it is proven whose it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from tests.hub import fleets, served

from ecotone import access
from ecotone.agent import joined_file
from ecotone.agent.identity import Enrolment
from ecotone.agent.joined_file import Joined
from ecotone.agent.outbox import Outbox
from ecotone.cli.root import ecotone
from ecotone.delivery import bundle, bundle_reports, site_trust
from ecotone.delivery.objects import Folder
from ecotone.hub import settings as hub_settings
from ecotone.hub.carrying import carry
from ecotone.hub.receiving import acked_seq, receive
from ecotone.hub.serving import Hub, opened
from ecotone.hub.settings import Settings
from ecotone.hub.sites_tokens import TokenAsked
from ecotone.store import Ledger
from ecotone.values import ConfigError, RefusalError, RequestError, TrustError
from ecotone.values.fleet import Report

OWNER = access.owner("ann")


class Site:
    """A site that joined over a link once, and has none now."""

    def __init__(self, hub: Hub, store: Path, name: str) -> None:
        self.store, self.name = store, name
        _, token = hub.sites.tokens.new(OWNER, TokenAsked(site=name))
        self.joins(hub, token)
        self.outbox = Outbox(store / "hub" / "outbox.sqlite")
        self.outbox.began()

    def joins(self, hub: Hub, token: str) -> None:
        enrolment = Enrolment.begun(self.store, token)
        body = enrolment.body(token, self.name)
        done = hub.sites.enroll(token, self.name, body["key"])
        self.identity = enrolment.done()
        joined_file.write(self.store, Joined(url="https://hub", site=done.site, hub=done.hub))

    def reports(self, generation: int = 0) -> int:
        def made(seq: int, dropped: int) -> bytes:
            return msgspec.json.encode(Report(site=self.name, seq=seq, made_s=1.0, generation=generation))

        return self.outbox.put(made, "state", 1_800_000_000.0)

    def stick(self, name: str = "a", *, has_ledger: bool = False) -> Path:
        path = self.store.parent / f"{self.name}-{name}.reports"
        bundle_reports.export(self.store, path, has_ledger=has_ledger)
        return path


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return served.made(tmp_path, database_url)


@pytest.fixture
def hub(settings: Settings) -> Iterator[Hub]:
    with opened(settings) as rooms:
        yield rooms


@pytest.fixture
def site(hub: Hub, tmp_path: Path) -> Site:
    made = Site(hub, tmp_path / "harbour", "harbour")
    made.reports()
    made.reports()
    return made


def written(hub: Hub) -> list[tuple[str, str]]:
    return [(entry.body["actor"], entry.body["act"]) for entry in hub.acts.tail() if entry.kind == "act"]


def test_reports_arrive_and_the_next_bundle_lets_the_site_forget_them(hub: Hub, site: Site) -> None:
    done = receive(hub, site.stick())
    assert (done.site, done.reports, done.acked_seq, done.has_ledger) == ("harbour", 2, 2, False)
    newest = hub.reports.newest("harbour")
    assert newest is not None
    assert json.loads(newest)["seq"] == 2
    assert written(hub)[-1] == ("site:harbour", "report.carry")
    assert acked_seq(hub.database, "harbour") == 2
    assert acked_seq(hub.database, "nobody") == 0
    bundle_reports.acknowledged(site.store, acked_seq(hub.database, "harbour"))
    assert site.outbox.counts().waiting == 0


def test_the_same_stick_again_and_an_older_one_change_nothing(hub: Hub, site: Site) -> None:
    first = site.stick("first")
    site.reports(generation=4)
    second = site.stick("second")
    assert receive(hub, second).acked_seq == 3
    for stick in (second, first, first):
        assert receive(hub, stick).acked_seq == 3
        newest = hub.reports.newest("harbour")
        assert newest is not None
        assert json.loads(newest)["generation"] == 4


def test_what_came_over_the_link_meanwhile_stays(hub: Hub, site: Site) -> None:
    stick = site.stick()
    hub.reports.take("harbour", [Report(site="harbour", seq=9, made_s=2.0)])
    assert receive(hub, stick).acked_seq == 9


def test_another_sites_file_and_a_forged_name_are_refused(hub: Hub, site: Site, tmp_path: Path) -> None:
    other = Site(hub, tmp_path / "inland", "inland")
    other.reports()
    joined_file.write(other.store, Joined(url="https://hub", site="harbour", hub=hub.settings.name))
    forged = other.stick("forged")  # signed by `inland`, and says that it is of `harbour`
    with pytest.raises(TrustError, match=r"bundle\.signature"):
        receive(hub, forged)
    joined_file.write(other.store, Joined(url="https://hub", site="inland", hub=hub.settings.name))
    mixed = other.stick("mixed")
    raw = mixed.read_bytes().replace(b'"site":"inland"', b'"site":"harbour"')
    mixed.write_bytes(raw)
    with pytest.raises(TrustError):
        receive(hub, mixed)
    assert hub.reports.newest("harbour") is None
    assert ("site:harbour", "report.carry") not in written(hub)


def test_a_report_of_another_site_within_a_good_file_is_refused(hub: Hub, site: Site) -> None:
    site.name = "inland"
    site.reports()
    site.name = "harbour"
    with pytest.raises(ConfigError, match=r"hub\.report"):
        receive(hub, site.stick())
    assert hub.reports.newest("harbour") is None


def test_a_site_that_was_revoked_or_is_not_known_is_not_heard(hub: Hub, site: Site) -> None:
    stick = site.stick()
    hub.sites.revoke(OWNER, "harbour", "stolen")
    with pytest.raises(RefusalError, match=r"hub\.revoked"):
        receive(hub, stick)
    joined_file.write(site.store, Joined(url="https://hub", site="nobody", hub=hub.settings.name))
    with pytest.raises(RequestError, match=r"hub\.unknown_site"):
        receive(hub, site.stick("nobody"))


def test_a_stick_from_before_a_theft_is_refused_after_the_site_joined_anew(hub: Hub, site: Site) -> None:
    stick = site.stick()
    _, token = hub.sites.tokens.new(OWNER, TokenAsked(site="harbour", again=True))
    site.joins(hub, token)
    with pytest.raises(TrustError, match=r"bundle\.signature"):
        receive(hub, stick)
    assert receive(hub, site.stick("new")).reports == 2


def test_a_stick_for_another_hub_is_refused(hub: Hub, site: Site) -> None:
    joined_file.write(site.store, Joined(url="https://hub", site="harbour", hub="other"))
    with pytest.raises(TrustError, match=r"bundle\.other_hub"):
        receive(hub, site.stick())


def run(*arguments: object) -> Result:
    return CliRunner().invoke(ecotone, [str(one) for one in arguments])


def test_a_round_trip_by_commands_alone(
    hub: Hub, site: Site, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reports and evidence to the hub, a version and the acknowledgement back; no network anywhere."""
    file = fleets.hub_yaml(settings, tmp_path, monkeypatch)
    Ledger.open(site.store, "harbour").close()
    (tmp_path / "site.yaml").write_text(json.dumps({"store": {"path": str(site.store)}}))
    at_site = ("-c", tmp_path / "site.yaml", "--json")

    out = said(run("bundle", "export", "--reports", "--ledger", "--to", tmp_path / "out", *at_site))
    assert (out["site"], out["reports"]) == ("harbour", 2)
    taken = said(run("hub", "receive", file, tmp_path / "out", "--ledger", tmp_path / "copy", "--json"))
    assert (taken["reports"], taken["acked_seq"]) == (2, 2)
    proof = said(run("evidence", "--file", tmp_path / "copy", "--key", tmp_path / "copy" / "site.pub", "--json"))
    assert proof["is_complete"]
    assert proof["is_signed"]

    assets = [hub.repositories.find("smol", "2").asset]
    hub.wishes.set({"harbour": assets}, "test")
    back = said(run("bundle", "export", file, "--for", "harbour", "-o", tmp_path / "back", "--json"))
    assert back["heading"]["acked_seq"] == 2
    site_trust.pin(hub.repositories.pins(), "harbour", site.store)
    assert said(run("bundle", "import", tmp_path / "back", *at_site))["generation"] == 1
    assert site.outbox.counts().waiting == 0
    again = run("bundle", "export", "--reports", "--to", tmp_path / "more", *at_site)
    assert (again.exit_code, json.loads(again.output)["error"]["code"]) == (2, "hub.reports")


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_commands_say_what_cannot_be(
    hub: Hub, site: Site, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick = site.stick()
    assert "--reports" in run("bundle", "export", "-o", tmp_path / "x").output
    assert run("bundle", "export", settings.folder, "--reports", "-o", tmp_path / "x").exit_code == 2
    assert run("bundle", "export", settings.folder, "-o", tmp_path / "x").exit_code == 2
    assert "own machine" in run("hub", "receive", "https://hub.example.org", stick).output
    assert "is no hub" in run("hub", "receive", tmp_path / "none", stick).output
    (tmp_path / "off.yaml").write_text(
        json.dumps({"store": {"path": str(site.store)}, "hub": {"url": "https://hub", "reports": "off"}})
    )
    result = run("bundle", "export", "--reports", "--to", tmp_path / "x", "-c", tmp_path / "off.yaml")
    assert (result.exit_code, "tells its hub nothing" in result.output) == (2, True)
    (tmp_path / "site.yaml").write_text(json.dumps({"store": {"path": str(site.store)}}))
    text = run("bundle", "export", "--reports", "--to", tmp_path / "x", "-c", tmp_path / "site.yaml").output
    assert "2 reports of harbour" in text
    file = fleets.hub_yaml(settings, tmp_path, monkeypatch)
    assert "up to number 2" in run("hub", "receive", file, tmp_path / "x").output


def test_a_bundle_is_made_out_of_a_sealed_bucket(
    settings: Settings, s3_options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sealed where it rests travels as it was signed: a site cannot tell the difference."""
    monkeypatch.setenv("TEST_SEAL", "5" * 64)
    given = hub_settings.Objects(
        url=f"s3://{s3_options['bucket']}/hub",
        endpoint=s3_options["endpoint"],
        store_region=s3_options["region"],
        key_id=s3_options["aws_access_key_id"],
        key=s3_options["aws_secret_access_key"],
    )
    moved = msgspec.structs.replace(settings, objects=given, encrypt=hub_settings.Encrypt(key="env:TEST_SEAL"))
    with opened(moved) as rooms:
        carry(Folder(settings.folder), rooms.objects)
        rooms.wishes.set({"harbour": [rooms.repositories.find("smol", "2").asset]}, "test")
        made = bundle.export(rooms.repositories, "harbour", 0, tmp_path / "stick", rooms.clock())
        site_trust.pin(rooms.repositories.pins(), "harbour", tmp_path / "site")
    assert made.packs_bytes > 100_000
    with bundle.BundleSource(tmp_path / "stick") as source:
        done = site_trust.deliver(source, [source], tmp_path / "site", is_import=True)
    assert done.generation == 1
    assert Path(done.assets[0].path).read_bytes().startswith(b"smol 2 smol 2")
