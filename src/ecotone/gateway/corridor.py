"""The way in, whatever the front end: authenticate, bound, decode, start the task, and own it to its end."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
import traceback
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from ecotone.gateway.caller import CallerSide
from ecotone.gateway.doors import Doors
from ecotone.gateway.limits import Limits
from ecotone.gateway.work import Work, defer
from ecotone.values import EcotoneError, Endpoint, RefusalError, Request, RequestError
from ecotone.wire.request import Head, decode, mint_id, read_head

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case, with their values, as they came."""

HOT_PATHS: Final[dict[str, Endpoint]] = {f"/v1/{endpoint.value}": endpoint for endpoint in Endpoint}

_LOCAL_ORIGIN: Final = re.compile(rb"https?://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?")

_log = logging.getLogger("ecotone.gateway")


class Corridor:
    """The gateway's core, shared by both front ends and independent of either.

    Attributes:
        doors, limits: Replaced as a whole at a reload; a connection keeps the limits that it began with.
        held_bytes: Request bodies that are held now.
    """

    def __init__(
        self,
        doors: Doors,
        limits: Limits | None = None,
        *,
        now_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        dice: random.Random | None = None,
    ) -> None:
        """`now_s` must be on the scale of the event loop's own clock."""
        self.doors = doors
        self.limits = limits or Limits()
        self._now_s = now_s
        self._wall_s = wall_s
        self._dice = dice or random.Random()  # noqa: S311 - seeds of decisions and the prefix of ids, not secrets
        self._prefix = f"{self._dice.getrandbits(24):06x}"
        self._counter = 0
        self._running: dict[asyncio.Task[None], CallerSide] = {}
        self.held_bytes = 0

    @property
    def in_flight(self) -> int:
        """Requests being served."""
        return len(self._running)

    def admit(self, headers: Headers, declared_bytes: int | None) -> Head:
        """What can be said before the body: who asks, what the headers wish, and that there is room.

        Args:
            declared_bytes: `Content-Length`, or None.

        Raises:
            RequestError: no key or a wrong one (401), too large (413), a wrong header (400).
            RefusalError: no room (503).
        """
        key = self.authenticate(headers)
        if declared_bytes is not None and declared_bytes > self.limits.body_bytes_max:
            raise self.too_large()
        if len(self._running) >= self.limits.in_flight_max:
            raise _no_room(f"{self.limits.in_flight_max} requests are under way here already.")
        self._counter += 1
        head = Head(
            id=mint_id(self.now_ms(), self._prefix, self._counter),
            received_at_s=self._now_s(),
            # JSON's numbers are exact up to 53 bits.
            seed=self._dice.getrandbits(53),
            key=key,
        )
        return read_head(head, headers)

    def authenticate(self, headers: Headers) -> str:
        """The name of the caller's key; `''` at a site without keys, which ignores any.

        Raises:
            RequestError: no key (`auth.missing_key`) or one that is not known (`auth.invalid_key`), 401; at a site
                without keys a web page of elsewhere (`auth.cross_site`), 403.
        """
        check = self.doors.check_key
        if check is None:
            _refuse_web_pages_of_elsewhere(headers)
            return ""
        secret = _secret(headers)
        if not secret:
            words = "This site needs an API key: send `Authorization: Bearer KEY` or `x-api-key: KEY`."
            raise RequestError("auth.missing_key", words, status=401)
        name = check(secret)
        if name is None:
            raise RequestError("auth.invalid_key", "This API key is not known here.", status=401)
        return name

    def take(self, caller: CallerSide, size: int) -> None:
        """Counts bytes of a body that is being received.

        Raises:
            RequestError: the body is too large (413).
            RefusalError: all bodies together are (503).
        """
        if caller.body_bytes + size > self.limits.body_bytes_max:
            raise self.too_large()
        if self.held_bytes + size > self.limits.bodies_bytes_max:
            raise _no_room("The bodies of the requests under way fill the memory set aside for them.")
        caller.body_bytes += size
        self.held_bytes += size

    def release(self, caller: CallerSide) -> None:
        """The body is not held any more. Idempotent."""
        self.held_bytes -= caller.body_bytes
        caller.body_bytes = 0

    def start(self, endpoint: Endpoint, body: bytes, head: Head, caller: CallerSide) -> None:
        """Decodes and starts the task that serves the caller; `release` is done at its end.

        Raises:
            RequestError: the body is not a request (400).
            RefusalError: no room any more (503).
        """
        if len(self._running) >= self.limits.in_flight_max:
            raise _no_room(f"{self.limits.in_flight_max} requests are under way here already.")
        request = decode(endpoint, body, head)
        if head.deferral is None or self.doors.work is None:
            self._run(self._supervise(request, caller), caller)
            return
        caller.request = self.job_of(head.id)
        deferring = defer(self.doors.work, request, head.deferral, caller, self.now_ms())
        self._run(self._attend(deferring, caller), caller)

    def attend(self, work: Coroutine[Any, Any, None], caller: CallerSide) -> None:
        """Starts the task of an answer that takes its time.

        Raises:
            RefusalError: no room any more (503).
        """
        if len(self._running) >= self.limits.in_flight_max:
            work.close()
            raise _no_room(f"{self.limits.in_flight_max} requests are under way here already.")
        self._run(self._attend(work, caller), caller)

    # What the routes of jobs need.

    def work(self) -> Work:
        """The rooms behind jobs, files and batches.

        Raises:
            RequestError: this site has none.
        """
        if self.doors.work is None:
            raise RequestError("request.path", "This site takes no work that may wait.", status=404)
        return self.doors.work

    def seen_by(self, key: str) -> str | None:
        """Whose jobs a caller may see: those of one key; all (None) at a site without keys."""
        return None if self.doors.check_key is None else key

    def mint(self, kind: str) -> str:
        """A new id, such as `file-...`."""
        self._counter += 1
        return kind + mint_id(self.now_ms(), self._prefix, self._counter).removeprefix("req")

    @staticmethod
    def job_of(request: str) -> str:
        """The id of the job that a request becomes."""
        return "job" + request.removeprefix("req")

    def now_ms(self) -> int:
        """Unix milliseconds."""
        return int(self._wall_s() * 1e3)

    def now_s(self) -> float:
        """Monotonic seconds."""
        return self._now_s()

    def refuse(self, caller: CallerSide, error: EcotoneError, extra: Sequence[tuple[str, str]] = ()) -> None:
        """Tells a caller that got no further than the door, and counts it."""
        if not caller.is_over:
            self.doors.refused(error.code)
            caller.end_with(error, extra)

    def hush(self) -> None:
        """Whoever waits for something to happen is told what there is: the site will stop."""
        if self.doors.work is not None:
            self.doors.work.news.close()

    def end_all(self) -> None:
        """Ends every answer under way: the site goes down now."""
        error = RefusalError("refused.shutdown", "This site is shutting down.", status=503, retry_after_s=5.0)
        for task, caller in list(self._running.items()):
            caller.end_with(error)
            task.cancel()

    def too_large(self) -> RequestError:
        """The error for a body over the limit."""
        words = f"The request body is larger than {self.limits.body_bytes_max} bytes."
        return RequestError("request.too_large", words, status=413)

    def _run(self, work: Coroutine[Any, Any, None], caller: CallerSide) -> None:
        task = asyncio.get_running_loop().create_task(work)
        caller.task = task
        self._running[task] = caller
        task.add_done_callback(self._done)

    async def _attend(self, work: Coroutine[Any, Any, None], caller: CallerSide) -> None:
        """As `_supervise`, for what is no attempt at a target."""
        try:
            await work
        except EcotoneError as error:
            self.refuse(caller, error)
        except Exception as error:  # noqa: BLE001 - outermost: a defect may cost one answer, never the gateway
            log_defect(caller.request, error)
        finally:
            if not caller.is_over:
                caller.end_with(EcotoneError("internal", "The gateway failed to answer; its log says more."))

    async def _supervise(self, request: Request, caller: CallerSide) -> None:
        try:
            await self.doors.serve(request, caller)
        except Exception as error:  # noqa: BLE001 - outermost: a defect may cost one answer, never the gateway
            log_defect(request.id, error)
        finally:
            if not caller.is_over:
                words = f"The gateway failed to answer {request.id}; its log says more."
                caller.end_with(EcotoneError("internal", words))

    def _done(self, task: asyncio.Task[None]) -> None:
        caller = self._running.pop(task)
        caller.task = None  # the error of one that was cancelled holds all frames, and they hold the caller
        self.release(caller)


