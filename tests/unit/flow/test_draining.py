"""Jobs on virtual time: each to one end, after everybody else, within its deadline."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ecotone.flow import ModelName, probe_forever
from ecotone.flow.admission import Stand
from ecotone.flow.draining import Caller, Drains, _Work
from ecotone.flow.spend import Budgets
from ecotone.flow.windows import Window, Windows
from ecotone.jobs import Backoff, Patience, Run
from ecotone.policy import Policy
from ecotone.ports import Looked
from ecotone.privacy import Look
from ecotone.sim.scripted import SILENCE, ScriptedTarget, failed, status, whole
from ecotone.sim.time import START_WALL_S
from ecotone.values import Egress, Endpoint, Finding, JobEvent, JobState, Leased, Mode, Place, RefusalError, Wish

from .yard import BODY, Refusing, Yard

Make = Callable[..., Yard]
PRIVATE = Policy(labels={"card": Egress.NEVER})


def card(text: str) -> list[Finding]:
    at = text.find("4111")
    return [Finding("card", "card", at, at + 4, 1.0, "patterns")] if at >= 0 else []


LOOK = Look({"patterns": card})


def edge(*scripts: Any, **spec: Any) -> ScriptedTarget:
    return ScriptedTarget("small", *(scripts or (whole(),)), at=Place.EDGE, **spec)


def cloud(*scripts: Any, **spec: Any) -> ScriptedTarget:
    return ScriptedTarget("big", *(scripts or (whole("from the cloud"),)), **spec)


def test_a_job_is_answered_by_an_idle_edge(yard: Make) -> None:
    made = yard(edge())
    made.start()
    job = made.put()
    done = made.ended(job, 2)
    assert (done.state, done.status, done.target, done.at) == (JobState.ANSWERED, 200, "small", "edge")
    answer = made.run(made.queue.answer(job))
    assert answer is not None
    assert json.loads(answer)["choices"][0]["message"]["content"] == "whole"
    assert done.attempts == 1
    noted = [entry for kind, entry in made.stage.journal.entries if kind == "job"]
    assert [(one["job"], one["attempt"]) for one in noted] == [(job, 1)]


def test_only_so_many_at_a_time_and_the_next_at_once(yard: Make) -> None:
    target = edge(whole(after_s=1.0))
    made = yard(target, drains=Drains(concurrent=2))
    made.start()
    jobs = [made.put() for _ in range(4)]
    made.stage.later(0.5)
    assert target.active == 2
    for job in jobs:
        made.ended(job, 3)
    assert made.stage.loop.now_s < 2.6, "no pause between one job and the next"


def test_what_was_tried_in_vain_rests_and_then_fails(yard: Make) -> None:
    target = edge(status(500))
    made = yard(target)
    made.start()
    job = made.put()
    made.until(lambda: made.get_now(job).reason == "deferred.retry")
    assert made.get_now(job).not_before_ms > made.now_ms, "an idle edge does not hasten what rests"
    done = made.ended(job, 60)
    assert (done.state, done.attempts, done.status) == (JobState.FAILED, 3, 503)
    assert len(target.sent) == 3


def test_a_target_says_that_the_request_is_wrong(yard: Make) -> None:
    target = edge(status(400, b'{"error": {"message": "no", "code": "bad"}}'))
    made = yard(target)
    made.start()
    done = made.ended(made.put(), 2)
    assert (done.state, done.status, len(target.sent)) == (JobState.FAILED, 400, 1)


@pytest.mark.parametrize("body", [b"no json", BODY.replace(b"{", b'{"stream":true,', 1)])
def test_what_is_no_request_fails_untried(yard: Make, body: bytes) -> None:
    target = edge()
    made = yard(target)
    made.start()
    done = made.ended(made.put(body), 2)
    assert (done.state, done.status, target.sent) == (JobState.FAILED, 400, [])


def test_a_dead_cloud_is_waited_for(yard: Make) -> None:
    target = cloud([failed("refused")], whole("back"))
    made = yard(target, failures=1)
    made.start(probe_forever(lambda: made.stage.site))
    job = made.put()
    made.until(lambda: made.get_now(job).reason == "deferred.offline")
    made.stage.later(60)
    assert made.get(job).state is JobState.WAITING
    target.probe_script = status(200)
    done = made.ended(job, 20)
    assert (done.state, done.at) == (JobState.ANSWERED, "cloud")
    assert done.attempts == 2


def test_a_job_that_waits_for_the_cloud_moves_to_the_edge_before_its_deadline(yard: Make) -> None:
    small = edge()
    made = yard(cloud([failed("refused")]), small, mode=Mode.CLOUD, failures=1)
    breaker = made.stage.site.breakers["big"]
    breaker.failed(breaker.admit(0.0), "refused", 0.0)
    made.start()
    job = made.put(deadline_at_ms=made.now_ms + 600_000)
    made.until(lambda: made.get_now(job).reason == "deferred.offline")
    made.stage.later(60)
    assert small.sent == []
    done = made.ended(job, 600)
    assert (done.state, done.at) == (JobState.ANSWERED, "edge")


def test_what_cannot_end_in_time_expires(yard: Make) -> None:
    target = edge(SILENCE)
    made = yard(target)
    made.start()
    job = made.put(deadline_at_ms=made.now_ms + 5_000)
    done = made.ended(job, 10)
    assert done.state is JobState.EXPIRED
    late = made.put(deadline_at_ms=made.now_ms - 1)
    assert made.ended(late, 3).state is JobState.EXPIRED


def test_interactive_work_goes_first(yard: Make) -> None:
    target = edge(whole(after_s=30.0), whole(after_s=0.1), slots=1, queue_max=1)
    made = yard(target)
    made.start()
    job = made.put()
    made.until(lambda: target.active == 1)
    waiting = [0]
    target.load = lambda: (target.active, waiting[0])  # type: ignore[method-assign]
    waiting[0] = 1
    made.until(lambda: target.active == 0, 1)
    assert target.aborted == 1
    made.until(lambda: made.get_now(job).state is JobState.WAITING, 1)
    assert made.get_now(job).attempts == 0, "a job that gave way has not been tried"
    made.stage.later(2)
    assert target.active == 0, "it waits while somebody else is there"
    waiting[0] = 0
    assert made.ended(job, 40).state is JobState.ANSWERED


def test_a_job_whose_deadline_is_near_does_not_give_way(yard: Make) -> None:
    target = edge(whole(after_s=3.0), slots=1, queue_max=1)
    made = yard(target)
    target.load = lambda: (target.active, 1)  # type: ignore[method-assign]
    made.start()
    done = made.ended(made.put(deadline_at_ms=made.now_ms + 30_000), 10)
    assert (done.state, target.aborted) == (JobState.ANSWERED, 0)


def test_a_cancelled_job_is_stopped_at_once(yard: Make) -> None:
    target = edge(SILENCE)
    made = yard(target)
    made.start()
    job = made.put()
    made.until(lambda: target.active == 1)
    made.run(made.queue.cancel(job, now_ms=made.now_ms))
    made.until(lambda: target.active == 0, 0.5)
    assert made.get(job).state is JobState.CANCELLED


def test_a_job_that_expires_while_it_is_worked_on_is_stopped_at_once(yard: Make) -> None:
    """The clock was set ahead: its lease has lapsed and its deadline is over."""
    target = edge(SILENCE)
    made = yard(target, drains=Drains(lease_s=300.0))
    made.start()
    job = made.put()
    made.until(lambda: target.active == 1)
    made.run(made.queue.expire_due(now_ms=made.now_ms + 2 * 3_600_000))
    made.until(lambda: target.active == 0, 0.5)
    assert made.get(job).state is JobState.EXPIRED


def test_a_lease_that_is_lost_stops_the_work(yard: Make) -> None:
    target = edge(SILENCE, whole())
    made = yard(target)
    made.start()
    job = made.put()
    made.until(lambda: target.active == 1)
    made.queue.restart(now_ms=made.now_ms)
    made.until(lambda: target.aborted == 1, 20)
    assert made.ended(job, 60).state is JobState.ANSWERED


def test_a_long_job_keeps_its_lease(yard: Make) -> None:
    target = edge(whole(after_s=90.0))
    made = yard(target, drains=Drains(lease_s=10.0))
    made.start()
    done = made.ended(made.put(), 200)
    assert (done.state, done.attempts, len(target.sent)) == (JobState.ANSWERED, 1, 1)


def test_a_job_that_ends_whoever_works_on_it_ends(yard: Make) -> None:
    made = yard(edge())
    job = made.put()
    for _ in range(3):
        made.run(made.queue.lease(1, now_ms=made.now_ms, lease_ms=1_000, ids=[job]))
        made.queue.restart(now_ms=made.now_ms)
    made.start()
    done = made.ended(job, 3)
    assert (done.state, done.reason) == (JobState.FAILED, "failed.attempts")


def test_what_policy_keeps_here_is_no_job_for_the_cloud(yard: Make) -> None:
    big, small = cloud(), edge(whole("from the edge"))
    made = yard(big, small, mode=Mode.CLOUD, policy=Policy(labels={"medical": Egress.NEVER}))
    made.start()
    done = made.ended(made.put(labels=("medical",)), 3)
    assert (done.at, big.sent) == ("edge", [])


def test_what_only_the_attempt_shows_to_be_private_goes_to_the_edge(yard: Make) -> None:
    """The labels of the job did not say so: the body does."""
    big, small = cloud(), edge(whole("from the edge"))
    made = yard(big, small, mode=Mode.CLOUD, policy=PRIVATE, look=LOOK)
    made.start()
    done = made.ended(made.put(BODY.replace(b"hello", b"4111")), 60)
    assert (done.state, done.at, big.sent) == (JobState.ANSWERED, "edge", [])


class Loading:
    """A detector that is not ready before the so-manieth look."""

    def __init__(self, looks: int, why: str) -> None:
        self.looks, self.why = looks, why

    async def look(self, texts: Sequence[str], detectors: Sequence[str], *, limit_s: float) -> Looked:
        self.looks -= 1
        return Looked(((),) * len(texts), () if self.looks < 0 else tuple((name, self.why) for name in detectors))


@pytest.mark.parametrize(
    ("looks", "why", "state", "attempts"),
    [
        (20, "starting", JobState.ANSWERED, 1),
        (2, "crashed", JobState.ANSWERED, 3),
        (1000, "crashed", JobState.REFUSED, 3),
        (1000, "absent", JobState.REFUSED, 1),
    ],
)
def test_a_job_waits_for_detectors_but_not_for_ever(
    yard: Make, looks: int, why: str, state: JobState, attempts: int
) -> None:
    made = yard(cloud(), look=Look({}, ("names",)), inspector=Loading(looks, why))
    made.start()
    done = made.ended(made.put(), 600)
    assert (done.state, done.attempts) == (state, attempts)
    assert done.at == ("cloud" if state is JobState.ANSWERED else "")


def test_what_may_go_nowhere_is_refused_with_the_reason(yard: Make) -> None:
    made = yard(cloud(), policy=PRIVATE, look=LOOK)
    made.start()
    done = made.ended(made.put(BODY.replace(b"hello", b"4111")), 60)
    assert (done.state, done.status, done.reason) == (JobState.REFUSED, 403, "refused.policy")
    held = made.ended(made.put(wish=Wish.EDGE), 60)
    assert held.state in (JobState.REFUSED, JobState.FAILED)


def test_only_so_many_are_remembered_to_stay(yard: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.flow.draining.STAYS_MAX", 1)
    small = edge()
    made = yard(cloud(), small, mode=Mode.CLOUD, policy=PRIVATE, look=LOOK)
    made.start()
    private = BODY.replace(b"hello", b"4111")
    jobs = [made.put(private) for _ in range(3)]
    assert {made.ended(job, 60).at for job in jobs} == {"edge"}


def test_an_unknown_model_fails(yard: Make) -> None:
    made = yard(edge())
    made.start()
    done = made.ended(made.put(BODY.replace(b"auto", b"nobody"), model="nobody"), 3)
    assert (done.state, done.status) == (JobState.FAILED, 404)


def test_an_answer_that_is_too_long_fails(yard: Make) -> None:
    made = yard(edge(whole("x" * 200)), drains=Drains(answer_bytes_max=100))
    made.start()
    done = made.ended(made.put(), 3)
    assert (done.state, done.reason) == (JobState.FAILED, "failed.too_large")


@pytest.mark.parametrize("call", ["due", "settle", "extend", "expire_due"])
def test_a_store_that_refuses_is_asked_again(yard: Make, call: str) -> None:
    target = edge(whole(after_s=12.0))
    made = yard(target)
    made.drain._queue = Refusing(made.queue, **{call: 1})  # type: ignore[assignment]
    made.start()
    assert made.ended(made.put(), 300).state is JobState.ANSWERED


def test_a_ledger_that_refuses_costs_a_lease(yard: Make) -> None:
    made = yard(edge())
    noted, refused = made.stage.journal.note, [True]

    def note(kind: str, entry: Any) -> int:
        if kind == "job" and refused:
            refused.pop()
            raise RefusalError("refused.ledger", "made", status=503)
        return noted(kind, entry)

    made.stage.journal.note = note  # type: ignore[method-assign]
    made.start()
    assert made.ended(made.put(), 120).state is JobState.ANSWERED


def test_a_defect_costs_attempts_and_never_the_worker(yard: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = yard(edge())

    async def broken(*given: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr("ecotone.flow.draining.serve", broken)
        made.start()
        job = made.put()
        done = made.ended(job, 120)
    assert (done.state, done.reason) == (JobState.FAILED, "failed.attempts")
    assert made.ended(made.put(), 3).state is JobState.ANSWERED


def test_the_end_of_the_worker_leaves_jobs_to_the_next(yard: Make) -> None:
    target = edge(SILENCE, whole())
    made = yard(target)
    made.start()
    job = made.put()
    made.until(lambda: target.active == 1)
    made.tasks[1].cancel()
    made.until(lambda: target.active == 0, 1)
    assert made.get(job).state is JobState.RUNNING


def test_embeddings_need_a_target_that_serves_them(yard: Make) -> None:
    target = edge(endpoints=("chat/completions",))
    made = yard(target, cloud(endpoints=("chat/completions",)))
    made.start()
    body = b'{"model":"auto","input":"x"}'
    done = made.ended(made.put(body, endpoint=Endpoint.EMBEDDINGS), 60)
    assert done.state in (JobState.FAILED, JobState.REFUSED)
    assert target.sent == []


def test_with_many_due_only_as_many_begin_as_there_is_room(yard: Make) -> None:
    target = edge(whole(after_s=1.0))
    made = yard(target, drains=Drains(concurrent=1))
    jobs = [made.put() for _ in range(3)]
    made.start()
    made.stage.later(0.3)
    assert target.active == 1
    for job in jobs:
        made.ended(job, 10)


def test_who_takes_an_answer_does_nothing_but_keep_it() -> None:
    caller = Caller(4)
    caller.begin(200, [], is_stream=False, length=3)
    caller.on_flow(None, None)
    caller.write(b"abc")
    caller.write(b"de")
    caller.finish()
    caller.cut()
    assert (caller.body, caller.is_too_large) == (b"abc", True)


def test_settings_may_change_while_it_works(yard: Make) -> None:
    made = yard(edge(whole(after_s=1.0)), drains=Drains(concurrent=1, backoff=Backoff()))
    made.start()
    made.drains = Drains(concurrent=4)
    jobs = [made.put() for _ in range(4)]
    for job in jobs:
        made.ended(job, 2)


def test_a_name_without_targets_at_one_place(yard: Make) -> None:
    made = yard(cloud(), edge())
    site = made.stage.site
    names = {**site.names, "only-edge": ModelName("only-edge", ("small",), Mode.AUTO)}
    made.stage.site = dataclasses.replace(site, names=names)
    made.start()
    done = made.ended(made.put(BODY.replace(b"auto", b"only-edge"), model="only-edge"), 3)
    assert done.at == "edge"


def test_what_can_no_longer_end_in_time_is_not_begun(yard: Make) -> None:
    target = edge()
    made = yard(target)
    for _ in range(20):
        made.stage.site.speeds.observe_whole("small", prompt_tokens=256, total_s=100.0, output_tokens=256)
    made.start()
    done = made.ended(made.put(deadline_at_ms=made.now_ms + 20_000), 5)
    assert (done.state, done.reason, target.sent) == (JobState.EXPIRED, "refused.deadline", [])


def test_a_job_that_is_gone_before_it_is_begun(yard: Make) -> None:
    target = edge()
    made = yard(target)
    job = made.put()
    due = made.queue.due

    async def late(n: int, **more: Any) -> Any:
        found = await due(n, **more)
        await made.queue.cancel(job, now_ms=made.now_ms)
        return found

    made.queue.due = late  # type: ignore[method-assign]
    made.start()
    made.stage.later(2)
    assert (made.get(job).state, target.sent) == (JobState.CANCELLED, [])


def test_a_job_that_is_cancelled_while_it_is_being_leased_is_not_begun(yard: Make) -> None:
    """The news overtakes the queue's answer."""
    target = edge()
    made = yard(target)
    lease = made.queue.lease

    async def overtaken(*given: Any, **more: Any) -> Any:
        found = await lease(*given, **more)
        await made.queue.cancel(job, now_ms=made.now_ms)
        made.drain.told(JobEvent(seq=1, job=job, state=JobState.CANCELLED, at_ms=made.now_ms))
        return found

    made.queue.lease = overtaken  # type: ignore[method-assign]
    job = made.put()
    made.start()
    made.stage.later(2)
    assert (made.get(job).state, target.sent) == (JobState.CANCELLED, [])


