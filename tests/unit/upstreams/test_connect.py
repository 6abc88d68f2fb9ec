"""New connections: names, addresses, TLS, Unix sockets; every failure has its word; all within the limit."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading

import pytest

from ecotone.upstreams import connect
from ecotone.upstreams.connect import LOOKUPS_MAX, Dialler, Resolver
from ecotone.upstreams.origin import Upstream
from ecotone.values import ConfigError, TargetError


async def answers(peer):
    while True:
        await peer.request()
        peer.answer()


def found(*ports, family=socket.AF_INET, host="127.0.0.1"):
    return lambda name, port: [(family, (host, p)) for p in ports]


def closed_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Deaf:
    """A listening socket whose backlog is full: a SYN to it is dropped."""

    def __init__(self):
        self.listening = socket.socket()
        self.listening.bind(("127.0.0.1", 0))
        self.listening.listen(0)
        self.port = self.listening.getsockname()[1]
        self.filling = [socket.socket() for _ in range(4)]
        for sock in self.filling:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self.port))

    def close(self):
        for sock in (self.listening, *self.filling):
            sock.close()


@pytest.fixture
def deaf():
    made = Deaf()
    yield made
    made.close()


def http(host, port=80, **options):
    return Upstream(scheme="http", host=host, port=port, **options)


def no_such_name(name, port):
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_name_that_does_not_resolve_is_dns(play):
    async def scene(stage):
        sink = await stage.ask(stage.pool(http("a.invalid"), resolver=Resolver(no_such_name)))
        assert sink.code == "dns"
        assert sink.error.message == "http://a.invalid:80: Name or service not known"

    play(scene)


def test_the_systems_resolver_is_asked(play):
    async def scene(stage):
        assert (await stage.ask(stage.pool(http("no-such-host.invalid")))).code == "dns"
        server = await stage.serve(answers)
        assert (await stage.ask(stage.pool(http("localhost", server.port)))).is_ended
        assert (await stage.ask(stage.pool(http("a" * 70 + ".invalid")))).code == "dns"

    play(scene)


def test_a_resolver_that_hangs_takes_a_bounded_number_of_threads(play):
    async def scene(stage):
        released = threading.Event()
        asked = []

        def hang(name, port):
            asked.append(name)
            released.wait()
            return [(socket.AF_INET, ("127.0.0.1", server.port))]

        server = await stage.serve(answers)
        before = threading.active_count()
        resolver = Resolver(hang)
        pools = [stage.pool(http(f"host-{n}.test", connect_timeout_s=0.05), resolver=resolver) for n in range(12)]
        for _ in range(2):
            sinks = [stage.post(pool)[1] for pool in pools]
            await asyncio.gather(*(sink.over for sink in sinks))
            assert {sink.code for sink in sinks} == {"dns"}
            assert "not resolved within 0.05 s" in sinks[0].error.message
            assert threading.active_count() - before <= LOOKUPS_MAX
        assert len(asked) == LOOKUPS_MAX
        released.set()
        await stage.until(lambda: len(resolver._under_way) == 0)
        late = stage.pool(http("host-11.test"), resolver=resolver)
        assert (await stage.ask(late)).is_ended, "the resolver works again when the look-ups come back"
        assert (await stage.ask(stage.pool(http("host-0.test"), resolver=resolver))).is_ended

    play(scene)


def test_those_who_ask_for_one_name_share_a_look_up_and_it_is_remembered(play):
    async def scene(stage):
        asked = []
        server = await stage.serve(answers)

        def lookup(name, port):
            asked.append(name)
            return [(socket.AF_INET, ("127.0.0.1", server.port))]

        resolver = Resolver(lookup)
        pool = stage.pool(http("a.test"), resolver=resolver)
        sinks = [stage.post(pool)[1] for _ in range(5)]
        await asyncio.gather(*(sink.over for sink in sinks))
        assert (await stage.ask(stage.pool(http("a.test"), resolver=resolver))).is_ended
        assert asked == ["a.test"]
        short = Resolver(lookup, kept_s=0.0)
        for _ in range(2):
            assert (await stage.ask(stage.pool(http("a.test"), resolver=short))).is_ended
        assert len(asked) == 3

    play(scene)


def test_addresses_that_do_not_answer_are_forgotten(play):
    async def scene(stage):
        ports = [closed_port()]
        resolver = Resolver(lambda name, port: [(socket.AF_INET, ("127.0.0.1", ports[0]))])
        pool = stage.pool(http("a.test"), resolver=resolver)
        assert (await stage.ask(pool)).code == "refused"
        ports[0] = (await stage.serve(answers)).port
        assert (await stage.ask(pool)).is_ended

    play(scene)


def test_where_the_name_servers_are_silent_the_last_addresses_serve_on(play):
    async def scene(stage):
        silence = threading.Event()
        silence.set()
        asked = []
        server = await stage.serve(answers)

        def lookup(name, port):
            asked.append(name)
            silence.wait()
            return [(socket.AF_INET, ("127.0.0.1", server.port))]

        resolver = Resolver(lookup, kept_s=0.0)
        assert (await stage.ask(stage.pool(http("a.test"), resolver=resolver))).is_ended
        silence.clear()
        for _ in range(3):
            assert (await stage.ask(stage.pool(http("a.test"), resolver=resolver))).is_ended
        assert len(asked) == 2, "one question is under way, and nobody waits for it again at once"
        silence.set()

    play(scene)


@pytest.mark.parametrize(("number", "code"), [(socket.EAI_AGAIN, None), (socket.EAI_NONAME, "dns")])
def test_a_name_that_was_taken_away_is_gone_and_one_that_nobody_can_tell_is_not(play, number, code):
    async def scene(stage):
        server = await stage.serve(answers)
        says = [None, socket.gaierror(number, "made")]

        def lookup(name, port):
            error = says.pop(0)
            if error is not None:
                raise error
            return [(socket.AF_INET, ("127.0.0.1", server.port))]

        resolver = Resolver(lookup, kept_s=0.0)
        assert (await stage.ask(stage.pool(http("a.test"), resolver=resolver))).is_ended
        assert (await stage.ask(stage.pool(http("a.test"), resolver=resolver))).error is None or code == "dns"
        assert not says

    play(scene)


def test_a_public_name_that_suddenly_leads_into_this_network_is_a_lie(play, monkeypatch):
    async def scene(stage):
        server = await stage.serve(answers)
        resolver = Resolver(found(server.port))
        pool = stage.pool(http("a.test"), resolver=resolver)
        monkeypatch.setattr(connect, "_is_public", lambda address: True)
        assert (await stage.ask(pool)).is_ended
        pool.drop_idle()
        assert (await stage.ask(pool)).is_ended
        monkeypatch.undo()
        pool.drop_idle()
        sink = await stage.ask(pool)
        assert sink.code == "dns"
        assert "a name server lies" in sink.error.message
        other = stage.pool(http("b.test"), resolver=Resolver(found(server.port)))
        assert (await stage.ask(other)).is_ended, "one that always was of this network is no lie"

    play(scene)


def test_an_address_needs_no_resolver(play):
    async def scene(stage):
        server = await stage.serve(answers)
        pool = stage.pool(http("127.0.0.1", server.port), resolver=Resolver(no_such_name))
        assert (await stage.ask(pool)).is_ended
        assert (
            await stage.ask(stage.pool(http("::1", closed_port()), resolver=Resolver(no_such_name)))
        ).code == "refused"

    play(scene)


def test_nothing_listens_is_refused(play):
    async def scene(stage):
        port = closed_port()
        sink = await stage.ask(stage.pool(http("127.0.0.1", port)))
        assert sink.code == "refused"
        assert sink.error.message.startswith(f"http://127.0.0.1:{port}: ")

    play(scene)


def test_no_answer_to_the_syn_is_connect_timeout(play, deaf):
    async def scene(stage):
        sink = await stage.ask(stage.pool(http("127.0.0.1", deaf.port, connect_timeout_s=0.1)))
        assert sink.code == "connect_timeout"
        assert "within 0.1 s (at tcp)" in sink.error.message

    play(scene)


def test_the_next_address_is_tried_when_one_refuses_or_says_nothing(play, deaf):
    async def scene(stage):
        server = await stage.serve(answers)
        for ports in ((closed_port(), closed_port(), server.port), (deaf.port, server.port)):
            pool = stage.pool(http("a.test"), resolver=Resolver(found(*ports)))
            assert (await stage.ask(pool)).is_ended
        pool = stage.pool(http("a.test"), resolver=Resolver(found(closed_port(), closed_port())))
        assert (await stage.ask(pool)).code == "refused"
        pool = stage.pool(http("a.test"), resolver=Resolver(found()))
        assert (await stage.ask(pool)).code == "refused"

    play(scene)


def test_abort_while_addresses_race_leaves_nothing(play, deaf):
    async def scene(stage):
        pool = stage.pool(http("a.test"), resolver=Resolver(found(deaf.port, second.port)))
        others = len(asyncio.all_tasks())
        exchange, sink = stage.post(pool)
        await stage.until(lambda: len(asyncio.all_tasks()) >= others + 3)  # the pool's, and two addresses
        exchange.abort()
        await stage.until(lambda: pool.counts() == (0, 0, 0))
        assert not sink.over.done()
        await stage.until(lambda: len(asyncio.all_tasks()) == others)

    second = Deaf()
    play(scene)
    second.close()


def test_abort_while_resolving(play):
    async def scene(stage):
        released = threading.Event()
        pool = stage.pool(http("a.test"), resolver=Resolver(lambda name, port: released.wait() and []))
        exchange, sink = stage.post(pool)
        await stage.until(lambda: pool.counts()[0] == 1)
        await asyncio.sleep(0)
        exchange.abort()
        await stage.until(lambda: pool.counts() == (0, 0, 0))
        released.set()
        assert not sink.over.done()

    play(scene)


def test_abort_right_after_open(play):
    async def scene(stage):
        server = await stage.serve(answers)
        pool = stage.pool(server)
        for turns in range(12):
            exchange, sink = stage.post(pool)
            for _ in range(turns):
                await asyncio.sleep(0)
            is_over = sink.over.done()
            exchange.abort()
            await stage.until(lambda: pool.counts()[0] == 0 and pool.counts()[1] == pool.counts()[2])
            assert sink.over.done() is is_over

    play(scene)


def https(host, port, **options):
    return Upstream(scheme="https", host=host, port=port, **options)


def test_tls_with_a_trusted_certificate(play):
    async def scene(stage):
        versions = []

        async def script(peer):
            shaken = peer.writer.get_extra_info("ssl_object")
            versions.append((shaken.version(), shaken.selected_alpn_protocol()))
            await answers(peer)

        server = await stage.serve(script, is_tls=True)
        for host in ("127.0.0.1", "localhost"):
            pool = stage.pool(https(host, server.port, ca_file=stage.tls.ca_file))
            for _ in range(3):
                assert (await stage.ask(pool)).is_ended
        assert server.connections == 2
        assert set(versions) == {("TLSv1.3", "http/1.1")}

    play(scene)


def test_tls_that_is_not_trusted(play):
    async def scene(stage):
        server = await stage.serve(answers, is_tls=True)
        stranger = https("127.0.0.1", server.port)
        wrong_name = https("other.test", server.port, ca_file=stage.tls.ca_file)
        for upstream in (stranger, wrong_name):
            sink = await stage.ask(stage.pool(upstream, resolver=Resolver(found(server.port))))
            assert sink.code == "tls", sink.error
            assert upstream.origin in sink.error.message
        assert server.requests == 0
        stage.loud.clear()  # the server complains of the client's alert

    play(scene)


@pytest.mark.parametrize(("how", "code"), [("plain", "tls"), ("close", "reset"), ("reset", "reset")])
def test_a_handshake_that_fails_is_tls_and_one_that_is_cut_a_reset(play, how, code):
    async def scene(stage):
        async def script(peer):
            await peer.reader.read(1)
            if how == "plain":
                peer.send(b"HTTP/1.1 400 This is not TLS\r\n\r\n")
                await peer.gone()
            else:
                getattr(peer, how)()

        server = await stage.serve(script)
        sink = await stage.ask(stage.pool(https("127.0.0.1", server.port, ca_file=stage.tls.ca_file)))
        assert sink.code == code, sink.error

    play(scene)


@pytest.mark.parametrize("is_aborted", [False, True])
def test_a_handshake_that_stalls_ends_at_the_limit_or_with_abort(play, is_aborted):
    async def scene(stage):
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        stalled = asyncio.Event()
        at_s = []

        async def script(peer):
            await peer.reader.read(1)
            stalled.set()
            await peer.gone()
            at_s.append(loop.time())
            gone.set()

        server = await stage.serve(script)
        limit_s = 5.0 if is_aborted else 0.1
        upstream = https("127.0.0.1", server.port, ca_file=stage.tls.ca_file, connect_timeout_s=limit_s)
        pool = stage.pool(upstream)
        exchange, sink = stage.post(pool)
        if is_aborted:
            await stalled.wait()
            began_s = loop.time()
            exchange.abort()
            await gone.wait()
            assert at_s[0] - began_s < 0.5
            assert not sink.over.done()
        else:
            await sink.over
            assert sink.code == "connect_timeout"
            assert "(at tls)" in sink.error.message
            await gone.wait()

    play(scene)


def test_a_tls_body_may_end_with_the_connection(play):
    async def scene(stage):
        async def script(peer):
            await peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

        server = await stage.serve(script, is_tls=True)
        sink = await stage.ask(stage.pool(https("127.0.0.1", server.port, ca_file=stage.tls.ca_file)))
        assert (sink.body, sink.is_ended) == (b"hello", True)

    play(scene)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stale_tls_connection_is_retried_once(play, how):
    async def scene(stage):
        async def script(peer):
            await peer.request()
            peer.answer()
            if server.connections == 1:
                await peer.request()
                getattr(peer, how)()
            else:
                await peer.gone()

        server = await stage.serve(script, is_tls=True)
        pool = stage.pool(https("127.0.0.1", server.port, ca_file=stage.tls.ca_file))
        assert (await stage.ask(pool)).is_ended
        assert (await stage.ask(pool)).is_ended
        assert (server.connections, server.requests) == (2, 3)

    play(scene)


def test_a_paused_reader_holds_a_tls_server_back_and_abort_ends_it(play):
    async def scene(stage):
        sent = 0
        gone = asyncio.Event()

        async def script(peer):
            nonlocal sent
            await peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                while True:
                    peer.send(b"a" * 65536)
                    await peer.writer.drain()
                    await asyncio.sleep(0)  # drain alone does not yield below the high-water mark
                    sent += 65536
            except ConnectionError:
                gone.set()

        server = await stage.serve(script, is_tls=True)
        pool = stage.pool(https("127.0.0.1", server.port, ca_file=stage.tls.ca_file))
        exchange, sink = stage.post(pool, bytes_max=None)
        await sink.began
        exchange.resume()
        exchange.pause()
        exchange.pause()
        before = -1
        while sent != before:
            before = sent
            for _ in range(50):
                await asyncio.sleep(0.001)
        got = len(sink.body)
        assert sent < 40_000_000
        exchange.resume()
        exchange.resume()
        await stage.until(lambda: len(sink.body) > got)
        exchange.abort()
        await gone.wait()
        assert not sink.over.done()
        stage.loud.clear()  # the server's side of TLS may complain

    play(scene)


def test_unix_sockets(play):
    async def scene(stage):
        path = str(stage.tmp_path / "engine.sock")
        upstream = Upstream(scheme="unix", host=path)
        pool = stage.pool(upstream)
        sink = await stage.ask(pool)
        assert (sink.code, sink.error.message) == ("refused", f"unix:{path}: No such file or directory")
        seen = []

        async def script(peer):
            seen.append(await peer.request())
            peer.answer()
            await answers(peer)

        server = await stage.serve(script, path=path)
        for _ in range(2):
            assert (await stage.ask(pool)).is_ended
        assert server.connections == 1
        assert seen[0].headers["host"] == "localhost"

    play(scene)


def test_a_unix_socket_with_a_full_backlog_is_refused(play):
    async def scene(stage):
        path = str(stage.tmp_path / "full.sock")
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
            listening.bind(path)
            listening.listen(0)
            first.connect(path)
            sink = await stage.ask(stage.pool(Upstream(scheme="unix", host=path, connect_timeout_s=0.2)))
            assert sink.code in ("refused", "connect_timeout")

    play(scene)


def test_a_ca_file_that_cannot_be_used(tmp_path):
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for path in (str(bad), str(tmp_path / "none.pem")):
        with pytest.raises(ConfigError, match="ca_file"):
            Dialler(Resolver()).trust(https("a.test", 443, ca_file=path))


_HEARD: list[tuple[str, object]] = []
_IS_LISTENING = threading.Event()


def _listen(event, args):
    if _IS_LISTENING.is_set() and event == "socket.connect":
        _HEARD.append((event, args[1]))


def test_the_audit_hook_sees_every_connect(play):
    """uvloop's own create_connection would go unseen (invariant 1)."""
    sys.addaudithook(_listen)  # there is no way to remove it

    async def scene(stage):
        server = await stage.serve(answers)
        path = str(stage.tmp_path / "engine.sock")
        await stage.serve(answers, path=path)
        _HEARD.clear()
        _IS_LISTENING.set()
        assert (
            await stage.ask(stage.pool(http("localhost", server.port), resolver=Resolver(found(server.port))))
        ).is_ended
        assert (await stage.ask(stage.pool(Upstream(scheme="unix", host=path)))).is_ended
        _IS_LISTENING.clear()
        heard = {where for _, where in _HEARD}
        assert heard == {("127.0.0.1", server.port), path}

    play(scene)


def test_the_address_that_was_admitted_is_the_one_connected_to(play):
    async def scene(stage):
        server = await stage.serve(answers)
        asked = []
        addresses = [[(socket.AF_INET, ("203.0.113.9", 80)), (socket.AF_INET, ("127.0.0.1", server.port))]]

        def lookup(name, port):
            return addresses.pop()  # a second resolution would raise

        def admit(upstream, address):
            asked.append(address)
            return "" if address == "127.0.0.1" else f"{address} is elsewhere"

        dialler = Dialler(Resolver(lookup), admit)
        pool = stage.pool(http("rebind.test"))
        pool._dialler = dialler
        assert (await stage.ask(pool)).is_ended
        assert asked == ["203.0.113.9", "127.0.0.1"]
        dialler._admit = lambda upstream, address: f"{address} is elsewhere"
        with pytest.raises(TargetError, match="egress_refused"):
            await dialler.dial(http("127.0.0.1", server.port), asyncio.Protocol)

    play(scene)