def log_defect(where: str, error: Exception) -> None:
    """Logs a defect by its class and its place; its own words could hold content of the request."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s: %s\n%s", where, type(error).__name__, trace)


def _secret(headers: Headers) -> str:
    """The secret of `Authorization: Bearer`, else of `x-api-key`, else `''`."""
    other = b""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, secret = value.partition(b" ")
            if scheme.lower() == b"bearer" and secret.strip():
                return secret.strip().decode("latin-1")
        elif name == b"x-api-key":
            other = value.strip()
    return other.decode("latin-1")


def _refuse_web_pages_of_elsewhere(headers: Headers) -> None:
    """A site without keys answers whoever reaches loopback; a browser would carry any web page there.

    Browsers send `Origin` with every POST, also after DNS rebinding; programs do not.

    Raises:
        RequestError: `Origin` is there and not of this machine (`auth.cross_site`, 403).
    """
    for name, value in headers:
        if name == b"origin" and _LOCAL_ORIGIN.fullmatch(value) is None:
            words = f"A web page of another site ({value[:80].decode('latin-1')!r}) may not use a site without keys."
            raise RequestError("auth.cross_site", words + " Set `keys` in the configuration.", status=403)


def _no_room(words: str) -> RefusalError:
    return RefusalError("refused.concurrency", words, status=503, retry_after_s=1.0)
