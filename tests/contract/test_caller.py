"""One suite for both front ends that implement `ports.Caller`, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable

import openai
import pytest

from ecotone.gateway import listen
from ecotone.ports import Caller
from ecotone.values import ConfigError, Request, Wish

from .gateway_site import BOUND_S, CHAT, EVENTS_HEAD, JSON_HEAD, Answer, Front, Site, Wire, echo, get, post, said


@pytest.fixture(params=["fast-uvloop", "plain-uvloop", "fast-asyncio", "plain-asyncio"])
def front(request: pytest.FixtureRequest) -> Front:
    return Front(request.param)


async def event(what: asyncio.Event) -> None:
    async with asyncio.timeout(BOUND_S):
        await what.wait()


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop run until something is so."""
    async with asyncio.timeout(BOUND_S):
        while not condition():
            await asyncio.sleep(0)


async def for_ever(request: Request, caller: Caller) -> None:
    await asyncio.Event().wait()


async def stream_for_ever(request: Request, caller: Caller) -> None:
    caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
    caller.write(b"data: 1\n\n")
    await asyncio.Event().wait()


# Answers.


def test_an_answer_in_one_piece_has_its_length_and_its_headers(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post())
        answer = await wire.answer()
        assert answer.status == 200
        assert json.loads(answer.body) == {"id": site.requests[0].id, "said": "Hello"}
        assert answer.headers["ecotone-id"] == site.requests[0].id
        assert set(answer.headers) == {"content-type", "content-length", "ecotone-id"}
        assert site.requests[0].body == json.dumps(CHAT).encode()

    front.run(scenario)


def test_a_large_answer_arrives_whole(front: Front) -> None:
    body = b"0123456789abcdef" * 200_000

    async def script(request: Request, caller: Caller) -> None:
        caller.begin(200, JSON_HEAD, is_stream=False, length=len(body))
        caller.write(body)
        caller.finish()

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post() + post())
        assert (await wire.answer()).body == body
        assert (await wire.answer()).body == body

    front.run(scenario)


def test_each_event_of_a_stream_arrives_when_it_is_written(front: Front) -> None:
    async def scenario(site: Site) -> None:
        turns = [asyncio.Event() for _ in range(3)]

        async def script(request: Request, caller: Caller) -> None:
            caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
            for number, turn in enumerate(turns):
                caller.write(b"data: %d\n\n" % number)
                await turn.wait()
            caller.finish()

        site.script = script
        wire = await site.connect()
        wire.send(post(said("x", stream=True)))
        status, headers = await wire.head()
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        for number, turn in enumerate(turns):
            assert await wire.chunk() == b"data: %d\n\n" % number
            turn.set()
        assert await wire.chunk() == b""

    front.run(scenario)


def test_http_1_0_gets_a_stream_without_chunks_and_a_close(front: Front) -> None:
    async def script(request: Request, caller: Caller) -> None:
        caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
        caller.write(b"data: 1\n\n")
        caller.finish()

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post().replace(b"HTTP/1.1", b"HTTP/1.0"))
        status, headers = await wire.head()
        if not front.is_fast:
            pytest.skip("uvicorn sends chunks to HTTP/1.0 too")
        assert (status, headers["connection"]) == (200, "close")
        assert "transfer-encoding" not in headers
        assert await wire.gone() == b"data: 1\n\n"

    front.run(scenario)


