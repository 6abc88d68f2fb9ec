"""Sign-in by OpenID Connect: hostile tokens, and a whole sign-in (oidc-provider-mock is a measuring instrument)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc.jwk import ECKey, RSAKey
from tests.hub import issuer as issuers
from tests.hub.issuer import Issuer
from tests.hub.members import NOW_S, OWNER, Members, bearing

from ecotone.access import Grant, may
from ecotone.cli import hub_login
from ecotone.hub.database import Database
from ecotone.hub.oidc import Oidc
from ecotone.hub.people import People
from ecotone.hub.settings import Oidc as Settings
from ecotone.values import ConfigError, RefusalError, RequestError


class Monotonic:
    """Seconds that go on when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuers.running() as made:
        yield made


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


@pytest.fixture
def oidc(issuer: Issuer, monotonic: Monotonic) -> Oidc:
    return Oidc(settings(issuer), monotonic=monotonic)


def settings(issuer: Issuer) -> Settings:
    return Settings(issuer=issuer.url, audience="hub", roles_claim="groups", roles_map={"ops": "operator"})


def refused(oidc: Oidc, token: str) -> str:
    with pytest.raises(RequestError) as found:
        oidc.person(token, NOW_S)
    assert (found.value.code, found.value.status) == ("hub.key", 401)
    return found.value.message


def raw(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def test_a_token_of_the_issuer_is_somebody_with_the_roles_of_its_groups(oidc: Oidc, issuer: Issuer) -> None:
    person = oidc.person(issuer.token(issuer.claims(groups=["ops", "cooks"])), NOW_S)
    assert (person.name, person.grants) == ("oidc:ann", (Grant(role="operator"),))
    assert oidc.sign_in() == {"issuer": issuer.url, "client_id": "hub", "scope": "openid"}


@pytest.mark.parametrize("algorithm", ["RS384", "PS256", "ES256", "ES384", "ES512"])
def test_other_strong_signatures_do_too(oidc: Oidc, issuer: Issuer, algorithm: str) -> None:
    curve = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}.get(algorithm)
    issuer.keys["k2"] = ECKey.generate_key(curve) if curve else RSAKey.generate_key(2048)
    assert oidc.person(issuer.token(key="k2", alg=algorithm), NOW_S).name == "oidc:ann"


def test_people_of_the_issuer_are_let_in_and_can_be_granted_and_denied_more(
    database: Database, tmp_path: Path, issuer: Issuer, oidc: Oidc
) -> None:
    members = Members(database, tmp_path / "hub.keys")
    people = People(database, members.acts, members.secrets, oidc, members.clock)
    headers = bearing(issuer.token(issuer.claims(groups=["ops"])))
    ann = people.authenticate(headers)
    assert (ann.name, ann.via) == ("person:oidc:ann", "oidc")
    people.grant(OWNER, "oidc:ann", Grant(role="releaser", groups=("clinics",)))
    assert len(people.authenticate(headers).person.grants) == 2
    people.grant(OWNER, "oidc:ann", Grant(role="operator", is_deny=True))
    assert not may(people.authenticate(headers).person, "site.enroll")
    assert people.sign_in()["client_id"] == "hub"
    assert [one.name for one in people.everyone(OWNER)] == ["oidc:ann"]


def test_an_algorithm_that_is_not_on_the_list_is_refused_before_a_key_is_looked_for(oidc: Oidc, issuer: Issuer) -> None:
    claims = raw(issuer.claims())
    for head in (
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "HS256", "kid": "k1"},
        {"alg": "RSA1_5", "kid": "k1"},
        {"alg": ["RS256"]},
        {"alg": "RS256", "kid": 7},
        {"alg": "RS256", "crit": ["exp"], "exp": 1},
    ):
        assert "not taken here" in refused(oidc, f"{raw(head)}.{claims}.AAAA")
    assert issuer.asked == []


def test_a_public_key_is_never_taken_for_a_shared_secret(oidc: Oidc, issuer: Issuer) -> None:
    said = f"{raw({'alg': 'HS256', 'kid': 'k1'})}.{raw(issuer.claims())}"
    for secret in (
        issuer.keys["k1"].as_pem(private=False),
        json.dumps(issuer.keys["k1"].as_dict(private=False)).encode(),
    ):
        mac = base64.urlsafe_b64encode(hmac.digest(secret, said.encode(), hashlib.sha256)).rstrip(b"=").decode()
        refused(oidc, f"{said}.{mac}")


def test_a_key_that_the_token_brings_itself_is_not_used(oidc: Oidc, issuer: Issuer) -> None:
    thief = RSAKey.generate_key(2048)
    issuer.keys["mine"] = thief
    for brought in (
        {"jwk": thief.as_dict(private=False)},
        {"jku": f"{issuer.url}/evil"},
        {"x5u": f"{issuer.url}/evil"},
    ):
        refused(oidc, issuer.token(key="mine", **{**brought, "kid": "k1"}))
        del issuer.keys["mine"]
        refused(oidc, issuer.token(claims={}, **brought))
        issuer.keys["mine"] = thief
    assert "/evil" not in issuer.asked


