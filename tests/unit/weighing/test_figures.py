"""What is said of a model name."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from tests.unit.weighing.made_cases import case, ended, pair, placed

from ecotone.values.quality import Comparison, Guess, Role, Step
from ecotone.weighing.cases import Case
from ecotone.weighing.clusters import clusters, would_bring
from ecotone.weighing.figures import Name, Terms
from ecotone.weighing.frontier import allowed, frontier, pairs_needed, thresholds
from ecotone.weighing.pairs import Pairs, Row, Table, facets, row, score


def rows(count: int, seed: int = 1, **said: Any) -> list[Row]:
    """Good at chat, bad at code; the score knows."""
    dice = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        is_code = bool(dice.random() < 0.4)
        rate = 0.6 if is_code else 0.005
        values: dict[str, Any] = {
            "gap": float(dice.random() < rate), "score": float(rate + dice.normal(0, 0.02)), "share": 0.5,
            "is_moved": not is_code, "edge_s": 0.2, "cloud_s": 1.0, "edge_usd": 0.0, "cloud_usd": 0.001,
            "facets": ("key: code" if is_code else "key: chat", f"size: {int(dice.integers(2))}", "endpoint: chat"),
        }  # fmt: skip
        made.append(Row(**{**values, **said}))
    return made


def table(made: list[Row]) -> Table:
    pairs = Pairs()
    for one in made:
        pairs.add(one)
    return pairs.table()


def test_pairs_are_kept_within_bounds() -> None:
    pairs = Pairs(kept_max=3)
    for number in range(5):
        pairs.add(rows(1, gap=float(number) / 10)[0])
    assert pairs.count == 5
    assert pairs.table().gap.tolist() == [0.2, 0.3, 0.4]
    assert len(pairs.table()) == 3


def test_a_pair_becomes_a_row() -> None:
    one = row(pair(gap=1.0, share=0.25, cloud_usd=0.1), case("edge"))
    assert one is not None
    assert (one.gap, one.score, one.share, one.is_moved, one.cloud_usd) == (1.0, 0.1, 0.25, True, 0.1)
    assert "endpoint: chat/completions" in one.facets
    alone = row(pair(placed="cloud"), None)
    assert alone is not None
    assert (alone.is_moved, alone.facets) == (False, ())
    assert row(pair(guess=None), None) is None
    assert row(pair(target="other"), case("edge")) is None
    open_one = row(pair(placed="edge"), Case(1, placed()))
    assert open_one is not None
    assert open_one.is_moved
    assert score(pair(answer=Guess(gap=0.7))) == 0.7


def test_what_a_request_was_like() -> None:
    said = facets(placed(tokens=5000, key="ward", labels=("place",), needs=("stream", "tools")))
    assert said == (
        "key: ward", "endpoint: chat/completions", "label: place", "size: over 4,096 tokens", "asks for: tools",
    )  # fmt: skip
    assert facets(placed(tokens=64))[-1] == "size: up to 64 tokens"


def test_the_curve_goes_from_nothing_to_everything() -> None:
    points = frontier(table(rows(800)), 0.95)
    assert (points[0].edge_share, points[0].loss.mean, points[-1].edge_share) == (0.0, 0.0, 1.0)
    shares = [one.edge_share for one in points]
    assert shares == sorted(shares)
    assert points[-1].loss.mean == pytest.approx(0.243, abs=0.05)
    assert all(one.loss.low <= one.loss.mean <= one.loss.high for one in points)
    assert points[0].cost_usd.mean == pytest.approx(0.001)
    assert points[-1].latency_s.mean == pytest.approx(0.2)
    assert frontier(table(rows(5)), 0.95) == ()
    assert frontier(table(rows(50, edge_s=0.0)), 0.95)[0].latency_s.method == "none"


def test_what_the_promise_allows_is_what_is_good() -> None:
    many = table(rows(2000))
    found = allowed(many, 0.02, 0.95)
    assert found.gap_max is not None
    assert found.gap_max < 0.6
    assert 0.4 < found.edge_share < 0.7
    assert found.loss < 0.02
    assert allowed(table(rows(60)), 0.02, 0.95).gap_max is None
    assert allowed(table(rows(5)), 0.02, 0.95).edge_share == 0.0
    assert allowed(many, 1.0, 0.95).edge_share == 1.0
    assert allowed(many, 0.05, 0.95).edge_share >= found.edge_share


def test_unequal_shares_widen_the_curve() -> None:
    even = rows(2000)
    uneven = [msgspec.structs.replace(one, share=0.05 if place % 3 else 0.5) for place, one in enumerate(even)]
    widths = [one.high - one.low for one in (frontier(table(made), 0.95)[10].loss for made in (even, uneven))]
    assert widths[0] < widths[1]
    for made in (even, uneven):
        assert 0.5 < allowed(table(made), 0.03, 0.95).edge_share < 0.7


def test_how_many_more_pairs_are_needed() -> None:
    few = pairs_needed(table(rows(100)), 0.02, 0.95)
    assert few is not None
    assert 50 < few < 2000
    assert pairs_needed(table(rows(3000)), 0.02, 0.95) == 0
    assert pairs_needed(table(rows(300, gap=1.0)), 0.02, 0.95) is None
    assert pairs_needed(table(rows(5)), 0.02, 0.95) == 15


def test_thresholds_are_scores_that_occur() -> None:
    scores = np.array([0.3, 0.1, 0.2, 0.2])
    assert set(thresholds(scores, 50)) <= {0.1, 0.2, 0.3}
    assert thresholds(scores, 50)[-1] == 0.3


def test_the_worst_cluster_is_found_first() -> None:
    told = clusters(table(rows(800)), 0.95)
    assert told[0].what == ("key: code",)
    assert told[0].gap.mean == pytest.approx(0.6, abs=0.1)
    assert told[0].worse == round(told[0].gap.mean * told[0].pairs)
    assert told[0].moved_share == 0.0
    assert len({one.what for one in told}) == len(told) <= 12
    assert all(one.what[0] != "endpoint: chat" or len(one.what) > 1 for one in told)
    assert clusters(table(rows(5)), 0.95) == ()


def test_the_same_requests_by_another_name_are_told_once() -> None:
    made = [
        msgspec.structs.replace(one, facets=(one.facets[0], one.facets[0].replace("key", "label"))) for one in rows(300)
    ]
    told = clusters(table(made), 0.95)
    assert len(told) == 2


def test_a_dozen_clusters_at_most_are_told() -> None:
    made = [
        msgspec.structs.replace(one, facets=(*one.facets, *(f"label: {place % n}/{n}" for n in range(2, 9))))
        for place, one in enumerate(rows(1500))
    ]
    assert len(clusters(table(made), 0.95)) == 12


def test_what_a_bigger_model_would_bring() -> None:
    one = table(rows(2000))
    told = tuple(cluster for cluster in clusters(one, 0.95) if cluster.what == ("key: code",))
    brought = {(bring.what, bring.right): bring for bring in would_bring(one, told, 0.02, 0.95)}
    assert brought[("key: code",), 1.0].edge_share > 0.95
    assert brought[("key: code",), 1.0].gap == 0.0
    half = brought[("key: code",), 0.5]
    assert half.gap == pytest.approx(half.gap_now / 2, rel=0.02)
    assert half.edge_share_now <= half.edge_share < 0.9
    assert ((), 0.5) in brought
    assert would_bring(table(rows(50, gap=0.0)), (), 0.02, 0.95) == ()


def test_fewer_failures_never_bring_less() -> None:
    """A part of a cluster mended pulled its other failures forward, and the sequence stopped there."""
    for seed in range(6):
        made = []
        for place, one in enumerate(rows(320, seed, share=1.0)):
            kind = "up to 64 tokens" if place % 4 == 0 else "65 to 256 tokens"
            score = one.score + 0.3 * (place % 4 == 0) - 0.1
            made.append(msgspec.structs.replace(one, score=score, facets=(one.facets[0], f"size: {kind}")))
        whole = table(made)
        told = clusters(whole, 0.9)
        now = allowed(whole, 0.05, 0.9).edge_share
        brought = {(bring.what, bring.right): bring for bring in would_bring(whole, told, 0.05, 0.9)}
        assert len(brought) > 4
        assert {bring.edge_share_now for bring in brought.values()} == {now}
        for (what, right), bring in brought.items():
            assert now <= bring.edge_share <= brought[what, 1.0].edge_share
            assert bring.edge_share <= brought[(), right].edge_share
            assert bring.gap <= bring.gap_now
        assert brought[(), 1.0].edge_share == 1.0


def test_half_of_a_cluster_s_failures_is_about_half() -> None:
    one = table(rows(2000))
    for bring in would_bring(one, clusters(one, 0.95), 0.02, 0.95):
        if bring.right == 0.5 and bring.gap_now > 0.3:
            assert bring.gap == pytest.approx(bring.gap_now / 2, abs=0.02)


def test_two_things_in_common_are_told_where_both_together_are_worse() -> None:
    made = []
    for place, one in enumerate(rows(1200, gap=0.0)):
        is_bad = place % 2 == 0 and place % 3 == 0
        said = (f"label: {place % 2}", f"size: {place % 3}")
        made.append(msgspec.structs.replace(one, gap=1.0 if is_bad else 0.0, facets=said))
    assert clusters(table(made), 0.95)[0].what in (("label: 0", "size: 0"), ("size: 0", "label: 0"))


def counted(*cases: Case) -> Name:
    name = Name()
    for one in cases:
        name.case(one)
    return name


def test_requests_are_counted_by_where_they_went_and_why() -> None:
    private = Case(1, placed(role="", reason="edge.private"), ended(reason="edge.private"))
    unsure = Case(1, placed(), ended(at="cloud", reason="escalated.unsure", cost_usd=0.5, egress_bytes=9, ttft_s=0.1))
    gone = Case(1, placed(role=""))
    report = counted(case("edge"), case("cloud"), private, unsure, gone).report()
    assert report.requests == {"all": 5, "answered": 4, "unknown": 1}
    assert report.placed == {"edge": 2, "cloud": 2}
    assert (report.eligible, report.moved, report.escalated) == (3, 1, 1)
    assert report.forced == {"edge.private": 1}
    assert report.cost.avoided_usd == 0.002
    assert (report.cost.spent_usd, report.cost.egress_bytes) == (0.5, 9)
    assert report.latency["cloud"].answers == 2
    assert report.latency["cloud"].ttft_s_p50 == pytest.approx(0.1, rel=0.02)
    assert report.latency["edge"].ttft_s_p50 is None
    assert report.bigger_edge == ()


def test_what_the_site_asks_by_itself_only_costs() -> None:
    shadow = Case(1, placed(role="", purpose="shadow"), ended(at="cloud", cost_usd=0.25))
    report = counted(case("edge"), shadow, Case(1, placed(role="", purpose="judge"))).report()
    assert report.requests["all"] == 1
    assert report.cost.shadows_usd == 0.25
    assert report.cost.saved_usd == pytest.approx(0.002 - 0.25)


def test_an_answer_without_a_known_cloud_saves_nothing() -> None:
    alone = Case(1, placed(candidates=(placed().candidates[0],)), ended(reason="edge.good_enough"))
    assert counted(alone).report().cost.avoided_usd == 0.0


def test_parity_comes_from_pairs_that_were_drawn_to_certify() -> None:
    name = counted(*(case("edge", gap=0.0) for _ in range(600)), *(case("cloud", gap=1.0) for _ in range(400)))
    name.case(case("edge", gap=1.0, role="learn"))
    name.pair(pair(role=Role.LEARN, gap=1.0), None)
    parity = name.report(Terms(0.02, 0.95)).parity
    assert (parity.certify_pairs, parity.learn_pairs) == (1001, 1)
    parity = counted(*(case("edge", gap=0.0) for _ in range(600))).report(Terms(0.02, 0.95)).parity
    assert parity.loss.mean == 0.0
    assert parity.is_kept is True
    assert parity.selective.n == 600
    broken = counted(*(case("edge", gap=1.0) for _ in range(300))).report(Terms(0.02, 0.95)).parity
    assert broken.is_kept is False
    open_one = counted(*(case("edge", gap=0.0) for _ in range(30))).report(Terms(0.02, 0.95)).parity
    assert open_one.is_kept is None
    assert Name().report().parity.is_kept is None


def test_many_missing_pairs_count_as_the_worst() -> None:
    few = counted(*(case("edge", gap=0.0) for _ in range(600)), *(case("edge") for _ in range(30)))
    many = counted(*(case("edge", gap=0.0) for _ in range(600)), *(case("edge") for _ in range(300)))
    few_parity, many_parity = few.report().parity, many.report().parity
    assert (few_parity.missing, many_parity.missing) == (30, 300)
    assert few_parity.is_kept is True
    assert many_parity.is_kept is None
    assert many_parity.loss.high > 0.3
    assert "missing" in many_parity.loss.method


def test_a_pair_that_comes_late_is_missing_no_longer() -> None:
    name = counted(case("edge"))
    name.pair(pair(gap=0.0), None)
    name.pair(pair(gap=0.0), None)
    name.pair(pair(gap=0.0, guess=None), None)
    parity = name.report().parity
    assert (parity.missing, parity.certify_pairs) == (0, 2)


def test_steps_say_how_the_promise_stands() -> None:
    name = Name()
    figures = {"loss_max": 0.05, "confidence": 0.9, "pairs": 900.0}
    name.step(1, Step(model="assistant", target="small", what="certified", figures=figures))
    name.step(2, Step(model="assistant", target="small", what="advanced", mode_from="shadow", mode_to="auto"))
    report = name.report()
    assert report.promise.state == {"small (prompt)": "certified"}
    assert report.promise.terms == Terms(0.05, 0.9)
    assert [one.at_ms for one in report.steps] == [1, 2]
    name.step(3, Step(model="assistant", target="small", what="suspended", why="drift.loss"))
    assert name.report(Terms(0.01, 0.99)).promise.terms.loss_max == 0.01
    assert name.report().promise.state == {"small (prompt)": "suspended: drift.loss"}
    assert not Name().report().promise.terms.is_known
    name.step(4, Step(model="assistant", target="ward", what="certified", figures={"loss_max": 0.01}))
    assert name.report().promise.terms.loss_max == pytest.approx(0.06)


def test_feedback_and_a_whole_report() -> None:
    name = counted(*(case("edge", gap=0.0) for _ in range(100)), *(case("cloud", gap=1.0) for _ in range(100)))
    name.feedback(1.0)
    name.feedback(0.5)
    report = name.report()
    assert report.feedback == {"count": 2, "mean": 0.75}
    assert report.bigger_edge
    again = msgspec.json.decode(msgspec.json.encode(report))
    assert again["promise"]["pairs_needed"] is None or again["promise"]["pairs_needed"] >= 0
    assert Comparison(gap=0.0, checker="match").edge is None


def test_words_out_of_a_file_are_bounded() -> None:
    name = Name()
    for number in range(200):
        name.case(Case(1, placed(role=""), ended(reason=f"r{number}")))
    assert len(name.report().why) == 101
    assert name.report().why["…"] == 100


def test_a_place_without_a_name_is_not_timed() -> None:
    name = counted(Case(1, placed(role=""), ended(ending="failed", at="", total_s=9.0)))
    assert name.report().latency["edge"].answers == 0
