"""Which requests become jobs, and what travels with them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from ecotone.flow.accepting import accept, note_accepted, unaccepted
from ecotone.flow.spend import Budgets
from ecotone.flow.windows import Window, Windows
from ecotone.policy import Policy
from ecotone.privacy import Look
from ecotone.sim.scripted import ScriptedTarget
from ecotone.values import EcotoneError, Egress, Endpoint, Finding, Mode, Place, RefusalError, RequestError, Wish
from ecotone.wire.request import Head

from .yard import BODY, Yard

Make = Callable[..., Yard]


def card(text: str) -> list[Finding]:
    at = text.find("4111")
    return [Finding("card", "card", at, at + 4, 1.0, "patterns")] if at >= 0 else []


def test_a_job_holds_what_was_said_and_found(yard: Make) -> None:
    made = yard(ScriptedTarget("small", at=Place.EDGE), look=Look({"patterns": card}))
    body = BODY.replace(b"hello", b"4111")
    request = made.stage.request(is_stream=False, body=body, key="ann", labels=("hr",), wish=Wish.EDGE)
    terms = made.terms(priority=7, idempotency="x", batch="b", line=3, custom_id="c", webhook="http://w/")
    job, kept = accept(made.stage.site, request, terms)
    assert kept == body
    assert (job.id, job.model, job.key, job.wish, job.priority) == ("job-1", "auto", "ann", Wish.EDGE, 7)
    assert set(job.labels) == {"hr", "card"}
    assert (job.idempotency, job.batch, job.line, job.custom_id, job.webhook) == ("x", "b", 3, "c", "http://w/")
    assert (job.created_at_ms, job.reason) == (made.now_ms, "deferred.asked")


def test_with_the_cloud_out_of_reach_it_says_so(yard: Make) -> None:
    made = yard(ScriptedTarget("big"), mode=Mode.CLOUD, failures=1)
    breaker = made.stage.site.breakers["big"]
    breaker.failed(breaker.admit(0.0), "refused", 0.0)
    job, _ = accept(made.stage.site, made.stage.request(is_stream=False, body=BODY), made.terms())
    assert job.reason == "deferred.offline"


def test_what_time_cannot_mend_is_refused_now(yard: Make) -> None:
    made = yard(ScriptedTarget("big"), policy=Policy(labels={"card": Egress.NEVER}), look=Look({"patterns": card}))
    site, request = made.stage.site, made.stage.request
    with pytest.raises(RefusalError) as refused:
        accept(site, request(is_stream=False, body=BODY.replace(b"hello", b"4111")), made.terms())
    assert refused.value.code == "refused.policy"
    with pytest.raises(RequestError) as caught:
        accept(site, request(is_stream=False, body=BODY, model="nobody"), made.terms())
    assert caught.value.status == 404
    with pytest.raises(RequestError) as caught:
        accept(site, request(body=BODY), made.terms())
    assert caught.value.code == "request.stream"
    with pytest.raises(EcotoneError):
        accept(site, request(is_stream=False, body=BODY, wish=Wish.EDGE), made.terms())


def test_what_was_refused_may_become_a_job_that_fails(yard: Make) -> None:
    made = yard(ScriptedTarget("big"))
    head = Head(id="r", received_at_s=0.0, key="ann", labels=("hr",))
    job = unaccepted(made.stage.site, head, Endpoint.CHAT, made.terms(custom_id="c"))
    assert (job.model, job.labels, job.key, job.custom_id, job.reason) == ("", ("hr",), "ann", "c", "deferred.asked")


def test_the_ledger_says_that_a_job_was_accepted_and_none_of_the_callers_words(yard: Make) -> None:
    made = yard(ScriptedTarget("small", at=Place.EDGE))
    request = made.stage.request(is_stream=False, body=BODY, key="ann", labels=("hr",))
    terms = made.terms(idempotency="my words", custom_id="my case", webhook="http://ward/7", batch="batch-1")
    job, _ = accept(made.stage.site, request, terms)
    note_accepted(made.stage.site, job)
    [(kind, entry)] = made.stage.journal.entries
    told = msgspec.to_builtins(entry)
    assert kind == "accepted"
    assert told == {
        "job": "job-1", "model": "auto", "endpoint": "chat/completions", "deadline_at_ms": job.deadline_at_ms,
        "key": "ann", "labels": ["hr"], "batch": "batch-1",
    }  # fmt: skip


def test_a_ledger_that_refuses_does_not_undo_an_acceptance(yard: Make) -> None:
    made = yard(ScriptedTarget("small", at=Place.EDGE))

    def note(kind: str, entry: object) -> int:
        raise RefusalError("refused.ledger", "made", status=503)

    made.stage.journal.note = note  # type: ignore[method-assign]
    note_accepted(made.stage.site, made.job())


def test_outside_the_windows_of_the_link_it_says_so(yard: Make) -> None:
    closed = Windows([Window((), 0, 0)])
    made = yard(ScriptedTarget("big"), budgets=Budgets(windows=closed))
    job, _ = accept(made.stage.site, made.stage.request(is_stream=False, body=BODY), made.terms())
    assert job.reason == "deferred.window"
    strict = yard(ScriptedTarget("big"), budgets=Budgets(windows=closed, is_strict=True))
    job, _ = accept(strict.stage.site, strict.stage.request(is_stream=False, body=BODY), strict.terms())
    assert job.reason == "deferred.window", "time mends that"
