"""UrlTarget: URLs, headers, paths, load; nothing of the caller's but the body."""

from __future__ import annotations

import asyncio

import pytest

from ecotone import __version__
from ecotone.ports import Prepared
from ecotone.upstreams import EgressDoor, Options, PremisesDoor, Resolver, UrlTarget
from ecotone.upstreams.origin import locate
from ecotone.upstreams.vitals import LinkFigures
from ecotone.values import ConfigError, Endpoint, Features, Place, Request, RequestError, TargetSpec

BODY = b'{"model":"assistant","messages":[{"role":"user","content":"hi"}]}'


class NoDoor:
    """A door that nothing goes through."""

    place = Place.EDGE

    def trust(self, upstream):
        pass


def spec(at=Place.EDGE):
    return TargetSpec(name="ward", at=at, model="qwen3-8b")


def request(body=BODY, endpoint=Endpoint.CHAT, **changed):
    plain = {"is_stream": False, "is_usage_asked": False, "features": Features(1), "received_at_s": 0.0}
    return Request(id="r1", endpoint=endpoint, model="assistant", body=body, **{**plain, **changed})


def target(url="http://10.0.0.8:8000/v1", **options):
    return UrlTarget(spec(), url, NoDoor(), **options)


URLS = {
    "http://10.0.0.8:8000/v1": ("http://10.0.0.8:8000", "10.0.0.8:8000", "/v1"),
    "http://ward/": ("http://ward:80", "ward", ""),
    "https://API.example.com/v1/": ("https://api.example.com:443", "api.example.com", "/v1"),
    "https://api.example.com:8443/a%20b": ("https://api.example.com:8443", "api.example.com:8443", "/a%20b"),
    "http://[fd00::1]:8000/v1": ("http://[fd00::1]:8000", "[fd00::1]:8000", "/v1"),
    "https://bücher.example/v1": ("https://xn--bcher-kva.example:443", "xn--bcher-kva.example", "/v1"),
    "unix:/run/e.sock": ("unix:/run/e.sock", "localhost", ""),
    "unix:/run/e.sock:/v1": ("unix:/run/e.sock", "localhost", "/v1"),
}


@pytest.mark.parametrize("url", URLS)
def test_urls(url):
    upstream, path = locate(url)
    assert (upstream.origin, upstream.authority, path) == URLS[url]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ward",
        "ftp://ward/",
        "http://",
        "http://u:secret@ward/",
        "http://ward/v1?x=1",
        "http://ward/v1#x",
        "http://ward:0x/",
        "http://ward:99999/",
        "http://ward/é",
        "http://wa rd/v1",
        "http://ward/v1\r\nx: y",
        "unix:",
        "unix:run/x",
        "unix:/x y",
        "unix:/" + "a" * 107,
        "http://[::1/",
        "http://ward/v 1",
        "http://wa\trd/",
        "http://ward?",
        "http://" + "ü" * 70 + ".de/",
    ],
)
def test_urls_that_are_none(url):
    with pytest.raises(ConfigError) as wrong:
        locate(url)
    assert "secret" not in str(wrong.value)


def test_a_connect_limit_must_be_one():
    for limit_s in (0, -1, 61):
        with pytest.raises(ConfigError, match="connect_timeout_s"):
            locate("http://ward/", connect_timeout_s=limit_s)


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nb: c"},
        {"x": "a\nb"},
        {"x": "\0"},
        {"x y": "a"},
        {"": "a"},
        {"x\r\n": "a"},
        {"x": ""},
        {"x": "é"},
        {"x": " a"},
        {"Host": "a"},
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"connection": "close"},
        {"accept": "a"},
        {"X": "1", "x": "2"},
        {"content-type": "a"},
        {"x": "a" * 9000},
        {"accept-encoding": "gzip"},
        {"user-agent": "x"},
    ],
)
def test_headers_that_would_break_the_framing(headers):
    with pytest.raises(ConfigError) as wrong:
        target(headers=headers)
    for value in headers.values():
        assert len(value) < 3 or value not in str(wrong.value)


