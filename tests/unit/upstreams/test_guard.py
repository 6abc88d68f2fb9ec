"""The guard: what it lets pass, what it refuses, and that a real process with it reaches nothing."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import uvloop

from ecotone.upstreams import guard as room
from ecotone.upstreams.guard import Guard, GuardError, NoGuard

WORKER = (sys.executable, "-P", "/ours/worker.py")


@pytest.fixture
def refused() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def guard(refused: list[tuple[str, str]]) -> Guard:
    """A guard that judges and is not installed: that could not be undone."""
    return Guard(lambda kind, module: refused.append((kind, module)), commands=[WORKER])


@pytest.fixture
def sock():
    with socket.socket() as made:
        yield made


@pytest.fixture
def unix():
    with socket.socket(socket.AF_UNIX) as made:
        yield made


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("socket.getaddrinfo", ("localhost", 80, 0, 0, 0)),
        ("socket.getaddrinfo", (b"203.0.113.7", 80, 0, 0, 0)),
        ("socket.getaddrinfo", (None, 80, 0, 0, 0)),
        ("socket.getaddrinfo", ("fe80::1%eth0", 80, 0, 0, 0)),
        ("socket.gethostbyname", ("10.0.0.1",)),
        ("socket.gethostbyaddr", ("127.0.0.1",)),
        ("socket.getnameinfo", (("::1", 80),)),
        ("subprocess.Popen", (WORKER[0], [*WORKER, "more"], None, None)),
        ("subprocess.Popen", (None, [Path(WORKER[0]), *WORKER[1:]], None, None)),
        ("open", ("/etc/passwd", "r", 0)),
        ("import", ("requests",)),
    ],
)
def test_what_is_ours_or_reaches_nothing_passes(guard: Guard, event: str, args: tuple[object, ...]) -> None:
    guard.judge(event, args)
    assert not guard.refusals


@pytest.mark.parametrize(
    ("event", "args", "kind"),
    [
        ("socket.getaddrinfo", ("telemetry.example", 443, 0, 0, 0), "lookup"),
        ("socket.gethostbyname", ("telemetry.example",), "lookup"),
        ("socket.gethostbyaddr", ("203.0.113.7",), "lookup"),
        ("socket.getnameinfo", (("203.0.113.7", 80),), "lookup"),
        ("socket.getnameinfo", ((),), "lookup"),
        ("subprocess.Popen", ("curl", ["curl", "http://203.0.113.7"], None, None), "process"),
        ("subprocess.Popen", ("/bin/sh", "curl http://203.0.113.7", None, None), "process"),
        ("subprocess.Popen", (sys.executable, [sys.executable, "-c", "import urllib"], None, None), "process"),
        ("subprocess.Popen", ("/bin/sh", list(WORKER), None, None), "process"),
        ("subprocess.Popen", (3.5, [object()], None, None), "process"),
        ("os.system", (b"curl",), "process"),
        ("os.exec", ("/bin/sh", [], None), "process"),
        ("os.posix_spawn", ("/bin/sh", [], None), "process"),
    ],
)
def test_what_would_leave_is_refused_and_counted(
    guard: Guard, refused: list[tuple[str, str]], event: str, args: tuple[object, ...], kind: str
) -> None:
    with pytest.raises(GuardError, match="only Ecotone's own doors"):
        guard.judge(event, args)
    assert guard.refusals == {kind: 1}
    assert refused == [(kind, __name__)]


def test_the_error_says_who_asked_and_not_for_what(guard: Guard) -> None:
    with pytest.raises(GuardError) as caught:
        guard.judge("socket.getaddrinfo", ("jane-doe-has-diabetes.example", 443, 0, 0, 0))
    assert "jane" not in str(caught.value)
    assert __name__ in str(caught.value)
    assert isinstance(caught.value, OSError), "a library takes it for a network that is not there"


@pytest.mark.parametrize("address", [("203.0.113.7", 443), ("127.0.0.1", 3128), ("localhost", 1), (), "x", None])
@pytest.mark.parametrize("event", ["socket.connect", "socket.sendto", "socket.sendmsg"])
def test_no_socket_reaches_an_address_without_leave(
    guard: Guard, sock: socket.socket, event: str, address: object
) -> None:
    if event == "socket.sendmsg" and address is None:
        guard.judge(event, (sock, address))
        return
    if event == "socket.sendto" and address is None:
        guard.judge(event, (sock, address))
        return
    with pytest.raises(GuardError):
        guard.judge(event, (sock, address))


def test_unix_sockets_pass(guard: Guard, unix: socket.socket) -> None:
    for event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"):
        guard.judge(event, (unix, "/run/worker.sock"))


def test_leave_is_for_one_socket_one_address_and_as_long_as_it_is_held(guard: Guard, sock: socket.socket) -> None:
    here = ("203.0.113.7", 443)
    with socket.socket() as other, guard.leave.dial(sock, *here):
        guard.judge("socket.connect", (sock, here))
        for refused in ((other, here), (sock, ("203.0.113.8", 443)), (sock, ("203.0.113.7", 80))):
            with pytest.raises(GuardError):
                guard.judge("socket.connect", refused)
    with pytest.raises(GuardError):
        guard.judge("socket.connect", (sock, here))


def test_the_zone_of_a_link_local_address_may_be_written_by_name_or_number(guard: Guard) -> None:
    with socket.socket(socket.AF_INET6) as sock, guard.leave.dial(sock, "fe80::1", 80):
        guard.judge("socket.connect", (sock, ("fe80::1%2", 80, 0, 2)))


def test_leave_for_a_name_is_for_one_thread(guard: Guard) -> None:
    seen: list[str] = []

    def elsewhere() -> None:
        try:
            guard.judge("socket.getaddrinfo", ("cloud.example", 443, 0, 0, 0))
        except GuardError:
            seen.append("refused")

    with guard.leave.ask("cloud.example"):
        guard.judge("socket.getaddrinfo", ("cloud.example", 443, 0, 0, 0))
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with pytest.raises(GuardError):
            guard.judge("socket.getaddrinfo", ("other.example", 443, 0, 0, 0))
    assert seen == ["refused"]
    with pytest.raises(GuardError):
        guard.judge("socket.getaddrinfo", ("cloud.example", 443, 0, 0, 0))


def test_a_listener_may_stand_on_loopback_only(guard: Guard, sock: socket.socket) -> None:
    guard.judge("socket.bind", (sock, ("127.0.0.1", 0)))
    for address in (("0.0.0.0", 0), ("", 0), ("10.0.0.1", 80), ("::", 0)):
        with pytest.raises(GuardError):
            guard.judge("socket.bind", (sock, address))


def test_where_no_guard_is_leave_means_nothing(sock: socket.socket) -> None:
    with NoGuard().dial(sock, "203.0.113.7", 443), NoGuard().ask("cloud.example"):
        pass


def test_a_socket_asks_before_cpython_looks_a_name_up(guard: Guard) -> None:
    class Socket(socket.socket):
        pass

    room.watch_names(guard, Socket)
    with Socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for call in (
            lambda: sock.connect(("telemetry.example", 9)),
            lambda: sock.connect_ex(("telemetry.example", 9)),
            lambda: sock.bind(("telemetry.example", 9)),
            lambda: sock.sendto(b"x", ("telemetry.example", 9)),
            lambda: sock.sendto(b"x", 0, ("telemetry.example", 9)),
        ):
            with pytest.raises(GuardError):
                call()
        sock.bind(("127.0.0.1", 0))
        sock.sendto(b"x", sock.getsockname())
        with pytest.raises(TypeError):
            sock.connect()
    assert guard.refusals == {"lookup": 5}


def test_uvloop_asks_where_it_would_be_silent(guard: Guard) -> None:
    class Loop(uvloop.Loop):
        pass

    room.watch_loop(guard, Loop)
    loop = Loop()
    try:
        for coroutine in (
            loop.create_connection(asyncio.Protocol, "203.0.113.7", 443),
            loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("203.0.113.7", 443)),
            loop.getaddrinfo("telemetry.example", 443),
            loop.getnameinfo(("203.0.113.7", 443)),
            loop.subprocess_exec(asyncio.SubprocessProtocol, "curl", "http://203.0.113.7"),
            loop.subprocess_shell(asyncio.SubprocessProtocol, "curl http://203.0.113.7"),
        ):
            with pytest.raises(GuardError):
                loop.run_until_complete(coroutine)
        assert loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM))
        assert loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST))
        loop.run_until_complete(_talk_to_ourselves(loop))
    finally:
        loop.close()
    assert guard.refusals == {"connect": 1, "send": 1, "lookup": 2, "process": 2}


async def _talk_to_ourselves(loop: asyncio.AbstractEventLoop) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.close()
    theirs.close()


def test_the_guard_costs_little_to_events_that_are_not_its_business(guard: Guard) -> None:
    assert guard._judges.get("open") is None, "one look into a table, and nothing else"


SCRIPT = """
import asyncio, contextlib, http.client, os, socket, subprocess, sys, threading, urllib.request
from ecotone.upstreams.connect import Dialler, Resolver
from ecotone.upstreams.guard import Guard, GuardError
from ecotone.upstreams.origin import Upstream
import uvloop