def test_the_headers_of_a_request_reach_the_corridor(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(
            post(
                Ecotone_Place="edge",
                Ecotone_Deadline_Ms="5000",
                Ecotone_Labels="a,b",
                ecotone_labels="b, c",
                Ecotone_Debug="1",
                Ecotone_Target="mine",
                Authorization="Bearer whatever",
            )
        )
        assert (await wire.answer()).status == 200
        request = site.requests[0]
        assert request.wish is Wish.EDGE
        assert request.deadline_at_s == pytest.approx(request.received_at_s + 5.0)
        assert request.labels == ("a", "b", "c")
        assert request.is_debug
        assert request.key == ""

    front.run(scenario)


def test_the_official_client_is_served(front: Front) -> None:
    async def script(request: Request, caller: Caller) -> None:
        whole = {"id": "1", "object": "chat.completion", "created": 1, "model": "small"}
        if request.is_stream:
            caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
            for word in ("Good", " day"):
                delta = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
                chunk = {**whole, "object": "chat.completion.chunk", "choices": [delta]}
                caller.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            caller.write(b"data: [DONE]\n\n")
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": "Good day"}, "finish_reason": "stop"}
            body = json.dumps({**whole, "choices": [choice]}).encode()
            caller.begin(200, JSON_HEAD, is_stream=False, length=len(body))
            caller.write(body)
        caller.finish()

    async def scenario(site: Site) -> None:
        site.script = script
        async with openai.AsyncOpenAI(base_url=f"{site.base}/v1", api_key="any", max_retries=0) as client:
            names = [model.id async for model in client.models.list()]
            assert names == ["assistant", "org/small"]
            messages = [{"role": "user", "content": "Hello"}]
            whole = await client.chat.completions.create(model="assistant", messages=messages)  # type: ignore[call-overload]
            assert whole.choices[0].message.content == "Good day"
            stream = await client.chat.completions.create(model="assistant", messages=messages, stream=True)  # type: ignore[call-overload]
            assert "".join([chunk.choices[0].delta.content async for chunk in stream]) == "Good day"
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(model="assistant", messages=[])
            assert caught.value.param == "messages"

    front.run(scenario)


# Requests on one connection.


def test_a_connection_serves_one_request_after_the_other(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        for text in ("one", "two", "three"):
            wire.send(post(said(text)))
            assert json.loads((await wire.answer()).body)["said"] == text
        wire.send(get("/healthz"))
        assert (await wire.answer()).status == 200
        wire.send(post(said("four")))
        assert json.loads((await wire.answer()).body)["said"] == "four"

    front.run(scenario)


def test_requests_sent_ahead_are_served_one_at_a_time_and_answered_in_order(front: Front) -> None:
    async def scenario(site: Site) -> None:
        gates = {text: asyncio.Event() for text in ("one", "two", "three")}
        under_way: list[str] = []

        async def script(request: Request, caller: Caller) -> None:
            text = json.loads(request.body)["messages"][-1]["content"]
            under_way.append(text)
            assert len(under_way) == 1, "one at a time"
            await gates[text].wait()
            under_way.remove(text)
            caller.begin(200, JSON_HEAD, is_stream=False, length=len(text))
            caller.write(text.encode())
            caller.finish()

        site.script = script
        wire = await site.connect()
        wire.send(post(said("one")) + get("/healthz") + post(said("two")) + post({"model": 1}) + post(said("three")))
        await event(site.began)
        wire.send(get("/v1/models") + b"")
        for text in ("three", "two", "one"):
            gates[text].set()
        assert (await wire.answer()).body == b"one"
        assert json.loads((await wire.answer()).body) == {"status": "ok"}
        assert (await wire.answer()).body == b"two"
        assert (await wire.answer()).code == "request.model"
        assert (await wire.answer()).body == b"three"
        assert json.loads((await wire.answer()).body)["object"] == "list"

    front.run(scenario)


def test_many_small_requests_sent_ahead_in_pieces_are_all_answered(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        texts = [str(number) for number in range(150)]
        stream = b"".join(post(said(text)) for text in texts)
        for at in range(0, len(stream), 777):
            wire.send(stream[at : at + 777])
            await asyncio.sleep(0)
        for text in texts:
            assert json.loads((await wire.answer()).body)["said"] == text

    front.run(scenario, pipelined_max=1000)


def test_too_many_requests_sent_ahead_end_the_connection_after_those_that_fit(front: Front) -> None:
    async def scenario(site: Site) -> None:
        gate = asyncio.Event()

        async def script(request: Request, caller: Caller) -> None:
            await gate.wait()
            caller.begin(200, JSON_HEAD, is_stream=False, length=2)
            caller.write(b"{}")
            caller.finish()

        site.script = script
        wire = await site.connect()
        wire.send(post() * 10)
        await event(site.began)
        gate.set()
        rest = await wire.gone()
        assert 0 < rest.count(b"HTTP/1.1 200") <= 4
        assert len(site.requests) <= 4

    front.run(scenario, pipelined_max=3)


def test_what_is_sent_ahead_waits_in_bounded_memory_and_is_served_in_the_end(front: Front) -> None:
    async def scenario(site: Site) -> None:
        gate = asyncio.Event()

        async def script(request: Request, caller: Caller) -> None:
            await gate.wait()
            await echo(request, caller)

        site.script = script
        wire = await site.connect()
        wire.send(post(said("first")))
        await event(site.began)
        large = "x" * 3_000_000
        wire.send(post(said(large)) + post(said(large), path="/v1/explain") + post(said("last")))
        # The kernel's buffers take some of it, and the gateway takes little.
        await asyncio.sleep(0)
        assert site.corridor.held_bytes < 1000
        gate.set()
        assert json.loads((await wire.answer()).body)["said"] == "first"
        assert json.loads((await wire.answer()).body)["said"] == large
        assert json.loads((await wire.answer()).body)["place"] == "edge"
        assert json.loads((await wire.answer()).body)["said"] == "last"

    front.run(scenario)


def test_an_expectation_is_answered_before_the_body(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        whole = post(Expect="100-continue")
        head, _, body = whole.partition(b"\r\n\r\n")
        wire.send(head + b"\r\n\r\n")
        assert (await wire.head())[0] == 100
        wire.send(body)
        assert (await wire.answer()).status == 200

    front.run(scenario)


def test_an_expectation_that_cannot_be_met_is_refused_without_asking_for_the_body(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(b"", expect="100-continue", content_length="5000"))
        answer = await wire.answer()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert answer.code == "request.too_large"
        assert await wire.gone() == b""

    front.run(scenario, body_bytes_max=1000)


def test_a_chunked_body_is_put_together(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        raw = json.dumps(said("chunk by chunk")).encode()
        wire.send(post(b"", content_length="", transfer_encoding="chunked"))
        for at in range(0, len(raw), 7):
            piece = raw[at : at + 7]
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0)
        wire.send(b"0\r\n\r\n" + post(said("next")))
        assert json.loads((await wire.answer()).body)["said"] == "chunk by chunk"
        assert json.loads((await wire.answer()).body)["said"] == "next"

    front.run(scenario)


def test_a_request_that_comes_byte_by_byte_is_served(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post():
            wire.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await wire.answer()).status == 200

    front.run(scenario)


def test_an_offered_upgrade_is_ignored(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(connection="Upgrade, HTTP2-Settings", upgrade="h2c", http2_settings="x"))
        answer = await wire.answer()
        assert (answer.status, json.loads(answer.body)["said"]) == (200, "Hello")
        wire.send(get("/healthz", connection="upgrade", upgrade="websocket") + post(said("again")))
        assert (await wire.answer()).status == 200
        assert json.loads((await wire.answer()).body)["said"] == "again"

    front.run(scenario)


def test_a_query_changes_nothing(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(path="/v1/chat/completions?api-version=1"))
        assert (await wire.answer()).status == 200

    front.run(scenario)


# Limits.


def test_a_body_over_the_limit_is_refused_by_its_announced_length(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(b"{", content_length="1001"))
        answer = await wire.answer()
        assert (answer.status, answer.code, answer.headers["connection"]) == (413, "request.too_large", "close")
        assert await wire.gone() == b""
        assert site.refused == ["request.too_large"]

    front.run(scenario, body_bytes_max=1000)


def test_a_chunked_body_over_the_limit_is_refused_while_it_comes(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(b"", content_length="", transfer_encoding="chunked") + b"3e9\r\n" + b"x" * 1001 + b"\r\n")
        answer = await wire.answer()
        assert (answer.status, answer.code, answer.headers["connection"]) == (413, "request.too_large", "close")
        assert await wire.gone() == b""

    front.run(scenario, body_bytes_max=1000)


def test_all_chunks_behind_the_limit_are_dropped(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(b"", content_length="", transfer_encoding="chunked") + b"258\r\n" + b"x" * 600 + b"\r\n")
        wire.send((b"258\r\n" + b"x" * 600 + b"\r\n") * 3)
        assert (await wire.answer()).code == "request.too_large"
        assert await wire.gone() == b""

    front.run(scenario, body_bytes_max=1000)


def test_a_client_that_is_still_sending_gets_to_read_its_refusal(front: Front) -> None:
    def upload(port: int) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND_S)
        try:
            connection.request("POST", "/v1/chat/completions", body=b"x" * 3_000_000)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    async def scenario(site: Site) -> None:
        status, body = await asyncio.to_thread(upload, site.port)
        assert status == 413
        assert json.loads(body)["error"]["code"] == "request.too_large"

    front.run(scenario, body_bytes_max=1000)


def test_bodies_that_fill_the_memory_set_aside_are_refused(front: Front) -> None:
    async def scenario(site: Site) -> None:
        site.script = for_ever
        first = await site.connect()
        first.send(post(said("x" * 3000)))
        await event(site.began)
        second = await site.connect()
        second.send(post(said("x" * 3000)))
        answer = await second.answer()
        assert (answer.status, answer.code) == (503, "refused.concurrency")
        first.leave()
        await event(site.cancelled)
        await until(lambda: site.corridor.held_bytes == 0)
        site.script = echo
        third = await site.connect()
        third.send(post(said("x" * 3000)))
        assert (await third.answer()).status == 200

    front.run(scenario, bodies_bytes_max=4000)


@pytest.mark.parametrize("size", [900, 5000])
def test_headers_over_the_limit_are_refused(front: Front, size: int) -> None:
    async def scenario(site: Site) -> None:
        for request in (
            post(x_long="y" * size),
            post(**{f"x_{number}": "y" * 20 for number in range(size // 20)}),
            get("/healthz?" + "y" * size),
        ):
            for step in (len(request), 100):
                wire = await site.connect()
                for at in range(0, len(request), step):
                    wire.send(request[at : at + step])
                    await asyncio.sleep(0)
                answer = await wire.answer()
                assert (answer.status, answer.code) == (431, "request.header_too_large")
                assert await wire.gone() == b""

    front.run(scenario, header_bytes_max=600)


def test_a_full_house_refuses_at_once_and_serves_again_when_there_is_room(front: Front) -> None:
    async def scenario(site: Site) -> None:
        site.script = for_ever
        first = await site.connect()
        first.send(post())
        await event(site.began)
        second = await site.connect()
        second.send(post())
        answer = await second.answer()
        assert (answer.status, answer.code) == (503, "refused.concurrency")
        assert int(answer.headers["retry-after"]) >= 1
        second.send(get("/healthz"))
        assert (await second.answer()).status == 200
        first.leave()
        await until(lambda: site.corridor.in_flight == 0)
        site.script = echo
        second.send(post())
        assert (await second.answer()).status == 200

    front.run(scenario, in_flight_max=1)


def test_a_connection_too_many_is_told_and_closed(front: Front) -> None:
    async def scenario(site: Site) -> None:
        first = await site.connect()
        first.send(get("/healthz"))
        assert (await first.answer()).status == 200
        second = await site.connect()
        answer = await second.answer()
        assert (answer.status, answer.code) == (503, "refused.connections")
        assert await second.gone() == b""
        first.send(post())
        assert (await first.answer()).status == 200

    front.run(scenario, connections_max=1)


def test_far_too_many_connections_are_dropped_unheard(front: Front) -> None:
    async def scenario(site: Site) -> None:
        kept = [await site.connect() for _ in range(2)]
        await until(lambda: len(site.refused) == 1)
        third = await site.connect()
        assert await third.gone() == b""
        assert site.refused == ["refused.connections"]
        kept[0].send(post())
        assert (await kept[0].answer()).status == 200

    front.run(scenario, connections_max=1, linger_s=BOUND_S)


@pytest.mark.parametrize("begun", [b"", b"POST /v1/chat", b"POST / HTTP/1.1\r\nhost: a\r\nx-"])
def test_a_head_that_never_ends_is_not_waited_for(front: Front, begun: bytes) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(begun)
        if begun:
            assert (await wire.answer()).code == "request.timeout"
        assert await wire.gone() == b""

    front.run(scenario, head_s=0.05)


def test_a_trickling_head_has_the_same_limit(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(get("/healthz"))
        assert (await wire.answer()).status == 200
        wire.send(b"GET / HTTP/1.1\r\n")
        reading = asyncio.create_task(wire.answer())
        while not reading.done():
            wire.send(b"x-a: 1\r\n")
            await asyncio.sleep(0.005)
        assert (await reading).code == "request.timeout"

    front.run(scenario, head_s=0.1)


@pytest.mark.parametrize("limits", [{"body_idle_s": 0.05}, {"body_s": 0.05}])
def test_a_body_that_never_ends_is_not_waited_for(front: Front, limits: dict[str, float]) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(b"{", content_length="500"))
        answer = await wire.answer()
        assert (answer.status, answer.code) == (408, "request.timeout")
        assert await wire.gone() == b""

    front.run(scenario, **limits)


def test_an_idle_connection_is_closed(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post())
        assert (await wire.answer()).status == 200
        assert await wire.gone() == b""

    front.run(scenario, keep_alive_s=0.05)


def test_a_long_answer_is_not_cut_by_the_limits_on_requests(front: Front) -> None:
    async def scenario(site: Site) -> None:
        async def script(request: Request, caller: Caller) -> None:
            caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
            caller.write(b"1")
            # All limits on requests pass meanwhile.
            await asyncio.sleep(0.2)
            caller.write(b"2")
            caller.finish()

        site.script = script
        wire = await site.connect()
        wire.send(post())
        answer = await wire.answer()
        assert (answer.body, answer.is_whole) == (b"12", True)

    front.run(scenario, head_s=0.05, body_idle_s=0.05, body_s=0.05, keep_alive_s=0.05)


# Errors.


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT nowhere HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_gets_an_error_object_and_a_close(front: Front, garbage: bytes) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(garbage)
        answer = await wire.answer()
        assert 400 <= answer.status < 500
        assert answer.code.startswith("request.")
        assert answer.headers["connection"] == "close"
        assert await wire.gone() == b""
        assert site.requests == []

    front.run(scenario)


def test_garbage_behind_a_request_does_not_spoil_its_answer(front: Front) -> None:
    async def scenario(site: Site) -> None:
        gate = asyncio.Event()

        async def script(request: Request, caller: Caller) -> None:
            caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
            caller.write(b"first ")
            await gate.wait()
            caller.write(b"last")
            caller.finish()

        site.script = script
        wire = await site.connect()
        wire.send(post() + b"garbage\r\n\r\n")
        await event(site.began)
        wire.send(b"more garbage")
        gate.set()
        answer = await wire.answer()
        assert (answer.status, answer.body, answer.is_whole) == (200, b"first last", True)
        await wire.gone()

    front.run(scenario)


@pytest.mark.parametrize(
    ("request_", "status", "code", "allow"),
    [
        (get("/nowhere"), 404, "request.path", None),
        (post(b"x" * 100, path="/nowhere"), 404, "request.path", None),
        (get("/v1/chat/completions"), 405, "request.method", "POST"),
        (get("/v1/chat/completions", "DELETE"), 405, "request.method", "POST"),
        (get("/v1/models", "OPTIONS"), 405, "request.method", "GET, HEAD"),
        (post(path="/healthz"), 405, "request.method", "GET, HEAD"),
        (get("/v1/models/none"), 404, "model_not_found", None),
        (get("/v1/explain/none"), 404, "request.id", None),
        (post(b"{"), 400, "request.json", None),
        (post({"model": "a"}), 400, "request.messages", None),
        (post(Ecotone_Place="moon"), 400, "request.header", None),
        (post(b"{", path="/v1/explain"), 400, "request.json", None),
    ],
)
def test_an_error_is_openais_object_and_the_connection_lives_on(
    front: Front, request_: bytes, status: int, code: str, allow: str | None
) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(request_)
        answer = await wire.answer()
        assert (answer.status, answer.code, answer.headers.get("allow")) == (status, code, allow)
        assert "connection" not in answer.headers
        assert site.refused == [code]
        wire.send(post())
        assert (await wire.answer()).status == 200

    front.run(scenario)


def test_a_head_request_gets_no_body(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        for path, status in (("/healthz", 200), ("/v1/models", 200), ("/nowhere", 404), ("/v1/embeddings", 405)):
            wire.send(get(path, "HEAD"))
            answer = await wire.answer(is_head=True)
            assert answer.status == status
            assert int(answer.headers["content-length"]) > 0
        wire.send(post())
        assert (await wire.answer()).status == 200

    front.run(scenario)


def test_a_defect_in_the_corridor_costs_one_answer(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    async def script(request: Request, caller: Caller) -> None:
        raise KeyError(request.body)

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post())
        answer = await wire.answer()
        assert (answer.status, answer.code) == (500, "internal")
        assert b"Hello" not in answer.body
        site.script = echo
        wire.send(post())
        assert (await wire.answer()).status == 200

    with caplog.at_level(logging.INFO):
        front.run(scenario)
    assert "KeyError" in caplog.text
    assert "Hello" not in caplog.text


def test_a_defect_in_mid_stream_is_an_error_event_and_no_clean_end(front: Front) -> None:
    async def script(request: Request, caller: Caller) -> None:
        caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
        caller.write(b"data: 1\n\n")
        raise KeyError

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post(said("x", stream=True)))
        answer = await wire.answer()
        assert not answer.is_whole
        first, last, rest = answer.body.split(b"\n\n")
        assert (first, rest) == (b"data: 1", b"")
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "internal"

    front.run(scenario)


def test_a_corridor_that_forgets_to_answer_is_answered_for(front: Front) -> None:
    async def script(request: Request, caller: Caller) -> None:
        return

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post())
        assert (await wire.answer()).code == "internal"

    front.run(scenario)


def test_a_line_break_in_a_header_never_reaches_the_wire(front: Front) -> None:
    async def script(request: Request, caller: Caller) -> None:
        caller.begin(200, [("Ecotone-Target", "a\r\nx-injected: 1")], is_stream=False, length=2)
        caller.write(b"{}")
        caller.finish()

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post())
        answer = await wire.answer()
        assert answer.status == 500
        assert "x-injected" not in answer.headers

    front.run(scenario)


# Ends that are no ends.


@pytest.mark.parametrize("length", [None, 100])
def test_a_cut_is_seen_as_a_truncation(front: Front, length: int | None) -> None:
    async def script(request: Request, caller: Caller) -> None:
        caller.begin(200, EVENTS_HEAD, is_stream=length is None, length=length)
        caller.write(b"data: half\n\n")
        caller.cut()

    def fetch(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND_S)
        try:
            connection.request("POST", "/v1/chat/completions", body=json.dumps(CHAT))
            connection.getresponse().read()
        finally:
            connection.close()

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post())
        answer = await wire.answer()
        assert (answer.status, answer.body, answer.is_whole) == (200, b"data: half\n\n", False)
        with pytest.raises(http.client.IncompleteRead):
            await asyncio.to_thread(fetch, site.port)

    front.run(scenario)


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_cut_before_any_body_is_no_answer(front: Front, is_stream: bool) -> None:
    async def script(request: Request, caller: Caller) -> None:
        if is_stream:
            caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
        caller.cut()

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post())
        rest = await wire.gone()
        assert b"\r\n0\r\n" not in rest

    front.run(scenario)


@pytest.mark.parametrize("end", ["finish", "cut"])
def test_a_head_without_its_body_breaks_off(front: Front, end: str) -> None:
    async def script(request: Request, caller: Caller) -> None:
        caller.begin(200, JSON_HEAD, is_stream=False, length=100)
        getattr(caller, end)()

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post())
        answer = await wire.answer()
        assert (answer.status, answer.body, answer.is_whole) == (200, b"", False)

    front.run(scenario)


def test_an_answer_short_of_its_announced_length_breaks_off(front: Front) -> None:
    async def script(request: Request, caller: Caller) -> None:
        caller.begin(200, JSON_HEAD, is_stream=False, length=100)
        caller.write(b"{}")
        caller.finish()

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post())
        assert not (await wire.answer()).is_whole

    front.run(scenario)


