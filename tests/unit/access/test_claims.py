"""What an issuer's token must say, and what its roles give."""

from __future__ import annotations

from typing import Any

import pytest

from ecotone.access import Grant
from ecotone.access.claims import Expected, grants, person, problem

NOW_S = 1_800_000_000.0
OWNER, READER = Grant(role="owner"), Grant(role="reader")
EXPECTED = Expected(
    issuer="https://id", audience="hub", roles_claim="access.roles", roles={"boss": OWNER, "staff": READER}
)
GOOD: dict[str, Any] = {"iss": "https://id", "aud": "hub", "sub": "ann", "exp": NOW_S + 600, "iat": NOW_S}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, ""),
        ({"aud": ["x", "hub"]}, ""),
        ({"exp": NOW_S - 59}, ""),
        ({"nbf": NOW_S + 60}, ""),
        ({"iss": "https://id/"}, "another issuer"),
        ({"iss": None}, "another issuer"),
        ({"aud": "hubs"}, "another audience"),
        ({"aud": ["x", 1]}, "another audience"),
        ({"aud": {"hub": 1}}, "another audience"),
        ({"exp": NOW_S - 60}, "has run out"),
        ({"exp": None}, "no numbers"),
        ({"exp": True}, "no numbers"),
        ({"exp": str(NOW_S + 60)}, "no numbers"),
        ({"nbf": "soon"}, "no numbers"),
        ({"exp": NOW_S + 90_000}, "longer than a day"),
        ({"exp": float("inf")}, "longer than a day"),
        ({"exp": float("nan")}, "has run out"),
        ({"nbf": NOW_S + 61}, "from the future"),
        ({"iat": NOW_S + 61}, "from the future"),
        ({"iat": float("nan")}, "from the future"),
        ({"sub": ""}, "nobody's name"),
        ({"sub": 7}, "nobody's name"),
        ({"sub": "ann\n"}, "nobody's name"),
        ({"sub": "x" * 129}, "nobody's name"),
    ],
)
def test_a_token_must_say_all_of_it(change: dict[str, Any], why: str) -> None:
    found = problem({**GOOD, **change}, EXPECTED, NOW_S)
    assert (why in found) if why else found == ""


def test_people_of_the_issuer_are_never_taken_for_the_hubs_own() -> None:
    named = Expected(issuer="https://id", audience="hub", name_claim="email")
    said = {**GOOD, "email": "ann@example.org", "email_verified": True}
    assert problem(said, named, NOW_S) == ""
    assert person(said, named).name == "oidc:ann@example.org"
    for unsaid in (False, None, "true", 1):
        assert "was verified" in problem({**said, "email_verified": unsaid}, named, NOW_S)
    assert problem({**said, "sub": None}, named, NOW_S), "the subject must be there all the same"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"access": {"roles": ["boss", "cook", "staff", "boss"]}}, (OWNER, READER)),
        ({"access": {"roles": "staff cook"}}, (READER,)),
        ({"access": {"roles": ["cook", 1, None]}}, ()),
        ({"access": {"roles": {"boss": 1}}}, ()),
        ({"access": ["boss"]}, ()),
        ({}, ()),
    ],
)
def test_a_role_gives_what_the_map_says_and_every_other_gives_nothing(
    said: dict[str, Any], expected: tuple[Grant, ...]
) -> None:
    assert grants(said, EXPECTED) == expected
