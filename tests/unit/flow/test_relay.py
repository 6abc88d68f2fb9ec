"""One attempt's answer on its way to the caller: when it begins, what passes, when it is whole."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from ecotone.flow import Waits
from ecotone.sim.scripted import (
    EVENTS,
    ScriptedTarget,
    Stage,
    Step,
    chunk,
    data,
    ended,
    event,
    failed,
    head,
    stream,
    whole,
)
from ecotone.sim.world import MadeCaller
from ecotone.values import Endpoint, Features
from ecotone.wire import sse

Make = Callable[..., Stage]
STOP = chunk(finish="stop")
ROLE = chunk(role="assistant", content="")


def served(stage: Make, *script: Step, caller: MadeCaller | None = None, **asked: object) -> Stage:
    one = stage(ScriptedTarget("big", script))
    one.serve(one.request(**asked), caller=caller)
    return one


def payloads(one: Stage) -> list[bytes]:
    return sse.payloads(one.caller.body)


def test_nothing_is_sent_before_the_first_content(stage: Make) -> None:
    one = served(stage, head(), data(ROLE, after_s=1.0), data(chunk("a"), after_s=2.0), data(STOP + sse.DONE), ended())
    assert one.telemetry.outcomes[0].ttft_s == pytest.approx(3.0, abs=0.01)
    assert one.caller.body == ROLE + chunk("a") + STOP + sse.DONE


@pytest.mark.parametrize(
    "first",
    [
        chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]),
        chunk(refusal="no"),
        chunk(reasoning_content="hm"),
        chunk(finish="content_filter"),
    ],
)
def test_whatever_the_caller_can_use_begins_the_answer(stage: Make, first: bytes) -> None:
    one = served(stage, head(), data(ROLE + first), failed("reset", after_s=1.0))
    assert one.telemetry.outcomes[0].ending == "broken"
    assert one.caller.body.startswith(ROLE + first)


def test_events_of_a_stream_that_has_begun_pass_byte_by_byte(stage: Make) -> None:
    odd = b'id: 7\nevent: message\ndata: {"choices" : [ {"delta":{"content":"b"}} ]}\n\n: comment\n\n'
    one = served(stage, head(), data(chunk("a")), data(odd), data(STOP + sse.DONE), ended())
    assert one.caller.body == chunk("a") + odd + STOP + sse.DONE


def test_any_chunking_is_restored_to_whole_events(stage: Make) -> None:
    body = ROLE + chunk("a") + chunk("b") + STOP + sse.DONE
    steps = [data(body[at : at + 7]) for at in range(0, len(body), 7)]
    one = served(stage, head(), *steps, ended())
    assert one.caller.body == body


def test_the_media_type_of_a_stream_is_known_in_any_case_and_with_parameters(stage: Make) -> None:
    one = served(stage, head(200, "Text/Event-Stream; charset=utf-8"), data(chunk("a") + STOP + sse.DONE), ended())
    assert one.telemetry.outcomes[0].ending == "answered"


def test_done_may_have_blanks_around_it(stage: Make) -> None:
    one = served(stage, head(), data(chunk("a") + STOP), data(b"data:  [DONE] \n\n"), ended())
    assert one.telemetry.outcomes[0].ending == "answered"
    assert payloads(one)[-1] == b"[DONE]"


def test_nothing_passes_after_done(stage: Make) -> None:
    late = chunk("late") + event({"error": {"message": "late"}})
    done = data(chunk("a") + STOP + sse.DONE + late)
    one = served(stage, head(), done, data(chunk("late")), data(late), data(b"x" * 5_000_000), ended())
    assert one.telemetry.outcomes[0].ending == "answered"
    assert b"late" not in one.caller.body


@pytest.mark.parametrize("end", [ended(after_s=0.5), failed("reset", after_s=0.5), ended(after_s=9.0)])
def test_after_done_the_answer_is_whole_however_the_transfer_ends(stage: Make, end: Step) -> None:
    one = served(stage, head(), data(chunk("a") + STOP + sse.DONE), end)
    outcome = one.telemetry.outcomes[0]
    assert (outcome.ending, outcome.failure) == ("answered", "")
    assert outcome.total_s <= 1.01
    assert one.telemetry.attempts == [("big", "")]


def test_a_stream_without_done_is_whole_once_it_said_why_it_ended(stage: Make) -> None:
    one = served(stage, head(), data(chunk("a")), data(STOP), ended())
    assert one.telemetry.outcomes[0].ending == "answered"
    assert payloads(one)[-1] == b"[DONE]"


def test_the_last_event_may_lack_its_blank_line(stage: Make) -> None:
    one = served(stage, head(), data(chunk("a")), data(STOP.rstrip()), ended())
    assert one.telemetry.outcomes[0].ending == "answered"
    assert payloads(one)[-2:] == [*sse.payloads(STOP), b"[DONE]"]
    two = served(stage, head(), data(chunk("a")), data(b"data: [DONE]"), ended())
    assert two.telemetry.outcomes[0].ending == "answered"


def test_what_is_cut_off_after_the_finish_does_not_spoil_the_answer(stage: Make) -> None:
    one = served(stage, head(), data(chunk("a") + STOP + b'data: {"usage":{"prompt'), ended())
    assert one.telemetry.outcomes[0].ending == "answered"


def test_an_error_event_without_its_blank_line_is_still_an_error(stage: Make) -> None:
    one = served(stage, head(), data(chunk("a") + STOP + b'data: {"error":{"message":"m"}}'), ended())
    assert one.telemetry.outcomes[0].failure == "error_event"


def test_with_several_choices_only_done_says_that_all_of_them_ended(stage: Make) -> None:
    script = (head(), data(chunk("a") + chunk("b", index=1) + STOP), ended())
    one = served(stage, *script, features=Features(10, needs=("stream", "n")))
    assert one.telemetry.outcomes[0].failure == "reset"


@pytest.mark.parametrize(("is_asked", "count"), [(True, 1), (False, 0)])
def test_usage_that_only_we_asked_for_is_kept_from_the_caller_and_counted(
    stage: Make, is_asked: bool, count: int
) -> None:
    one = served(stage, *stream("a", "b", usage=(11, 22)), is_usage_asked=is_asked)
    assert one.caller.body.count(b'"usage"') == count
    outcome = one.telemetry.outcomes[0]
    assert (outcome.input_tokens, outcome.output_tokens) == (11, 22)


def test_without_usage_events_are_counted(stage: Make) -> None:
    outcome = served(stage, *stream("a", "b", "c")).telemetry.outcomes[0]
    assert (outcome.input_tokens, outcome.output_tokens) == (10, 3)


def test_counts_below_zero_are_not_believed(stage: Make) -> None:
    outcome = served(stage, *stream("a", usage=(-5, -5))).telemetry.outcomes[0]
    assert (outcome.input_tokens, outcome.output_tokens) == (10, 1)


def test_embeddings_have_no_output_tokens(stage: Make) -> None:
    body = b'{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":3}}'
    one = served(
        stage, head(200, "application/json"), data(body), ended(), is_stream=False, endpoint=Endpoint.EMBEDDINGS
    )
    outcome = one.telemetry.outcomes[0]
    assert (one.caller.body, outcome.input_tokens, outcome.output_tokens) == (body, 3, 0)


def test_what_is_held_back_before_content_is_bounded(stage: Make) -> None:
    big = event({"choices": [], "prompt_logprobs": "x" * 200_000})
    one = served(stage, head(), data(big), data(big), data(chunk("a") + STOP + sse.DONE, after_s=50.0), ended())
    assert one.telemetry.outcomes[0].failure == "idle_timeout"
    assert one.caller.body.startswith(big + big)


def test_a_stream_that_began_without_content_must_bring_some(stage: Make) -> None:
    big = event({"choices": [], "prompt_logprobs": "x" * 300_000})
    one = served(stage, head(), data(big), data(sse.DONE), ended())
    assert (one.telemetry.outcomes[0].ending, one.telemetry.outcomes[0].failure) == ("broken", "empty_stream")


def test_a_stream_may_be_long_as_long_as_it_moves(stage: Make) -> None:
    one = served(stage, head(), *stream(*"abcdefgh", gap_s=29.0)[2:])
    assert one.telemetry.outcomes[0].ending == "answered"


def test_a_finish_without_content_counts_as_the_beginning(stage: Make) -> None:
    one = served(stage, head(), data(STOP, after_s=50.0), data(sse.DONE, after_s=20.0), ended())
    assert one.telemetry.outcomes[0].ending == "answered"


def test_an_answer_that_is_put_together_is_bounded(stage: Make) -> None:
    target = ScriptedTarget("big", stream("x" * 600, "y" * 600))
    target.is_always_stream = True
    one = stage(target, waits=Waits(answer_bytes_max=1_000))
    assert one.serve(one.request(is_stream=False)).reason == "fallback.bad_answer"


def test_a_role_without_content_is_not_put_together_to_an_answer(stage: Make) -> None:
    target = ScriptedTarget("big", (head(), data(ROLE + sse.DONE), ended()))
    target.is_always_stream = True
    one = stage(target)
    assert one.serve(one.request(is_stream=False)).reason == "fallback.empty_stream"


class Shouting:
    """A reply form that changes events, holds the last word back and may give an error."""

    def feed(self, event: bytes) -> list[bytes]:
        return [event.replace(b"quiet", b"LOUD")]

    def finish(self) -> list[bytes]:
        return sse.payloads(chunk("!"))


def test_a_reply_form_changes_every_event_and_has_the_last_word(stage: Make) -> None:
    target = ScriptedTarget("small", stream("quiet", "quiet"))
    target.reply = Shouting
    one = stage(target)
    assert one.serve().ending == "answered"
    told = [msgspec.json.decode(one) for one in payloads(one)[:-1]]
    assert [event["choices"][0]["delta"].get("content") for event in told] == ["", "LOUD", "LOUD", None, "!"]


def test_a_slow_caller_stops_the_reading_from_the_first_content_on(stage: Make) -> None:
    target = ScriptedTarget("big", (head(), data(ROLE, after_s=20.0), *stream("a", "b", "c", gap_s=0.01)[1:]))
    one = stage(target)
    outcome = one.serve(caller=MadeCaller(is_slow=True))  # it is slow from the keep-alive comment on
    assert outcome.ending == "answered"
    assert one.caller.body.endswith(sse.DONE)
    assert outcome.total_s > 21.0
    assert one.site.speeds.predict(
        "big", prompt_tokens=10, output_tokens_max=10, price=target.spec.price, queue=(0, 0, 9)
    ).total_s_p50 == pytest.approx(20.03, abs=0.1), "the pace is the caller's, not the target's"


def test_a_caller_that_paused_before_the_content_holds_the_stream_from_then_on(stage: Make) -> None:
    target = ScriptedTarget("big", (head(), data(chunk("a"), after_s=15.2), *stream("b", gap_s=0.0)[1:]))
    one = stage(target)
    seen: list[bool] = []

    class Choked(MadeCaller):
        """The keep-alive comment after 15 s is too much for it; five seconds later it has caught up."""

        def write(self, chunk: bytes) -> None:
            super().write(chunk)
            one.loop.call_soon(lambda: seen.append(target.opened[0].is_paused))
            if chunk == sse.KEEP_ALIVE:
                assert self._pause is not None
                assert self._resume is not None
                self._pause()
                one.loop.call_later(5.0, self._resume)

    outcome = one.serve(caller=Choked())
    assert (outcome.ending, outcome.total_s) == ("answered", pytest.approx(20.0, abs=0.01))
    assert seen[:2] == [False, True]


def test_a_caller_may_be_slow_before_the_attempt_is_open(stage: Make) -> None:
    class Congested(MadeCaller):
        """Tells of its state as soon as it is asked whom to tell."""

        def on_flow(self, pause, resume):  # type: ignore[no-untyped-def]
            super().on_flow(pause, resume)
            if pause is not None:
                pause()
                resume()

    one = served(stage, *stream("a"), caller=Congested())
    assert one.telemetry.outcomes[0].ending == "answered"


def test_a_caller_who_does_not_read_is_no_stall_of_the_target(stage: Make) -> None:
    class Stuck(MadeCaller):
        def write(self, chunk: bytes) -> None:
            super().write(chunk)
            if self._pause is not None:
                self._pause()

    one = stage(ScriptedTarget("big", stream("a", "b")))
    outcome = one.serve(caller=Stuck())
    assert (outcome.ending, outcome.total_s) == ("deadline", pytest.approx(600.0))
    assert one.site.breakers["big"].state == "closed"


def test_a_late_call_of_a_target_that_was_given_up_changes_nothing(stage: Make) -> None:
    class Stubborn(ScriptedTarget):
        """Goes on after its abort."""

        def open(self, prepared, sink, permit, receipt):  # type: ignore[no-untyped-def]
            self.sink = sink
            return super().open(prepared, sink, permit, receipt)

    target = Stubborn("big", [failed("reset")])
    one = stage(target, ScriptedTarget("good", stream("Hello")))
    assert one.serve().target == "good"
    body = one.caller.body
    target.sink.head(200, {"content-type": EVENTS})
    target.sink.data(chunk("late"))
    target.sink.ended()
    target.sink.failed(None)
    assert one.caller.body == body


def test_an_answer_in_one_piece_passes_byte_by_byte_with_its_length(stage: Make) -> None:
    class Measured(MadeCaller):
        length: int | None = None

        def begin(self, status, headers, *, is_stream, length):  # type: ignore[no-untyped-def]
            self.length = length
            super().begin(status, headers, is_stream=is_stream, length=length)

    script = whole("Hello", usage={"prompt_tokens": 1, "completion_tokens": 2})
    caller = Measured()
    one = served(stage, *script, is_stream=False, caller=caller)
    assert caller.length == len(caller.body)
    assert msgspec.json.decode(caller.body)["usage"]["completion_tokens"] == 2
    assert one.telemetry.outcomes[0].output_tokens == 2


def test_a_stream_without_end_is_cut_at_the_limit(stage: Make) -> None:
    word = chunk("x" * 400)
    target = ScriptedTarget("big", [head(), *([data(word, after_s=0.01)] * 20)])
    one = stage(target, waits=Waits(answer_bytes_max=2_000))
    outcome = one.serve()
    assert (outcome.ending, outcome.failure) == ("broken", "bad_answer")
    assert len(one.caller.body) < 4_000