def test_what_is_called_after_the_end_does_nothing(front: Front) -> None:
    async def script(request: Request, caller: Caller) -> None:
        await echo(request, caller)
        caller.write(b"late")
        caller.finish()
        caller.cut()
        caller.begin(500, JSON_HEAD, is_stream=False, length=0)

    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        for _ in range(2):
            wire.send(post())
            assert (await wire.answer()).status == 200

    front.run(scenario)


# Callers who leave.


@pytest.mark.parametrize("is_polite", [False, True])
@pytest.mark.parametrize("script", [for_ever, stream_for_ever])
def test_leaving_cancels_the_work(
    front: Front, script: Callable[[Request, Caller], Awaitable[None]], is_polite: bool
) -> None:
    async def scenario(site: Site) -> None:
        site.script = script
        wire = await site.connect()
        wire.send(post(said("x", stream=True)))
        await event(site.began)
        if script is stream_for_ever:
            await wire.head()
        if is_polite:
            wire.writer.close()
        else:
            wire.leave()
        await event(site.cancelled)
        await until(lambda: site.corridor.in_flight == 0)

    front.run(scenario)


def test_leaving_cancels_the_work_though_more_was_sent_ahead(front: Front) -> None:
    async def scenario(site: Site) -> None:
        site.script = for_ever
        wire = await site.connect()
        wire.send(post() + post() + get("/healthz"))
        await event(site.began)
        wire.send(post())
        wire.leave()
        await event(site.cancelled)
        await until(lambda: site.corridor.in_flight == 0)
        assert len(site.requests) == 1

    front.run(scenario)