def test_a_signature_of_another_kind_of_key_does_not_count(oidc: Oidc, issuer: Issuer) -> None:
    issuer.keys["ec"] = ECKey.generate_key("P-256")
    head, claims, signature = issuer.token().split(".")
    refused(oidc, f"{raw({'alg': 'ES256', 'kid': 'k1'})}.{claims}.{signature}")
    refused(oidc, f"{raw({'alg': 'RS256', 'kid': 'ec'})}.{claims}.{signature}")
    assert head


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: "",
        lambda t: "..",
        lambda t: t + ".x",
        lambda t: t[:-4],
        lambda t: t.rsplit(".", 1)[0] + ".",
        lambda t: "." + t.split(".", 1)[1],
        lambda t: f"{t.split('.')[0]}.{raw({'sub': 'root'})}.{t.split('.')[2]}",
        lambda t: f"{raw([1])}.{t.split('.', 1)[1]}",
        lambda t: "é" + t,
        lambda t: t + "A" * 20_000,
    ],
)
def test_what_is_no_token_or_was_changed_is_refused(oidc: Oidc, issuer: Issuer, spoil: Callable[[str], str]) -> None:
    refused(oidc, spoil(issuer.token()))


def test_signed_bytes_that_say_no_claims_are_refused(oidc: Oidc, issuer: Issuer) -> None:
    from joserfc import jws

    for said in (b"[]", b"ann", b'{"sub":NaN}'):
        refused(oidc, jws.serialize_compact({"alg": "RS256", "kid": "k1"}, said, issuer.keys["k1"]))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://elsewhere"}, "another issuer"),
        ({"aud": "another"}, "another audience"),
        ({"exp": NOW_S - 61}, "run out"),
        ({"nbf": NOW_S + 61}, "future"),
        ({"sub": None}, "nobody's name"),
    ],
)
def test_a_token_for_something_else_is_refused(oidc: Oidc, issuer: Issuer, changes: dict[str, Any], why: str) -> None:
    assert why in refused(oidc, issuer.token(issuer.claims(**changes)))


def test_a_token_of_another_type_is_refused(oidc: Oidc, issuer: Issuer) -> None:
    assert "something else" in refused(oidc, issuer.token(typ="logout+jwt"))
    assert oidc.person(issuer.token(typ="at+jwt"), NOW_S)


def test_weak_and_foreign_keys_of_the_issuer_are_passed_over(oidc: Oidc, issuer: Issuer) -> None:
    good = issuer.document("/jwks")["keys"]
    weak = {
        "kty": "RSA",
        "n": base64.urlsafe_b64encode(b"\xc5" * 128).rstrip(b"=").decode(),
        "e": "AQAB",
        "kid": "weak",
    }
    others = [
        {"kty": "oct", "k": "AAAA", "kid": "k1"}, {"kty": "RSA"}, {"kty": "RSA", "n": "?", "e": 1}, {"kid": "x"},
        {**good[0], "use": "enc", "kid": "enc"}, {**good[0], "kid": 7},
    ]  # fmt: skip
    issuer.answers["/jwks"] = {"keys": [*others, weak, *good]}
    assert oidc.person(issuer.token(), NOW_S)
    refused(oidc, f"{raw({'alg': 'RS256', 'kid': 'weak'})}.{raw(issuer.claims())}.{'A' * 171}")


def test_the_issuers_keys_change_while_the_hub_runs(oidc: Oidc, issuer: Issuer, monotonic: Monotonic) -> None:
    before = issuer.token()
    oidc.person(before, NOW_S)
    issuer.keys = {"k2": RSAKey.generate_key(2048)}
    after = issuer.token(key="k2")
    monotonic.now_s += 31
    assert oidc.person(after, NOW_S), "an unknown key: it is asked again"
    refused(oidc, before)


def test_tokens_with_made_up_keys_do_not_make_the_hub_ask_and_ask(oidc: Oidc, issuer: Issuer) -> None:
    oidc.person(issuer.token(), NOW_S)
    asked = len(issuer.asked)
    for number in range(50):
        issuer.keys[f"x{number}"] = issuer.keys["k1"]
        token = issuer.token(key=f"x{number}")
        del issuer.keys[f"x{number}"]
        refused(oidc, token)
    assert len(issuer.asked) == asked


def test_an_issuer_that_is_down_is_gone_without_for_an_hour(oidc: Oidc, issuer: Issuer, monotonic: Monotonic) -> None:
    token = issuer.token()
    oidc.person(token, NOW_S)
    issuer.is_down = True
    monotonic.now_s += 3599
    assert oidc.person(token, NOW_S)
    monotonic.now_s += 40
    with pytest.raises(RefusalError) as found:
        oidc.person(token, NOW_S)
    assert (found.value.code, found.value.status, found.value.retry_after_s) == ("hub.issuer", 503, 30.0)
    issuer.is_down = False
    monotonic.now_s += 31
    assert oidc.person(token, NOW_S)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/.well-known/openid-configuration", b"<html>"),
        ("/.well-known/openid-configuration", {"issuer": "https://elsewhere", "jwks_uri": "https://elsewhere/k"}),
        ("/.well-known/openid-configuration", b" " * 300_000),
        ("/jwks", {"keys": 1}),
        ("/jwks", b"x" * 300_000),
    ],
)
def test_an_issuer_that_says_nonsense_lets_nobody_in(oidc: Oidc, issuer: Issuer, path: str, said: Any) -> None:
    issuer.answers[path] = said
    with pytest.raises(RefusalError):
        oidc.person(issuer.token(), NOW_S)