def test_a_key_that_would_break_the_framing():
    for key in ("a\r\nx: y", "sécret", "", "a\n"):
        with pytest.raises(ConfigError) as wrong:
            target(key=key)
        assert "cret" not in str(wrong.value)
    with pytest.raises(ConfigError):
        target(key="a", headers={"Authorization": "b"})


def test_prepare():
    prepared = target().prepare(request())
    assert prepared.path == "/chat/completions"
    assert prepared.body == BODY.replace(b"assistant", b"qwen3-8b")
    assert not prepared.is_stream
    assert not prepared.is_usage_added
    assert prepared.reply is None


@pytest.mark.parametrize(
    ("changed", "ask_usage", "is_added"),
    [
        ({"is_stream": True}, True, True),
        ({"is_stream": True}, False, False),
        ({"is_stream": True, "is_usage_asked": True}, True, False),
        ({"is_stream": False}, True, False),
        ({"is_stream": True, "endpoint": Endpoint.COMPLETIONS}, True, True),
        ({"is_stream": True, "endpoint": Endpoint.EMBEDDINGS}, True, False),
    ],
)
def test_usage_is_asked_for_in_streams_where_nobody_did(changed, ask_usage, is_added):
    prepared = target(options=Options(ask_usage=ask_usage)).prepare(request(**changed))
    assert prepared.is_usage_added is is_added
    assert (b"stream_options" in prepared.body) is is_added
    assert prepared.is_stream is changed["is_stream"]


def test_a_body_that_is_no_json_is_the_callers_fault():
    with pytest.raises(RequestError):
        target().prepare(request(body=b'{"model":'))


def test_the_door_must_fit_the_place():
    with pytest.raises(AssertionError):
        UrlTarget(spec(Place.CLOUD), "http://ward/", PremisesDoor(Resolver()))
    with pytest.raises(AssertionError):
        UrlTarget(spec(), "http://ward/", EgressDoor(lambda permit: True, Resolver()))


@pytest.mark.parametrize("endpoint", list(Endpoint))
@pytest.mark.parametrize("is_stream", [False, True])
def test_what_goes_over_the_wire(play, endpoint, is_stream):
    async def scene(stage):
        seen = []
        may_answer = asyncio.Event()

        async def script(peer):
            seen.append(await peer.request())
            await may_answer.wait()
            peer.answer()

        server = await stage.serve(script)
        door = PremisesDoor(stage.resolver)
        made = UrlTarget(
            spec(),
            f"http://127.0.0.1:{server.port}/v1",
            door,
            key="sk-1",
            headers={"X-Team": "a b"},
            options=Options(ask_usage=False),
        )
        assert made.load() == (0, 0)
        prepared = made.prepare(request(endpoint=endpoint, is_stream=is_stream))
        sink = stage.recorder()
        made.open(prepared, sink, None, None)
        assert made.load() == (1, 0)
        await stage.until(lambda: len(seen) == 1)
        may_answer.set()
        await sink.over
        assert made.load() == (0, 0)
        assert seen[0].line == f"POST /v1/{endpoint.value} HTTP/1.1"
        assert seen[0].body == prepared.body
        assert seen[0].headers == {
            "host": f"127.0.0.1:{server.port}",
            "accept-encoding": "identity",
            "accept": "text/event-stream" if is_stream else "application/json",
            "content-type": "application/json",
            "user-agent": f"ecotone/{__version__}",
            "authorization": "Bearer sk-1",
            "x-team": "a b",
            "content-length": str(len(prepared.body)),
        }
        door.close()

    play(scene)


