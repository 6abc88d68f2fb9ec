"""The plain path: an ASGI application that serves every route. The hot ones go through the same core as the fast lane.

Nothing here needs uvicorn. Limits on time and on headers are the connection's (`gateway.connection`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

from ecotone.gateway.caller import CallerSide, header_lines
from ecotone.gateway.corridor import HOT_PATHS, Corridor, log_defect
from ecotone.gateway.routes import MethodError, Routes
from ecotone.values import EcotoneError, Endpoint, RequestError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HIGH_BYTES: Final = 64 * 1024
"""Unsent bytes from which on the caller counts as slow; it has caught up at a quarter of them."""

DISCARD_BYTES_MAX: Final = 64 * 1024
"""A refused body of this size is read to its end, so that the connection lives on."""


class AnswerCut(Exception):
    """Raised out of the application so that the server drops the connection without a clean end (`Caller.cut`)."""


class AsgiCaller(CallerSide):
    """One caller behind an ASGI server: what is written waits here until the server takes it."""

    def __init__(self) -> None:
        super().__init__()
        self._out: deque[Message | None] = deque()
        self._size = 0
        self._wake = asyncio.Event()
        self._is_gone = False
        self.is_closing = False
        """Send `connection: close`: not all of the request was read."""

    def begin(self, status: int, headers: Sequence[tuple[str, str]], *, is_stream: bool, length: int | None) -> None:
        """See `ports.Caller.begin`."""
        if self.is_over:
            return
        header_lines(headers)
        self.is_begun, self.is_stream = True, is_stream
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        if length is not None:
            raw.append((b"content-length", b"%d" % length))
        if self.is_closing:
            raw.append((b"connection", b"close"))
        self._put({"type": "http.response.start", "status": status, "headers": raw})

    def write(self, chunk: bytes) -> None:
        """See `ports.Caller.write`."""
        if self.is_over or not chunk:
            return
        self._size += len(chunk)
        self._put({"type": "http.response.body", "body": chunk, "more_body": True})
        if self._size > HIGH_BYTES:
            self.fell_behind()

    def finish(self) -> None:
        """See `ports.Caller.finish`."""
        if self.is_over:
            return
        self.is_over = True
        if self._out and self._out[-1] is not None and "body" in self._out[-1] and not self.is_closing:
            self._out[-1]["more_body"] = False
        else:
            self._put({"type": "http.response.body", "body": b"", "more_body": False})

    def cut(self) -> None:
        """See `ports.Caller.cut`."""
        if self.is_over:
            return
        self.is_over = True
        self._put(None)

    def left(self) -> None:
        """See `CallerSide.left`."""
        super().left()
        self._is_gone = True
        self._wake.set()

    async def pump(self, send: Send, before_end: Callable[[], Awaitable[None]] | None = None) -> None:
        """Hands everything to the server, until the end of the answer or until the caller left.

        Args:
            before_end: Awaited when all bytes are sent and the server does not know yet that this is the end.

        Raises:
            AnswerCut: the answer ends without a clean end.
        """
        while not self._is_gone:
            while self._out:
                message = self._out.popleft()
                if message is None:
                    raise AnswerCut
                is_end = message.get("more_body") is False
                if is_end and before_end is not None:
                    await before_end()
                await send(message)
                if is_end:
                    return
                self._size -= len(message.get("body", b""))
                if self._size <= HIGH_BYTES // 4:
                    self.caught_up()
            self._wake.clear()
            await self._wake.wait()

    def _put(self, message: Message | None) -> None:
        self._out.append(message)
        self._wake.set()


class App:
    """The ASGI application."""

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self._routes = Routes(corridor)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serves one request.

        Raises:
            AnswerCut: the answer could not be finished, and the server must not make it look whole.
        """
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        caller = AsgiCaller()
        endpoint = HOT_PATHS.get(scope["path"]) if scope["method"] == "POST" else None
        upload = _Upload(self._corridor, caller, scope["headers"], receive)
        try:
            if endpoint is None:
                await self._routes.serve(scope, upload.read, upload.more, caller)
            else:
                await self._admit(endpoint, upload, caller)
        except EcotoneError as error:
            await self._refuse(caller, upload, error)
        except Exception as error:  # noqa: BLE001 - outermost: a defect may cost one answer, in OpenAI's form too
            log_defect(scope["path"], error)
            await self._refuse(caller, upload, EcotoneError("internal", "The gateway failed; its log says more."))
        if caller.task is None:
            self._corridor.release(caller)
        watcher = asyncio.get_running_loop().create_task(_watch(receive, caller)) if caller.task else None
        try:
            await caller.pump(send, upload.linger if caller.is_closing else None)
        finally:
            if watcher is not None:
                watcher.cancel()
            if not caller.is_over:
                caller.left()

    async def _refuse(self, caller: AsgiCaller, upload: _Upload, error: EcotoneError) -> None:
        caller.is_closing = not await upload.discard()
        allowed = [("allow", error.allowed)] if isinstance(error, MethodError) else []
        self._corridor.refuse(caller, error, allowed)

    async def _admit(self, endpoint: Endpoint, upload: _Upload, caller: AsgiCaller) -> None:
        head = self._corridor.admit(upload.headers, upload.declared)
        caller.request = head.id
        body = await upload.read()
        if not caller.is_over:
            self._corridor.start(endpoint, body, head, caller)