def test_leaving_while_the_body_is_sent_leaves_nothing_behind(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(b"{" * 2000, content_length="5000"))
        await until(lambda: site.corridor.held_bytes > 0)
        wire.leave()
        await until(lambda: site.corridor.held_bytes == 0)
        assert site.requests == []
        other = await site.connect()
        other.send(post())
        assert (await other.answer()).status == 200

    front.run(scenario)


def test_leaving_after_the_answer_disturbs_nothing(front: Front) -> None:
    async def scenario(site: Site) -> None:
        gate, is_done = asyncio.Event(), asyncio.Event()

        async def script(request: Request, caller: Caller) -> None:
            await echo(request, caller)
            await gate.wait()
            is_done.set()

        site.script = script
        wire = await site.connect()
        wire.send(post(connection="close"))
        assert (await wire.answer()).status == 200
        assert await wire.gone() == b""
        wire.leave()
        gate.set()
        await event(is_done)
        assert not site.cancelled.is_set()

    front.run(scenario)


def test_the_next_request_does_not_wait_for_what_follows_an_answer(front: Front) -> None:
    async def scenario(site: Site) -> None:
        gate = asyncio.Event()

        async def script(request: Request, caller: Caller) -> None:
            await echo(request, caller)
            await gate.wait()

        site.script = script
        wire = await site.connect()
        for _ in range(2):
            wire.send(post())
            assert (await wire.answer()).status == 200
        gate.set()

    front.run(scenario)