def test_news_of_a_job_of_somebody_else_changes_nothing(yard: Make) -> None:
    target = edge(whole(after_s=1.0))
    made = yard(target)
    made.start()
    job = made.put()
    made.until(lambda: target.active == 1)
    made.drain.told(JobEvent(seq=1, job="job-x", state=JobState.CANCELLED, at_ms=0))
    made.drain._running["job-y"] = _Work(Leased(made.job(), "t", 0, b""), Run())
    made.drain.told(JobEvent(seq=1, job="job-y", state=JobState.CANCELLED, at_ms=0))
    assert made.drain._running.pop("job-y").is_lost
    made.drain.told(JobEvent(seq=1, job=job, state=JobState.ANSWERED, at_ms=0))
    assert made.ended(job, 3).state is JobState.ANSWERED


def test_while_others_wait_only_urgent_jobs_begin(yard: Make) -> None:
    target = edge(whole(), slots=1, queue_max=1)
    made = yard(target)
    load, spec = made.stage.site.load, target.spec
    holding, waiting = load.ask(spec, "ann", 0.0), load.ask(spec, "bob", 0.0)
    made.start()
    far, near = made.put(), made.put(deadline_at_ms=made.now_ms + 60_000)
    soon = made.put(deadline_at_ms=made.now_ms + 500_000)
    made.until(lambda: made.get_now(near).attempts == 1, 10)
    assert [made.get(job).attempts for job in (far, soon)] == [0, 0]
    load.withdraw(waiting)
    load.leave(holding, 1.0, is_served=True)
    for job in (far, near, soon):
        assert made.ended(job, 60).state is JobState.ANSWERED


