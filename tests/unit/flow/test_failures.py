"""Every class of failure that a target can show: the next target answers, the breaker sees it, the caller is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
import pytest

from ecotone.flow import Waits
from ecotone.flow.breaker import AT_ONCE, NO_FAULT
from ecotone.sim.scripted import (
    SILENCE,
    ScriptedTarget,
    Stage,
    Step,
    chunk,
    data,
    ended,
    event,
    failed,
    head,
    status,
    stream,
    whole,
)
from ecotone.values import Place
from ecotone.values.reasons import TARGET_FAILURES
from ecotone.wire import sse

Make = Callable[..., Stage]
JSON = "application/json"
CONTEXT = b'{"error":{"message":"too long","code":"context_length_exceeded"}}'
ROLE = data(chunk(role="assistant", content=""))

FAILURES: dict[str, tuple[str, Iterable[Step]]] = {
    "DNS": ("dns", [failed("dns")]),
    "refused": ("refused", [failed("refused")]),
    "TLS": ("tls", [failed("tls")]),
    "connect timeout": ("connect_timeout", [failed("connect_timeout", after_s=1.0)]),
    "reset before the head": ("reset", [failed("reset")]),
    "reset after the head": ("reset", [head(), failed("reset")]),
    "reset after the role": ("reset", [head(), ROLE, failed("reset")]),
    "silence before the head": ("first_byte_timeout", SILENCE),
    "silence after the head": ("first_byte_timeout", [head()]),
    "silence after the role": ("first_byte_timeout", [head(), ROLE]),
    "comments and no answer": ("first_byte_timeout", [head(), *[data(b": wait\n\n", after_s=9.0)] * 9]),
    "429": ("rate_limited", status(429)),
    "429 with Retry-After": ("rate_limited", status(429, headers={"retry-after": "7"})),
    "401": ("unauthorised", status(401)),
    "403": ("forbidden", status(403)),
    "404": ("no_model", status(404)),
    "402": ("http_4xx", status(402)),
    "408": ("http_4xx", status(408)),
    "500": ("http_500", status(500)),
    "502": ("http_502", status(502)),
    "503": ("http_503", status(503, headers={"retry-after": "7"})),
    "504": ("http_5xx", status(504)),
    "529": ("http_5xx", status(529)),
    "301": ("redirect", status(301, headers={"location": "https://elsewhere.test/"})),
    "307": ("redirect", status(307, headers={"location": "https://elsewhere.test/"})),
    "a page instead of a stream": ("captive_portal", [head(200, "text/html"), data(b"<html>"), ended()]),
    "JSON instead of a stream": ("bad_answer", whole()),
    "an event that is not JSON": ("bad_answer", [head(), data(b"data: <html>\n\n"), ended()]),
    "an event without an end": ("bad_answer", [head(), *[data(b"x" * (1 << 20))] * 5]),
    "bad UTF-8": ("bad_answer", [head(), data(b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n'), ended()]),
    "error event first": ("error_event", [head(), data(event({"error": {"message": "overloaded"}})), ended()]),
    "error event after the role": ("error_event", [head(), ROLE, data(event({"error": "overloaded"})), ended()]),
    "empty stream": ("empty_stream", [head(), ended()]),
    "a role and no more": ("empty_stream", [head(), ROLE, ended()]),
    "[DONE] and no more": ("empty_stream", [head(), data(sse.DONE), ended()]),
    "usage and no more": ("empty_stream", [head(), data(event({"choices": [], "usage": {}}) + sse.DONE), ended()]),
    "400 for the context": ("context_exceeded", status(400, CONTEXT)),
    "413": ("context_exceeded", status(413, b"<html>")),
    "the engine died": ("engine_crashed", [head(), ROLE, failed("engine_crashed")]),
    "the engine could not start": ("engine_start", [failed("engine_start")]),
    "a full queue": ("busy", [failed("busy")]),
    "not able": ("capability", [failed("capability")]),
    "the egress door": ("egress_refused", [failed("egress_refused")]),
}
"""What a target does with a streamed request, and the class that it must be."""

IN_ONE_PIECE: dict[str, tuple[str, Iterable[Step]]] = {
    "not JSON": ("bad_answer", [head(200, JSON), data(b"<html>"), ended()]),
    "no choices": ("bad_answer", [head(200, JSON), data(b'{"id":"x"}'), ended()]),
    "an error object with status 200": ("bad_answer", [head(200, JSON), data(b'{"error":{}}'), ended()]),
    "no body": ("bad_answer", [head(204, JSON), ended()]),
    "too large": ("bad_answer", whole("x" * 2_000)),
    "cut": ("reset", [head(200, JSON), data(b'{"choices'), failed("reset")]),
    "silence": ("idle_timeout", [head(200, JSON), data(b'{"choices')]),
    "a body that drips": ("first_byte_timeout", [head(200, JSON), *[data(b" ", after_s=20.0)] * 9]),
    "a page": ("captive_portal", [head(200, "text/html"), data(b"<html>"), ended()]),
    "503": ("http_503", status(503)),
}
"""The same for an answer in one piece."""

BEGUN = [head(), data(chunk("Hel")), data(chunk("lo"), after_s=0.1)]
AFTER_CONTENT: dict[str, tuple[str, Iterable[Step]]] = {
    "reset": ("reset", [*BEGUN, failed("reset")]),
    "a clean end that is none": ("reset", [*BEGUN, ended()]),
    "a clean end within an event": ("reset", [*BEGUN, data(b'data: {"choices": [{"de'), ended()]),
    "stall": ("idle_timeout", BEGUN),
    "error event": ("error_event", [*BEGUN, data(event({"error": {"message": "m"}})), ended()]),
    "error event and [DONE]": ("error_event", [*BEGUN, data(event({"error": {}}) + sse.DONE), ended()]),
    "error event after a keep-alive comment": (
        "error_event",
        [*BEGUN, data(sse.KEEP_ALIVE, after_s=9.0), data(event({"error": "m"})), ended()],
    ),
    "an event that cannot be read": ("bad_answer", [*BEGUN, data(b'data: {"usage":{ no\n\n'), ended()]),
    "an event without an end": ("bad_answer", [*BEGUN, *[data(b"x" * (1 << 20))] * 5]),
    "the engine died": ("engine_crashed", [*BEGUN, failed("engine_crashed")]),
}
"""What goes wrong after the caller has had content."""


def cases(table: dict[str, tuple[str, Iterable[Step]]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("code", "script"), [pytest.param(code, script, id=name) for name, (code, script) in table.items()]
    )


def text(stage: Stage) -> str:
    told = [msgspec.json.decode(one) for one in sse.payloads(stage.caller.body) if one != b"[DONE]"]
    return "".join(choice["delta"].get("content", "") for one in told for choice in one.get("choices", ()))


def test_every_class_that_comes_from_a_target_is_tried() -> None:
    ours = {"breaker_open", "budget", "outrun", "too_slow", "unsure"}
    tried = {code for table in (FAILURES, AFTER_CONTENT) for code, _ in table.values()}
    assert tried == set(TARGET_FAILURES) - ours


@cases(FAILURES)
def test_a_failure_before_the_content_goes_to_the_next_target(stage: Make, code: str, script: list[Step]) -> None:
    bad, good = ScriptedTarget("bad", script), ScriptedTarget("good", stream("Hello"), at=Place.EDGE)
    one = stage(bad, good, failures=1)
    outcome = one.serve(one.request(deadline_at_s=200.0))
    assert (outcome.ending, outcome.reason, outcome.target) == ("answered", f"fallback.{code}", "good")
    assert [(attempt.target, attempt.failure) for attempt in outcome.attempts] == [("bad", code)]
    assert text(one) == "Hello"
    assert one.caller.body.endswith(sse.DONE)
    assert one.caller.finished == 1
    if one.caller.headers["ecotone-target"] != "bad":  # which a keep-alive comment may have named before
        assert one.caller.headers["ecotone-reason"] == f"fallback.{code}"
    assert one.telemetry.attempts == [("bad", code), ("good", "")]
    breaker = one.site.breakers["bad"]
    assert (breaker.state == "open") == (code not in NO_FAULT)
    assert breaker.last_failure == ("" if code in NO_FAULT else code)


@cases(FAILURES)
def test_when_every_target_fails_so_the_caller_gets_one_error_with_the_reasons(
    stage: Make, code: str, script: list[Step]
) -> None:
    one = stage(ScriptedTarget("bad", script))
    outcome = one.serve()
    assert (outcome.ending, outcome.failure, outcome.reason) == ("failed", code, f"fallback.{code}")
    assert one.caller.ends == 1
    told = sse.payloads(one.caller.body)[-1] if one.caller.status == 200 else one.caller.body
    assert f"bad: {code}" in msgspec.json.decode(told)["error"]["message"]
    expected = {"context_exceeded": 400, "rate_limited": 429, "busy": 429}.get(code, 503)
    assert one.caller.status in (expected, 200 if code == "first_byte_timeout" else expected)


@cases(IN_ONE_PIECE)
def test_a_broken_answer_in_one_piece_goes_to_the_next_target(stage: Make, code: str, script: list[Step]) -> None:
    bad, good = ScriptedTarget("bad", script), ScriptedTarget("good", whole("Hello"))
    one = stage(bad, good, waits=Waits(answer_bytes_max=1_000))
    outcome = one.serve(one.request(is_stream=False))
    assert (outcome.ending, outcome.reason, outcome.target) == ("answered", f"fallback.{code}", "good")
    assert msgspec.json.decode(one.caller.body)["choices"][0]["message"]["content"] == "Hello"
    assert one.caller.headers["content-type"] == "application/json"


@cases(AFTER_CONTENT)
def test_a_failure_after_content_is_an_error_event_and_a_cut(stage: Make, code: str, script: list[Step]) -> None:
    bad, good = ScriptedTarget("bad", script), ScriptedTarget("good", stream("other"))
    one = stage(bad, good, failures=1)
    outcome = one.serve()
    assert (outcome.ending, outcome.failure, outcome.target) == ("broken", code, "bad")
    assert (one.caller.status, one.caller.cuts, one.caller.finished) == (200, 1, 0)
    assert text(one) == "Hello"
    assert sse.DONE not in one.caller.body
    error = msgspec.json.decode(sse.payloads(one.caller.body)[-1])["error"]
    assert error["code"] == code
    assert good.sent == []
    assert one.site.breakers["bad"].last_failure == code


@cases(AFTER_CONTENT)
def test_an_answer_that_was_being_put_together_goes_to_the_next_target(
    stage: Make, code: str, script: list[Step]
) -> None:
    bad, good = ScriptedTarget("bad", script), ScriptedTarget("good", stream("Hello"))
    bad.is_always_stream = good.is_always_stream = True
    one = stage(bad, good)
    outcome = one.serve(one.request(is_stream=False))
    assert (outcome.ending, outcome.reason) == ("answered", f"fallback.{code}")
    assert msgspec.json.decode(one.caller.body)["choices"][0]["message"]["content"] == "Hello"


def test_retry_after_of_the_target_is_how_long_its_breaker_stays_open(stage: Make) -> None:
    bad, good = ScriptedTarget("bad", status(429, headers={"retry-after": "7"})), ScriptedTarget("good", stream("a"))
    one = stage(bad, good)
    one.serve()
    assert not one.site.breakers["bad"].admit(one.loop.now_s + 6.0)
    assert one.site.breakers["bad"].admit(one.loop.now_s + 7.0)


def test_a_caller_of_rate_limited_targets_is_told_when_to_try_again(stage: Make) -> None:
    one = stage(ScriptedTarget("bad", status(429, headers={"retry-after": "7"})))
    one.serve()
    assert (one.caller.status, one.caller.headers["retry-after"]) == (429, "7")


def test_a_dead_target_costs_one_wait_and_then_nothing(stage: Make) -> None:
    dead = ScriptedTarget("dead", [failed("connect_timeout", after_s=1.0)])
    one = stage(dead, ScriptedTarget("good", stream("a", gap_s=0.0), at=Place.EDGE))
    assert one.serve().total_s == pytest.approx(1.0, abs=0.01)
    for _ in range(5):
        assert one.serve().total_s == pytest.approx(0.0, abs=0.01)
        one.later(10.0)
    assert len(dead.sent) == 1


@pytest.mark.parametrize("code", sorted(set(TARGET_FAILURES) - AT_ONCE - NO_FAULT - {"too_slow", "unsure"}))
def test_failures_that_cost_little_open_the_breaker_only_in_a_row(stage: Make, code: str) -> None:
    bad = ScriptedTarget("bad", [failed(code)])
    one = stage(bad, ScriptedTarget("good", stream("a")))
    for _ in range(4):
        one.serve()
    assert len(bad.sent) == 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":{"message":"no such tool","type":"invalid_request_error"}}', "no such tool"),
        (b'{"error":"does not support tools"}', "does not support tools"),
        (b"<html>", "The target rejects the request with HTTP 422."),
        (b"x" * 100_000, "The target rejects the request with HTTP 422."),
    ],
)
def test_what_is_the_requests_own_fault_is_told_and_not_tried_elsewhere(stage: Make, body: bytes, message: str) -> None:
    good = ScriptedTarget("good", stream("a"))
    one = stage(ScriptedTarget("strict", status(422, body)), good, failures=1)
    outcome = one.serve()
    assert (outcome.ending, outcome.failure, one.caller.status) == ("rejected", "rejected", 422)
    assert msgspec.json.decode(one.caller.body)["error"]["message"] == message
    assert good.sent == []
    assert one.site.breakers["strict"].state == "closed"


def test_a_rejection_after_a_keep_alive_comment_is_an_error_event(stage: Make) -> None:
    late = [head(400, JSON, after_s=20.0), data(b'{"error":{"message":"m"}}'), ended()]
    one = stage(ScriptedTarget("strict", late))
    assert one.serve().ending == "rejected"
    assert (one.caller.status, one.caller.cuts) == (200, 1)
    assert b'"code":"rejected"' in one.caller.body