# Callers who read slowly.


class Flood:
    """Writes as long as it is not told to pause, then waits to be told to go on."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.written = 0
        self.pauses = 0
        self.has_paused = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()

    async def __call__(self, request: Request, caller: Caller) -> None:
        caller.on_flow(self._pause, self._may_write.set)
        caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
        while self.written < self.total:
            caller.write(b"x" * 16_384)
            self.written += 16_384
            await asyncio.sleep(0)
            await self._may_write.wait()
        caller.on_flow(None, None)
        caller.finish()

    def _pause(self) -> None:
        self.pauses += 1
        self._may_write.clear()
        self.has_paused.set()


async def _slow(site: Site) -> Wire:
    """A connection that takes little unless it is read from."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", site.port))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
    return site.own(Wire(reader, writer))


def test_a_slow_reader_stops_the_writing_and_gets_everything_in_the_end(front: Front) -> None:
    total = 32 * 1024 * 1024

    async def scenario(site: Site) -> None:
        flood = Flood(total)
        site.script = flood
        wire = await _slow(site)
        wire.send(post(said("x", stream=True)))
        await event(flood.has_paused)
        held = flood.written
        # What the kernel buffers of both sides hold, and no more.
        assert held < 12 * 1024 * 1024
        taken = 0
        await wire.head()
        async with asyncio.timeout(BOUND_S):
            while chunk := await wire.reader.read(1 << 20):
                taken += len(chunk)
                if taken >= total and chunk.endswith(b"0\r\n\r\n"):
                    break
        assert flood.written >= total
        assert taken > total

    front.run(scenario)


