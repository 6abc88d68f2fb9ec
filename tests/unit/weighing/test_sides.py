"""One configuration against what was recorded."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from tests.unit.weighing.made_cases import BIG, SMALL, candidate, ended, pair, placed

from ecotone.values import Candidate, Place, Placement
from ecotone.values.quality import Guess, Role
from ecotone.weighing.cases import Case
from ecotone.weighing.sides import Again, Side, Sides

BOTH = (SMALL, BIG)
HELD = msgspec.structs.replace(SMALL, estimate=msgspec.structs.replace(SMALL.estimate, is_held=True))


def again(*order: str, candidates: tuple[Candidate, ...] = BOTH, **said: Any) -> Again:
    reason = "refused.policy" if not order else "edge.good_enough"
    return Again(Placement(order, reason), candidates, edge="small", **said)


TO_EDGE, TO_CLOUD = again("small", "big"), again("big", "small")


def at_cloud(number: int, **said: Any) -> Case:
    """Recorded in the cloud; with a pair where one is given."""
    request = f"r{number}"
    one = said.pop("pair", None)
    done = ended(request, at="cloud", total_s=1.2, cost_usd=0.003, reason="cloud.better")
    return Case(1, placed(request, order=("big", "small"), **said), done, one)


def compared(number: int, gap: float, **said: Any) -> Case:
    said = {"edge_s": 0.25, "cloud_s": 1.2, "cloud_usd": 0.003, "placed": "cloud", **said}
    return at_cloud(number, pair=pair(f"r{number}", gap=gap, **said))


def told(side: Side) -> Any:
    return side.told(0.95)


def test_what_goes_where_it_went_is_known() -> None:
    side = Side("same")
    for number in range(10):
        side.add(at_cloud(number, role="learn"), TO_CLOUD, {})
    said = told(side)
    assert said.cost_usd.mean == pytest.approx(0.003)
    assert said.total_s.mean == pytest.approx(1.2)
    assert said.total_s_p50.mean == pytest.approx(1.2, rel=0.01)
    assert (said.edge_share.mean, said.refused_share.mean, said.changed) == (0.0, 0.0, 0)
    assert said.loss.mean == 0.0
    assert said.notes == ()


def test_what_goes_elsewhere_is_estimated_and_pairs_correct_it() -> None:
    side, dice = Side("edge"), np.random.default_rng(1)
    for number in range(4000):
        gap = float(dice.random() < 0.3)
        is_drawn = dice.random() < 0.5
        side.add(compared(number, gap) if is_drawn else at_cloud(number, role="learn"), TO_EDGE, {})
    said = told(side)
    assert said.loss.mean == pytest.approx(0.3, abs=0.03)  # the model said 0.1
    assert said.loss.low < 0.3 < said.loss.high
    assert said.cost_usd.mean == 0.0
    assert said.total_s.mean == pytest.approx(0.25)  # the model said 0.3
    assert said.total_s_p50.mean == pytest.approx(0.25, rel=0.02)
    assert (said.edge_share.mean, said.changed) == (1.0, 4000)


def test_the_cloud_instead_of_the_edge() -> None:
    side = Side("cloud")
    for number in range(20):
        request = f"r{number}"
        done = ended(request, reason="edge.good_enough")
        one = pair(request, gap=1.0, cloud_s=2.0, cloud_usd=0.004, edge_s=0.3) if number % 2 else None
        side.add(Case(1, placed(request, role="certify" if number % 2 else "learn"), done, one), TO_CLOUD, {})
    said = told(side)
    assert said.loss.mean == 0.0
    assert said.cost_usd.mean == pytest.approx(0.004)  # the model said 0.002
    assert said.total_s.mean == pytest.approx(2.0)


def test_a_pair_speaks_in_the_prices_of_the_configuration() -> None:
    dear = msgspec.structs.replace(BIG, target="big", estimate=msgspec.structs.replace(BIG.estimate, price_usd=0.02))
    free = msgspec.structs.replace(BIG, estimate=msgspec.structs.replace(BIG.estimate, price_usd=0.0))
    for recorded, expected in ((BIG, 0.04), (free, 0.02)):
        side = Side("dear")
        for number in range(4):
            request = f"r{number}"
            one = placed(request, candidates=(SMALL, recorded))
            done = Case(1, one, ended(request), pair(request, cloud_usd=0.004, cloud_s=1.0, edge_s=0.3))
            side.add(done, again("big", candidates=(SMALL, dear)), {})
        assert told(side).cost_usd.mean == pytest.approx(expected)


def test_refusals_are_counted_and_cost_nothing() -> None:
    side = Side("strict")
    side.add(compared(1, 1.0), again(), {})
    side.add(at_cloud(2, role=""), again(), {})
    side.add(Case(1, placed("r3")), again(), {})
    said = told(side)
    assert said.refusals == {"policy": 3}
    assert said.refused_share.mean == 1.0
    assert said.loss.mean == 0.0
    assert said.cost_usd.mean == 0.0
    assert said.total_s is None


def test_pairs_of_another_target_or_to_learn_from_correct_nothing() -> None:
    side = Side("edge")
    for number in range(10):
        side.add(compared(number, 1.0, target="other"), TO_EDGE, {})
        side.add(compared(number, 1.0, role=Role.LEARN), TO_EDGE, {})
    said = told(side)
    assert said.loss.mean == pytest.approx(0.1)
    assert said.loss.method == "model alone"


def test_what_is_not_promised_is_in_no_loss() -> None:
    side = Side("edge")
    for number in range(3):
        side.add(at_cloud(number, role=""), TO_EDGE, {})
    assert told(side).loss is None
    assert told(side).cost_usd.mean == 0.0


def test_held_answers_are_given_where_they_are_sure() -> None:
    """Half of the answers are sure; of those none is bad, of the others all are."""
    for limit, share, loss in ((0.2, 0.5, 0.0), (0.9, 1.0, 0.5), (None, 0.5, 0.0)):
        side = Side("held")
        for number in range(200):
            is_sure = number % 2 == 0
            answer = Guess(gap=0.1 if is_sure else 0.7, gap_max=0.3)
            one = compared(number, 0.0 if is_sure else 1.0, answer=answer)
            side.add(one, again("small", "big", candidates=(HELD, BIG), answer_max=limit), {})
        said = told(side)
        assert said.edge_share.mean == pytest.approx(share, abs=0.01)
        assert said.loss.mean == pytest.approx(loss, abs=0.01)
        assert said.cost_usd.mean == pytest.approx((1 - share) * 0.003, abs=1e-4)
        assert said.total_s.mean == pytest.approx(0.25 + (1 - share) * 1.2, abs=0.02)


def test_held_answers_that_were_seen_are_known() -> None:
    side = Side("held")
    for number in range(10):
        request, at = f"r{number}", "edge" if number < 8 else "cloud"
        reason = "edge.good_enough" if at == "edge" else "escalated.unsure"
        one = Case(1, placed(request, role="learn", candidates=(HELD, BIG)), ended(request, at=at, reason=reason))
        side.add(one, again("small", "big", candidates=(HELD, BIG)), {})
    side.add(Case(1, placed("r10", candidates=(HELD, BIG))), again("small", "big", candidates=(HELD, BIG)), {})
    said = told(side)
    assert 0.7 < said.edge_share.mean < 0.85
    other = Side("other")
    for number in range(10):  # other thresholds: what was seen does not say what they would have given
        request = f"r{number}"
        one = Case(1, placed(request, role="learn", candidates=(HELD, BIG)), ended(request))
        other.add(one, again("small", "big", candidates=(HELD, BIG), answer_max=0.2, is_recorded=False), {})
    assert 0.5 <= told(other).edge_share.mean < 1.0


def test_where_nobody_measured_nothing_is_said_of_time() -> None:
    slow = candidate("small", Place.EDGE)
    unknown = candidate("big", Place.CLOUD)
    sides = Sides(("edge",))
    sides.add(at_cloud(0, role="learn"), (again("small", candidates=(slow, BIG)),))
    sides.add(Case(1, placed("r1"), ended("r1", at="edge", total_s=0.4)), (again("small", candidates=(slow, BIG)),))
    for number in range(2, 4):
        sides.add(at_cloud(number, role="learn"), (again("small", candidates=(slow, BIG)),))
    (said,), apart = sides.told(0.95)
    assert apart == ()
    assert said.notes == ("1 requests have no recorded time at that target: latency leaves them out",)
    assert said.total_s is not None
    assert said.total_s.n == 3
    assert said.total_s.mean == pytest.approx(0.4, rel=0.02)
    side = Side("held")
    side.add(at_cloud(1), again("small", candidates=(HELD, unknown)), {})
    side.add(Case(1, placed("r2"), ended("r2", ending="failed", at="")), TO_EDGE, {})
    assert told(side).total_s is None
    unmeasured = Side("edge")
    for number in range(2):
        unmeasured.add(compared(number, 0.0, edge_s=0.0), TO_EDGE, {})
        unmeasured.add(
            Case(1, placed(f"e{number}"), ended(f"e{number}"), pair(f"e{number}", edge_s=0.2, cloud_s=0.0)),
            TO_CLOUD,
            {},
        )
    assert told(unmeasured).total_s.method == "model alone"


def test_an_answer_held_back_without_a_cloud_behind_it() -> None:
    side = Side("alone")
    for number in range(4):
        side.add(compared(number, 0.0), again("small", candidates=(HELD,)), {})
    assert told(side).cost_usd.mean == 0.0
    assert told(side).edge_share.mean == 1.0  # nobody comes after it: a site does not look then
    assert told(side).total_s.mean == pytest.approx(0.25)


def test_what_the_figures_do_not_see_is_said() -> None:
    side = Side("new")
    other = candidate("other", Place.EDGE, gap=0.0, total_s_p50=1.0)
    side.add(at_cloud(1), again("other", candidates=(other, BIG), unknown=("newest",)), {})
    side.add(at_cloud(2), again("big", candidates=BOTH, is_unlooked=True), {})
    assert told(side).notes == (
        "target newest: nothing is recorded of it; it was left out",
        "1 requests would go to the cloud before all detectors had looked: they might hold some back",
        "1 requests would move to a target with which no answers were compared: their loss is a guess",
    )


def test_differences_are_taken_request_by_request() -> None:
    sides, dice = Sides(("cloud", "edge", "again")), np.random.default_rng(2)
    for number in range(600):
        gap = float(dice.random() < 0.2)
        case = compared(number, gap) if dice.random() < 0.5 else at_cloud(number, role="learn")
        sides.add(case, (TO_CLOUD, TO_EDGE, TO_CLOUD))
    sides.add(at_cloud(700), (again(), TO_EDGE, again()))
    sides.add(Case(1, placed("open", role="learn")), (TO_CLOUD, TO_EDGE, TO_CLOUD))
    (cloud, edge, _), (apart, none) = sides.told(0.95)
    assert (apart.name, apart.against) == ("edge", "cloud")
    assert apart.loss is not None
    assert edge.loss is not None
    assert apart.loss.mean == pytest.approx(edge.loss.mean, abs=0.02)
    assert apart.cost_usd is not None
    assert apart.cost_usd.mean == pytest.approx(-0.003, rel=0.02)
    assert apart.total_s is not None
    assert apart.total_s.mean == pytest.approx(0.25 - 1.2, rel=0.02)
    assert none.loss is not None
    assert none.loss.mean == 0.0
    assert none.loss.high < 1e-6
    assert cloud.requests == 602


def test_nothing_gives_nothing() -> None:
    ((said,), _) = Sides(("a",)).told(0.95)
    assert (said.requests, said.edge_share, said.loss, said.total_s_p50) == (0, None, None, None)
