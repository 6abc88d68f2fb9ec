"""Predictions from what was measured: quantiles by prompt size, a line in between, a queue on top."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.estimate import Observation, Prior, Speeds
from ecotone.values import Estimate, Price

FREE = Price()


def predict(speeds: Speeds, prompt: int, out: int | None = None, queue: tuple[int, int, int] = (0, 0, 8)) -> Estimate:
    return speeds.predict("t", prompt_tokens=prompt, output_tokens_max=out, price=FREE, queue=queue)


def feed(speeds: Speeds, prompt: int, ttfts: list[float], tpot_s: float | None = None) -> None:
    for ttft_s in ttfts:
        speeds.observe("t", Observation(prompt_tokens=prompt, ttft_s=ttft_s, tpot_s=tpot_s, output_tokens=10))


def test_nothing_is_promised_of_a_target_never_seen() -> None:
    price = Price(1.0, 2.0)
    seen = Speeds().predict("t", prompt_tokens=1000, output_tokens_max=100, price=price, queue=(0, 0, 1))
    assert (seen.ttft_s_p50, seen.total_s_p95) == (None, None)
    assert seen.price_usd == pytest.approx((1000 + 200) / 1e6)


def test_of_a_target_that_only_served_those_who_had_waited_nothing_is_known() -> None:
    speeds = Speeds()
    speeds.observe("t", Observation(prompt_tokens=10, ttft_s=9.0, was_queued=True))
    seen = predict(speeds, 10)
    assert (seen.ttft_s_p50, seen.total_s_p50) == (None, None)


def test_quantiles_of_the_same_prompt_size() -> None:
    speeds = Speeds()
    feed(speeds, 100, [0.1] * 10 + [0.9])
    seen = predict(speeds, 100)
    assert (seen.ttft_s_p50, seen.ttft_s_p95) == (0.1, 0.9)


def test_sizes_are_kept_apart_and_joined_by_a_line() -> None:
    speeds = Speeds()
    feed(speeds, 100, [0.1] * 5)
    feed(speeds, 3000, [3.0] * 5)
    middle = predict(speeds, 700).ttft_s_p50
    assert middle is not None
    assert 0.1 < middle < 3.0
    beyond = predict(speeds, 30_000).ttft_s_p50
    assert beyond is not None
    assert beyond > 3.0


def test_below_the_smallest_size_seen_it_is_not_slower() -> None:
    speeds = Speeds()
    feed(speeds, 3000, [3.0] * 5)
    below = predict(speeds, 10).ttft_s_p50
    assert below is not None
    assert below <= 3.0


def test_a_prior_serves_until_traffic_comes_and_gives_the_slope_beyond_it() -> None:
    speeds = Speeds()
    speeds.give_prior("t", Prior(prefill_tps=100.0, decode_tps=10.0, base_s=0.1))
    first = predict(speeds, 200, 11)
    assert first.ttft_s_p50 == pytest.approx(2.1)
    assert first.total_s_p50 == pytest.approx(3.1)
    feed(speeds, 200, [0.5])
    beyond = predict(speeds, 4000).ttft_s_p50
    assert beyond is not None
    assert beyond > 30.0


def test_few_tokens_times_give_a_wide_tail_many_their_own() -> None:
    speeds = Speeds()
    feed(speeds, 100, [0.0], 0.1)
    few = predict(speeds, 100, 11)
    assert few.total_s_p95 is not None
    assert few.total_s_p50 is not None
    assert few.total_s_p95 == pytest.approx(2 * few.total_s_p50, rel=0.2)
    feed(speeds, 100, [0.0] * 5, 0.1)
    assert predict(speeds, 100, 10).total_s_p95 == pytest.approx(0.9)


def test_waiting_for_a_slot_is_added_and_is_not_learned_as_speed() -> None:
    speeds = Speeds()
    feed(speeds, 100, [1.0] * 5)
    speeds.observe("t", Observation(prompt_tokens=100, ttft_s=50.0, was_queued=True))
    assert predict(speeds, 100, queue=(0, 0, 1)).wait_s == 0.0
    queued = predict(speeds, 100, queue=(1, 1, 1))
    assert queued.wait_s == pytest.approx(2.0)
    assert queued.ttft_s_p50 == pytest.approx(3.0)


def test_answers_in_one_piece_stand_for_both_times_until_a_stream_was_seen() -> None:
    speeds = Speeds()
    for total_s in (2.0, 2.0, 2.0, 2.0, 9.0):
        speeds.observe_whole("t", prompt_tokens=100, total_s=total_s, output_tokens=40)
    speeds.observe_whole("t", prompt_tokens=100, total_s=99.0, output_tokens=40, was_queued=True)
    seen = predict(speeds, 100)
    assert (seen.ttft_s_p50, seen.total_s_p50, seen.total_s_p95, seen.output_tokens) == (2.0, 2.0, 9.0, 40)
    assert predict(speeds, 10).total_s_p50 == 2.0, "the only size seen"
    speeds.observe_whole("t", prompt_tokens=9000, total_s=5.0, output_tokens=0)
    assert predict(speeds, 9000).total_s_p95 == 10.0, "few: a wide tail"
    feed(speeds, 100, [0.1] * 5, 0.01)
    assert predict(speeds, 100).ttft_s_p50 == 0.1
    assert speeds.summary("t")["observations"] == 11


def test_the_callers_limit_bounds_the_length() -> None:
    speeds = Speeds()
    feed(speeds, 100, [0.1] * 5)
    assert predict(speeds, 100, 4).output_tokens == 4
    assert predict(speeds, 100).output_tokens == 10


def test_the_old_is_forgotten() -> None:
    speeds = Speeds()
    feed(speeds, 100, [9.0] * 48)
    feed(speeds, 100, [0.1] * 48)
    assert predict(speeds, 100).ttft_s_p95 == 0.1


def test_what_was_learned_survives_a_restart() -> None:
    speeds, again = Speeds(), Speeds()
    feed(speeds, 100, [0.1, 0.2, 0.3, 0.4, 0.5], 0.01)
    again.load(msgspec.json.decode(msgspec.json.encode(speeds.dump())))
    assert predict(again, 100) == predict(speeds, 100)
    with pytest.raises(msgspec.ValidationError):
        again.load({"t": {"ttft": "nonsense"}})
    assert predict(again, 100) == predict(speeds, 100)


def test_the_summary_says_what_is_known_and_none_where_nothing_is() -> None:
    speeds = Speeds()
    assert speeds.summary("t")["ttft_s_p50_64_tokens"] is None
    feed(speeds, 64, [0.1] * 5, 0.02)
    summary = speeds.summary("t")
    assert summary["decode_tokens_per_s"] == pytest.approx(50.0)
    assert summary["observations"] == 5


@given(
    st.lists(st.tuples(st.integers(1, 40_000), st.floats(0, 100)), min_size=1, max_size=200), st.integers(0, 100_000)
)
def test_predictions_are_ordered_and_never_negative(seen: list[tuple[int, float]], prompt: int) -> None:
    speeds = Speeds()
    for tokens, ttft_s in seen:
        speeds.observe("t", Observation(prompt_tokens=tokens, ttft_s=ttft_s))
    made = predict(speeds, prompt)
    assert made.ttft_s_p50 is not None
    assert made.ttft_s_p95 is not None
    assert 0 <= made.ttft_s_p50 <= made.ttft_s_p95