def test_who_waits_in_the_line_makes_a_job_give_way(yard: Make) -> None:
    target = edge(whole(after_s=30.0), whole(), slots=1, queue_max=4)
    made = yard(target)
    made.start()
    job = made.put()
    made.until(lambda: target.active == 1)
    seat = made.stage.site.load.ask(target.spec, "ann", 0.0)
    made.until(lambda: target.aborted == 1, 1)
    made.stage.site.load.leave(seat, 1.0, is_served=True)
    assert made.ended(job, 60).state is JobState.ANSWERED


def test_jobs_do_not_queue_up_behind_each_other(yard: Make) -> None:
    target = edge(whole(after_s=1.0), slots=1, queue_max=8)
    made = yard(target, drains=Drains(concurrent=4))
    made.start()
    jobs = [made.put() for _ in range(4)]
    for job in jobs:
        made.ended(job, 60)
    assert (target.aborted, len(target.sent)) == (0, 4)


def test_only_as_many_give_way_as_are_needed(yard: Make) -> None:
    target = edge(whole(after_s=5.0), slots=3, queue_max=8)
    made = yard(target, drains=Drains(concurrent=3))
    made.start()
    jobs = [made.put() for _ in range(3)]
    made.until(lambda: target.active == 3)
    seat = made.stage.site.load.ask(target.spec, "ann", 0.0)
    target.load = lambda: (target.active + (seat.stand is Stand.HELD), 0)  # type: ignore[method-assign]
    made.stage.later(1.0)
    assert target.aborted == 1
    made.stage.site.load.leave(seat, 1.0, is_served=True)
    for job in jobs:
        made.ended(job, 60)


