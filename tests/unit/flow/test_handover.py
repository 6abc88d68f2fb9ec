"""An answer that breaks off in the cloud goes on at the edge, character for character, where the name allows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ecotone import flow
from ecotone.flow.handover import Continuation, continued
from ecotone.sim.scripted import ScriptedTarget, Stage, chunk, data, failed, head, stream
from ecotone.values import Endpoint, Features, Outcome, Place, Request
from ecotone.wire import sse

Make = Callable[..., Stage]
ABLE = frozenset({"stream", "continue"})
BEGUN = (head(), data(chunk(role="assistant", content="")), data(chunk("Once upon ")), data(chunk("a ti")))
CUT = (*BEGUN, failed("reset"))


def big(*script: Any) -> ScriptedTarget:
    return ScriptedTarget("big", list(script))


def small(*script: Any, **spec: Any) -> ScriptedTarget:
    return ScriptedTarget("small", list(script), at=Place.EDGE, **({"capabilities": ABLE} | spec))


def site(stage: Make, *targets: ScriptedTarget, is_continued: bool = True) -> Stage:
    names = tuple(target.spec.name for target in targets)
    return stage(*targets, names={"auto": flow.ModelName("auto", names, is_continued=is_continued)})


def ask(one: Stage, **changes: Any) -> Outcome:
    body = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Tell me a story."}]}
    return one.serve(one.request(body=msgspec.json.encode(body), **changes))


def events(one: Stage) -> list[dict[str, Any]]:
    return [msgspec.json.decode(payload) for payload in sse.payloads(one.caller.body) if payload != b"[DONE]"]


def said(one: Stage) -> str:
    return "".join(choice["delta"].get("content") or "" for event in events(one) for choice in event.get("choices", ()))


def test_the_text_goes_on_where_it_broke_off(stage: Make) -> None:
    heir = small(*stream("me there", " was"))
    one = site(stage, big(*CUT), heir)
    outcome = ask(one)
    assert said(one) == "Once upon a time there was"
    assert (outcome.ending, outcome.target, outcome.continued, outcome.status) == ("answered", "big", "small", 200)
    assert [attempt.failure for attempt in outcome.attempts] == ["reset"]
    sent = msgspec.json.decode(heir.bodies[0])
    assert sent["messages"][-1] == {"role": "assistant", "content": "Once upon a ti"}
    assert 90 < sent["max_tokens"] < 100
    roles = [
        choice["delta"]["role"] for event in events(one) for choice in event["choices"] if "role" in choice["delta"]
    ]
    assert roles == ["assistant"]
    assert events(one)[-1]["ecotone"] == {"handover": {"from": "big", "to": "small", "after_chars": 14}}
    assert one.caller.body.endswith(sse.DONE)


@pytest.mark.parametrize("code", ["idle_timeout", "error_event", "bad_answer"])
def test_each_way_of_breaking_off_is_continued(stage: Make, code: str) -> None:
    broken = {
        "idle_timeout": (),
        "error_event": (data(b'data: {"error": {"message": "made"}}\n\n'),),
        "bad_answer": (data(b'data: {"usage":{ no JSON\n\n'),),
    }[code]
    one = site(stage, big(*BEGUN, *broken), small(*stream("me")))
    assert [attempt.failure for attempt in ask(one).attempts] == [code]
    assert said(one) == "Once upon a time"


def test_without_the_word_of_the_model_name_it_ends_with_an_error_event(stage: Make) -> None:
    heir = small(*stream("me"))
    one = site(stage, big(*CUT), heir, is_continued=False)
    assert ask(one).ending == "broken"
    assert "error" in events(one)[-1]
    assert heir.sent == []


@pytest.mark.parametrize("need", ["tools", "json_schema", "json_object", "logprobs", "n", "vision"])
def test_what_is_more_than_text_is_not_continued(stage: Make, need: str) -> None:
    heir = small(*stream("me"), capabilities=ABLE | {need})
    one = site(stage, big(*CUT), heir)
    assert ask(one, features=Features(10, needs=("stream", need))).ending == "broken"
    assert heir.sent == []


def test_a_tool_call_that_nobody_asked_for_is_not_continued_either(stage: Make) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}
    one = site(stage, big(*BEGUN, data(chunk(tool_calls=[call])), failed("reset")), small(*stream("me")))
    assert ask(one).ending == "broken"


@pytest.mark.parametrize("heir", [{"capabilities": None}, {"capabilities": frozenset({"stream"})}, {"at": Place.CLOUD}])
def test_only_an_edge_target_that_can_write_on_does(stage: Make, heir: dict[str, Any]) -> None:
    spec = {"capabilities": ABLE, "at": Place.EDGE} | heir
    one = site(stage, big(*CUT), ScriptedTarget("small", list(stream("me")), **spec))
    assert ask(one).ending == "broken"


def test_what_breaks_at_the_edge_is_not_handed_on(stage: Make) -> None:
    one = site(stage, small(*CUT), ScriptedTarget("other", list(stream("me")), at=Place.EDGE, capabilities=ABLE))
    assert ask(one).ending == "broken"


def test_the_next_one_writes_on_where_the_first_cannot_begin(stage: Make) -> None:
    other = ScriptedTarget("other", list(stream("me")), at=Place.EDGE, capabilities=ABLE)
    one = site(stage, big(*CUT), small(failed("engine_crashed")), other)
    outcome = ask(one)
    assert (outcome.continued, said(one)) == ("other", "Once upon a time")


def test_if_nobody_can_the_caller_is_told_of_the_first_break(stage: Make) -> None:
    one = site(stage, big(*CUT), small(failed("engine_crashed")))
    outcome = ask(one)
    assert (outcome.ending, outcome.failure, outcome.continued) == ("broken", "reset", "")
    assert one.caller.cuts == 1


def test_a_second_half_that_breaks_ends_the_answer(stage: Make) -> None:
    one = site(stage, big(*CUT), small(*BEGUN, failed("engine_crashed")))
    outcome = ask(one)
    assert (outcome.ending, outcome.failure) == ("broken", "engine_crashed")
    assert said(one) == "Once upon a tiOnce upon a ti"


def test_the_deadline_holds_for_both_halves(stage: Make) -> None:
    one = site(stage, big(*CUT), small(*stream("me", gap_s=9.0)))
    assert ask(one, deadline_at_s=one.loop.now_s + 3.0).ending == "broken"


def test_limits_on_tokens_shrink_by_what_was_said() -> None:
    body = {"model": "m", "messages": [], "max_tokens": 3, "max_completion_tokens": None}
    features = Features(10, 3)
    request = Request(
        id="r", endpoint=Endpoint.CHAT, model="m", body=msgspec.json.encode(body), is_stream=True,
        is_usage_asked=False, features=features, received_at_s=0.0,
    )  # fmt: skip
    made = continued(request, "x" * 400)
    assert msgspec.json.decode(made.body)["max_tokens"] == 1
    assert (made.features.output_tokens_max, made.features.prompt_tokens, made.features.turns) == (1, 110, 2)
    free = msgspec.structs.replace(request, features=Features(10))
    assert continued(free, "x").features.output_tokens_max is None


def test_a_continuation_goes_through_the_targets_own_reply() -> None:
    class Twice:
        def feed(self, event: bytes) -> list[bytes]:
            return [event, event]

        def finish(self) -> list[bytes]:
            return [b'{"choices":[{"delta":{},"finish_reason":"stop"}]}']

        def whole(self, body: bytes) -> bytes:
            return body

    one = Continuation(Twice(), {"to": "small"})
    assert len(one.feed(b'{"choices":[{"delta":{"content":"a"}}]}')) == 2
    assert one.feed(b'{"choices":[{"delta":{"role":"assistant","content":""}}]}') != [None]
    assert b'"handover":{"to":"small"}' in one.finish()[0]
    assert one.feed(b"no JSON") == [b"no JSON", b"no JSON"]
    assert one.whole(b"{}") == b"{}"
    assert Continuation(None, {}).finish() == []
