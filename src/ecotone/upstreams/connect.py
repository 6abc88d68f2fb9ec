"""New connections: name, address, TCP, TLS, all within one limit.

How a connection is made matters to the process-wide guard (`guard.py`, invariant 1): uvloop's `create_connection`
raises no `socket.connect` event, since libuv connects. So the socket is made here, connected with `loop.sock_connect`
(which calls `socket.connect` on either loop, and so is seen by the guard with the numeric address), and handed over
connected. Leave is taken for this one socket and address, and for a name while its thread asks for it. The address that
was checked is the address that is connected to: there is no second resolution in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from ecotone.upstreams.guard import NoGuard
from ecotone.upstreams.origin import Upstream
from ecotone.upstreams.proxy import Proxy, tunnel
from ecotone.values import ConfigError, TargetError

LOOKUPS_MAX: Final = 4
"""Threads that may hang in the system's resolver at a time; further names wait within their connect limit."""

KEPT_S: Final = 30.0
KEPT_MAX: Final = 256
STALE_S: Final = 24 * 3600.0
"""Addresses this old still serve where no name server answers (RFC 8767, 5, proposes one to three days)."""

STALE_AFTER_S: Final = 0.3
"""So long a name server is waited for before."""

STALE_FOR_S: Final = 5.0
"""So long nobody waits again then; the question itself stays asked."""

ADDRESSES_MAX: Final = 8
STAGGER_S: Final = 0.15
"""Head start of one address before the next is tried as well (RFC 8305, 8, proposes 0.25 s and at least 0.1 s)."""

Address = tuple[socket.AddressFamily, tuple[Any, ...]]
Lookup = Callable[[str, int], Sequence[Address]]
Admit = Callable[[Upstream, str], str]
"""`''` where a numeric address may be connected to, else why not and how to mend it."""

P = TypeVar("P", bound=asyncio.Protocol)


def system_lookup(host: str, port: int) -> list[Address]:
    """All TCP addresses of a name by the system's resolver; blocks.

    Raises:
        OSError: `socket.gaierror` where the name does not resolve.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(socket.AddressFamily(family), tuple(address)) for family, _, _, _, address in found]


class Resolver:
    """Names to addresses, in a bounded number of threads, remembered for 30 s; one per event loop.

    Where the name servers are silent, addresses that were right before serve on until they fail.

    A thread that hangs in the resolver cannot be ended; so there are at most `LOOKUPS_MAX`, they are daemons (and do
    not hold up the end of the process), and those who wait for the same name share one.
    """

    def __init__(self, lookup: Lookup = system_lookup, *, kept_s: float = KEPT_S, leave: NoGuard | None = None) -> None:
        """`lookup` runs in a thread and may block or raise OSError.

        Args:
            leave: The guard's `leave`, for this resolver and whoever dials what it found. None where there is no guard.
        """
        self.leave = leave or NoGuard()
        self._lookup = lookup
        self._kept_s = kept_s
        self._kept: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._under_way: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}
        self._slots = asyncio.Semaphore(LOOKUPS_MAX)

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Addresses of a name in the order to try them: the resolver's, families alternating. At most 8.

        Raises:
            OSError: the name does not resolve.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        name = (host, port)
        stale = self._remembered(name, STALE_S)
        if stale is None:
            return await self._ask(name)
        try:
            async with asyncio.timeout(STALE_AFTER_S):
                return await self._ask(name)
        except TimeoutError:
            pass
        except socket.gaierror as error:
            if error.errno != socket.EAI_AGAIN:
                raise  # the name server has spoken
        until_s, found = self._kept.get(name, (0.0, stale))
        self._kept[name] = (max(until_s, asyncio.get_running_loop().time() + STALE_FOR_S), found)
        return found

    async def _ask(self, name: tuple[str, int]) -> list[Address]:
        """What is remembered, or what the system's resolver says."""
        under_way = self._under_way.get(name)
        kept = self._remembered(name)
        if kept is not None:
            return kept
        if under_way is None:
            await self._slots.acquire()
            # Another one may have asked for this name while we waited for the slot.
            kept, under_way = self._remembered(name), self._under_way.get(name)
            if kept is not None or under_way is not None:
                self._slots.release()
            if kept is not None:
                return kept
            if under_way is None:
                under_way = self._start(asyncio.get_running_loop(), name)
        return await asyncio.shield(under_way)

    def forget(self, host: str, port: int) -> None:
        """The addresses did not answer: ask again next time."""
        self._kept.pop((host, port), None)

    def _remembered(self, name: tuple[str, int], more_s: float = 0.0) -> list[Address] | None:
        kept = self._kept.get(name)
        return kept[1] if kept is not None and kept[0] + more_s > asyncio.get_running_loop().time() else None

    def _start(self, loop: asyncio.AbstractEventLoop, name: tuple[str, int]) -> asyncio.Future[list[Address]]:
        future: asyncio.Future[list[Address]] = loop.create_future()
        future.add_done_callback(_retrieve)
        self._under_way[name] = future

        def finish(found: list[Address], error: OSError | UnicodeError | None) -> None:
            del self._under_way[name]
            self._slots.release()
            if error is not None:
                future.set_exception(error)
            else:
                self._keep(name, loop.time() + self._kept_s, found)
                future.set_result(found)

        def run() -> None:
            found: list[Address] = []
            problem: OSError | UnicodeError | None = None
            try:
                with self.leave.ask(name[0]):
                    found = _alternate(self._lookup(*name))[:ADDRESSES_MAX]
            except (OSError, UnicodeError) as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finish, found, problem)

        threading.Thread(target=run, name=f"resolve-{name[0]}", daemon=True).start()
        return future

    def _keep(self, name: tuple[str, int], until_s: float, found: list[Address]) -> None:
        if len(self._kept) >= KEPT_MAX:
            self._kept.pop(next(iter(self._kept)))
        self._kept[name] = (until_s, found)