told = []
guard = Guard(lambda kind, module: told.append(kind), commands=[(sys.executable, "-c", "print(1)")])
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
other = socket.create_server(("127.0.0.1", 0))
other_port = other.getsockname()[1]
guard.install(ports=[other_port])
guard.install(ports=[other_port])

def never(what, call):
    before = len(told)
    try:
        call()
    except (OSError, http.client.HTTPException) as error:
        assert "refused" in str(error), (what, error)
    else:
        raise SystemExit(f"{what}: it was not refused")
    assert len(told) == before + 1, (what, told)

def in_thread(call):
    caught = []
    def run():
        try:
            call()
        except OSError as error:
            caught.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if caught:
        raise caught[0]

where = ("127.0.0.1", port)
never("socket", lambda: socket.create_connection(where))
never("connect_ex", lambda: socket.socket().connect_ex(where))
never("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", where))
never("sendmsg", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, where))
never("http", lambda: http.client.HTTPConnection(*where).request("GET", "/"))
never("urllib", lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/"))
never("thread", lambda: in_thread(lambda: socket.create_connection(where)))
never("name", lambda: socket.create_connection(("telemetry.example", 443)))
never("name in connect", lambda: socket.socket().connect(("telemetry.example", 443)))
never("gethostbyname", lambda: socket.gethostbyname("telemetry.example"))
never("bind", lambda: socket.create_server(("0.0.0.0", 0)))
never("popen", lambda: subprocess.run(["true"]))
never("shell", lambda: subprocess.run("true", shell=True))
never("system", lambda: os.system("true"))
never("posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
socket.create_connection(("127.0.0.1", other_port)).close()
socket.socketpair()[0].close()

async def scene():
    loop = asyncio.get_running_loop()
    for what, make in {
        "asyncio": lambda: asyncio.open_connection(*where),
        "datagram": lambda: loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=where),
        "lookup": lambda: loop.getaddrinfo("telemetry.example", 443),
        "process": lambda: asyncio.create_subprocess_exec("true"),
        "shell": lambda: asyncio.create_subprocess_shell("true"),
    }.items():
        before = len(told)
        try:
            await make()
        except OSError as error:
            assert "refused" in str(error), (what, error)
        else:
            raise SystemExit(f"{what}: it was not refused by {type(loop)}")
        assert len(told) == before + 1, (what, told)
    # The doors' own way, with leave and without.
    to = Upstream(scheme="http", host="localhost", port=port)
    before = len(told)
    resolver = Resolver(lambda host, port: [(socket.AF_INET, ("127.0.0.1", port))], leave=guard.leave)
    await Dialler(resolver).dial(to, asyncio.Protocol)
    assert len(told) == before
    assert await Dialler(Resolver(leave=guard.leave)).dial(to, asyncio.Protocol)
    try:
        await Dialler(Resolver()).dial(to, asyncio.Protocol)
    except Exception as error:
        assert len(told) > before, error
    else:
        raise SystemExit("dialled without leave")
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    server.close()

asyncio.run(scene())
uvloop.run(scene())

def count_ns(event):
    import time
    best = 1e9
    for _ in range(7):
        began = time.process_time_ns()
        for _ in range(20000):
            sys.audit(event, 1)
        best = min(best, (time.process_time_ns() - began) / 20000)
    return best

print("ns per event that is not its business:", count_ns("some.event"))
print("refusals", dict(guard.refusals))
"""


def test_in_a_real_process_nothing_gets_out_but_through_a_dialler_with_leave() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    print("\nMEASURED", ran.stdout)
