"""`gateway.corridor` and `gateway.routes`, where no socket is needed; the rest is in `contract/test_caller`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from ecotone.gateway import Corridor, Doors, Limits
from ecotone.gateway.asgi import AnswerCut, App, AsgiCaller
from ecotone.gateway.caller import CallerSide, header_lines
from ecotone.gateway.routes import Routes
from ecotone.ports import Caller
from ecotone.values import ConfigError, EcotoneError, Endpoint, RefusalError, Request, RequestError

BODY = b'{"model":"a","messages":[{"role":"user","content":"Hello"}]}'


async def forget(request: Request, caller: Caller) -> None:
    await asyncio.Event().wait()


async def none(_: str) -> None:
    return None


async def broken() -> dict[str, Any]:
    raise ConfigError("config.key", "wrong", problems=("targets.a: no", "listen: no"))


def doors(**more: Any) -> Doors:
    plain: dict[str, Any] = {
        "serve": forget,
        "models": list,
        "explain": none,
        "explain_past": none,
        "not_ready": list,
        "metrics": lambda: b"",
        "status": dict,
        "reload": broken,
    }
    return Doors(**{**plain, **more})


def corridor(limits: Limits | None = None, **more: Any) -> Corridor:
    return Corridor(doors(**more), limits, now_s=lambda: 50.0, wall_s=lambda: 1.7e9, dice=random.Random(1))


class Recorder(CallerSide):
    """A caller that writes down what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def begin(self, status: int, headers: Sequence[tuple[str, str]], *, is_stream: bool, length: int | None) -> None:
        self.is_begun, self.is_stream = True, is_stream
        self.calls.append((status, dict(headers)))

    def write(self, chunk: bytes) -> None:
        self.calls.append(chunk)

    def finish(self) -> None:
        self.is_over = True
        self.calls.append("finish")

    def cut(self) -> None:
        self.is_over = True
        self.calls.append("cut")


def test_ids_seeds_and_times_come_from_what_is_injected() -> None:
    first, again = corridor(), corridor()
    heads = [first.admit([], None), first.admit([], None)]
    assert heads == [again.admit([], None), again.admit([], None)]
    assert heads[0].received_at_s == 50.0
    assert heads[0].id.startswith("req-18bcfe56800-")
    assert heads[0].id[:-6] == heads[1].id[:-6]
    assert heads[0].id.endswith("000001")
    assert heads[0].seed != heads[1].seed
    assert all(0 <= head.seed < 1 << 53 for head in heads)


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ([(b"authorization", b"Bearer right")], "research"),
        ([(b"authorization", b"bearer   right ")], "research"),
        ([(b"x-api-key", b" right ")], "research"),
        ([(b"authorization", b"Basic x"), (b"x-api-key", b"right")], "research"),
        ([(b"x-api-key", b"wrong"), (b"authorization", b"Bearer right")], "research"),
        ([(b"authorization", b"Bearer wrong"), (b"x-api-key", b"right")], "auth.invalid_key"),
        ([(b"authorization", b"Bearer ")], "auth.missing_key"),
        ([(b"authorization", b"right")], "auth.missing_key"),
        ([], "auth.missing_key"),
    ],
)
def test_where_a_key_may_stand(headers: list[tuple[bytes, bytes]], name: str) -> None:
    site = corridor(check_key={"right": "research"}.get)
    try:
        found = site.authenticate(headers)
    except RequestError as error:
        found = error.code
    assert found == name
    assert corridor().authenticate(headers) == ""


def test_bodies_are_counted_and_let_go() -> None:
    site = corridor(Limits(body_bytes_max=10, bodies_bytes_max=15))
    one, other = Recorder(), Recorder()
    site.take(one, 10)
    with pytest.raises(RequestError) as large:
        site.take(one, 1)
    assert large.value.status == 413
    with pytest.raises(RefusalError) as full:
        site.take(other, 6)
    assert (full.value.status, full.value.retry_after_s) == (503, 1.0)
    site.take(other, 5)
    assert site.held_bytes == 15
    site.release(one)
    site.release(one)
    assert site.held_bytes == 5


def test_a_task_cancelled_before_it_ran_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        site = corridor(Limits(in_flight_max=1))
        caller = Recorder()
        head = site.admit([], None)
        site.take(caller, len(BODY))
        site.start(Endpoint.CHAT, BODY, head, caller)
        with pytest.raises(RefusalError):
            site.admit([], None)
        with pytest.raises(RefusalError):
            site.start(Endpoint.CHAT, BODY, head, Recorder())
        caller.left()
        caller.left()
        assert caller.task is not None
        await asyncio.wait([caller.task])
        await asyncio.sleep(0)
        assert (site.in_flight, site.held_bytes, caller.calls) == (0, 0, [])

    asyncio.run(scenario())


def test_the_gateways_own_word_depends_on_how_far_the_answer_is() -> None:
    error = EcotoneError("internal", "defect")
    before = Recorder()
    before.request = "req-1"
    before.end_with(error, [("allow", "GET")])
    status, headers = before.calls[0]
    assert (status, headers["Ecotone-Id"], headers["allow"], before.calls[-1]) == (500, "req-1", "GET", "finish")
    stream = Recorder()
    stream.begin(200, [], is_stream=True, length=None)
    stream.end_with(error)
    assert stream.calls[1].startswith(b"data: ")
    assert stream.calls[2:] == ["cut"]
    whole = Recorder()
    whole.begin(200, [], is_stream=False, length=10)
    whole.end_with(error)
    whole.end_with(error)
    assert whole.calls[1:] == ["cut"]