def test_a_reader_that_takes_nothing_is_dropped(front: Front) -> None:
    async def scenario(site: Site) -> None:
        flood = Flood(1 << 40)
        site.script = flood
        wire = await _slow(site)
        wire.send(post(said("x", stream=True)))
        await event(site.cancelled)
        assert flood.pauses == 1
        wire.leave()

    front.run(scenario, caller_stall_s=0.1)


def test_a_reader_that_takes_a_little_is_not_dropped(front: Front) -> None:
    async def scenario(site: Site) -> None:
        flood = Flood(1 << 40)
        site.script = flood
        wire = await _slow(site)
        wire.send(post(said("x", stream=True)))
        await event(flood.has_paused)
        loop = asyncio.get_running_loop()
        raw = wire.writer.transport.get_extra_info("socket")
        begin_s = loop.time()
        wire.writer.transport.pause_reading()
        while loop.time() < begin_s + 1.0:
            # More than the kernel's buffers give without asking the gateway, less than what lets it write on.
            with contextlib.suppress(BlockingIOError):
                os.read(raw.fileno(), 65_536)
            await asyncio.sleep(0.01)
        assert not site.cancelled.is_set()
        wire.leave()
        await event(site.cancelled)

    front.run(scenario, caller_stall_s=0.25)


def test_who_begins_to_listen_to_a_slow_caller_is_told_at_once(front: Front) -> None:
    async def scenario(site: Site) -> None:
        told = asyncio.Event()

        async def script(request: Request, caller: Caller) -> None:
            paused = asyncio.Event()
            caller.on_flow(paused.set, lambda: None)
            caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
            while not paused.is_set():
                caller.write(b"x" * 65_536)
                await asyncio.sleep(0)
            caller.on_flow(told.set, lambda: None)
            await asyncio.Event().wait()

        site.script = script
        wire = await _slow(site)
        wire.send(post(said("x", stream=True)))
        await event(told)
        wire.leave()
        await event(site.cancelled)

    front.run(scenario)