def test_two_targets_of_one_origin_share_connections_and_not_keys(play):
    async def scene(stage):
        seen = []

        async def script(peer):
            while True:
                seen.append(await peer.request())
                peer.answer()

        server = await stage.serve(script)
        door = PremisesDoor(stage.resolver)
        for key in ("a", "b"):
            made = UrlTarget(spec(), f"http://127.0.0.1:{server.port}/v1", door, key=key)
            sink = stage.recorder()
            made.open(made.prepare(request()), sink, None, None)
            await sink.over
        assert server.connections == 1
        assert [one.headers["authorization"] for one in seen] == ["Bearer a", "Bearer b"]
        door.close()

    play(scene)


def test_a_target_knows_its_link_from_traffic(play):
    async def scene(stage):
        async def script(peer):
            while True:
                await peer.request()
                peer.answer(b"a" * 4_000_000)

        server = await stage.serve(script)
        door = PremisesDoor(stage.resolver)
        made = UrlTarget(spec(), f"http://127.0.0.1:{server.port}/v1", door)
        assert made.link() == LinkFigures()
        sink = stage.recorder()
        made.open(made.prepare(request()), sink, None, None)
        await sink.over
        link = made.link()
        assert 0 < link.rtt_s_p50 < 1
        assert link.bytes_per_s_p50 > 0
        door.close()

    play(scene)


def test_an_answer_in_one_piece_is_bounded_and_a_stream_is_not(play):
    async def scene(stage):
        async def script(peer):
            while True:
                await peer.request()
                peer.answer(b"a" * 100)

        server = await stage.serve(script)
        door = PremisesDoor(stage.resolver)
        options = Options(answer_bytes_max=99, ask_usage=False)
        made = UrlTarget(spec(), f"http://127.0.0.1:{server.port}/v1", door, options=options)
        for is_stream in (False, True):
            sink = stage.recorder()
            made.open(made.prepare(request(is_stream=is_stream)), sink, None, None)
            await sink.over
            assert sink.code == ("" if is_stream else "bad_answer")
        assert made.load() == (0, 0)
        door.close()

    play(scene)


def test_no_proxy_of_the_environment_is_used(play, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def scene(stage):
        async def script(peer):
            await peer.request()
            peer.answer()

        server = await stage.serve(script)
        assert (await stage.ask(stage.pool(server))).is_ended

    play(scene)


def test_a_probe_asks_for_the_models_on_a_new_connection(play):
    async def scene(stage):
        lines = []

        async def script(peer):
            while True:
                seen = await peer.request()
                lines.append(seen.line)
                assert seen.headers["authorization"] == "Bearer sk-1"
                assert ("content-length" in seen.headers) is seen.line.startswith("POST")
                peer.answer()

        server = await stage.serve(script)
        door = PremisesDoor(stage.resolver)
        made = UrlTarget(spec(), f"http://127.0.0.1:{server.port}/v1", door, key="sk-1")
        assert made.spec.name == "ward"
        for ask in (
            lambda sink: made.open(made.prepare(request()), sink, None, None),
            lambda sink: made.probe(sink, None, None),
        ):
            sink = stage.recorder()
            ask(sink)
            await sink.over
            assert sink.is_ended
        assert lines == ["POST /v1/chat/completions HTTP/1.1", "GET /v1/models HTTP/1.1"]
        assert server.connections == 2
        assert made.load() == (0, 0)
        assert made.upstream.origin == made.origin
        door.close()

    play(scene)


def test_a_path_of_ones_own_is_sent_as_it_is(play):
    async def scene(stage):
        lines = []

        async def script(peer):
            lines.append((await peer.request()).line)
            peer.answer()

        server = await stage.serve(script)
        door = PremisesDoor(stage.resolver)
        made = UrlTarget(spec(), f"http://127.0.0.1:{server.port}", door)
        sink = stage.recorder()
        made.open(Prepared(path="/tokenize", body=b"{}", is_stream=False), sink, None, None)
        await sink.over
        assert lines == ["POST /tokenize HTTP/1.1"]
        door.close()

    play(scene)
