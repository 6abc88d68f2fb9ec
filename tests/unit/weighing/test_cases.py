"""Entries into cases."""

from __future__ import annotations

import msgspec
from tests.unit.weighing.made_cases import BIG, SMALL, case, ended, pair, placed

from ecotone.values import Egress, Limit, Loss, Mode, Place
from ecotone.values.quality import Role
from ecotone.weighing.cases import Case, Joiner, Placed, certifies, teaches


def feed(joiner: Joiner, *entries: tuple[str, object]) -> list[Case]:
    return [case for kind, body in entries for case in joiner.feed(kind, 5, msgspec.json.encode(body))]


def test_a_case_is_given_out_when_all_that_is_awaited_is_there() -> None:
    joiner = Joiner(certifies)
    assert feed(joiner, ("placed", placed("r1")), ("outcome", ended("r1"))) == []
    (whole,) = feed(joiner, ("compared", pair("r1", gap=1.0)))
    assert whole.pair is not None
    assert whole.ended is not None
    assert whole.pair.comparison.gap == 1.0
    assert (whole.at_ms, whole.is_moved) == (5, True)
    (other,) = feed(joiner, ("placed", placed("r2", role="learn")), ("outcome", ended("r2")))
    assert other.pair is None
    assert list(joiner.rest()) == []


def test_a_pair_may_come_before_the_end_and_feedback_is_none() -> None:
    joiner = Joiner(certifies)
    (whole,) = feed(
        joiner, ("placed", placed("r1")), ("compared", pair("r1", gap=0.2, role=Role.LEARN)),
        ("compared", pair("r1", gap=0.5)), ("compared", pair("r1", gap=1.0)), ("outcome", ended("r1")),
    )  # fmt: skip
    assert whole.pair is not None
    assert whole.pair.comparison.gap == 0.5
    assert joiner.besides == 2


def test_the_last_decision_of_a_request_counts_and_all_are_seen() -> None:
    seen: list[Placed] = []
    joiner = Joiner(certifies, seen=seen.append)
    (whole,) = feed(
        joiner, ("placed", placed("r1", role="")), ("placed", placed("r1", role="", labels=("person",))),
        ("outcome", ended("r1")),
    )  # fmt: skip
    assert whole.placed.labels == ("person",)
    assert [one.labels for one in seen] == [(), ("person",)]


def test_only_so_many_wait_and_what_comes_later_is_counted() -> None:
    joiner = Joiner(teaches, waiting_max=2)
    out = feed(joiner, *(("placed", placed(f"r{number}")) for number in range(4)))
    assert [one.placed.request for one in out] == ["r0", "r1"]
    assert feed(joiner, ("compared", pair("r0")), ("outcome", ended("r1"))) == []
    assert joiner.late == 2
    assert [one.placed.request for one in joiner.rest()] == ["r2", "r3"]


def test_what_cannot_be_read_is_counted() -> None:
    joiner = Joiner(certifies)
    assert feed(joiner, ("placed", {"request": 1}), ("outcome", {}), ("compared", [])) == []
    assert joiner.unreadable == 3


def test_why_it_was_answered_where_it_was() -> None:
    moved = case("edge")
    assert (moved.is_moved, moved.answered_at, moved.edge, moved.reason) == (True, "edge", "small", "edge.good_enough")
    open_one = Case(1, placed())
    assert (open_one.reason, open_one.answered_at, open_one.is_moved) == ("edge.good_enough", "", False)
    failed = Case(1, placed(), ended(ending="failed", reason="fallback.reset"))
    assert (failed.reason, failed.answered_at) == ("fallback.reset", "")
    unsure = Case(1, placed(), ended(at="cloud", reason="escalated.unsure"))
    assert unsure.is_escalated
    assert not Case(1, placed(role=""), ended(at="cloud", reason="escalated.unsure")).is_escalated
    forced = Case(1, placed(reason="edge.offline"), ended())
    assert not forced.is_moved
    pinned = Case(1, placed(reason="edge.pinned"), ended(reason="edge.pinned"))
    assert not pinned.is_moved
    ask = msgspec.structs.replace(pinned.placed.ask, mode=Mode.EDGE)
    assert Case(1, msgspec.structs.replace(pinned.placed, ask=ask), pinned.ended).is_moved


def test_what_the_promise_is_about() -> None:
    assert placed().is_promised
    assert placed(order=("big", "small")).is_promised
    assert not placed(role="").is_promised
    assert not placed(order=("small",)).is_promised
    assert not placed(candidates=(SMALL,)).is_promised
    assert not placed(reason="edge.offline").is_promised
    masked = msgspec.structs.replace(BIG, limit=Limit(Egress.PSEUDONYMISE, "label person", ("person",)))
    assert not placed(candidates=(SMALL, masked)).is_promised
    assert placed(candidates=()).drawn_edge == placed(candidates=()).reference == ""


def test_a_pair_is_about_the_edge_target_that_the_seed_draws() -> None:
    other = msgspec.structs.replace(SMALL, target="other")
    one = placed(candidates=(SMALL, other, BIG), order=("small", "other", "big"))
    seeded = msgspec.structs.replace(one, ask=msgspec.structs.replace(one.ask, seed=3))
    assert (one.drawn_edge, seeded.drawn_edge) == ("small", "other")
    assert Case(1, one, ended()).is_awaited
    assert not Case(1, seeded, ended()).is_awaited
    assert Case(1, seeded, ended(at="cloud")).is_awaited
    assert not Case(1, one, ended(ending="failed")).is_awaited
    assert not Case(1, one).is_awaited


def test_the_edge_target_in_question() -> None:
    assert case("cloud").edge == "small"
    assert Case(1, placed(order=("big",))).edge == "small"
    assert Case(1, placed(candidates=(BIG,), order=("big",))).edge == ""


def test_the_cloud_target_that_would_answer() -> None:
    other = msgspec.structs.replace(BIG, target="other")
    assert placed(candidates=(SMALL, other, BIG)).cloud == BIG
    kept = placed(lost=(Loss("big", "policy", "label person"),), order=("small",))
    assert kept.cloud is None
    full = placed(lost=(Loss("big", "capacity", "full"),), order=("small",))
    assert full.cloud == BIG
    assert placed().candidate("none") is None
    assert placed().candidate("small") == SMALL
    assert SMALL.at is Place.EDGE


def test_who_is_awaited() -> None:
    assert certifies(case())
    assert not certifies(case(role="learn"))
    assert teaches(case(role="learn"))
    assert not teaches(case(role=""))
