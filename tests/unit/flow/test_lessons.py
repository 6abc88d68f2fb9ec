"""What is predicted of quality decides who goes first; an edge answer that is held back is given only if it is sure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ecotone import flow
from ecotone.estimate import Observation
from ecotone.flow.hedging import Hedges
from ecotone.flow.lessons import Errand, lesson
from ecotone.policy import Policy
from ecotone.sim.learning import MadeLearning
from ecotone.sim.scripted import ScriptedTarget, Stage, chunk, data, failed, head, stream, whole
from ecotone.values import Egress, Endpoint, Features, Mode, Outcome, Place, Wish
from ecotone.values.quality import Guess, Role
from ecotone.wire import sse

Make = Callable[..., Stage]
SURE = {"small": Guess(gap=0.01, gap_max=0.05, good=0.9, certificate=3)}
UNSURE = {"small": Guess(gap=0.2, gap_max=0.05, good=0.4)}
HOLDS = {"small": Guess(gap=0.2, skip_above=0.5, certificate=4)}
ABLE = frozenset({"stream", "logprobs"})
BODY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "How much is 2 and 2?"}]}


def small(*script: Any, **spec: Any) -> ScriptedTarget:
    return ScriptedTarget("small", list(script or stream("edge")), at=Place.EDGE, **({"capabilities": ABLE} | spec))


def big(*script: Any) -> ScriptedTarget:
    return ScriptedTarget("big", list(script or stream("cloud")))


def taught(stage: Make, learning: MadeLearning, *targets: ScriptedTarget, **site: Any) -> tuple[Stage, list[Errand]]:
    taken: list[Errand] = []
    one = stage(
        *(targets or (small(), big())),
        learning=learning,
        take_errand=lambda errand, is_pair: taken.append(errand) if is_pair else None,
        **site,
    )
    return one, taken


def ask(one: Stage, *, is_stream: bool = True, **changes: Any) -> Outcome:
    body = BODY | ({"stream": True} if is_stream else {})
    return one.serve(one.request(body=msgspec.json.encode(body), is_stream=is_stream, **changes))


def said(one: Stage) -> str:
    events = [msgspec.json.decode(payload) for payload in sse.payloads(one.caller.body) if payload != b"[DONE]"]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event.get("choices", ()))


def test_what_is_within_the_promise_goes_to_the_edge(stage: Make) -> None:
    learning = MadeLearning(SURE)
    one, taken = taught(stage, learning)
    outcome = ask(one)
    assert (outcome.target, outcome.reason) == ("small", "edge.good_enough")
    assert learning.decided == [("small", False)]
    assert [errand.answer is not None for errand in taken] == [True]


def test_what_would_risk_more_goes_to_the_cloud_and_falls_back_to_the_edge(stage: Make) -> None:
    one, _ = taught(stage, MadeLearning(UNSURE))
    assert (ask(one).reason, one.caller.headers["ecotone-target"]) == ("cloud.better", "big")
    one, taken = taught(stage, MadeLearning(UNSURE), small(), big(failed("refused")))
    outcome = ask(one)
    assert (outcome.target, outcome.reason) == ("small", "fallback.refused")
    # The edge answered because it had to: nothing to learn the gate by ... but that it was decided for the cloud.
    assert len(taken) == 1


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.AUTO])
def test_a_slow_cloud_gets_no_company_from_an_edge_that_would_risk_more(stage: Make, mode: Mode) -> None:
    edge = small()
    one, _ = taught(stage, MadeLearning(UNSURE), edge, big(*stream("cloud", gap_s=0.6)), mode=mode, hedges=Hedges(1.0))
    for _ in range(20):
        one.site.speeds.observe("big", Observation(prompt_tokens=10, ttft_s=0.3, tpot_s=0.1, output_tokens=2))
    outcome = ask(one)
    assert (outcome.target, outcome.reason, said(one), edge.sent) == ("big", "cloud.better", "cloud", [])


def test_the_decision_entry_holds_what_it_was_made_from(stage: Make) -> None:
    one, _ = taught(stage, MadeLearning(SURE, drawn=(Role.CERTIFY, 0.25)))
    ask(one)
    placed = next(entry for kind, entry in one.journal.entries if kind == "placed")
    assert (placed["ask"]["role"], placed["ask"]["role_share"]) == ("certify", 0.25)
    estimate = placed["candidates"][0]["estimate"]
    assert (estimate["gap"], estimate["gap_max"], estimate["good"]) == (0.01, 0.05, 0.9)


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.CLOUD])
def test_in_the_cloud_modes_the_cloud_answers(stage: Make, mode: Mode) -> None:
    learning = MadeLearning(SURE)
    one, taken = taught(stage, learning, mode=mode)
    outcome = ask(one)
    assert (outcome.target, outcome.reason, learning.decided) == ("big", "cloud.better", [])
    assert len(taken) == (mode is Mode.SHADOW)


def test_the_ladder_may_stand_on_another_rung(stage: Make) -> None:
    learning = MadeLearning(UNSURE)
    learning.rung = Mode.EDGE
    one, taken = taught(stage, learning, mode=Mode.SHADOW)
    outcome = ask(one)
    assert (outcome.target, outcome.reason, len(taken)) == ("small", "edge.pinned", 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"wish": Wish.EDGE}, {"features": Features(10, needs=("n",))}, {"purpose": "shadow"},
        {"endpoint": Endpoint.EMBEDDINGS},
    ],
)  # fmt: skip
def test_requests_that_are_not_compared_have_no_lesson(stage: Make, changes: dict[str, Any]) -> None:
    one, _ = taught(stage, MadeLearning(SURE))
    assert lesson(one.site, one.request(**changes)) is None
    assert lesson(one.site, one.request()) is not None


def test_a_name_without_both_places_has_no_lesson(stage: Make) -> None:
    one, _ = taught(stage, MadeLearning(SURE), small())
    assert lesson(one.site, one.request()) is None
    one, _ = taught(stage, MadeLearning(SURE), big())
    assert lesson(one.site, one.request()) is None
    silent = MadeLearning(SURE)
    silent.terms = lambda model: None  # type: ignore[method-assign]  # nothing is promised for this name
    one, _ = taught(stage, silent)
    assert lesson(one.site, one.request()) is None


def test_what_must_stay_makes_no_pair(stage: Make) -> None:
    policy = Policy(labels={"ours": Egress.NEVER})
    one, taken = taught(stage, MadeLearning(UNSURE), policy=policy)
    assert ask(one, labels=("ours",)).reason == "edge.private"
    assert taken == []


def test_with_several_edge_targets_a_pair_is_about_one_of_them(stage: Make) -> None:
    learning = MadeLearning({"small": Guess(gap=0.9), "ward": Guess(gap=0.01, gap_max=0.05)}, drawn=(Role.LEARN, 0.5))
    ward = ScriptedTarget("ward", list(stream("ward")), at=Place.EDGE)
    one, _ = taught(stage, learning, small(), ward, big())
    known = [lesson(one.site, one.request(seed=seed)) for seed in (0, 1)]
    assert [(found.edge, found.share) for found in known if found is not None] == [("small", 0.25), ("ward", 0.25)]
    assert ask(one).target == "ward"


def test_an_answer_in_one_piece_is_kept_too(stage: Make) -> None:
    one, taken = taught(stage, MadeLearning(SURE), small(*whole("four")), big())
    ask(one, is_stream=False)
    assert taken[0].answer is not None
    assert b"four" in taken[0].answer


def test_an_answer_that_is_too_large_is_not_kept(stage: Make) -> None:
    words = tuple("x" * 100_000 for _ in range(12))
    one, taken = taught(stage, MadeLearning(SURE), small(*stream(*words)), big())
    outcome = ask(one)
    assert (outcome.ending, taken, len(said(one))) == ("answered", [], 1_200_000)
    one, taken = taught(stage, MadeLearning(SURE), small(*whole("y" * 1_200_000)), big())
    assert (ask(one, is_stream=False).ending, taken) == ("answered", [])


# The gate on the edge's own answer.


def test_a_sure_answer_is_given_whole(stage: Make) -> None:
    one, taken = taught(stage, MadeLearning(HOLDS, has_answer_gate=True))
    outcome = ask(one)
    assert (said(one), outcome.target, outcome.reason) == ("edge", "small", "edge.good_enough")
    assert one.caller.body.endswith(sse.DONE)
    assert taken[0].lesson.reply is not None
    sent = msgspec.json.decode(one.targets[0].bodies[0])
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 2)


def test_an_unsure_answer_goes_up_before_any_byte_is_sent(stage: Make) -> None:
    one, taken = taught(stage, MadeLearning(HOLDS, answers={"edge": 0.9}, has_answer_gate=True))
    outcome = ask(one)
    assert (said(one), outcome.target, outcome.reason) == ("cloud", "big", "escalated.unsure")
    assert [attempt.failure for attempt in outcome.attempts] == ["unsure"]
    assert one.site.breakers["small"].state.value == "closed"
    errand = taken[0]
    assert (errand.lesson.answer_guess or Guess(gap=0)).gap == 0.9
    assert errand.lesson.reply is not None
    assert b"edge" in errand.lesson.reply


@pytest.mark.parametrize("is_stream", [True, False])
def test_an_unsure_answer_is_better_than_none(stage: Make, is_stream: bool) -> None:
    edge = stream("edge") if is_stream else whole("edge")
    learning = MadeLearning(HOLDS, answers={"edge": 0.9}, has_answer_gate=True)
    one, _ = taught(stage, learning, small(*edge), big(failed("http_503")))
    outcome = ask(one, is_stream=is_stream)
    assert (outcome.ending, outcome.target, outcome.reason) == ("answered", "small", "fallback.http_503")
    assert b"edge" in one.caller.body
    assert one.caller.headers["ecotone-target"] == "small"


def test_an_unsure_answer_is_given_where_the_deadline_ends_the_cloud(stage: Make) -> None:
    learning = MadeLearning(HOLDS, answers={"edge": 0.9}, has_answer_gate=True)
    one, _ = taught(stage, learning, small(), big())
    one.targets[1]._scripts = [[]]
    outcome = ask(one, deadline_at_s=one.loop.now_s + 3.0)
    assert (outcome.ending, outcome.target) == ("answered", "small")


def test_what_is_held_back_must_be_whole_in_time_for_the_next(stage: Make) -> None:
    slow = small(head(), data(chunk("ed")), data(chunk("ge"), after_s=9.0))
    one, _ = taught(stage, MadeLearning(HOLDS, has_answer_gate=True), slow, big())
    for _ in range(4):
        one.serve(one.request(wish=Wish.CLOUD))
    outcome = ask(one, deadline_at_s=one.loop.now_s + 4.0)
    assert (outcome.target, outcome.reason, said(one)) == ("big", "fallback.too_slow", "cloud")


def test_a_prompt_above_the_skip_line_is_not_held(stage: Make) -> None:
    guess = {"small": Guess(gap=0.6, skip_above=0.5, certificate=4)}
    one, _ = taught(stage, MadeLearning(guess, has_answer_gate=True))
    assert (ask(one).reason, one.targets[0].bodies) == ("cloud.better", [])


def test_without_time_for_two_the_cloud_answers_at_once(stage: Make) -> None:
    one, _ = taught(stage, MadeLearning(HOLDS, has_answer_gate=True), small(), big(*stream("cloud", gap_s=0.05)))
    for _ in range(5):
        ask(one)
        one.serve(one.request(wish=Wish.CLOUD))
    assert ask(one, deadline_at_s=one.loop.now_s + 0.4).reason == "cloud.better"
    assert ask(one, deadline_at_s=one.loop.now_s + 50.0).reason == "edge.good_enough"


def test_log_probabilities_that_nobody_asked_for_are_taken_out(stage: Make) -> None:
    told = {"choices": [{"index": 0, "delta": {"content": "four"}, "logprobs": {"content": [{"logprob": -0.1}]}}]}
    script = (head(), data(sse.event(msgspec.json.encode(told))), *stream("!")[1:])
    one, taken = taught(stage, MadeLearning(HOLDS, has_answer_gate=True), small(*script), big())
    ask(one)
    assert (said(one), b"logprobs" in one.caller.body) == ("four!", False)
    assert taken[0].answer is not None
    assert b"-0.1" in taken[0].answer


def test_a_target_without_log_probabilities_is_not_asked_for_them(stage: Make) -> None:
    one, _ = taught(stage, MadeLearning(HOLDS, has_answer_gate=True), small(capabilities=frozenset({"stream"})), big())
    ask(one)
    assert b"logprobs" not in one.targets[0].bodies[0]


def test_an_answer_too_large_to_hold_back_goes_up(stage: Make) -> None:
    words = tuple("x" * 100_000 for _ in range(12))
    one, _ = taught(stage, MadeLearning(HOLDS, has_answer_gate=True), small(*stream(*words)), big())
    assert ask(one).reason == "escalated.unsure"


def test_the_gate_holds_for_streams_put_together_to_one_piece(stage: Make) -> None:
    edge = small()
    edge.is_always_stream = True
    one, _ = taught(stage, MadeLearning(HOLDS, has_answer_gate=True), edge, big())
    assert ask(one, is_stream=False).target == "small"
    assert b'"content":"edge"' in one.caller.body


def test_explain_shows_what_is_predicted(stage: Make) -> None:
    one, _ = taught(stage, MadeLearning(UNSURE))
    told = one.loop.run_until_complete(flow.explain(one.site, one.request()))
    assert (told["target"], told["targets"][0]["estimate"]["gap"]) == ("big", 0.2)


def test_the_gate_looks_at_answers_of_any_edge_target(stage: Make) -> None:
    learning = MadeLearning({"small": Guess(gap=0.2, skip_above=0.5)}, has_answer_gate=True, answers={"edge": 0.9})
    ward = ScriptedTarget("ward", list(stream("ward")), at=Place.EDGE)
    one, taken = taught(stage, learning, small(), ward, big())
    outcome = ask(one, seed=1)
    assert (outcome.target, outcome.reason) == ("ward", "escalated.unsure")
    assert b"ward" in (taken[0].lesson.reply or b"")


def test_what_is_refused_or_not_answered_teaches_nothing(stage: Make) -> None:
    policy = Policy(labels={"ours": Egress.NEVER})
    one, taken = taught(stage, MadeLearning(UNSURE), small(failed("refused")), big(failed("refused")), policy=policy)
    assert ask(one).ending == "failed"
    one.site.breakers["small"].begin_probe()
    for _ in range(4):
        ask(one, labels=("ours",))
    assert ask(one, labels=("ours",)).ending == "refused"
    assert taken == []