def test_while_others_wait_anywhere_nothing_begins_that_has_time(yard: Make) -> None:
    busy = cloud(slots=1, queue_max=1)
    made = yard(edge(), busy)
    load = made.stage.site.load
    holding, waiting = load.ask(busy.spec, "ann", 0.0), load.ask(busy.spec, "bob", 0.0)
    made.start()
    job = made.put(deadline_at_ms=made.now_ms + 500_000)
    made.stage.later(5)
    assert made.get(job).attempts == 0
    load.withdraw(waiting)
    load.leave(holding, 5.0, is_served=True)
    assert made.ended(job, 5).at == "edge"


def test_an_urgent_job_that_finds_no_room_has_not_been_tried(yard: Make) -> None:
    target = edge(slots=1, queue_max=0)
    made = yard(target)
    seat = made.stage.site.load.ask(target.spec, "ann", 0.0)
    made.start()
    job = made.put(deadline_at_ms=made.now_ms + 60_000)
    made.stage.later(30)
    assert (made.get(job).state, target.sent) == (JobState.WAITING, [])
    made.stage.site.load.leave(seat, 30.0, is_served=True)
    assert made.ended(job, 10).state is JobState.ANSWERED


@pytest.mark.parametrize("refusals", [1, 4, 12])
def test_an_answer_is_written_down_although_the_store_refuses_for_a_moment_and_is_not_asked_for_again(
    yard: Make, refusals: int
) -> None:
    target = edge(whole(after_s=1.0))
    made = yard(target)
    made.drain._queue = Refusing(made.queue, settle=refusals)  # type: ignore[assignment]
    made.start()
    done = made.ended(made.put(), 30)
    assert (done.state, done.attempts, len(target.sent)) == (JobState.ANSWERED, 1, 1)
    ends = [event for event in made.run(made.queue.events(0, limit=99)) if event.state is JobState.ANSWERED]
    assert len(ends) == 1


