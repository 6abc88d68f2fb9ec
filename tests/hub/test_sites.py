"""Sites at a hub, on SQLite and on PostgreSQL: enrolment, sessions, keys that change, theft and revocation."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update
from tests.hub.members import NOW_S, OWNER, Machine, Members

from ecotone.access import Confinement, Grant
from ecotone.agent.identity import Enrolment
from ecotone.hub.database import Database
from ecotone.hub.sites import KEY_AGE_S
from ecotone.hub.sites_tokens import TokenAsked
from ecotone.hub.tables_access import sites as sites_table
from ecotone.values import RefusalError, RequestError


@pytest.fixture
def members(database: Database, tmp_path: Path) -> Members:
    return Members(database, tmp_path / "hub.keys")


def refused(code: str, work: Callable[[], object]) -> int:
    with pytest.raises((RequestError, RefusalError)) as found:
        work()
    assert found.value.code == code
    return found.value.status


def test_a_site_joins_by_a_token_and_gets_what_the_token_says(members: Members) -> None:
    token = members.token(groups=("clinics",), region="eu", labels={"ward": "3"})
    machine = Machine("clinic-7")
    done = members.sites.enroll(token, "clinic-7", machine.public)
    assert (done.site, done.hub, done.now_s) == ("clinic-7", "hub-1", NOW_S)
    actor = members.sites.authenticate(machine.session(members.sites).token)
    assert (actor.site, actor.groups, actor.region, actor.labels) == (
        "clinic-7",
        ("all", "clinics"),
        "eu",
        {"ward": "3"},
    )
    assert members.written() == ["token.make", "site.enroll"]


def test_the_same_token_site_and_key_again_is_the_same_answer_and_costs_no_use(members: Members) -> None:
    token, machine = members.token(), Machine("clinic-7")
    for _ in range(3):
        members.sites.enroll(token, "clinic-7", machine.public)
    assert members.written().count("site.enroll") == 1
    assert refused("hub.token", lambda: members.sites.enroll(token, "clinic-7", Machine("x").public)) == 401


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "",
        lambda token: "eco1.abc",
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token.replace("eco1.", "eco1.ffff"),
        lambda token: token + "\n",
        lambda token: f"eco_{token.split('.')[1]}_{token.split('.')[2]}",
    ],
)
def test_what_is_no_token_of_this_hub_lets_nobody_in(members: Members, spoil: Callable[[str], str]) -> None:
    token = spoil(members.token())
    assert refused("hub.token", lambda: members.sites.enroll(token, "clinic-7", Machine("x").public)) == 401
    assert members.sites.get("clinic-7") is None


def test_a_token_is_for_the_sites_that_it_names_and_only_so_often(members: Members) -> None:
    token = members.token("clinic-*", uses=2)
    refused("hub.token", lambda: members.sites.enroll(token, "harbour-1", Machine("x").public))
    for name in ("clinic-1", "clinic-2"):
        members.sites.enroll(token, name, Machine(name).public)
    refused("hub.token", lambda: members.sites.enroll(token, "clinic-3", Machine("x").public))


def test_a_token_runs_out_and_can_be_revoked(members: Members) -> None:
    late, gone = members.token(hours=1), members.token("b")
    members.sites.tokens.revoke(OWNER, gone.split(".")[1])
    refused("hub.token", lambda: members.sites.enroll(gone, "b", Machine("b").public))
    members.clock.now_s += 3600
    refused("hub.token", lambda: members.sites.enroll(late, "clinic-7", Machine("x").public))
    assert members.sites.tokens.all(OWNER) == []
    refused("hub.unknown_token", lambda: members.sites.tokens.revoke(OWNER, "ffff"))


def test_a_name_that_is_taken_is_not_given_to_another(members: Members) -> None:
    first = members.enrolled()
    token, thief = members.token("clinic-*"), Machine("clinic-7")
    assert refused("hub.site_taken", lambda: members.sites.enroll(token, "clinic-7", thief.public)) == 409
    assert members.sites.authenticate(first.session(members.sites).token).site == "clinic-7"
    assert members.sites.tokens.all(OWNER)[-1].uses_left == 1, "the token was not used up by it"


def test_of_many_that_come_at_once_by_one_token_one_comes_in(members: Members) -> None:
    token, said = members.token(), []

    def come() -> None:
        try:
            members.sites.enroll(token, "clinic-7", Machine("clinic-7").public)
            said.append("in")
        except (RequestError, RefusalError) as error:
            said.append(error.code)

    threads = [threading.Thread(target=come) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("in") == 1
    assert set(said) <= {"in", "hub.token", "hub.site_taken"}


@pytest.mark.parametrize("name", ["", "Clinic", "-a", "a" * 41, "a/b", "a\n", "*"])
def test_a_site_has_a_plain_name(members: Members, name: str) -> None:
    token = members.token("*")
    refused("hub.site_name", lambda: members.sites.enroll(token, name, Machine("x").public))


@pytest.mark.parametrize("key", ["", "!", "AAAA", "A" * 43 + "=", "A" * 600])
def test_what_is_no_key_is_refused_before_the_token_is_looked_at(members: Members, key: str) -> None:
    assert refused("hub.site_key", lambda: members.sites.enroll("", "a", key)) == 400


def test_a_challenge_is_good_once_at_whichever_process(members: Members) -> None:
    machine = members.enrolled()
    challenge = members.sites.challenge("clinic-7").challenge
    signature = machine.sign(challenge)
    members.other().sites.session("clinic-7", challenge, signature)
    for process in (members, members.other()):
        again = functools.partial(process.sites.session, "clinic-7", challenge, signature)
        assert refused("hub.session", again) == 401


def test_of_many_who_answer_one_challenge_at_once_one_has_a_session(members: Members) -> None:
    machine, said = members.enrolled(), []
    challenge = members.sites.challenge("clinic-7").challenge
    signature = machine.sign(challenge)
    processes = [members.other() for _ in range(6)]

    def come(process: Members) -> None:
        try:
            said.append(process.sites.session("clinic-7", challenge, signature).token)
        except RequestError as error:
            said.append(error.code)

    threads = [threading.Thread(target=come, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said)[1:] == ["hub.session"] * 5
    assert said.count("hub.session") == 5


def test_a_wrong_signature_uses_up_no_challenge_and_writes_nothing(members: Members) -> None:
    machine, other = members.enrolled(), Machine("clinic-7")
    challenge = members.sites.challenge("clinic-7").challenge
    refused("hub.session", lambda: members.sites.session("clinic-7", challenge, other.sign(challenge)))
    refused("hub.session", lambda: members.sites.session("clinic-7", challenge, "?"))
    members.sites.session("clinic-7", challenge, machine.sign(challenge))


def test_a_challenge_is_for_one_site_and_for_two_minutes(members: Members) -> None:
    machine = members.enrolled()
    members.enrolled("other")
    for challenge in (members.sites.challenge("other").challenge, "ecc1.x.y.z", "", "A" * 1000):
        signature = machine.sign(challenge)
        refused("hub.session", lambda c=challenge, s=signature: members.sites.session("clinic-7", c, s))  # type: ignore[misc] # bound per turn
    late = members.sites.challenge("clinic-7").challenge
    members.clock.now_s += 121
    refused("hub.session", lambda: members.sites.session("clinic-7", late, machine.sign(late)))


def test_who_is_not_enrolled_hears_the_same_as_who_signs_wrongly(members: Members) -> None:
    stranger = Machine("nobody")
    assert refused("hub.session", lambda: stranger.session(members.sites)) == 401


def test_a_session_is_taken_by_every_process_and_ends_by_itself(members: Members) -> None:
    token = members.enrolled().session(members.sites).token
    assert members.other().sites.authenticate(token).site == "clinic-7"
    members.clock.now_s += 899
    members.sites.authenticate(token)
    members.clock.now_s += 2
    assert refused("hub.session", lambda: members.sites.authenticate(token)) == 401


def test_a_token_of_another_hub_or_of_nobody_is_none(members: Members, tmp_path: Path) -> None:
    machine = members.enrolled()
    token = machine.session(members.sites).token
    twin = Members(members.database, tmp_path / "other.keys", members.clock)
    refused("hub.session", lambda: twin.sites.authenticate(token))
    for spoiled in ("", "ecs1.a.b.c", token[:-2], token.replace("ecs1", "ecc1"), "é" * 20, "x" * 5000):
        refused("hub.session", lambda t=spoiled: members.sites.authenticate(t))  # type: ignore[misc] # bound per turn


def test_secrets_of_sessions_change_while_the_hub_runs(members: Members) -> None:
    machine, other = members.enrolled(), members.other()
    token = machine.session(members.sites).token
    refused("hub.may", lambda: members.sites.renew_sessions(members.actor("eve", Grant(role="releaser"))))
    members.sites.renew_sessions(OWNER)
    assert members.written()[-1] == "sessions.renew"
    assert other.sites.authenticate(token).site == "clinic-7", "the secret before it still checks"
    assert members.sites.authenticate(machine.session(other.sites).token)
    members.secrets.renew_sessions()
    refused("hub.session", lambda: other.sites.authenticate(token))


def test_a_stolen_key_is_worth_nothing_from_the_next_request_on_everywhere(members: Members) -> None:
    machine, other = members.enrolled(groups=("clinics",)), members.other()
    token = machine.session(other.sites).token
    members.sites.revoke(OWNER, "clinic-7", "stolen on the train")
    assert refused("hub.revoked", lambda: other.sites.authenticate(token)) == 403
    assert refused("hub.revoked", lambda: machine.session(other.sites)) == 403
    refused("hub.revoked", lambda: members.sites.keys_of("clinic-7"))
    assert members.sites.named() == {}
    site = members.sites.revoke(OWNER, "clinic-7")
    assert (site.state, site.why) == ("revoked", "stolen on the train")
    assert members.written().count("site.revoke") == 1, "twice is once"


def test_a_site_comes_back_after_a_theft_by_a_token_for_that_with_a_new_key_alone(members: Members) -> None:
    thief = members.enrolled(groups=("clinics",), region="eu")
    stolen = thief.session(members.sites).token
    members.sites.revoke(OWNER, "clinic-7")
    fresh, plain = Machine("clinic-7"), members.token("*")
    refused("hub.site_taken", lambda: members.sites.enroll(plain, "clinic-7", fresh.public))
    token = members.token(again=True)
    refused("hub.site_key", lambda: members.sites.enroll(token, "clinic-7", thief.public))
    members.sites.enroll(token, "clinic-7", fresh.public)
    assert members.sites.authenticate(fresh.session(members.sites).token).groups == ("all", "clinics")
    refused("hub.session", lambda: thief.session(members.sites))
    refused("hub.session", lambda: members.sites.authenticate(stolen))


def test_a_token_for_a_site_that_is_there_is_for_one_that_is_there(members: Members) -> None:
    refused("hub.unknown_site", lambda: members.token("nobody", again=True))
    for asked in ({"site": "*"}, {"uses": 2}, {"region": "eu"}):
        refused("hub.token_again", lambda a=asked: members.token(**{"again": True, **a}))  # type: ignore[misc] # bound per turn


def test_a_key_changes_and_the_old_one_is_good_until_the_new_one_was_used(members: Members) -> None:
    old, new = members.enrolled(), Machine("clinic-7")
    members.clock.now_s += KEY_AGE_S + 1
    assert old.session(members.sites).rotate
    before = old.session(members.sites, next_key=new.public).token
    assert len(members.sites.keys_of("clinic-7")) == 2
    assert old.session(members.sites).rotate, "a lost reply: the old key is as good as before"
    after = new.session(members.other().sites)
    assert not after.rotate
    refused("hub.session", lambda: old.session(members.sites))
    refused("hub.session", lambda: members.sites.authenticate(before))
    site = members.sites.get("clinic-7")
    assert site is not None
    assert (site.key_generation, site.is_changing_key) == (2, False)
    assert members.written()[-2:] == ["site.key_next", "site.key_changed"]


def test_a_site_that_was_off_for_years_with_a_wrong_clock_begins_a_session_as_ever(members: Members) -> None:
    machine = members.enrolled()
    members.clock.now_s += 5 * 365 * 86_400
    done = machine.session(members.sites)
    assert done.rotate
    assert members.sites.authenticate(done.token).site == "clinic-7"


def test_a_next_key_is_only_told_by_who_signs_for_it(members: Members) -> None:
    machine, thief = members.enrolled(), Machine("clinic-7")
    challenge = members.sites.challenge("clinic-7").challenge
    signature = machine.sign(challenge)
    refused("hub.session", lambda: members.sites.session("clinic-7", challenge, signature, thief.public))
    refused("hub.site_key", lambda: members.sites.session("clinic-7", challenge, signature, "A" * 43 + "="))
    assert len(members.sites.keys_of("clinic-7")) == 1
    machine.session(members.sites, next_key=machine.public)
    assert len(members.sites.keys_of("clinic-7")) == 1, "its own key again is no change"


def test_answered_challenges_are_forgotten_when_they_are_too_old_to_be_answered(members: Members) -> None:
    from sqlalchemy import func, select

    from ecotone.hub.tables_access import challenges_used

    machine = members.enrolled()
    for _ in range(3):
        machine.session(members.sites)
        members.clock.now_s += 400
    with members.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(challenges_used)).scalar() == 1


def test_confinements_are_kept_and_taken_away(members: Members) -> None:
    rules = members.sites.rules
    rule = Confinement(assets=("models/*",), groups=("clinics",))
    rule_id = rules.confine(OWNER, rule)
    assert members.other().sites.rules.all() == (rule,)
    assert [(one.id, one.rule, one.made_by) for one in rules.listed(OWNER)] == [(rule_id, rule, OWNER.name)]
    rules.free(OWNER, rule_id)
    assert rules.all() == ()
    refused("hub.unknown_confinement", lambda: rules.free(OWNER, rule_id))
    assert members.written() == ["confinement.set", "confinement.lift"]


def test_an_operator_of_one_group_brings_no_site_into_another(members: Members) -> None:
    eve = members.actor("eve", Grant(role="operator", groups=("clinics",), regions=("eu",)))
    sites = members.sites
    for groups, region in ((("prod",), "eu"), (("clinics", "prod"), "eu"), (("clinics",), "us"), ((), "eu")):
        asked = TokenAsked(site="x", groups=groups, region=region)
        refused("hub.may", lambda a=asked: sites.tokens.new(eve, a))  # type: ignore[misc] # bound per turn
    _, token = sites.tokens.new(eve, TokenAsked(site="x", groups=("clinics",), region="eu"))
    sites.enroll(token, "x", Machine("x").public)
    members.enrolled("y", groups=("prod",), region="eu")
    refused("hub.may", lambda: sites.label(eve, "x", groups=("clinics", "prod")))
    refused("hub.may", lambda: sites.label(eve, "x", region="us"))
    refused("hub.may", lambda: sites.label(eve, "y", groups=("clinics",)))
    refused("hub.may", lambda: sites.revoke(eve, "y"))
    refused("hub.may", lambda: sites.rules.confine(eve, Confinement(assets=("*",))))
    assert sites.label(eve, "x", labels={"ward": "1"}).labels == {"ward": "1"}
    assert [site.name for site in sites.page(eve).sites] == ["x"]
    assert sites.page(OWNER).total == 2
    assert sites.revoke(eve, "x").state == "revoked"


def test_labels_are_plain_and_kept_and_found(members: Members) -> None:
    members.enrolled()
    members.enrolled("b", groups=("b-2",))
    sites = members.sites
    sites.label(OWNER, "clinic-7", groups=("b", "all"), region="eu")
    site = sites.label(OWNER, "clinic-7", labels={"a": "1"})
    assert (site.groups, site.region, site.labels) == (("all", "b"), "eu", {"a": "1"})
    assert [one.name for one in sites.page(OWNER, group="b").sites] == ["clinic-7"]
    assert [one.name for one in sites.page(OWNER, find="inic").sites] == ["clinic-7"]
    assert sites.page(OWNER, find="%").total == 0
    assert [one.name for one in sites.page(OWNER, offset=1, limit=1).sites] == ["clinic-7"]
    assert sites.page(OWNER, group="all").total == 2
    assert set(sites.named(["b", "nobody"])) == {"b"}
    refused("hub.site_labels", lambda: sites.label(OWNER, "b", groups=("A B",)))
    refused("hub.unknown_site", lambda: sites.label(OWNER, "nobody", region="eu"))


def test_who_has_no_role_sees_no_sites(members: Members) -> None:
    nobody = members.actor("bob")
    refused("hub.may", lambda: members.sites.page(nobody))
    refused("hub.may", lambda: members.sites.tokens.all(nobody))
    refused("hub.may", lambda: members.sites.rules.listed(nobody))


def test_a_hub_that_was_restored_from_a_copy_takes_its_site_back_with_the_key_of_now(
    members: Members, tmp_path: Path
) -> None:
    store, sites = tmp_path / "store", members.sites
    token = members.token()
    enrolment = Enrolment.begun(store, token)
    sites.enroll(token, "clinic-7", enrolment.body(token, "clinic-7")["key"])
    site = enrolment.done()

    def ask(prove: Callable[..., dict[str, str]], **how: object) -> None:
        body = prove("clinic-7", sites.challenge("clinic-7").challenge, **how)
        sites.session("clinic-7", body["challenge"], body["signature"], body.get("next_key"))

    with members.database.read() as connection:
        copy = dict(connection.execute(select(sites_table)).mappings().one())
    ask(site.session_body, is_changing=True)
    ask(site.next_body)
    site.promote()
    with members.database.begin() as connection:
        connection.execute(update(sites_table).values(**copy))
    refused("hub.session", lambda: ask(site.session_body))
    ask(site.former_body)
    ask(site.session_body)
    assert sites.keys_of("clinic-7") == [site.public]
    refused("hub.session", lambda: ask(site.former_body))