class _Upload:
    """A request's body, as it comes in."""

    def __init__(
        self, corridor: Corridor, caller: AsgiCaller, headers: list[tuple[bytes, bytes]], receive: Receive
    ) -> None:
        self.headers = headers
        self.declared: int | None = None
        self._corridor = corridor
        self._caller = caller
        self._receive = receive
        self._is_whole = False
        self._streamed = 0
        self._expects = False
        is_chunked = False
        for name, value in headers:
            if name == b"content-length" and value.isdigit():
                self.declared = int(value)
            elif name == b"transfer-encoding":
                is_chunked = True
            elif name == b"expect":
                self._expects = True
        self._has_body = is_chunked or bool(self.declared)

    async def read(self) -> bytes:
        """The whole body; `b""` where the caller left meanwhile.

        Raises:
            EcotoneError: over a limit (413, 503).
        """
        if self.declared is not None and self.declared > self._corridor.limits.body_bytes_max:
            raise self._corridor.too_large()
        chunks = []
        while not self._is_whole:
            chunk = await self._more()
            if chunk:
                self._corridor.take(self._caller, len(chunk))
                chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def more(self, bytes_max: int) -> bytes:
        """The next piece of the body; `b""` at its end, and where the caller left. It is not held here.

        Raises:
            RequestError: the whole body is longer (413).
        """
        if (self.declared or 0) > bytes_max:
            raise RequestError("request.too_large", f"The body is larger than {bytes_max} bytes.", status=413)
        while not self._is_whole:
            chunk = await self._more()
            self._streamed += len(chunk)
            if self._streamed > bytes_max:
                raise RequestError("request.too_large", f"The body is larger than {bytes_max} bytes.", status=413)
            if chunk:
                return chunk
        return b""

    async def discard(self) -> bool:
        """Throws away a small body that has come already. False where something is left unread."""
        if not self._has_body:
            return True
        if self._is_whole or self._caller.is_over:
            return True
        if self._expects or self.declared is None or self.declared > DISCARD_BYTES_MAX:
            return False
        try:
            async with asyncio.timeout(0):
                while not self._is_whole:
                    await self._more()
        except TimeoutError:
            return False
        return True

    async def linger(self) -> None:
        """Reads on for a little, so that a caller who still writes comes to read the refusal."""
        if self._expects:
            return
        try:
            async with asyncio.timeout(self._corridor.limits.linger_s):
                while not self._is_whole:
                    await self._more()
        except TimeoutError:
            return

    async def _more(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._is_whole = True
            self._caller.left()
            return b""
        self._is_whole = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk


async def _watch(receive: Receive, caller: AsgiCaller) -> None:
    """Tells the caller's side when the caller goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    caller.left()