def test_flow_control_tells_each_change_once() -> None:
    told: list[str] = []
    caller = Recorder()
    caller.on_flow(lambda: told.append("pause"), lambda: told.append("resume"))
    caller.caught_up()
    caller.fell_behind()
    caller.fell_behind()
    caller.on_flow(None, None)
    caller.on_flow(lambda: told.append("pause again"), lambda: told.append("resume again"))
    caller.caught_up()
    caller.caught_up()
    caller.on_flow(None, None)
    caller.fell_behind()
    caller.caught_up()
    assert told == ["pause", "pause again", "resume again"]


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b"])
def test_a_header_stays_on_its_line(value: str) -> None:
    assert header_lines([("a", "b")]) == "a: b\r\n"
    with pytest.raises(ValueError, match="line break"):
        header_lines([("a", value)])


def test_a_reload_that_fails_says_every_problem() -> None:
    async def scenario() -> None:
        scope = {"method": "POST", "path": "/admin/reload", "headers": [], "client": ("127.0.0.1", 1)}
        with pytest.raises(RequestError) as caught:
            await Routes(corridor()).serve(scope, none, none, Recorder())  # type: ignore[arg-type]
        assert caught.value.status == 400
        assert "targets.a: no; listen: no" in caught.value.message

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("client", "is_open"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.8.8", 1), True),
        (("::1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (None, True),
        (("10.0.0.1", 1), False),
        (("::ffff:10.0.0.1", 1), False),
        (("fe80::1%eth0", 1), False),
        (("testclient", 1), False),
    ],
)
def test_administration_is_open_to_this_machine_only(client: tuple[str, int] | None, is_open: bool) -> None:
    async def scenario() -> None:
        caller = Recorder()
        scope = {"method": "GET", "path": "/admin/status", "headers": [], "client": client}
        if is_open:
            await Routes(corridor()).serve(scope, none, none, caller)  # type: ignore[arg-type]
            assert caller.calls[0][0] == 200
        else:
            with pytest.raises(RequestError) as caught:
                await Routes(corridor()).serve(scope, none, none, caller)  # type: ignore[arg-type]
            assert (caught.value.status, caught.value.code) == (403, "auth.not_local")

    asyncio.run(scenario())


class Server:
    """An ASGI server that records; its caller leaves when told."""

    def __init__(self, body: bytes = BODY, path: str = "/v1/chat/completions", method: str = "POST") -> None:
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"content-length", b"%d" % len(body))],
            "client": ("127.0.0.1", 1),
        }
        self.sent: list[Any] = []
        self.left = asyncio.Event()
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive(self) -> Any:
        if self._messages:
            return self._messages.pop()
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))


def test_the_application_needs_no_particular_server() -> None:
    async def serve(request: Request, caller: Caller) -> None:
        caller.begin(200, [("Ecotone-Id", request.id)], is_stream=False, length=2)
        caller.write(b"{}")
        caller.finish()

    async def scenario() -> None:
        server = Server()
        await App(corridor(serve=serve))(server.scope, server.receive, server.send)
        start, body = server.sent
        assert (start["status"], body["body"], body["more_body"]) == (200, b"{}", False)
        with pytest.raises(RuntimeError):
            await App(corridor())({"type": "websocket"}, server.receive, server.send)

    asyncio.run(scenario())


def test_a_cut_is_raised_to_the_server() -> None:
    async def serve(request: Request, caller: Caller) -> None:
        caller.begin(200, [], is_stream=True, length=None)
        caller.cut()

    async def scenario() -> None:
        server = Server()
        with pytest.raises(AnswerCut):
            await App(corridor(serve=serve))(server.scope, server.receive, server.send)

    asyncio.run(scenario())


def test_a_defect_in_a_route_is_an_error_object() -> None:
    def status() -> dict[str, Any]:
        raise KeyError("a secret")

    async def scenario() -> None:
        server = Server(b"", "/admin/status", "GET")
        await App(corridor(status=status))(server.scope, server.receive, server.send)
        assert server.sent[0]["status"] == 500
        assert b"internal" in server.sent[1]["body"]
        assert b"secret" not in server.sent[1]["body"]

    asyncio.run(scenario())


def test_an_application_whose_server_cancels_it_stops_the_work() -> None:
    async def scenario() -> None:
        site = corridor()
        server = Server()
        task = asyncio.create_task(App(site)(server.scope, server.receive, server.send))
        while not site.in_flight:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while site.in_flight:
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_what_waits_for_a_slow_server_makes_the_caller_slow() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()
        told: list[str] = []

        async def send(message: Any) -> None:
            await gate.wait()

        caller = AsgiCaller()
        caller.on_flow(lambda: told.append("pause"), lambda: told.append("resume"))
        pump = asyncio.create_task(caller.pump(send))
        caller.begin(200, [], is_stream=True, length=None)
        for _ in range(10):
            caller.write(b"x" * 10_000)
        assert told == ["pause"]
        gate.set()
        while told != ["pause", "resume"]:
            await asyncio.sleep(0)
        caller.finish()
        await pump

    asyncio.run(scenario())