def test_a_store_that_refuses_for_longer_than_a_lease_costs_the_attempt_and_the_job_ends_once_all_the_same(
    yard: Make,
) -> None:
    target = edge(whole(after_s=0.1))
    made = yard(target, drains=Drains(lease_s=3.0, backoff=Backoff(attempts_max=3, first_ms=1_000, most_ms=4_000)))
    refusing = Refusing(made.queue, settle=5, extend=1_000)
    made.drain._queue = refusing  # type: ignore[assignment]
    made.start()
    done = made.ended(made.put(), 120)
    assert (done.state, len(target.sent)) == (JobState.ANSWERED, 2)
    ends = [event for event in made.run(made.queue.events(0, limit=99)) if event.state is JobState.ANSWERED]
    assert len(ends) == 1


@pytest.mark.parametrize("left_ms", [300, 1_234, 4_950, 5_100])
def test_a_job_that_waits_ends_within_a_quarter_of_a_second_of_its_deadline(yard: Make, left_ms: int) -> None:
    target = edge(SILENCE, slots=1)
    made = yard(target, drains=Drains(concurrent=1))
    made.start()
    made.put()
    made.until(lambda: bool(target.sent))
    job = made.put(deadline_at_ms=made.now_ms + left_ms)
    done = made.ended(job, 10)
    assert done.state is JobState.EXPIRED
    assert done.deadline_at_ms <= done.ended_at_ms <= done.deadline_at_ms + 250


