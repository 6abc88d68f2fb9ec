"""Who may do what at a hub: roles, grants, and proofs of who asks. Values in, values out.

    demand(actor, "release.start", Subject("models/clinic-7b", groups=("clinics",), region="eu"))
    demand_hold(Place("clinic-7", ("clinics",), "eu"), Good("models/clinic-7b", residency=("eu",)))

Nothing is allowed that nobody has granted in words, and a denial beats every grant (`deciding`). Where an asset may
rest is a question of its own, which no role can overrule (`resting`). `proofs`, `bearing` and `claims` say who asks.
"""

from ecotone.access.bearing import Borne, api_key, borne, digest, enrolment_token, is_one_of
from ecotone.access.deciding import (
    ALL,
    Actor,
    Grant,
    No,
    Person,
    PersonName,
    Subject,
    Yes,
    demand,
    demand_somewhere,
    may,
    may_somewhere,
    owner,
)
from ecotone.access.patterns import ANYTHING, matches, matches_one
from ecotone.access.proofs import (
    CHALLENGE_S,
    SESSION_S,
    Claims,
    SessionKeys,
    is_signed,
    plain_key,
    raw_key,
    session_message,
)
from ecotone.access.resting import (
    Confinement,
    Good,
    Place,
    demand_hold,
    demand_rest,
    may_hold,
    may_rest,
    may_take,
)
from ecotone.access.roles import ACTS, ROLES, Act, Role

__all__ = [
    "ACTS",
    "ALL",
    "ANYTHING",
    "CHALLENGE_S",
    "ROLES",
    "SESSION_S",
    "Act",
    "Actor",
    "Borne",
    "Claims",
    "Confinement",
    "Good",
    "Grant",
    "No",
    "Person",
    "PersonName",
    "Place",
    "Role",
    "SessionKeys",
    "Subject",
    "Yes",
    "api_key",
    "borne",
    "demand",
    "demand_hold",
    "demand_rest",
    "demand_somewhere",
    "digest",
    "enrolment_token",
    "is_one_of",
    "is_signed",
    "matches",
    "matches_one",
    "may",
    "may_hold",
    "may_rest",
    "may_somewhere",
    "may_take",
    "owner",
    "plain_key",
    "raw_key",
    "session_message",
]
