"""Signatures, challenges, session tokens, and secrets that are borne."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ecotone.access import bearing, proofs
from ecotone.access.proofs import Claims, SessionKeys
from ecotone.values import RequestError

NOW_S = 1_800_000_000.0
KEYS = SessionKeys({"new1": b"n" * 32, "old1": b"o" * 32})
CLAIMS = Claims(hub="hub-1", site="clinic-7", generation=3, until_s=NOW_S + 900)
PEPPER = b"p" * 32


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def test_a_token_is_read_back_by_who_has_the_secret_until_it_runs_out() -> None:
    token = KEYS.token(CLAIMS)
    assert token.startswith("ecs1.new1.")
    assert KEYS.claims(token, "hub-1", NOW_S) == CLAIMS
    assert KEYS.claims(token, "hub-2", NOW_S) is None
    assert KEYS.claims(token, "hub-1", NOW_S + 900) is None
    assert KEYS.claims(token, "hub-1", NOW_S - 1) is None, "longer than any session: a clock went back"
    assert SessionKeys({"old1": b"o" * 32}).claims(token, "hub-1", NOW_S) is None
    former = SessionKeys({"old1": b"o" * 32}).token(CLAIMS)
    assert KEYS.claims(former, "hub-1", NOW_S) == CLAIMS, "the secret before it still checks"


@pytest.mark.parametrize("said", [b"{}", b"[]", b"\xff", b'{"hub":"hub-1","site":"A","generation":1,"until_s":1}'])
def test_a_token_with_a_right_mac_over_something_else_is_none(said: bytes) -> None:
    payload = f"ecs1.new1.{proofs._text(said)}"
    assert KEYS.claims(f"{payload}.{KEYS._mac('new1', payload)}", "hub-1", NOW_S) is None


@pytest.mark.parametrize("token", ["", ".", "a.b.c.d", "ecs1.none.x.y", "ecs1.new1.x.y", "\ud800.\ud800", "x" * 513])
def test_what_nobody_here_has_made_is_no_token_and_no_challenge(token: str) -> None:
    assert KEYS.claims(token, "hub-1", NOW_S) is None
    assert KEYS.challenge_until_s(token, "clinic-7", NOW_S) is None


def test_a_token_is_no_challenge_and_a_challenge_no_token() -> None:
    challenge = KEYS.challenge("clinic-7", b"x" * 24, NOW_S)
    assert KEYS.challenge_until_s(challenge, "clinic-7", NOW_S) == NOW_S + 120
    assert KEYS.challenge_until_s(challenge, "clinic-8", NOW_S) is None
    assert KEYS.challenge_until_s(challenge, "clinic-7", NOW_S + 120) is None
    assert KEYS.claims(challenge, "hub-1", NOW_S) is None
    assert KEYS.challenge_until_s(KEYS.token(CLAIMS), "clinic-7", NOW_S) is None


def test_a_nonce_may_hold_any_byte() -> None:
    challenge = KEYS.challenge("clinic-7", b"\n" * 24, NOW_S)
    assert KEYS.challenge_until_s(challenge, "clinic-7", NOW_S)


@pytest.mark.parametrize("keys", [{}, {"a": b"short"}])
def test_secrets_are_long(keys: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        SessionKeys(keys)


def test_what_a_site_signs_names_the_site_the_challenge_and_its_next_key() -> None:
    assert proofs.session_message("a", "c") == b"ecotone-session-v1\na\nc"
    assert proofs.session_message("a", "c", "k") == b"ecotone-session-v1\na\nc\nk"


def test_a_signature_holds_for_its_key_and_message_alone() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    signature = text(key.sign(b"message"))
    assert proofs.is_signed(public, signature, b"message")
    assert not proofs.is_signed(public, signature, b"massage")
    assert not proofs.is_signed(other.public_key().public_bytes_raw(), signature, b"message")
    for spoiled in ("", "?", signature[:-4], "é", "A" * 600):
        assert not proofs.is_signed(public, spoiled, b"message")
    assert not proofs.is_signed(b"", signature, b"message")


def test_a_key_under_which_anybody_can_sign_is_none() -> None:
    weak = bytes([1]) + bytes(31)
    forged = text(weak + bytes(32))
    assert not proofs.is_signed(weak, forged, b"anything")
    for point in proofs._WEAK:
        with pytest.raises(RequestError) as found:
            proofs.raw_key(text(point))
        assert found.value.code == "hub.site_key"


def test_a_key_is_written_in_one_way() -> None:
    raw = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    written = text(raw)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    same = written[:42] + letters[letters.index(written[42]) + 1] + "="
    assert proofs.raw_key(same) == proofs.raw_key(written) == raw
    assert proofs.plain_key(same) == written


def test_bytes_that_are_no_point_sign_nothing() -> None:
    no_point = next(
        raw for raw in (bytes([n]) + bytes(31) for n in range(2, 60)) if not proofs.is_signed(raw, text(bytes(64)), b"")
    )
    assert proofs.is_key(no_point)


def test_secrets_that_are_borne_are_known_by_their_form_and_checked_by_their_digest() -> None:
    secret = "s" * 43
    enrolment = bearing.borne(bearing.enrolment_token("ab12", secret))
    key = bearing.borne(bearing.api_key("ab12", secret))
    assert enrolment is not None
    assert key is not None
    assert (enrolment.kind, enrolment.id, key.kind) == ("enrolment", "ab12", "api")
    kept = bearing.digest(PEPPER, enrolment)
    assert bearing.is_one_of(PEPPER, enrolment, kept)
    assert not bearing.is_one_of(PEPPER, key, kept), "one kind cannot stand for the other"
    assert not bearing.is_one_of(b"q" * 32, enrolment, kept)
    assert secret not in repr(key)
    for text_ in ("", "eco1.ab12", f"eco1.ab12.{secret}\n", f"eco1.AB12.{secret}", f"eco2.ab12.{secret}"):
        assert bearing.borne(text_) is None