class Dialler:
    """Makes connections for one door; holds its TLS trust and its rule on addresses."""

    def __init__(self, resolver: Resolver, admit: Admit | None = None) -> None:
        """`admit` is asked for every numeric address before it is connected to."""
        self._resolver = resolver
        self._admit = admit
        self._trust: dict[str | None, ssl.SSLContext] = {}
        self._public: set[str] = set()

    def trust(self, upstream: Upstream) -> None:
        """Loads what TLS to the upstream needs, so that the first request does not wait for it (20 ms).

        Raises:
            ConfigError: the CA file cannot be read or holds no certificate.
        """
        if upstream.scheme == "https":
            self._context(upstream.ca_file)

    async def dial(self, upstream: Upstream, make: Callable[[], P]) -> P:
        """A connected protocol, within the upstream's connect limit.

        Raises:
            TargetError: `dns`, `refused`, `connect_timeout`, `tls` or `egress_refused`.
        """
        stage = "dns"
        name = upstream.origin
        try:
            async with asyncio.timeout(upstream.connect_timeout_s):
                if upstream.scheme == "unix":
                    stage = "tcp"
                    sock = await _connect((socket.AF_UNIX, (upstream.host,)), self._resolver.leave)
                elif upstream.proxy is not None:
                    stage = "tcp"
                    sock = await self._through(upstream.proxy, upstream)
                else:
                    addresses = await self._resolver.resolve(upstream.host, upstream.port)
                    self._doubt(upstream, addresses)
                    stage = "tcp"
                    sock = await _first(self._admitted(upstream, addresses), self._resolver.leave)
                    if _is_public(sock.getpeername()[0]):
                        self._public.add(upstream.host)
                stage = "tls"
                return await self._hand_over(upstream, sock, make)
        except OSError as error:
            near = upstream.proxy or upstream
            self._resolver.forget(near.host, near.port)
            raise _explain(error, stage, name, upstream.connect_timeout_s) from error
        except UnicodeError as error:
            raise TargetError("dns", f"{name}: the name is malformed") from error

    async def _through(self, proxy: Proxy, upstream: Upstream) -> socket.socket:
        """A socket that leads to the upstream by way of a proxy.

        What the guard lets pass is the proxy's name and address: the upstream's name is looked up there.
        """
        addresses = await self._resolver.resolve(proxy.host, proxy.port)
        sock = await _first(addresses, self._resolver.leave)
        try:
            await tunnel(sock, proxy, upstream.host, upstream.port)
        except BaseException:
            sock.close()
            raise
        return sock

    def _doubt(self, upstream: Upstream, addresses: list[Address]) -> None:
        """A name of the public internet that suddenly is one of this network's: a captive portal's lie.

        With TLS the certificate tells, and a name may well have an address of its own within a company's network.
        """
        is_lie = upstream.scheme == "http" and upstream.host in self._public
        if is_lie and not any(_is_public(str(address[0])) for _, address in addresses):
            self._resolver.forget(upstream.host, upstream.port)
            words = "the name had a public address before, and now leads into this network: a name server lies"
            raise TargetError("dns", f"{upstream.origin}: {words}")

    def _admitted(self, upstream: Upstream, addresses: list[Address]) -> list[Address]:
        if self._admit is None:
            return addresses
        verdicts = [self._admit(upstream, str(address[0])) for _, address in addresses]
        good = [address for address, why in zip(addresses, verdicts, strict=True) if not why]
        if not good:
            self._resolver.forget(upstream.host, upstream.port)
            raise TargetError("egress_refused", f"{upstream.origin}: {verdicts[0] if verdicts else 'no address'}")
        return good

    async def _hand_over(self, upstream: Upstream, sock: socket.socket, make: Callable[[], P]) -> P:
        loop = asyncio.get_running_loop()
        try:
            if upstream.scheme == "unix":
                _, protocol = await loop.create_unix_connection(make, sock=sock)
            elif upstream.scheme == "http":
                _, protocol = await loop.create_connection(make, sock=sock)
            else:
                _, protocol = await loop.create_connection(
                    make,
                    sock=sock,
                    ssl=self._context(upstream.ca_file),
                    server_hostname=upstream.host,
                    ssl_handshake_timeout=upstream.connect_timeout_s,
                    ssl_shutdown_timeout=1.0,
                )
        except (OSError, asyncio.CancelledError):
            # A handshake that stalls must not keep the peer waiting for our goodbye.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            raise
        return protocol

    def _context(self, ca_file: str | None) -> ssl.SSLContext:
        context = self._trust.get(ca_file)
        if context is None:
            try:
                context = ssl.create_default_context(cafile=ca_file)
            except OSError as error:  # ssl.SSLError is one
                raise ConfigError("config.upstream", f"ca_file: {ca_file}: no PEM certificates there") from error
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            self._trust[ca_file] = context
        return context


