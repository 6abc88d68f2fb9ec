"""When it is time for a job."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.jobs.dispatch import ASKED, LATE, OFFLINE, Chances, Expire, Facts, Patience, Run, Wait, decide
from ecotone.jobs.order import DEFER_MS_MAX
from ecotone.values import Place

NO = Chances(is_permitted=False)
BUSY = Chances(is_permitted=True, p50_ms=10_000, p95_ms=20_000)
FREE = msgspec.structs.replace(BUSY, is_free=True)
PATIENCE = Patience(safety=1.5, unknown_ms=120_000, look_ms=30_000)
HOUR_MS = 3_600_000


def facts(edge: Chances, cloud: Chances, left_ms: int = HOUR_MS, **more: bool) -> Facts:
    return Facts(now_ms=1000, deadline_at_ms=1000 + left_ms, edge=edge, cloud=cloud, **more)


@pytest.mark.parametrize(
    ("edge", "cloud", "decided"),
    [
        (FREE, FREE, Run()),
        (BUSY, FREE, Run(Place.CLOUD)),
        (NO, FREE, Run(Place.CLOUD)),
        (FREE, BUSY, Run(Place.EDGE)),
        (FREE, NO, Run(Place.EDGE)),
        (BUSY, BUSY, Wait(31_000, OFFLINE)),
        (NO, BUSY, Wait(31_000, OFFLINE)),
        (BUSY, NO, Wait(31_000, ASKED)),
        (NO, NO, Run()),
    ],
)
def test_with_time_left_it_runs_where_nobody_is_harmed(edge: Chances, cloud: Chances, decided: object) -> None:
    assert decide(facts(edge, cloud), PATIENCE) == decided


@pytest.mark.parametrize(
    ("edge", "cloud", "decided"),
    [(FREE, FREE, Run(Place.CLOUD)), (FREE, BUSY, Wait(31_000, OFFLINE)), (FREE, NO, Run(Place.EDGE))],
)
def test_who_wants_the_cloud_waits_for_it(edge: Chances, cloud: Chances, decided: object) -> None:
    assert decide(facts(edge, cloud, is_edge_last=True), PATIENCE) == decided


HELD = msgspec.structs.replace(BUSY, held="deferred.window", free_at_ms=1000 + 2 * HOUR_MS)


def test_it_waits_for_a_window_and_says_so() -> None:
    soon = msgspec.structs.replace(HELD, free_at_ms=9_000)
    assert decide(facts(BUSY, soon, 5 * HOUR_MS), PATIENCE) == Wait(9_000, "deferred.window")
    assert decide(facts(BUSY, HELD, 5 * HOUR_MS), PATIENCE) == Wait(31_000, "deferred.window"), "the edge may be free"
    assert decide(facts(NO, HELD, 5 * HOUR_MS), PATIENCE) == Wait(1000 + DEFER_MS_MAX, "deferred.window")
    assert decide(facts(NO, soon, 5 * HOUR_MS), PATIENCE) == Wait(9_000, "deferred.window")
    assert decide(facts(FREE, HELD, 5 * HOUR_MS), PATIENCE) == Run(Place.EDGE)
    assert decide(facts(BUSY, HELD, 30_000), PATIENCE) == Run(Place.EDGE, is_urgent=True)


@pytest.mark.parametrize("edge", [BUSY, FREE])
@pytest.mark.parametrize("is_edge_last", [True, False])
def test_near_its_deadline_it_moves_to_the_edge(edge: Chances, is_edge_last: bool) -> None:
    assert decide(facts(edge, BUSY, 30_001, is_edge_last=is_edge_last), PATIENCE) != Run(Place.EDGE, is_urgent=True)
    assert decide(facts(edge, BUSY, 30_000, is_edge_last=is_edge_last), PATIENCE) == Run(Place.EDGE, is_urgent=True)


def test_near_its_deadline_the_cloud_may_take_it_too_and_the_edge_stands_by() -> None:
    assert decide(facts(BUSY, FREE, 30_000), PATIENCE) == Run(None, is_urgent=True)
    assert decide(facts(BUSY, FREE, 30_000, is_edge_last=True), PATIENCE) == Run(None, is_urgent=True)
    assert decide(facts(BUSY, FREE, 30_001), PATIENCE) == Run(Place.CLOUD)
    assert decide(facts(NO, FREE, 30_000), PATIENCE) == Run(Place.CLOUD)


def test_it_is_looked_at_again_when_it_would_have_to_move() -> None:
    assert decide(facts(BUSY, BUSY, 40_000), PATIENCE) == Wait(11_000, OFFLINE)


def test_without_a_prediction_it_moves_early() -> None:
    unknown = Chances(is_permitted=True)
    assert decide(facts(unknown, BUSY, 120_001), PATIENCE) == Wait(1001, OFFLINE)
    assert decide(facts(unknown, BUSY, 120_000), PATIENCE) == Run(Place.EDGE, is_urgent=True)


@pytest.mark.parametrize("left_ms", [0, -5, 9_999])
def test_what_can_no_longer_end_in_time_is_not_begun(left_ms: int) -> None:
    for edge, cloud in ((FREE, FREE), (BUSY, NO), (NO, FREE)):
        assert decide(facts(edge, cloud, left_ms), PATIENCE) == Expire(LATE)


def test_where_only_the_edge_would_be_late_it_waits_for_the_cloud_to_the_last() -> None:
    slow = Chances(is_permitted=True, is_free=True, p50_ms=50_000, p95_ms=60_000)
    assert decide(facts(slow, BUSY, 20_000), PATIENCE) == Wait(11_000, OFFLINE)
    assert decide(facts(slow, FREE, 20_000), PATIENCE) == Run(Place.CLOUD)
    assert decide(facts(NO, BUSY, 10_000), PATIENCE) == Wait(1001, OFFLINE)


def test_where_only_the_cloud_would_be_late_it_runs_at_the_edge() -> None:
    slow = Chances(is_permitted=True, is_free=True, p50_ms=50_000, p95_ms=60_000)
    assert decide(facts(FREE, slow, 40_000), PATIENCE) == Run(Place.EDGE)


def test_a_known_instant_saves_looks() -> None:
    night = msgspec.structs.replace(BUSY, free_at_ms=500_000)
    assert decide(facts(NO, night), PATIENCE) == Wait(500_000, OFFLINE)
    assert decide(facts(BUSY, night), PATIENCE) == Wait(31_000, OFFLINE)
    far = msgspec.structs.replace(BUSY, free_at_ms=10**9)
    assert decide(facts(NO, far, 10**9), PATIENCE) == Wait(1000 + DEFER_MS_MAX, OFFLINE)


_CHANCES = st.builds(
    Chances,
    is_permitted=st.booleans(),
    is_free=st.booleans(),
    p50_ms=st.floats(0, 1e6),
    p95_ms=st.floats(0, 1e6),
    free_at_ms=st.integers(0, 10**7),
)


@given(_CHANCES, _CHANCES, st.integers(-1000, 10**7), st.booleans())
def test_no_job_waits_beyond_its_deadline_or_for_ever(
    edge: Chances, cloud: Chances, left_ms: int, is_last: bool
) -> None:
    asked = facts(edge, cloud, left_ms, is_edge_last=is_last)
    decided = decide(asked, PATIENCE)
    if isinstance(decided, Wait):
        assert asked.now_ms < decided.until_ms <= max(asked.deadline_at_ms, asked.now_ms + 1)
        assert decided.until_ms <= asked.now_ms + DEFER_MS_MAX
    if isinstance(decided, Run) and decided.at is not None:
        place = edge if decided.at is Place.EDGE else cloud
        assert place.is_permitted
        assert place.p50_ms <= left_ms
