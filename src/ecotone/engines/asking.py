"""The gateway's own small questions to a worker: is it alive, which slots are busy, how fast is it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from ecotone.engines.needs import Channel
from ecotone.values import TargetError

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024


def headers(key: str) -> dict[str, str]:
    """What every request to a worker carries."""
    return {"authorization": f"Bearer {key}", "content-type": "application/json"}


class _Whole:
    """A sink that collects."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._chunks: list[bytes] = []
        self._size = 0

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status

    def data(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > ANSWER_BYTES_MAX:
            self.failed(TargetError("bad_answer", "the engine's own account is too large"))
        else:
            self._chunks.append(chunk)

    def ended(self) -> None:
        if self._status != 200:
            self.failed(TargetError("bad_answer", f"the engine answered HTTP {self._status}"))
        elif not self.answer.done():
            self.answer.set_result(b"".join(self._chunks))

    def failed(self, error: TargetError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


async def ask(channel: Channel, method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """The body of the answer with status 200. The caller bounds the wait.

    Raises:
        TargetError: no such answer.
    """
    sink = _Whole()
    stream = channel.open(method, path, headers(key), body, sink)
    try:
        return await sink.answer
    finally:
        stream.abort()
