"""The process-wide guard: nothing in this process reaches the network but the doors (invariant 1).

`Guard.install` adds an audit hook (PEP 578) that refuses every connect, datagram, bind, name lookup and new process
that is not ours, in any thread, whoever asks: a library that phones home gets `GuardError`, and it is counted. What is
ours: Unix sockets; names and addresses for which the one `Dialler` has taken leave, each for one socket at a time;
loopback listeners named at `install`; and the commands of our own workers.

An audit hook cannot be taken out again, and there is no switch: the right to dial is an object (`Leave`) that the
composition root hands to the resolver of the doors and to nobody else.

uvloop raises no events where libuv itself connects, asks for names or starts processes (measured, 0.23: all but
`sock_connect`); its loop's methods are made to ask the guard first. CPython looks up a name that is given to
`connect`, `bind` or `sendto` before it raises their events, so these ask first, too. NOT seen: native code that makes
system calls of its own (a C or Rust HTTP client, c-ares, ctypes), and `multiprocessing`'s spawn. Against these stand a
firewall or a container's egress rule; nothing that a gateway imports is of that kind.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from types import FrameType
from typing import Any, Final

__all__ = ["Guard", "GuardError", "Leave", "NoGuard"]

Judge = Callable[[tuple[Any, ...]], None]
Refused = Callable[[str, str], None]
"""(kind, module): told of each refusal, from the thread that it happened in. Must be cheap and must not raise."""

_INET: Final = (socket.AF_INET, socket.AF_INET6)
_DEPTH_MAX: Final = 64


class GuardError(PermissionError):
    """Something other than the doors wanted to reach the network. An OSError, so that libraries take it for one."""


class NoGuard:
    """Leave where no guard is installed: commands, tests."""

    @contextlib.contextmanager
    def dial(self, sock: socket.socket, host: str, port: int) -> Iterator[None]:
        """See `Leave.dial`."""
        yield

    @contextlib.contextmanager
    def ask(self, name: str) -> Iterator[None]:
        """See `Leave.ask`."""
        yield


class Leave(NoGuard):
    """The right to dial and to ask for names. Whoever holds it is the way out."""

    def __init__(self) -> None:
        self._dials: dict[socket.socket, tuple[str, int]] = {}
        self._asks: dict[int, str] = {}

    @contextlib.contextmanager
    def dial(self, sock: socket.socket, host: str, port: int) -> Iterator[None]:
        """Within it this socket, and no other, may connect to this numeric address."""
        self._dials[sock] = (host, port)
        try:
            yield
        finally:
            del self._dials[sock]

    @contextlib.contextmanager
    def ask(self, name: str) -> Iterator[None]:
        """Within it this thread may ask the resolver for this name."""
        thread = threading.get_ident()
        self._asks[thread] = name
        try:
            yield
        finally:
            del self._asks[thread]

    def may_dial(self, sock: Any, host: str, port: int) -> bool:
        """Whether there is leave for this connect."""
        given = self._dials.get(sock)
        return given is not None and given[1] == port and _unscoped(given[0]) == _unscoped(host)

    def may_ask(self, name: str) -> bool:
        """Whether there is leave for this lookup in this thread."""
        return self._asks.get(threading.get_ident()) == name


class Guard:
    """Judges what wants to leave this process.

    Attributes:
        leave: The right to go; for the resolver of the doors only.
        refusals: How often something was refused, by kind: `connect`, `send`, `bind`, `lookup`, `process`.
    """

    def __init__(self, refused: Refused, *, commands: Collection[Sequence[str]] = ()) -> None:
        """`commands` are the beginnings of the command lines that this process starts: its workers."""
        self.leave = Leave()
        self.refusals: Counter[str] = Counter()
        self._refused = refused
        self._commands = tuple(tuple(command) for command in commands)
        self._ports: frozenset[int] = frozenset()
        self._is_installed = False
        self._judges: dict[str, Judge] = {
            "socket.connect": self._connect,
            "socket.sendto": self._send,
            "socket.sendmsg": self._send,
            "socket.bind": self._bind,
            "socket.getaddrinfo": self._lookup,
            "socket.gethostbyname": self._lookup,
            "socket.gethostbyaddr": self._reverse,
            "socket.getnameinfo": self._reverse,
            "subprocess.Popen": self._popen,
            "os.system": self._start,
            "os.exec": self._start,
            "os.posix_spawn": self._start,
            "os.spawn": self._start,
            "pty.spawn": self._start,
        }

    def install(self, ports: Collection[int] = ()) -> None:
        """From here to the end of the process; idempotent. To be called when the site's own listeners are bound.

        Args:
            ports: Loopback ports of ours that this process may connect to.
        """
        self._ports = frozenset(ports)
        if self._is_installed:
            return
        self._is_installed = True
        judges = self._judges.get

        def hook(event: str, args: tuple[Any, ...]) -> None:
            judge = judges(event)
            if judge is not None:
                judge(args)

        watch_names(self, socket.socket)
        with contextlib.suppress(ImportError):  # Windows
            import uvloop

            watch_loop(self, uvloop.Loop)
        sys.addaudithook(hook)

    def judge(self, event: str, args: tuple[Any, ...]) -> None:
        """Returns where an audit event is ours or not about leaving.

        Raises:
            GuardError: it is neither; it was counted.
        """
        found = self._judges.get(event)
        if found is not None:
            found(args)

    def _connect(self, args: tuple[Any, ...]) -> None:
        sock, address = args[0], args[1]
        family = getattr(sock, "family", None)
        if family == socket.AF_UNIX:
            return
        if family in _INET and isinstance(address, tuple) and len(address) >= 2:
            host, port = _text(address[0]), address[1]
            if self.leave.may_dial(sock, host, port) or (port in self._ports and _is_loopback(host)):
                return
        raise self._refuse("connect")

    def _send(self, args: tuple[Any, ...]) -> None:
        # Without an address it goes where the socket was connected to, and that was judged.
        if args[1] is not None and getattr(args[0], "family", None) != socket.AF_UNIX:
            raise self._refuse("send")

    def _bind(self, args: tuple[Any, ...]) -> None:
        family, address = getattr(args[0], "family", None), args[1]
        if family == socket.AF_UNIX:
            return
        if family in _INET and isinstance(address, tuple) and _is_loopback(_text(address[0])):
            return
        # A listener on an open address is a way out for whoever comes to fetch.
        raise self._refuse("bind")

    def _lookup(self, args: tuple[Any, ...]) -> None:
        name = _text(args[0])
        if name in ("", "localhost") or self.leave.may_ask(name) or _address(name) is not None:
            return
        raise self._refuse("lookup")

    def _reverse(self, args: tuple[Any, ...]) -> None:
        name = args[0][0] if isinstance(args[0], tuple) and args[0] else args[0]
        if not _is_loopback(_text(name)):
            raise self._refuse("lookup")

    def name_in(self, sock: Any, address: object) -> None:
        """Returns where an address holds no name that would be looked up.

        Raises:
            GuardError: it does, and there is no leave to ask for it.
        """
        if sock.family in _INET and isinstance(address, tuple) and address:
            self._lookup(address)

    def _popen(self, args: tuple[Any, ...]) -> None:
        self.start_process(args[0], args[1])

    def start_process(self, program: object, arguments: object) -> None:
        """Returns where the command line is one of ours.

        Raises:
            GuardError: it is not.
        """
        line = tuple(map(_text, arguments)) if isinstance(arguments, (list, tuple)) else (_text(arguments),)
        for command in self._commands:
            if line[: len(command)] == command and _text(program) in ("", command[0]):
                return
        raise self._refuse("process")

    def _start(self, args: tuple[Any, ...]) -> None:
        raise self._refuse("process")

    def _refuse(self, kind: str) -> GuardError:
        """Counts; the error names who asked and no name that was asked for: that may be content."""
        module = _who(sys._getframe(2))
        self.refusals[kind] += 1
        self._refused(kind, module)
        words = f"{kind} refused ({module}): in this process only Ecotone's own doors reach the network"
        return GuardError(errno.EACCES, words)


def watch_names(guard: Guard, kind: Any) -> None:
    """Makes sockets of a class ask before they look a name up, which CPython does ahead of the audit event."""

    def watched(original: Any, at: int) -> Any:
        def asks_first(self: Any, *args: Any) -> Any:
            if args:
                guard.name_in(self, args[at])
            return original(self, *args)

        return asks_first

    kind.connect, kind.connect_ex = watched(kind.connect, 0), watched(kind.connect_ex, 0)
    kind.bind, kind.sendto = watched(kind.bind, 0), watched(kind.sendto, -1)


def watch_loop(guard: Guard, loop: Any) -> None:
    """Makes uvloop's loops, those that run and those to come, ask first where libuv raises no event."""
    connect, datagram = loop.create_connection, loop.create_datagram_endpoint
    getaddrinfo, getnameinfo = loop.getaddrinfo, loop.getnameinfo
    execute, shell = loop.subprocess_exec, loop.subprocess_shell

    async def create_connection(self: Any, make: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        if more.get("sock") is None:
            guard.judge("socket.connect", (_Inet, (host, port)))
        return await connect(self, make, host, port, **more)

    async def create_datagram_endpoint(self: Any, *args: Any, **more: Any) -> Any:
        # libuv sends each datagram unseen; a site has no use for one.
        guard.judge("socket.sendto", (_Inet, ""))
        return await datagram(self, *args, **more)

    async def look_up(self: Any, host: Any, port: Any, **more: Any) -> Any:
        guard.judge("socket.getaddrinfo", (host,))
        return await getaddrinfo(self, host, port, **more)

    async def look_back(self: Any, sockaddr: Any, flags: int = 0) -> Any:
        guard.judge("socket.getnameinfo", (sockaddr,))
        return await getnameinfo(self, sockaddr, flags)

    async def subprocess_exec(self: Any, make: Any, program: Any, *args: Any, **more: Any) -> Any:
        guard.start_process(more.get("executable"), (program, *args))
        return await execute(self, make, program, *args, **more)

    async def subprocess_shell(self: Any, make: Any, command: Any, **more: Any) -> Any:
        guard.judge("os.system", (command,))
        return await shell(self, make, command, **more)

    loop.create_connection, loop.create_datagram_endpoint = create_connection, create_datagram_endpoint
    loop.getaddrinfo, loop.getnameinfo = look_up, look_back
    loop.subprocess_exec, loop.subprocess_shell = subprocess_exec, subprocess_shell


class _Inet:
    """Stands for the socket that libuv would make."""

    family: Final = socket.AF_INET


def _text(value: Any) -> str:
    """A host, a path or an argument as text; `''` for none, and `?` for what cannot be one."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    if value is None:
        return ""
    path = getattr(value, "__fspath__", None)
    return _text(path()) if path is not None else "?"


def _unscoped(host: str) -> str:
    """An address without its zone (`%eth0`): the loop may write it as a number."""
    return host.partition("%")[0]


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(_unscoped(host))
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    found = _address(host)
    if found is None:
        return host == "localhost"
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _who(frame: FrameType | None) -> str:
    """The module that asked: the nearest one that is neither this one nor of the standard library."""
    for _ in range(_DEPTH_MAX):
        if frame is None:
            break
        module = str(frame.f_globals.get("__name__", "?"))
        top = module.partition(".")[0]
        if module != __name__ and top not in sys.stdlib_module_names and top != "uvloop":
            return module
        frame = frame.f_back
    return "the standard library"
