"""What people ask of the fleet over `/admin`, and by command: each sees what their grants say."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert
from tests.hub import fleets, served
from tests.hub.served import Served

from ecotone import access
from ecotone.cli.hub_statuses import is_trouble
from ecotone.cli.root import ecotone
from ecotone.hub import status_alarms, status_releases
from ecotone.hub.database import Database
from ecotone.hub.serving import Hub, opened
from ecotone.hub.settings import Settings
from ecotone.hub.status import Ask
from ecotone.hub.status_doors import acts, report, shown
from ecotone.hub.tables_releases import releases, tasks
from ecotone.values import RefusalError, RequestError


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return served.made(tmp_path, database_url)


@pytest.fixture
def hub(settings: Settings) -> Iterator[Hub]:
    with opened(settings) as rooms:
        yield rooms


def somebody(*grants: access.Grant) -> access.Actor:
    return access.Actor(access.Person(name="ann", grants=grants), "test")


def released(database: Database, state: str, **fields: Any) -> None:
    from ecotone.fleet.waves import Gate, Plan, Standing, Tally, Wave
    from ecotone.hub.releases_values import Scope
    from ecotone.trust.agreeing import Asset

    waves = (Wave(count=1), Wave(group="clinics"), Wave(share=0.125), Wave(share=1.0))
    plan = Plan(id="r-1", name="smol", version="2", digests=("a" * 64,), waves=waves, gate=Gate())
    standing = Standing(state=state, wave=1, limits=(0.1, 0.2, 0.5, 1.0), opened_s=(5.0, 9.0))  # type: ignore[arg-type] # by the tests
    asset = Asset(kind="model", name="smol", version="2", sha256="a" * 64, bytes=1)
    rich = {"scope": Scope(), "residency": (), "plan": plan, "variants": (asset,), "standing": standing}
    row = {column.name: column.type.python_type() for column in releases.columns}
    row |= {key: msgspec.json.encode(value).decode() for key, value in {**rich, "tally": Tally(sites=9)}.items()}
    row |= {"id": "r-1", "name": "smol", "version": "2", "state": state, "why": "bad", "by": "person:ann", **fields}
    with database.begin() as c:
        c.execute(insert(releases), [row])


def test_the_whole_of_it_for_who_may_see_all(hub: Hub) -> None:
    fleets.enrolled(hub.database, "harbour")
    released(hub.database, "waiting")
    found = shown(hub, access.owner("ann"), Ask())
    assert (found.is_all, found.hub, found.me.name) == (True, hub.settings.name, "ann")
    assert found.me.may == {"pause": True, "resume": True, "abort": True, "audit": True}
    assert [row.site for row in found.sites] == ["harbour"]
    assert found.alarms == ()
    (release,) = found.releases
    assert [(wave.label, wave.is_, wave.opened_s) for wave in release.waves] == [
        ("1 sites", "through", 5.0),
        ("group clinics", "open", 9.0),
        ("12.5 %", "", 0.0),
        ("100 %", "", 0.0),
    ]
    assert "90 % of at least 3 decided sites" in release.gate
    assert b'"is":"open"' in msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("state", "is_"), [("paused", "stopped"), ("halted", "stopped"), ("done", "through"), ("rolling", "open")]
)
def test_a_wave_says_whether_it_goes_on(hub: Hub, state: str, is_: str) -> None:
    released(hub.database, state)
    assert status_releases.shown(hub.database)[0].waves[1].is_ == is_


def test_who_may_see_a_group_sees_no_more(hub: Hub) -> None:
    fleets.enrolled(hub.database, "harbour", groups='["clinics"]')
    fleets.enrolled(hub.database, "ship")
    released(hub.database, "paused")
    fleets.told(hub.database, hub.clock(), fleets.report("ship"), fleets.report("harbour"))
    nils = somebody(access.Grant(role="operator", groups=("clinics",)))
    found = shown(hub, nils, Ask())
    assert ([row.site for row in found.sites], found.releases, found.alarms, found.is_all) == (
        ["harbour"],
        (),
        (),
        False,
    )
    assert (found.counts.fine, found.counts.unknown) == (1, 0)
    assert json.loads(report(hub, nils, "harbour"))["site"] == "harbour"
    for site in ("ship", "nobody"):  # told alike: what is there must not be guessed
        with pytest.raises(RequestError, match="that you may see"):
            report(hub, nils, site)
    with pytest.raises(RefusalError):
        acts(hub, nils, 10)
    everywhere = somebody(access.Grant(role="reader"), access.Grant(role="reader", groups=("clinics",), is_deny=True))
    assert [row.site for row in shown(hub, everywhere, Ask()).sites] == ["ship"]


def test_who_has_no_role_is_told_nothing(hub: Hub) -> None:
    for ask in (
        lambda: shown(hub, somebody(), Ask()),
        lambda: report(hub, somebody(), "x"),
        lambda: acts(hub, somebody(), 1),
    ):
        with pytest.raises(RefusalError, match=r"hub\.may"):
            ask()


def test_a_report_is_given_verbatim_and_its_lack_is_said(hub: Hub) -> None:
    fleets.enrolled(hub.database, "harbour")
    with pytest.raises(RequestError, match="nothing yet"):
        report(hub, access.owner("ann"), "harbour")
    sent = fleets.report("harbour", [fleets.asset()], software="0.9")
    fleets.told(hub.database, hub.clock(), sent)
    assert report(hub, access.owner("ann"), "harbour") == msgspec.json.encode(sent)


def test_acts_are_given_newest_first_and_page_by_page(hub: Hub) -> None:
    for number in range(5):
        hub.acts.write("person:ann", "site.label", f"site-{number}", "f" * 64, n=number)
    hub.acts.checkpoint()
    found = acts(hub, access.owner("ann"), 2)
    assert next(act["subject"] for act in found if act["act"] == "site.label") == "site-4"
    older = acts(hub, access.owner("ann"), 500, before=found[-1]["seq"])
    assert all(act["seq"] < found[-1]["seq"] for act in older)
    assert {"seq", "at_s", "actor", "act", "subject", "digest", "figures"} == set(found[0])


def test_what_fails_ends_or_waits_is_an_alarm(hub: Hub) -> None:
    now_s = hub.clock()
    row = {column.name: column.type.python_type() for column in tasks.columns}
    with hub.database.begin() as c:
        c.execute(insert(tasks), [{**row, "kind": "resign", "failures": 2}, {**row, "kind": "collect", "failures": 4}])
    assert [alarm.text for alarm in status_alarms.found(hub, now_s)] == [
        "The hub's own work 'collect' has failed 4 times in a row (see its log). It goes on trying."
    ]
    released(hub.database, "rolling_back")
    later = status_alarms.found(hub, now_s + 8 * 86_400)
    assert [alarm.is_bad for alarm in later] == sorted((alarm.is_bad for alarm in later), reverse=True)
    said = " ".join(alarm.text for alarm in later)
    assert "is being taken back (bad)" in said
    assert "'catalogue timestamp' has ended 1.0 days ago" in said
    assert "'director timestamp' has ended 1.0 days ago" in said
    soon = " ".join(alarm.text for alarm in status_alarms.found(hub, now_s + 4 * 86_400))
    assert "'catalogue timestamp' ends in 3.0 days" in soon


def test_a_release_that_was_taken_back_is_an_alarm_for_a_week(hub: Hub) -> None:
    now_s = hub.clock()
    released(hub.database, "halted", ended_s=now_s - 86_400)
    assert [alarm.text for alarm in status_alarms.found(hub, now_s)] == ["The release of smol 2 was taken back (bad)."]
    assert not any("smol" in alarm.text for alarm in status_alarms.found(hub, now_s + 7 * 86_400))


def test_a_release_that_is_paused_waits_for_somebody(hub: Hub) -> None:
    released(hub.database, "paused")
    (alarm,) = status_alarms.found(hub, hub.clock())
    assert (alarm.text, alarm.is_bad) == ("The release of smol 2 is paused (bad): resume or abort it.", False)


def test_a_hub_without_its_files_says_so(hub: Hub, tmp_path: Path) -> None:
    hub.settings.folder.rename(tmp_path / "away")
    (alarm,) = status_alarms.found(hub, hub.clock() + 3600)
    assert alarm.is_bad
    assert "cannot be read" in alarm.text


def test_over_the_wire(settings: Settings) -> None:
    with opened(settings) as rooms:
        fleets.enrolled(rooms.database, "harbour")
    with served.serving(settings) as at:
        owner, reader = served.key(at, "olga", "owner"), served.key(at, "rita", "reader")
        answer = at.ask("GET", "/admin/status?find=harb&limit=5", token=reader)
        assert (answer.status, [row["site"] for row in answer.json["sites"]]) == (200, ["harbour"])
        assert answer.json["me"]["may"]["audit"] is False
        for path in (
            "/admin/status?limit=-1",
            "/admin/status?health=ill",
            "/admin/status?more=1",
            "/admin/status?find=%01",
            "/admin/acts?limit=x",
        ):
            assert at.ask("GET", path, token=owner).code == "hub.asked"
        assert at.ask("GET", "/admin/acts?limit=3", token=reader).status == 403
        assert len(at.ask("GET", "/admin/acts?limit=3&before=4", token=owner).json["acts"]) <= 3
        assert at.ask("GET", "/admin/sites/harbour/report", token=reader).status == 404
        assert at.ask("GET", "/admin/status").status == 401
        page_of(at)


def page_of(at: Served) -> None:
    """The console is served with the headers that keep it to itself, and has no secret and no foreign address in it."""
    for path, kind in (("/", "text/html"), ("/console.css", "text/css"), ("/console.js", "text/javascript")):
        answer = at.ask("GET", path)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(kind)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert b"http://" not in answer.body
        assert b"https://" not in answer.body
        assert at.ask("GET", path, headers={"if-none-match": answer.headers["etag"]}).status == 304
    html = at.ask("GET", "/").body
    assert b"<script>" not in html
    assert b"style=" not in html
    assert b"innerHTML =" not in at.ask("GET", "/console.js").body


@pytest.fixture
def command(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    file = fleets.hub_yaml(settings, tmp_path, monkeypatch)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(ecotone, ["hub", "status", str(file), *arguments])

    return run


def test_the_command_shows_the_fleet(command: Any, settings: Settings) -> None:
    database = Database.open(settings.database_url())
    fleets.crowd(database, 30, time.time())
    released(database, "waiting")
    database.close()
    result = command("--limit", "3")
    assert result.exit_code == 0, result.output
    for word in ("smol 2", "waiting", "2 of 4 (group clinics)", "site-000", "1 to 3 of 30", "sites fine"):
        assert word in result.output
    said = json.loads(command("--json", "--find", "site-00007").output)
    assert [row["site"] for row in said["sites"]] == ["site-00007"]
    assert "site-00007" in command("--find", "site-00007").output
    lines = command("--json", "--watch", "--count", "2", "--every-s", "0.5").output.splitlines()
    assert [json.loads(line)["found"] for line in lines] == [30, 30]
    assert "as of" in command("--watch", "--count", "1").output


def test_the_command_asks_a_hub_from_afar(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(settings) as rooms:
        fleets.enrolled(rooms.database, "harbour")
    with served.serving(settings) as at:
        monkeypatch.setenv("ECOTONE_HUB_KEY", served.key(at, "rita", "reader"))
        asked = ["hub", "status", f"http://127.0.0.1:{at.port}"]
        result = CliRunner().invoke(ecotone, asked)
        assert (result.exit_code, "harbour" in result.output) == (0, True), result.output
        monkeypatch.setenv("ECOTONE_HUB_KEY", "eco_wrong_key")
        assert CliRunner().invoke(ecotone, asked).exit_code == 2
    assert CliRunner().invoke(ecotone, asked).exit_code == 3


def test_check_leaves_with_1_where_somebody_must_look(command: Any, settings: Settings) -> None:
    assert command("--check").exit_code == 0
    database = Database.open(settings.database_url())
    fleets.enrolled(database, "silent", "ill")
    assert command("--check").exit_code == 0  # unknown is no trouble
    fleets.told(database, time.time(), fleets.report("ill", trouble=("disk",)))
    database.close()
    assert command("--check").exit_code == 1
    assert command().exit_code == 0


def test_what_is_trouble() -> None:
    calm: dict[str, Any] = {"counts": {"trouble": 0}, "alarms": [], "releases": [{"state": "waiting", "ended_s": 0}]}
    assert not is_trouble(calm)
    assert is_trouble({**calm, "alarms": [{}]})
    assert is_trouble({**calm, "releases": [{"state": "paused", "ended_s": 0}]})
    assert not is_trouble({**calm, "releases": [{"state": "halted", "ended_s": 7}]})


ROLES: tuple[access.Role, ...] = ("reader", "operator", "auditor", "owner")


@pytest.mark.parametrize("seed", range(6))
def test_whoever_asks_sees_exactly_the_sites_that_they_may(hub: Hub, seed: int) -> None:
    """Whatever grants and denials somebody has: the database's scope is what `access` says of each site."""
    dice = random.Random(seed)
    some = {}
    for number in range(30):
        groups = sorted(dice.sample(["clinics", "ships", "labs", "north"], dice.randrange(4)))
        region = dice.choice(["", "eu", "us"])
        some[f"s{number}"] = access.Subject(groups=("all", *groups), region=region)
        fleets.enrolled(hub.database, f"s{number}", groups=json.dumps(groups), region=region)
    for _ in range(12):
        grants = [
            access.Grant(
                role=dice.choice(ROLES),
                groups=tuple(dice.sample(["*", "clinics", "s*", "all", "north"], dice.randrange(1, 3))),
                regions=tuple(dice.sample(["*", "eu", "u*"], dice.randrange(1, 3))),
                is_deny=dice.random() < 0.3,
            )
            for _ in range(dice.randrange(1, 4))
        ]
        actor = somebody(*grants)
        wanted = {name for name, subject in some.items() if access.may(actor.person, "fleet.read", subject)}
        try:
            found = shown(hub, actor, Ask(limit=100))
        except RefusalError:
            assert not wanted
            continue
        assert {row.site for row in found.sites} == wanted, grants
        assert found.counts.unknown == found.found == len(wanted)
        for name in some:
            with pytest.raises(RequestError) as told:
                report(hub, actor, name)
            assert ("nothing yet" in told.value.message) == (name in wanted)