# Keys.


def test_a_site_with_keys_asks_for_one_on_every_v1_route(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()

        async def ask(request: bytes) -> Answer:
            wire.send(request)
            return await wire.answer()

        for plain in (post(), get("/v1/models"), get("/v1/nowhere"), post(path="/v1/explain"), get("/v1/explain/x")):
            answer = await ask(plain)
            assert (answer.status, answer.code) == (401, "auth.missing_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        for bad in ("Bearer wrong", "Bearer", "Basic right", "right"):
            assert (await ask(post(authorization=bad))).status == 401
        assert (await ask(post(x_api_key="wrong"))).code == "auth.invalid_key"
        for good in ({"authorization": "Bearer right"}, {"authorization": "bearer  right"}, {"x_api_key": "right"}):
            assert (await ask(post(**good))).status == 200
        assert [request.key for request in site.requests] == ["research"] * 3
        for path in ("/healthz", "/readyz", "/metrics", "/admin/status"):
            assert (await ask(get(path))).status == 200, "open, or on this machine"
        relayed = await ask(get("/admin/status", x_forwarded_for="10.0.0.1"))
        assert relayed.code == "auth.missing_key"
        assert (await ask(get("/metrics", sec_fetch_site="cross-site"))).status == 401
        assert (await ask(get("/metrics", x_forwarded_for="1.1.1.1", x_api_key="right"))).status == 200

    front.run(scenario, keys={"right": "research"})


def test_a_keyless_site_ignores_any_key_but_guards_its_administration(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(authorization="Bearer x") + get("/admin/status", via="1.1 proxy") + get("/admin/status"))
        assert (await wire.answer()).status == 200
        assert (await wire.answer()).code == "auth.not_local"
        assert (await wire.answer()).status == 200

    front.run(scenario)


def test_a_refused_upload_without_a_key_is_not_read(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()
        wire.send(post(b"{" * 10, content_length="1000000"))
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert site.corridor.held_bytes == 0

    front.run(scenario, keys={"right": "research"})


# The other routes.


def test_the_plain_routes_answer(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wire = await site.connect()

        async def ask(request: bytes) -> Answer:
            wire.send(request)
            return await wire.answer()

        assert json.loads((await ask(get("/v1/models"))).body)["data"][0]["id"] == "assistant"
        assert json.loads((await ask(get("/v1/models/org/small"))).body)["id"] == "org/small"
        assert json.loads((await ask(post(path="/v1/explain"))).body) == {"model": "assistant", "place": "edge"}
        assert json.loads((await ask(get("/v1/explain/req-1"))).body) == {"id": "req-1"}
        assert json.loads((await ask(get("/readyz"))).body) == {"status": "ready"}
        site.reasons = ["no target"]
        not_ready = await ask(get("/readyz"))
        assert (not_ready.status, json.loads(not_ready.body)["reasons"]) == (503, ["no target"])
        assert json.loads((await ask(get("/healthz"))).body) == {"status": "ok"}
        metrics = await ask(get("/metrics"))
        assert (metrics.body, metrics.headers["content-type"].partition(";")[0]) == (b"# HELP made\n", "text/plain")
        assert json.loads((await ask(post(b"", path="/admin/reload"))).body) == {"changed": []}
        assert site.requests == []

    front.run(scenario)


# Going down.


def test_stopping_lets_answers_end_and_closes_idle_connections(front: Front) -> None:
    async def scenario(site: Site) -> None:
        gate = asyncio.Event()

        async def script(request: Request, caller: Caller) -> None:
            caller.begin(200, EVENTS_HEAD, is_stream=True, length=None)
            caller.write(b"first ")
            await gate.wait()
            caller.write(b"last")
            caller.finish()

        site.script = script
        idle = await site.connect()
        idle.send(get("/healthz"))
        await idle.answer()
        wire = await site.connect()
        wire.send(post())
        await event(site.began)
        site.stop.set()
        assert await idle.gone() == b""
        with pytest.raises(ConnectionRefusedError):
            await site.connect()
        gate.set()
        answer = await wire.answer()
        assert (answer.body, answer.is_whole) == (b"first last", True)
        assert await wire.gone() == b""

    front.run(scenario)


def test_a_request_that_is_on_its_way_when_the_site_stops_is_still_answered(front: Front) -> None:
    async def scenario(site: Site) -> None:
        wires = [await site.connect() for _ in range(2)]
        whole = post()
        head, _, body = whole.partition(b"\r\n\r\n")
        wires[0].send(whole[:30])
        wires[1].send(head + b"\r\n\r\n" + body[:10])
        await until(lambda: site.corridor.held_bytes > 0)
        site.stop.set()
        with contextlib.suppress(OSError):
            while True:
                await site.connect()
        wires[0].send(whole[30:])
        wires[1].send(body[10:])
        for wire in wires:
            answer = await wire.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await wire.gone() == b""

    front.run(scenario)


def test_stopping_now_cuts_streams_with_an_error_event_and_tells_the_others(front: Front) -> None:
    async def scenario(site: Site) -> None:
        both = [await site.connect() for _ in range(2)]
        for wire, script in zip(both, (stream_for_ever, for_ever), strict=True):
            site.script = script
            site.began.clear()
            wire.send(post(said("x", stream=True)))
            await event(site.began)
        await both[0].head()
        site.stop.set()
        site.now.set()
        assert await both[0].chunk() == b"data: 1\n\n"
        last = await both[0].chunk()
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "refused.shutdown"
        assert b"0\r\n" not in await both[0].gone()
        answer = await both[1].answer()
        assert (answer.status, answer.code) == (503, "refused.shutdown")
        assert "retry-after" in answer.headers
        await event(site.cancelled)

    front.run(scenario)


def test_an_address_that_is_taken_is_an_error_of_the_configuration() -> None:
    first = listen("127.0.0.1", 0)
    try:
        with pytest.raises(ConfigError, match="in use") as caught:
            listen("127.0.0.1", first.getsockname()[1])
        assert caught.value.code == "config.listen"
        with pytest.raises(ConfigError):
            listen("not an address", 0)
        with pytest.raises(ConfigError):
            listen("192.0.2.1", 0)
    finally:
        first.close()