def _literal(host: str, port: int) -> Address | None:
    """The address that a host is, where it is one; asks no resolver."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if address.version == 4:
        return socket.AF_INET, (host, port)
    return socket.AF_INET6, (host, port, 0, 0)


def _is_public(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_global


def _alternate(found: Sequence[Address]) -> list[Address]:
    """Families alternating, beginning with the resolver's first choice (RFC 8305, 4)."""
    first = [one for one in found if one[0] == found[0][0]]
    other = [one for one in found if one[0] != found[0][0]]
    mixed: list[Address] = []
    for n in range(max(len(first), len(other))):
        mixed += first[n : n + 1] + other[n : n + 1]
    return list(dict.fromkeys(mixed))


async def _first(addresses: Sequence[Address], leave: NoGuard) -> socket.socket:
    """The first address to answer; each gets a head start before the next one is tried as well."""
    if len(addresses) == 1:
        return await _connect(addresses[0], leave)
    waiting = list(addresses)
    running: set[asyncio.Task[socket.socket]] = set()
    problem: OSError = OSError(errno.EHOSTUNREACH, "no address")
    try:
        while waiting or running:
            if waiting:
                running.add(_start(_connect(waiting.pop(0), leave)))
            done, _ = await asyncio.wait(
                running, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                running.discard(task)
                failed = task.exception()
                if failed is None:
                    running |= done - {task}
                    return task.result()
                assert isinstance(failed, OSError), failed
                problem = failed
        raise problem
    finally:
        for task in running:
            task.add_done_callback(_close_result)
            task.cancel()


def _start(connecting: Coroutine[Any, Any, socket.socket]) -> asyncio.Task[socket.socket]:
    return asyncio.get_running_loop().create_task(connecting)


async def _connect(address: Address, leave: NoGuard) -> socket.socket:
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_UNIX:
            await asyncio.get_running_loop().sock_connect(sock, where[0])
            sock.getpeername()  # with a full backlog connect() is put off, and the loop takes it for done
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with leave.dial(sock, where[0], where[1]):
                await asyncio.get_running_loop().sock_connect(sock, _scoped(where))
    except (OSError, asyncio.CancelledError):
        sock.close()
        raise
    return sock


def _scoped(where: tuple[Any, ...]) -> tuple[Any, ...]:
    """The scope of a link-local IPv6 address in the address itself: uvloop drops it elsewhere."""
    if len(where) == 4 and where[3] and "%" not in where[0]:
        return (f"{where[0]}%{where[3]}", *where[1:])
    return where


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _retrieve(future: asyncio.Future[list[Address]]) -> None:
    """An error that nobody waits for any more is no news."""
    if not future.cancelled():
        future.exception()


def _explain(error: OSError, stage: str, name: str, limit_s: float) -> TargetError:
    """A failure to connect, in the words of `values.reasons.TARGET_FAILURES`."""
    words = error.strerror or type(error).__name__
    if isinstance(error, socket.gaierror):
        return TargetError("dns", f"{name}: {words}")
    if isinstance(error, TimeoutError):
        if stage == "dns":
            return TargetError("dns", f"{name}: the name was not resolved within {limit_s:g} s")
        return TargetError("connect_timeout", f"{name}: no connection within {limit_s:g} s (at {stage})")
    if stage == "tls" and isinstance(error, ConnectionError):
        # No verdict on trust, and no wait: the next connection may well succeed.
        return TargetError("reset", f"{name}: closed in the midst of the TLS handshake")
    if stage == "tls":
        if isinstance(error, ssl.SSLCertVerificationError):
            words = error.verify_message
        return TargetError("tls", f"{name}: {words}")
    return TargetError("dns" if stage == "dns" else "refused", f"{name}: {words}")