def test_looking_for_what_is_late_writes_nothing_while_nothing_is(yard: Make) -> None:
    target = edge(SILENCE, slots=1)
    made = yard(target, drains=Drains(concurrent=1))
    asked = []
    expire = made.queue.expire_due

    async def counted(*, now_ms: int) -> tuple[str, ...]:
        asked.append(now_ms)
        return await expire(now_ms=now_ms)

    made.queue.expire_due = counted  # type: ignore[method-assign]
    made.start()
    made.put()
    made.put()
    made.stage.later(20)
    assert asked == []


MINUTE = int(START_WALL_S // 60) % 1_440
"""Of the day at which a yard begins."""


def nightly(after_min: int, long_min: int = 60, bytes_max: int | None = None) -> Windows:
    """A window of each day that opens so many minutes after a yard begins."""
    from_min = (MINUTE + after_min) % 1_440
    return Windows([Window(tuple(range(7)), from_min, (from_min + long_min) % 1_440, bytes_max)])


def test_a_job_waits_for_the_window_of_a_metered_link_and_goes_when_it_opens(yard: Make) -> None:
    target = cloud()
    made = yard(target, budgets=Budgets(windows=nightly(7)))
    made.start()
    job = made.put(deadline_at_ms=made.now_ms + 20 * 3_600_000)
    made.until(lambda: made.get_now(job).reason == "deferred.window")
    made.stage.later(6 * 60)
    assert target.sent == []
    done = made.ended(job, 61)
    assert (done.state, done.at) == (JobState.ANSWERED, "cloud")
    opened_s = (MINUTE + 7) * 60.0 - START_WALL_S % 86_400
    assert 0.0 <= made.stage.loop.now_s - opened_s < 1.0


def test_an_idle_edge_does_what_may_not_go_over_the_link(yard: Make) -> None:
    target = cloud()
    made = yard(target, edge(), budgets=Budgets(windows=nightly(90)))
    made.start()
    assert made.ended(made.put(), 2).at == "edge"
    assert target.sent == []


def test_a_window_that_comes_too_late_is_not_waited_past_the_deadline(yard: Make) -> None:
    made = yard(cloud(), budgets=Budgets(windows=nightly(90)))
    made.start()
    assert made.ended(made.put(deadline_at_ms=made.now_ms + 60_000), 70).state is JobState.EXPIRED


def test_a_window_of_so_many_bytes_is_shut_when_they_are_sent_and_the_next_one_is_not(yard: Make) -> None:
    target = cloud()
    windows = Windows([*nightly(0, 3, bytes_max=1)._windows, *nightly(7, 3, bytes_max=1)._windows])
    made = yard(target, budgets=Budgets(windows=windows), drains=Drains(concurrent=1))
    made.start()
    first, second = (made.put(deadline_at_ms=made.now_ms + 40 * 3_600_000) for _ in range(2))
    made.ended(first, 2)
    made.until(lambda: made.get_now(second).reason == "deferred.budget", 2)
    made.stage.later(6 * 60)
    assert len(target.sent) == 1
    assert made.ended(second, 61).at == "cloud"


def test_a_budget_of_the_day_that_is_used_up_says_so(yard: Make) -> None:
    made = yard(cloud(), budgets=Budgets(None, 0))
    made.start()
    job = made.put()
    made.until(lambda: made.get_now(job).reason == "deferred.budget", 2)


def test_windows_that_are_configured_anew_are_used_at_once(yard: Make) -> None:
    made = yard(cloud(), budgets=Budgets(windows=nightly(90)))
    made.start()
    job = made.put()
    made.until(lambda: made.get_now(job).reason == "deferred.window")
    made.stage.later(40)
    made.stage.site = dataclasses.replace(made.stage.site, budgets=Budgets())
    assert made.ended(job, 1).at == "cloud"


def test_one_job_gives_way_to_no_other(yard: Make) -> None:
    """Three jobs, two slots at the target that placement prefers: the third waits its turn."""
    small, other = edge(whole(after_s=2.0), slots=2, queue_max=4), ScriptedTarget("other", at=Place.EDGE, slots=2)
    made = yard(small, other, drains=Drains(concurrent=3))
    made.start()
    jobs = [made.put() for _ in range(3)]
    for job in jobs:
        assert made.ended(job, 10).attempts == 1
    assert (small.aborted, len(small.sent)) == (0, 3)


def test_who_has_given_way_and_is_still_being_written_down_is_in_nobodys_way(yard: Make) -> None:
    target = edge(whole(after_s=30.0), slots=2, queue_max=4)
    made = yard(target)
    made.drain._queue = Refusing(made.queue, release=100)  # type: ignore[assignment]
    made.start()
    for _ in range(2):
        made.put()
    made.until(lambda: target.active == 2)
    load = made.stage.site.load
    seats = [load.ask(target.spec, "ann", made.stage.loop.now_s)]
    made.until(lambda: seats[0].stand is Stand.HELD, 0.2)
    seats.append(load.ask(target.spec, "bob", made.stage.loop.now_s))
    made.until(lambda: seats[1].stand is Stand.HELD, 0.2)
    for seat in seats:
        load.leave(seat, made.stage.loop.now_s, is_served=True)


def test_nobody_begins_anew_beside_the_work_that_is_under_way(yard: Make) -> None:
    """The clock was set, the lease has lapsed, and its holder does not know it yet."""
    target = edge(whole(after_s=5.0), slots=2)
    made = yard(target, drains=Drains(lease_s=300.0))
    made.start()
    job = made.put()
    made.until(lambda: target.active == 1)
    made.queue.restart(now_ms=made.now_ms)
    made.until(lambda: target.aborted == 1, 1)
    made.until(lambda: len(target.sent) == 2, 1)
    assert target.active == 1
    assert made.ended(job, 10).state is JobState.ANSWERED


def test_what_waits_for_something_else_is_not_looked_at_whenever_the_edge_is_idle(yard: Make) -> None:
    """The edge that it may use is cut off; another one is idle."""
    far, idle = edge(), ScriptedTarget("other", whole(), at=Place.EDGE)
    made = yard(far, idle, failures=1)
    site = made.stage.site
    names = {**site.names, "far": ModelName("far", ("small",), Mode.AUTO)}
    made.stage.site = dataclasses.replace(site, names=names)
    breaker = site.breakers["small"]
    breaker.failed(breaker.admit(0.0), "refused", 0.0)
    defer, times = made.queue.defer, []

    async def counted(*given: Any, **more: Any) -> int:
        times.append(made.stage.loop.now_s)
        return await defer(*given, **more)

    made.queue.defer = counted  # type: ignore[method-assign]
    made.start()
    made.put(BODY.replace(b"auto", b"far"), model="far")
    made.stage.later(20)
    assert 1 <= len(times) <= 2


def test_what_failed_while_the_cloud_is_dead_rests_although_the_edge_is_idle(yard: Make) -> None:
    big = cloud([failed("refused")])
    made = yard(big, edge(), mode=Mode.CLOUD, failures=1, drains=Drains(backoff=Backoff(first_ms=4_000)))
    site = made.stage.site
    made.stage.site = dataclasses.replace(site, names={**site.names, "big": ModelName("big", ("big",), Mode.CLOUD)})
    made.start()
    job = made.put(BODY.replace(b"auto", b"big"), model="big")
    made.until(lambda: made.get_now(job).reason == "deferred.retry")
    made.stage.later(1.5)
    assert len(big.sent) == 1
    made.until(lambda: made.get_now(job).reason == "deferred.offline", 10)


@pytest.mark.parametrize(("deadline_ms", "attempts"), [(9_000, 3), (600_000, 3)])
def test_what_the_cloud_could_not_answer_in_time_or_in_so_many_attempts_is_left_to_the_edge(
    yard: Make, deadline_ms: int, attempts: int
) -> None:
    big, small = cloud(status(500)), edge()
    made = yard(big, small, mode=Mode.CLOUD, failures=99)
    made.start()
    done = made.ended(made.put(deadline_at_ms=made.now_ms + deadline_ms))
    assert (done.state, done.at) == (JobState.ANSWERED, "edge")
    assert len(big.sent) <= attempts


def test_what_neither_place_can_answer_fails_once(yard: Make) -> None:
    big, small = cloud(status(500)), edge(status(500))
    made = yard(big, small, mode=Mode.CLOUD, failures=99)
    made.start()
    done = made.ended(made.put(deadline_at_ms=made.now_ms + 600_000))
    assert done.state in (JobState.FAILED, JobState.EXPIRED)
    assert len(big.sent) + len(small.sent) <= 8


def test_what_finds_no_room_comes_back_at_longer_and_longer_intervals(yard: Make) -> None:
    target = edge(slots=1, queue_max=0)
    made = yard(target, drains=Drains(concurrent=3, patience=Patience(unknown_ms=3_600_000)))
    seat = made.stage.site.load.ask(target.spec, "ann", 0.0)
    target.load = lambda: (0, 0)  # type: ignore[method-assign]
    made.start()
    job = made.put(deadline_at_ms=made.now_ms + 500_000)
    made.stage.later(300)
    noted = [entry for kind, entry in made.stage.journal.entries if kind == "job"]
    assert 300 / 30 <= len(noted) < 30
    assert made.get(job).attempts <= 1
    made.stage.site.load.leave(seat, 300.0, is_served=True)
    assert made.ended(job, 40).state is JobState.ANSWERED
    assert not made.drain._vain


def test_only_so_many_are_remembered_to_have_found_no_room(yard: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.flow.draining.STAYS_MAX", 1)
    target = edge(slots=1, queue_max=0)
    made = yard(target, drains=Drains(concurrent=3, patience=Patience(unknown_ms=3_600_000)))
    seat = made.stage.site.load.ask(target.spec, "ann", 0.0)
    target.load = lambda: (0, 0)  # type: ignore[method-assign]
    made.start()
    jobs = [made.put(deadline_at_ms=made.now_ms + 500_000) for _ in range(3)]
    made.stage.later(20)
    assert len(made.drain._vain) == 1
    made.stage.site.load.leave(seat, 20.0, is_served=True)
    for job in jobs:
        assert made.ended(job, 60).state is JobState.ANSWERED