def test_keys_are_asked_over_https_alone(issuer: Issuer) -> None:
    for url in ("http://id.example.org", "ftp://id.example.org", "https://"):
        with pytest.raises(ConfigError) as found:
            Oidc(Settings(issuer=url, audience="hub"))
        assert found.value.code == "hub.issuer"
    issuer.answers["/.well-known/openid-configuration"] = {"issuer": issuer.url, "jwks_uri": "http://id.example.org/k"}
    with pytest.raises(RefusalError):
        Oidc(settings(issuer)).person(issuer.token(), NOW_S)


# Signing in by a code that is typed in elsewhere.


def sign_in(issuer: Issuer) -> tuple[Any, list[str], list[float]]:
    said: list[str] = []
    slept: list[float] = []
    signs = {"issuer": issuer.url, "client_id": "cli", "scope": "openid"}
    return hub_login.by_code(signs, said.append, slept.append), said, slept


def test_somebody_signs_in_by_a_code(issuer: Issuer) -> None:
    issuer.polls = [
        {"error": "authorization_pending"},
        {"error": "slow_down"},
        {"id_token": "a.b.c", "expires_in": 600},
    ]
    kept, said, slept = sign_in(issuer)
    assert kept.key == "a.b.c"
    assert kept.until_s > time.time()
    assert "ABCD-EFGH" in said[0]
    assert slept == [1, 1, 6]
    assert issuer.forms[-1]["device_code"] == ["dc"]


@pytest.mark.parametrize("polls", [[{"error": "access_denied"}], [{"error": "authorization_pending"}] * 601])
def test_a_code_that_is_refused_or_never_typed_in_ends_it(issuer: Issuer, polls: list[dict[str, Any]]) -> None:
    issuer.polls = polls
    with pytest.raises(RequestError) as found:
        sign_in(issuer)
    assert found.value.code == "hub.sign_in"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/.well-known/openid-configuration", {"issuer": "x", "token_endpoint": "https://x"}),
        ("/.well-known/openid-configuration", {"token_endpoint": 1}),
        ("/device", {"error": "unauthorized_client", "device_code": "", "user_code": "", "verification_uri": ""}),
    ],
)
def test_an_issuer_without_sign_in_by_code_says_to_use_a_key(issuer: Issuer, path: str, said: Any) -> None:
    issuer.answers[path] = said
    with pytest.raises(RequestError) as found:
        sign_in(issuer)
    assert found.value.code == "hub.sign_in"


def test_codes_are_not_sent_without_tls(issuer: Issuer) -> None:
    issuer.answers["/.well-known/openid-configuration"] = {
        "issuer": issuer.url, "token_endpoint": "http://x", "device_authorization_endpoint": "http://id.example.org/d",
    }  # fmt: skip
    with pytest.raises(RequestError, match="not asked without TLS"):
        sign_in(issuer)


# A whole sign-in by another's implementation of the protocol.


@pytest.fixture
def mock() -> Iterator[str]:
    if find_spec("oidc_provider_mock") is None:
        pytest.skip("the measuring instrument oidc-provider-mock is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    claims = json.dumps({"sub": "grace", "groups": ["ops"]})
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "-p", str(port), "--user-claims", claims],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def ask(url: str, path: str, form: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    connection.request("POST", path, urlencode(form), {"content-type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def test_a_whole_sign_in_at_another_implementation(mock: str) -> None:
    asked = {
        "client_id": "hub", "redirect_uri": "http://localhost/done", "response_type": "code", "scope": "openid",
        "nonce": "n", "state": "s",
    }  # fmt: skip
    answer, _ = ask(mock, f"/oauth2/authorize?{urlencode(asked)}", {"sub": "grace"})
    code = parse_qs(urlsplit(answer.getheader("location") or "").query)["code"][0]
    form = {
        "grant_type": "authorization_code", "code": code, "redirect_uri": "http://localhost/done", "client_id": "hub",
        "client_secret": "any",
    }  # fmt: skip
    _, body = ask(mock, "/oauth2/token", form)
    token = json.loads(body)["id_token"]
    given = Settings(issuer=mock, audience="hub", roles_claim="groups", roles_map={"ops": "operator"})
    person = Oidc(given).person(token, time.time())
    assert person.name == "oidc:grace"
    assert person.grants == (Grant(role="operator"),)
    refused(Oidc(Settings(issuer=mock, audience="other")), token)
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token)
