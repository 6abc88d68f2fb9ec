"""The caller's side: one head, one end, keep-alive comments between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ecotone.flow.answer import Answer
from ecotone.sim.time import VirtualClock, VirtualLoop
from ecotone.sim.world import MadeCaller
from ecotone.values import DeadlineError, Endpoint, Features, PlacementError, Request
from ecotone.wire import sse


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    made = VirtualLoop()
    yield made
    made.close()


def answering(loop: VirtualLoop, **changes: Any) -> tuple[Answer, MadeCaller]:
    base = Request(
        id="req-1", endpoint=Endpoint.CHAT, model="m", body=b"{}", is_stream=True, is_usage_asked=False,
        features=Features(1), received_at_s=0.0,
    )  # fmt: skip
    caller = MadeCaller()
    answer = Answer(msgspec.structs.replace(base, **changes), caller, VirtualClock(loop), 10.0)
    answer.reason, answer.target, answer.at = "edge.cheaper", "small", "edge"
    return answer, caller


def pass_time(loop: VirtualLoop, until_s: float) -> None:
    loop.call_at(until_s, loop.stop)
    loop.run_forever()


def test_the_head_says_who_answers_and_why(loop: VirtualLoop) -> None:
    answer, caller = answering(loop, is_stream=False)
    answer.commit(is_stream=False, length=2)
    answer.write(b"{}")
    answer.finish()
    assert caller.status == 200
    assert caller.headers == {
        "content-type": "application/json",
        "ecotone-id": "req-1",
        "ecotone-reason": "edge.cheaper",
        "ecotone-placed": "edge",
        "ecotone-target": "small",
    }


def test_a_stream_has_its_own_media_type_and_is_not_cached(loop: VirtualLoop) -> None:
    answer, caller = answering(loop)
    answer.commit(is_stream=True, length=None)
    assert caller.headers["content-type"].startswith("text/event-stream")
    assert caller.headers["cache-control"] == "no-cache"
    answer.close()


@pytest.mark.parametrize("is_debug", [True, False])
def test_debug_headers_come_only_when_asked_for(loop: VirtualLoop, is_debug: bool) -> None:
    answer, caller = answering(loop, is_stream=False, is_debug=is_debug)
    answer.debug = [("Ecotone-Attempts", "small")]
    answer.commit(is_stream=False, length=0)
    assert ("ecotone-attempts" in caller.headers) == is_debug


def test_an_error_before_the_head_has_its_own_status_and_names_no_target_that_was_not_chosen(loop: VirtualLoop) -> None:
    answer, caller = answering(loop)
    answer.target = ""
    answer.fail(PlacementError("refused.unreachable", "m", retry_after_s=2.4))
    assert (caller.status, caller.finished, caller.cuts) == (503, 1, 0)
    assert caller.headers["retry-after"] == "3"
    assert "ecotone-target" not in caller.headers
    assert msgspec.json.decode(caller.body)["error"]["code"] == "refused.unreachable"
    pass_time(loop, 60.0)
    assert answer.is_over


def test_an_error_after_the_head_of_a_stream_is_an_event_and_a_cut(loop: VirtualLoop) -> None:
    answer, caller = answering(loop)
    answer.commit(is_stream=True, length=None)
    answer.fail(DeadlineError("deadline", "m"))
    assert (caller.finished, caller.cuts) == (0, 1)
    assert msgspec.json.decode(sse.payloads(caller.body)[0])["error"]["code"] == "deadline"


def test_an_error_after_the_head_of_an_answer_in_one_piece_is_only_a_cut(loop: VirtualLoop) -> None:
    answer, caller = answering(loop, is_stream=False)
    answer.commit(is_stream=False, length=9)
    answer.fail(DeadlineError("deadline", "m"))
    assert (caller.body, caller.cuts) == (b"", 1)


def test_an_error_after_the_end_is_not_told(loop: VirtualLoop) -> None:
    answer, caller = answering(loop)
    answer.commit(is_stream=True, length=None)
    answer.finish()
    answer.fail(DeadlineError("deadline", "m"))
    assert (caller.finished, caller.cuts, caller.body) == (1, 0, b"")


def test_a_second_end_is_a_broken_invariant(loop: VirtualLoop) -> None:
    answer, _ = answering(loop)
    answer.reject(400, b"{}")
    with pytest.raises(AssertionError, match="ends once"):
        answer.finish()


def test_silence_in_a_stream_is_filled_with_comments_until_the_end(loop: VirtualLoop) -> None:
    answer, caller = answering(loop)
    pass_time(loop, 35.0)
    assert caller.begun == 1
    assert caller.body == sse.KEEP_ALIVE * 3
    answer.finish()
    pass_time(loop, 100.0)
    assert caller.body == sse.KEEP_ALIVE * 3


def test_a_comment_comes_only_after_silence(loop: VirtualLoop) -> None:
    answer, caller = answering(loop)
    answer.commit(is_stream=True, length=None)
    for at_s in (6.0, 12.0, 18.0):
        pass_time(loop, at_s)
        answer.write(b"data: 1\n\n")
    assert sse.KEEP_ALIVE not in caller.body
    pass_time(loop, 28.5)
    assert caller.body.endswith(sse.KEEP_ALIVE)
    answer.close()
    answer.close()
    pass_time(loop, 100.0)
    assert caller.body.count(sse.KEEP_ALIVE) == 1


def test_an_answer_in_one_piece_gets_no_comments(loop: VirtualLoop) -> None:
    _, caller = answering(loop, is_stream=False)
    pass_time(loop, 100.0)
    assert caller.begun == 0
