"""A site's key: on the disk before anybody hears of it, and one of two is good whatever reply is lost."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from ecotone.access import is_signed, session_message
from ecotone.agent.identity import ENROLLING, FORMER, FORMER_MAX, KEY, NEXT, Enrolment, Identity
from ecotone.values import ConfigError


@pytest.fixture
def joined(tmp_path: Path) -> Identity:
    return Enrolment.begun(tmp_path, "token").done()


def files(store: Path) -> set[str]:
    return {path.name for path in (store / "hub").iterdir()}


def public(body: dict[str, str], name: str = "key") -> bytes:
    return base64.b64decode(body[name])


def test_a_site_joins_with_a_key_that_its_user_alone_can_read(tmp_path: Path) -> None:
    enrolment = Enrolment.begun(tmp_path, "eco1.a.b")
    body = enrolment.body("eco1.a.b", "clinic-7")
    assert (body["token"], body["site"]) == ("eco1.a.b", "clinic-7")
    assert files(tmp_path) == {ENROLLING}
    identity = enrolment.done()
    assert identity.public == public(body)
    assert files(tmp_path) == {KEY}
    assert stat.S_IMODE((tmp_path / "hub" / KEY).stat().st_mode) == 0o600
    assert Identity.load(tmp_path).public == identity.public


def test_the_same_token_brings_the_same_key_and_another_one_another(tmp_path: Path) -> None:
    first = Enrolment.begun(tmp_path, "one").body("one", "a")
    assert Enrolment.begun(tmp_path, "one").body("one", "a") == first
    assert Enrolment.begun(tmp_path, "two").body("two", "a")["key"] != first["key"]


def test_a_token_that_is_refused_harms_no_key_that_is_there(tmp_path: Path, joined: Identity) -> None:
    Enrolment.begun(tmp_path, "wrong")
    assert Identity.load(tmp_path).public == joined.public


def test_who_joins_again_has_a_new_key_alone(tmp_path: Path, joined: Identity) -> None:
    joined.session_body("a", "c", is_changing=True)
    fresh = Enrolment.begun(tmp_path, "again").done()
    assert fresh.public != joined.public
    assert not fresh.is_changing
    assert files(tmp_path) == {KEY}


def test_a_session_is_signed_for_site_and_challenge(joined: Identity) -> None:
    body = joined.session_body("clinic-7", "ch")
    assert set(body) == {"challenge", "signature"}
    assert is_signed(joined.public, body["signature"], session_message("clinic-7", "ch"))


def test_the_next_key_is_on_the_disk_before_the_hub_hears_of_it(tmp_path: Path, joined: Identity) -> None:
    body = joined.session_body("a", "c", is_changing=True)
    assert is_signed(joined.public, body["signature"], session_message("a", "c", body["next_key"]))
    again = Identity.load(tmp_path)
    assert again.is_changing
    assert again.session_body("a", "c2", is_changing=True)["next_key"] == body["next_key"], "the same till it counts"
    following = public(body, "next_key")
    signed = again.next_body("a", "c3")
    assert is_signed(following, signed["signature"], session_message("a", "c3"))
    again.promote()
    again.promote()
    assert (again.public, again.is_changing) == (following, False)
    assert files(tmp_path) == {KEY, FORMER}
    assert Identity.load(tmp_path).public == following


def test_the_keys_before_are_kept_for_a_hub_that_was_restored(tmp_path: Path, joined: Identity) -> None:
    keys = [joined.public]
    for number in range(4):
        joined.session_body("a", f"c{number}", is_changing=True)
        joined.promote()
        keys.append(joined.public)
    assert joined.formers == FORMER_MAX
    again = Identity.load(tmp_path)
    for number in range(FORMER_MAX):
        body = again.former_body("a", "c", number)
        assert public(body, "next_key") == keys[-1]
        assert is_signed(keys[-2 - number], body["signature"], session_message("a", "c", body["next_key"]))
    Enrolment.begun(tmp_path, "again").done()
    assert Identity.load(tmp_path).formers == 0, "who joins again may have lost them to a thief"
    (tmp_path / "hub" / FORMER).write_bytes(b"x" * 50)
    assert Identity.load(tmp_path).formers == 1, "what is damaged there harms nothing"


def test_a_kill_between_the_two_steps_of_a_promotion_harms_nothing(tmp_path: Path, joined: Identity) -> None:
    joined.session_body("a", "c", is_changing=True)
    (tmp_path / "hub" / KEY).write_bytes((tmp_path / "hub" / NEXT).read_bytes())
    assert not Identity.load(tmp_path).is_changing


def test_without_a_key_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ecotone enroll") as found:
        Identity.load(tmp_path)
    assert found.value.code == "hub.identity"


@pytest.mark.parametrize("name", [KEY, NEXT])
@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_is_told(tmp_path: Path, joined: Identity, name: str, content: bytes) -> None:
    assert joined
    (tmp_path / "hub" / name).write_bytes(content)
    with pytest.raises(ConfigError, match="restore it"):
        Identity.load(tmp_path)


def test_a_key_that_cannot_be_read_or_written_is_told(tmp_path: Path, joined: Identity) -> None:
    folder = tmp_path / "hub"
    (folder / NEXT).mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        Identity.load(tmp_path)
    with pytest.raises(ConfigError, match="check owner") as found:
        joined.session_body("a", "c", is_changing=True)
    assert found.value.code == "store.path"
    assert not joined.is_changing, "nothing is told that is not on the disk"
    with pytest.raises(ConfigError, match="check owner"):
        Enrolment.begun(tmp_path, "t").done()
