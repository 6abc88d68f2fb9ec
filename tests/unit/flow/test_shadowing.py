"""Second answers in silence: free ones at the idle edge, paid ones within a budget, and nobody at the front pays."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

import msgspec
import pytest

from ecotone import flow
from ecotone.checking import CHECKERS, auto
from ecotone.flow.feedback import Feedbacks
from ecotone.flow.lessons import Errand
from ecotone.flow.shadowing import LIMIT_S, WAITING_MAX, Shadows, ShadowTerms
from ecotone.flow.spend import Budgets
from ecotone.flow.windows import Window, Windows
from ecotone.policy import Policy
from ecotone.sim.learning import MadeLearning
from ecotone.sim.scripted import PAID, ScriptedTarget, Stage, failed, stream, whole
from ecotone.values import Egress, Mode, Outcome, Place, RefusalError
from ecotone.values.quality import Comparison, Guess, Reply, Role, Step
from ecotone.wire.feedback import Feedback

T = TypeVar("T")
CLOSED = Budgets(windows=Windows((Window(tuple(range(7)), 0, 1),)))
"""A metered link that is closed now."""

SURE = {"small": Guess(gap=0.01, gap_max=0.05, good=0.9, certificate=3)}
BODY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "How much is 2 and 2?"}]}


def small(*scripts: Any, **spec: Any) -> ScriptedTarget:
    spec = {"capabilities": frozenset({"stream", "logprobs"})} | spec
    return ScriptedTarget("small", *(scripts or (whole("4"),)), at=Place.EDGE, **spec)


def big(*scripts: Any, **spec: Any) -> ScriptedTarget:
    return ScriptedTarget("big", *(scripts or (whole("4"),)), **spec)


class School:
    """A stage with shadows behind it."""

    def __init__(self, *targets: ScriptedTarget, learning: MadeLearning | None = None, **site: Any) -> None:
        self.learning = learning or MadeLearning()
        self.terms = ShadowTerms()
        self.kept: list[tuple[Comparison, tuple[Reply, Reply]]] = []
        self.feedbacks = Feedbacks()
        given = {"names": None} | site
        names = given.pop("names") or {"auto": flow.ModelName("auto", ("small", "big"), given.pop("mode", Mode.AUTO))}
        self.stage = Stage(
            *targets,
            names=names,
            learning=self.learning,
            take_errand=self.take,
            checkers={"auto": auto, **CHECKERS},
            **given,
        )
        self.shadows = Shadows(
            lambda: self.stage.site, Random(0), lambda: self.terms, lambda _, seen, both: self.kept.append((seen, both))
        )
        self.tasks: list[asyncio.Task[Any]] = []

    def take(self, errand: Errand, is_pair: bool) -> None:
        self.feedbacks.remember(errand)
        if is_pair:
            self.shadows.take(errand)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.stage.loop.run_until_complete(work)

    def start(self) -> None:
        self.tasks.append(self.stage.loop.create_task(self.shadows.forever()))

    def ask(self, *, is_stream: bool = False, **changes: Any) -> Outcome:
        body = BODY | ({"stream": True} if is_stream else {})
        return self.stage.serve(self.stage.request(body=msgspec.json.encode(body), is_stream=is_stream, **changes))

    def entries(self, kind: str) -> list[dict[str, Any]]:
        return [entry for known, entry in self.stage.journal.entries if known == kind]

    def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            self.run(asyncio.wait(self.tasks))  # type: ignore[arg-type]  # tasks are awaitables
        self.stage.close()


@pytest.fixture
def school() -> Any:
    """Makes schools; at the end their workers are stopped."""
    made: list[School] = []

    def make(*targets: ScriptedTarget, **changes: Any) -> School:
        made.append(School(*targets, **changes))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[..., School]


def test_what_the_cloud_answered_runs_at_the_edge_too(school: Make) -> None:
    one = school(small(whole("The answer is 5.")), big(whole("4")), mode=Mode.SHADOW)
    outcome = one.ask()
    assert (outcome.target, outcome.cost_usd) == ("big", 0.0)
    one.stage.later(2.0)
    (pair,) = one.learning.pairs
    assert (pair.request, pair.target, pair.reference, pair.placed) == (outcome.request, "small", "big", "cloud")
    assert (pair.comparison.gap, pair.role, pair.share) == (1.0, Role.LEARN, 0.5)
    assert (pair.edge_s > 0, pair.cloud_s > 0) == (True, True)
    assert one.entries("compared")[0]["comparison"]["checker"] == "numbers"
    assert "4" not in str(one.entries("compared")[0]["comparison"].values())
    # The caller had one answer, and the shadow has its own outcome, marked as such.
    purposes = [entry.get("purpose", "") for entry in one.entries("outcome")]
    assert purposes == ["", "shadow"]
    assert one.shadows.done == 1


def test_streams_are_compared_as_well(school: Make) -> None:
    one = school(small(whole("4")), big(stream("4")))
    one.learning.guesses = {"small": Guess(gap=0.9, gap_max=0.1)}
    one.ask(is_stream=True)
    one.stage.later(2.0)
    assert [pair.comparison.gap for pair in one.learning.pairs] == [0.0]
    sent = msgspec.json.decode(one.stage.targets[0].bodies[0])
    assert (sent.get("stream"), sent["logprobs"]) == (None, True)


def test_what_the_edge_answered_is_checked_in_the_cloud_only_to_certify(school: Make) -> None:
    learning = MadeLearning(SURE)
    one = school(small(), big(), learning=learning)
    one.ask()
    one.stage.later(2.0)
    assert (learning.pairs, one.stage.targets[1].bodies) == ([], [])
    learning.drawn = (Role.CERTIFY, 0.05)
    one.ask()
    one.stage.later(2.0)
    (pair,) = learning.pairs
    assert (pair.placed, pair.role, pair.share) == ("edge", Role.CERTIFY, 0.05)
    assert one.stage.targets[1].sent[0][0] is not None, "with a permit like any other"


def test_paid_ones_stay_within_their_own_budget(school: Make) -> None:
    learning = MadeLearning(SURE, drawn=(Role.CERTIFY, 1.0))
    usage = {"prompt_tokens": 10, "completion_tokens": 20}
    one = school(small(), big(whole("4", usage=usage), price=PAID), learning=learning)
    one.terms = ShadowTerms(usd_per_day=0.6)
    for _ in range(3):
        one.ask()
        one.stage.later(2.0)
    assert (len(learning.pairs), learning.lost) == (2, [("auto", "small", Role.CERTIFY)])
    assert (round(one.shadows.usd, 6), one.shadows.tokens) == (0.1, 60)
    assert [entry["day_usd"] for entry in one.entries("outcome")][-1] == pytest.approx(0.1)
    one.terms = ShadowTerms(usd_per_day=9.0, tokens_per_day=100)
    one.ask()
    one.stage.later(2.0)
    assert len(learning.lost) == 2


def test_a_new_day_has_a_new_budget(school: Make) -> None:
    learning = MadeLearning(SURE, drawn=(Role.CERTIFY, 1.0))
    day = ["2027-01-15"]
    one = school(small(), big(price=PAID), learning=learning, today=lambda: day[0])
    one.shadows.day, one.shadows.usd, one.shadows.tokens = day[0], 99.0, 5
    one.ask()
    one.stage.later(2.0)
    assert len(learning.lost) == 1
    day[0] = "2027-01-16"
    one.ask()
    one.stage.later(2.0)
    assert (len(learning.pairs), one.shadows.day) == (1, "2027-01-16")


def test_what_policy_keeps_is_not_sent_for_the_sake_of_learning(school: Make) -> None:
    learning = MadeLearning(SURE, drawn=(Role.CERTIFY, 1.0))
    one = school(small(), big(), learning=learning, policy=Policy(labels={"ours": Egress.NEVER}))
    assert one.ask(labels=("ours",)).target == "small"
    one.stage.later(2.0)
    assert (one.stage.targets[1].bodies, learning.pairs) == ([], [])


def test_a_share_of_the_free_ones_is_run(school: Make) -> None:
    one = school(small(), big(), mode=Mode.SHADOW)
    one.terms = ShadowTerms(shadow_share=0.5)
    for _ in range(40):
        one.ask()
        one.stage.later(1.0)
    assert 10 < len(one.learning.pairs) < 30
    one.terms = ShadowTerms(shadow_share=0.01)
    one.learning.drawn = (Role.CERTIFY, 0.5)
    before = len(one.learning.pairs)
    one.ask()
    one.stage.later(1.0)
    assert len(one.learning.pairs) == before + 1, "pairs for certifying are not thinned out"
    one.terms = ShadowTerms(shadow_share=0.0)
    one.ask()
    one.stage.later(1.0)
    assert len(one.learning.pairs) == before + 1, "unless nothing is to be compared at all"


def test_the_edge_is_left_to_those_who_wait(school: Make) -> None:
    slow = whole("4", after_s=3.0)
    one = school(small(slow, slots=1, queue_max=4), big(), mode=Mode.SHADOW)
    one.ask()
    one.stage.later(1.0)
    assert one.stage.targets[0].active == 1, "the shadow runs"
    edge = msgspec.structs.replace(one.stage.site.names["auto"], targets=("small",))
    one.stage.site.names["auto"] = edge  # type: ignore[index]  # a plain dict in this scene
    began_s = one.stage.loop.now_s
    outcome = one.ask()
    assert (outcome.target, outcome.ending) == ("small", "answered")
    assert one.stage.loop.now_s - began_s < 3.3, "it did not wait for the shadow to end"


def test_one_that_gives_way_too_often_is_a_lesson_less(school: Make) -> None:
    one = school(small(whole("4", after_s=5.0)), big(), mode=Mode.SHADOW)
    one.ask()
    for _ in range(3):
        one.stage.later(0.3)
        one.stage.targets[0].active += 1
        one.stage.later(0.3)
        one.stage.targets[0].active -= 1
    one.stage.later(9.0)
    assert (one.learning.pairs, one.learning.lost) == ([], [("auto", "small", Role.LEARN)])


def test_a_second_answer_that_fails_is_a_lesson_less(school: Make) -> None:
    one = school(small([failed("engine_crashed")]), big(), mode=Mode.SHADOW)
    one.ask()
    one.stage.later(2.0)
    assert (one.learning.pairs, one.shadows.dropped) == ([], 1)


def test_what_no_checker_can_tell_is_a_lesson_less(school: Make) -> None:
    names = {"auto": flow.ModelName("auto", ("small", "big"), Mode.SHADOW, check="calls")}
    one = school(small(), big(), names=names)
    one.ask()
    one.stage.later(2.0)
    assert (one.learning.pairs, len(one.learning.lost)) == ([], 1)


def test_more_than_is_kept_drops_the_oldest_that_only_teach(school: Make) -> None:
    one = school(small([]), big(), mode=Mode.SHADOW)
    one.learning.drawn = (Role.CERTIFY, 0.5)
    one.ask()
    one.learning.drawn = (Role.LEARN, 0.5)
    for _ in range(WAITING_MAX + 3):
        one.ask()
    assert one.shadows.waiting <= WAITING_MAX
    assert {role for _, _, role in one.learning.lost} == {Role.LEARN}
    one.learning.drawn = (Role.CERTIFY, 0.5)
    one.ask()
    while one.shadows._least().lesson.role is Role.LEARN:
        one.shadows._drop(one.shadows._least())
    one.shadows._drop(one.shadows._least())
    assert one.learning.lost[-1][2] is Role.CERTIFY


def test_what_is_gone_from_the_configuration_is_not_asked(school: Make) -> None:
    one = school(small(), big(), mode=Mode.SHADOW)
    one.stage.targets[0].active = 1
    one.ask()
    one.stage.site.names.clear()  # type: ignore[attr-defined]  # a plain dict in this scene
    one.stage.targets[0].active = 0
    one.stage.later(1.0)
    assert len(one.learning.lost) == 1


def test_steps_that_a_pair_brings_about_go_to_the_ledger(school: Make) -> None:
    one = school(small(), big(), mode=Mode.SHADOW)
    one.learning.steps = [Step(model="auto", target="small", what="suspended", why="drift.loss")]
    one.ask()
    one.stage.later(2.0)
    assert one.entries("step")[0]["why"] == "drift.loss"


def test_a_ledger_that_refuses_costs_a_lesson(school: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = school(small(), big(), mode=Mode.SHADOW)
    note = one.stage.journal.note

    def refuse(kind: str, entry: Any) -> int:
        if kind == "compared":
            raise RefusalError("refused.ledger", "made", status=503)
        return note(kind, entry)

    monkeypatch.setattr(one.stage.journal, "note", refuse)
    one.ask()
    one.stage.later(2.0)
    assert (one.learning.pairs, one.learning.lost) == ([], [("auto", "small", Role.LEARN)])
    monkeypatch.setattr(one.stage.journal, "note", note)
    one.ask()
    one.stage.later(2.0)
    assert len(one.learning.pairs) == 1


def test_a_step_that_the_ledger_refuses_costs_no_lesson(school: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = school(small(), big(), mode=Mode.SHADOW)
    one.learning.steps = [Step(model="auto", target="small", what="suspended", why="drift.loss")]
    note = one.stage.journal.note

    def refuse(kind: str, entry: Any) -> int:
        if kind == "step":
            raise RefusalError("refused.ledger", "made", status=503)
        return note(kind, entry)

    monkeypatch.setattr(one.stage.journal, "note", refuse)
    one.ask()
    one.stage.later(2.0)
    assert (len(one.learning.pairs), one.learning.lost, one.shadows.done) == (1, [], 1)


def test_an_edge_answer_that_was_held_back_needs_no_second_one(school: Make) -> None:
    holds = {"small": Guess(gap=0.2, skip_above=0.5, certificate=4)}
    learning = MadeLearning(holds, answers={"5": 0.9}, has_answer_gate=True)
    one = school(small(whole("5")), big(whole("4")), learning=learning)
    assert one.ask().reason == "escalated.unsure"
    one.stage.later(2.0)
    (pair,) = learning.pairs
    assert (pair.comparison.gap, pair.answer is not None, len(one.stage.targets[0].bodies)) == (1.0, True, 1)
    assert pair.edge_s > 0


def test_an_edge_answer_that_was_held_back_and_given_is_checked_only_when_the_link_is_open(school: Make) -> None:
    holds = {"small": Guess(gap=0.2, skip_above=0.5, certificate=4)}
    learning = MadeLearning(holds, has_answer_gate=True, drawn=(Role.CERTIFY, 1.0))
    one = school(small(), big(), learning=learning, budgets=CLOSED)
    assert one.ask().target == "small"
    one.stage.later(2.0)
    assert (one.stage.targets[1].bodies, one.shadows.waiting) == ([], 1)
    one.stage.site = dataclasses.replace(one.stage.site, budgets=Budgets())
    one.stage.later(2.0)
    assert [pair.placed for pair in learning.pairs] == ["edge"]


# Judges.

EDGE_WINS = (whole('{"better": "A"}'), whole('{"better": "B"}'))


def judging(*scripts: Any, judge_at: Place = Place.EDGE) -> tuple[ScriptedTarget, dict[str, flow.ModelName]]:
    names = {"auto": flow.ModelName("auto", ("small", "big"), Mode.SHADOW, check="judge", judge="wise")}
    return ScriptedTarget("wise", *scripts, at=judge_at), names


def test_a_judge_is_asked_twice_with_the_answers_swapped(school: Make) -> None:
    wise, names = judging(*EDGE_WINS)
    one = school(small(whole("A better poem")), big(whole("A poem")), wise, names=names)
    one.ask()
    one.stage.later(2.0)
    (pair,) = one.learning.pairs
    assert (pair.comparison.gap, pair.comparison.checker, len(wise.bodies)) == (-1.0, "judge", 2)
    assert [entry.get("purpose", "") for entry in one.entries("outcome")] == ["", "shadow", "judge", "judge"]


@pytest.mark.parametrize("scripts", [([failed("http_500")],), (whole("maybe"),)])
def test_a_judge_that_cannot_tell_is_a_lesson_less(school: Make, scripts: Any) -> None:
    wise, names = judging(*scripts)
    one = school(small(), big(), wise, names=names)
    one.ask()
    one.stage.later(3.0)
    assert (one.learning.pairs, len(one.learning.lost)) == ([], 1)


def test_a_judge_in_the_cloud_is_paid_for_and_gets_only_what_may_go(school: Make) -> None:
    wise, names = judging(*EDGE_WINS, judge_at=Place.CLOUD)
    one = school(small(), big(), wise, names=names)
    one.terms = ShadowTerms(tokens_per_day=0)
    one.ask()
    one.stage.later(2.0)
    assert (wise.bodies, len(one.learning.lost)) == ([], 1)
    one.terms = ShadowTerms()
    one.ask()
    one.stage.later(2.0)
    assert (len(wise.bodies), len(one.learning.pairs)) == (2, 1)
    assert one.shadows.tokens > 0


def test_a_judge_that_is_gone_is_not_asked(school: Make) -> None:
    _, names = judging()
    one = school(small(), big(), names=names)
    one.ask()
    one.stage.later(2.0)
    assert len(one.learning.lost) == 1


def test_a_judge_that_a_reload_takes_away_between_its_two_questions_is_a_lesson_less(school: Make) -> None:
    wise, names = judging(*EDGE_WINS)
    one = school(small(), big(), wise, names=names)
    one.ask()
    while len(wise.bodies) < 1:
        one.stage.later(0.01)
    left = {name: target for name, target in one.stage.site.targets.items() if name != "wise"}
    one.stage.site = dataclasses.replace(one.stage.site, targets=left)
    one.stage.later(2.0)
    assert (one.learning.pairs, len(one.learning.lost)) == ([], 1)
    assert not one.tasks[0].done(), "comparing goes on"


def test_a_judge_at_the_edge_is_left_to_those_who_wait(school: Make) -> None:
    wise, names = judging(whole('{"better": "A"}', after_s=3.0), *EDGE_WINS)
    one = school(small(whole("A better poem")), big(whole("A poem")), wise, names=names)
    one.ask()
    while not wise.active:
        one.stage.later(0.01)
    wise.active += 1
    one.stage.later(0.2)
    assert (wise.aborted, len(wise.bodies)) == (1, 1)
    wise.active -= 1
    one.stage.later(4.0)
    assert ([pair.comparison.gap for pair in one.learning.pairs], len(wise.bodies)) == ([-1.0], 3)


def test_a_judge_at_the_edge_that_is_never_idle_is_a_lesson_less(school: Make) -> None:
    wise, names = judging(*EDGE_WINS)
    one = school(small(), big(), wise, names=names)
    wise.active = 1
    one.ask()
    one.stage.later(LIMIT_S + 5.0)
    assert (wise.bodies, len(one.learning.lost)) == ([], 1)


def test_what_only_a_judge_in_the_cloud_can_tell_waits_for_the_link(school: Make) -> None:
    wise, names = judging(*EDGE_WINS, judge_at=Place.CLOUD)
    one = school(small(), big(), wise, names=names, budgets=CLOSED)
    one.ask()
    one.stage.later(5.0)
    assert (one.shadows.waiting, one.stage.targets[0].bodies, wise.bodies) == (1, [], [])
    one.stage.site = dataclasses.replace(one.stage.site, budgets=Budgets())
    one.stage.later(2.0)
    assert (len(one.learning.pairs), len(wise.bodies)) == (1, 2)


def test_a_judge_in_the_cloud_that_would_only_help_out_is_not_asked_while_the_link_is_closed(school: Make) -> None:
    wise, names = judging(*EDGE_WINS, judge_at=Place.CLOUD)
    names["auto"] = msgspec.structs.replace(names["auto"], check="calls")
    one = school(small(), big(), wise, names=names, budgets=CLOSED)
    one.ask()
    one.stage.later(5.0)
    assert (wise.bodies, len(one.learning.lost)) == ([], 1)


# Feedback.


def give(one: School, **said: Any) -> bool:
    return one.run(one.feedbacks.give(one.stage.site, Feedback(**said)))


def test_feedback_on_the_edge_teaches_and_never_certifies(school: Make) -> None:
    learning = MadeLearning(SURE, drawn=(Role.CERTIFY, 0.5))
    one = school(small(whole("5")), big(), learning=learning)
    outcome = one.ask()
    assert one.feedbacks.owner(outcome.request) == ""
    assert give(one, request=outcome.request, score=0.25)
    pair = learning.pairs[-1]
    assert (pair.comparison.gap, pair.comparison.checker, pair.role) == (0.75, "feedback", Role.LEARN)
    assert give(one, request=outcome.request, correction="It is 4.")
    assert learning.pairs[-1].comparison.gap == 1.0
    told = one.entries("feedback")
    assert [entry["is_learned"] for entry in told] == [True, True]
    assert "It is 4." not in str(told)


def test_feedback_that_teaches_nothing_is_kept_as_evidence(school: Make) -> None:
    one = school(small(), big(), mode=Mode.SHADOW)
    outcome = one.ask()
    assert not give(one, request=outcome.request, score=1.0)
    assert not give(one, request="req-unknown", score=1.0)
    assert one.feedbacks.owner("req-unknown") is None
    assert [entry["target"] for entry in one.entries("feedback")] == ["big", ""]


def test_a_correction_that_no_checker_can_compare_teaches_nothing(school: Make) -> None:
    names = {"auto": flow.ModelName("auto", ("small", "big"), Mode.AUTO, check="calls")}
    one = school(small(), big(), learning=MadeLearning(SURE), names=names)
    outcome = one.ask()
    assert not give(one, request=outcome.request, correction="It is 4.")
    names["auto"] = flow.ModelName("auto", ("small", "big"), Mode.AUTO, check="judge")
    assert not give(one, request=outcome.request, correction="It is 4.")


def test_answers_of_long_ago_are_forgotten(school: Make) -> None:
    one = school(small(), big(), mode=Mode.SHADOW)
    first = one.ask()
    for _ in range(4100):
        errand = next(iter(one.feedbacks._known.values()))
        changed = msgspec.structs.replace(errand.request, id=f"other-{_}")
        one.feedbacks.remember(msgspec.structs.replace(errand, request=changed))
    assert one.feedbacks.owner(first.request) is None


def test_without_promises_a_pair_that_was_drawn_is_dropped(school: Make) -> None:
    one = school(small(), big(), mode=Mode.SHADOW)
    one.stage.targets[0].active = 1
    one.ask()
    one.stage.site = dataclasses.replace(one.stage.site, learning=None)
    one.stage.targets[0].active = 0
    one.stage.later(1.0)
    assert (one.shadows.dropped, one.learning.lost) == (1, [])
