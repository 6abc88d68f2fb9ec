"""Whatever a target sends, in whatever pieces: nothing, a whole answer, or a beginning and an error; one end."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ecotone import flow
from ecotone.flow.relay import Limits, Relay
from ecotone.ports import Prepared
from ecotone.sim.scripted import ScriptedTarget, Stage, Step, chunk, data, ended, event, failed, head, stream, whole
from ecotone.sim.time import VirtualClock, VirtualLoop
from ecotone.sim.world import MadeCaller
from ecotone.values import Endpoint, Features, Place, Request
from ecotone.wire import sse

REQUEST = Request(
    id="r", endpoint=Endpoint.CHAT, model="m", body=b"{}", is_stream=True, is_usage_asked=False,
    features=Features(1), received_at_s=0.0,
)  # fmt: skip

words = st.sampled_from(["a", "b", " ", "ß\n", '"error"', "[DONE]"])
pieces = st.one_of(
    words.map(chunk),
    words.map(lambda word: chunk(reasoning_content=word)),
    st.sampled_from(
        [
            chunk(role="assistant", content=""),
            chunk(refusal="no"),
            chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{}"}}]),
            chunk("x", index=1),
            chunk(finish="stop"),
            chunk("x", finish="stop"),
            event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": 3}}),
            event({"choices": [], "usage": {"prompt_tokens": 1}}),
            event({"choices": [], "usage": None}),
            event({"error": {"message": "m"}}),
            event({"error": None, "choices": []}),
            sse.DONE,
            sse.KEEP_ALIVE,
            b"data: <html>\n\n",
            b'data: {"usage":{ no\n\n',
            b'data: {"choices":[{"delta":{"content":"\xff","usage":{}}}]}\n\n',
            b'data: {"choices":\ndata: [{"delta":{"content":"m"}}]}\n\n',
            b'data: {"choices": [{"de',
            b"\n\n",
            b"\r\n\r\n",
            b"",
        ]
    ),
)
bodies = st.lists(pieces, max_size=8).map(b"".join)
heads = st.sampled_from(
    [(200, "text/event-stream")] * 6 + [(200, "application/json"), (503, ""), (400, "application/json")]
)
ends = st.sampled_from(["ended", "failed", ""])


@st.composite
def scripts(draw: st.DrawFn) -> list[Step]:
    """A head, a body in any pieces with pauses between, and an end or none; or something out of order."""
    body = draw(bodies)
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=6)))
    gaps = st.sampled_from([0.0, 0.0, 0.0, 0.5, 5.0])
    status, kind = draw(heads)
    steps = [head(status, kind, after_s=draw(gaps))]
    steps += [data(body[a:b], after_s=draw(gaps)) for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    end = draw(ends)
    steps += [ended(after_s=draw(gaps))] if end == "ended" else []
    steps += [failed("reset", after_s=draw(gaps))] if end == "failed" else []
    return steps[draw(st.sampled_from([0, 0, 0, 0, 1])) :]


class Heard:
    """A front that insists on one head, then content, then at most one end."""

    def __init__(self) -> None:
        self.commits = self.finishes = 0
        self.body = b""

    def commit(self, *, is_stream: bool, length: int | None) -> None:
        assert not self.commits
        self.commits += 1

    def write(self, block: bytes) -> None:
        assert self.commits
        assert not self.finishes
        assert block
        self.body += block

    def finish(self) -> None:
        assert self.commits
        assert not self.finishes
        self.finishes += 1


@given(scripts(), st.booleans())
def test_a_relay_settles_once_and_is_whole_exactly_where_the_front_heard_the_end(
    script: list[Step], is_stream: bool
) -> None:
    front = Heard()

    async def scene() -> Relay:
        prepared = Prepared(path="/", body=b"", is_stream=True, is_usage_added=True)
        request = msgspec.structs.replace(REQUEST, is_stream=is_stream)
        limits = Limits(first_by_s=20.0, until_s=100.0, idle_s=3.0, bytes_max=10_000)
        relay = Relay(request, prepared, front, VirtualClock(loop), limits)  # type: ignore[arg-type]
        target = ScriptedTarget("t", script)
        stream = target.open(prepared, relay, None, None)
        relay.watch(stream)
        await relay.settled
        # Without an abort, the rest of the script is played against a relay that has settled.
        await asyncio.sleep(60.0)
        stream.abort()
        relay.close()
        return relay

    loop = VirtualLoop()
    try:
        relay = loop.run_until_complete(scene())
    finally:
        loop.close()
    assert relay.is_whole == (front.finishes == 1) == (relay.settled.result() is None)
    assert relay.is_committed == (front.commits == 1) == (front.body != b"")
    assert relay.answer_bytes == len(front.body)
    if is_stream and front.finishes:
        assert sse.payloads(front.body)[-1].strip() == b"[DONE]"
    if not is_stream and front.commits:
        assert msgspec.json.decode(front.body)["object"] == "chat.completion"


@given(
    scripts(),
    st.booleans(),
    st.sampled_from([None, 0.0, 0.3, 4.0, 30.0]),
    st.sampled_from([None, None, 2.0, 9.0]),
    st.booleans(),
)
def test_a_caller_gets_one_whole_answer_or_one_error_or_has_left(
    script: list[Step], is_stream: bool, leaves_s: float | None, deadline_s: float | None, is_slow: bool
) -> None:
    first = ScriptedTarget("first", script)
    first.is_always_stream = True
    second = ScriptedTarget("second", stream("2", "2") if is_stream else whole("22"), at=Place.EDGE)
    one = Stage(first, second, waits=flow.Waits(first_byte_s=20.0, idle_s=6.0, total_s=60.0, keep_alive_s=4.0))
    try:
        request = one.request(is_stream=is_stream, deadline_at_s=deadline_s)
        outcome = one.serve(request, caller=MadeCaller(is_slow=is_slow), leaves_after_s=leaves_s)
    finally:
        one.close()
    caller = one.caller
    assert one.left_over() == []
    assert caller.ends == (0 if outcome.ending == "left" else 1)
    assert caller.finished == (1 if outcome.ending == "answered" else caller.finished)
    if outcome.ending == "left":
        return
    if not (is_stream and caller.status == 200):
        assert caller.finished == 1
        answer = msgspec.json.decode(caller.body)
        assert ("choices" in answer) == (caller.status == 200)
        assert ("error" in answer) == (caller.status != 200)
        return
    if b"\xff" in caller.body:
        return  # passed on as it came; cannot be read
    is_second = b'"content":"2"' in caller.body
    if is_second:
        assert caller.body.replace(sse.KEEP_ALIVE, b"").startswith(chunk(role="assistant", content="") + chunk("2"))
    has_done = b"[DONE]" in [one.strip() for one in sse.payloads(caller.body)]
    assert has_done == (caller.finished == 1) == (outcome.ending == "answered")
