"""`/v1/files` in OpenAI's form: files go to the store, and come from it, in pieces."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from ecotone.gateway.asking import Ask, Later, Route, Told, json
from ecotone.gateway.caller import CallerSide
from ecotone.gateway.corridor import Corridor
from ecotone.ports import Queue
from ecotone.values import EcotoneError, RequestError, StoredFile
from ecotone.wire.batches import encode_list, file_object, read_purpose
from ecotone.wire.jobs import read_limit
from ecotone.wire.multipart import Form
from ecotone.wire.request import Head, read_head

PIECE_BYTES: Final = 256 * 1024
FORM_BYTES_MAX: Final = 128 * 1024
"""What a form may hold besides its file."""
PURPOSE: Final = "batch"
"""Of a file whose form says so only behind it."""
LIST_MAX: Final = 10_000


class FileRoutes:
    """The routes of one gateway."""

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self.exact: Mapping[str, Mapping[str, Route]] = {"/v1/files": {"GET": self._list, "POST": self._put}}
        self.below: Mapping[str, Mapping[str, Route]] = {
            "/v1/files/{id}": {"GET": self._get, "DELETE": self._delete},
            "/v1/files/{id}/content": {"GET": self._content},
        }

    async def _list(self, ask: Ask) -> Told:
        limit = read_limit(ask.query, most=LIST_MAX)
        purpose = ask.query.get("purpose", "")
        found: list[StoredFile] = []
        after = ask.query.get("after", "")
        while len(found) <= limit:
            page = await self._queue.files(key=self._corridor.seen_by(ask.key), after=after, limit=limit + 1)
            found += [file for file in page if purpose in ("", file.purpose)]
            if len(page) <= limit:
                break
            after = page[-1].id
        objects = [file_object(file) for file in found[:limit]]
        return Told(encode_list(objects, has_more=len(found) > limit))

    async def _get(self, ask: Ask) -> Told:
        return json(file_object(await self._file(ask)))

    async def _delete(self, ask: Ask) -> Told:
        file = await self._file(ask)
        await self._queue.delete_file(file.id)
        return json({"id": file.id, "object": "file", "deleted": True})

    async def _content(self, ask: Ask) -> Later:
        file = await self._file(ask)

        async def work(caller: CallerSide) -> None:
            await self._send(file, caller)

        return Later(work)

    async def _send(self, file: StoredFile, caller: CallerSide) -> None:
        """A file's content, as fast as the caller reads; a piece that cannot be read breaks it off."""
        ready = asyncio.Event()
        ready.set()
        at = 0
        piece = await self._queue.read_file(file.id, 0, PIECE_BYTES)
        if piece is None:
            raise _no_such_file()
        caller.begin(200, [("content-type", "application/octet-stream")], is_stream=False, length=file.size)
        caller.on_flow(ready.clear, ready.set)
        while piece:
            caller.write(piece)
            at += len(piece)
            await ready.wait()
            piece = await self._queue.read_file(file.id, at, PIECE_BYTES) if at < file.size else b""
        if at == file.size:
            caller.finish()
        else:
            caller.cut()

    async def _put(self, ask: Ask) -> Told:
        form = Form(ask.header(b"content-type"))
        upload = _Incoming(self._queue, form, self._stored(ask))
        try:
            while chunk := await ask.more(self._corridor.work().file_bytes_max + FORM_BYTES_MAX):
                await upload.take(form.feed(chunk))
            return json(file_object(await upload.finish()))
        except BaseException:
            await upload.drop()
            raise

    def _stored(self, ask: Ask) -> StoredFile:
        head = read_head(Head(id="", received_at_s=0.0), ask.headers)
        return StoredFile(
            id=self._corridor.mint("file"),
            name="",
            purpose=PURPOSE,
            created_at_ms=self._corridor.now_ms(),
            key=ask.key,
            labels=head.labels,
        )

    @property
    def _queue(self) -> Queue:
        return self._corridor.work().queue

    async def _file(self, ask: Ask) -> StoredFile:
        file = await self._queue.file(ask.rest)
        if file is None or not file.is_whole or self._corridor.seen_by(ask.key) not in (None, file.key):
            raise _no_such_file()
        return file


class _Incoming:
    """A file that is being uploaded."""

    def __init__(self, queue: Queue, form: Form, file: StoredFile) -> None:
        self._queue = queue
        self._form = form
        self._file = file
        self._held = bytearray()
        self._is_begun = False

    async def take(self, content: bytes) -> None:
        """More of it."""
        if self._form.filename is not None and not self._is_begun:
            await self._begin(self._form.filename)
        self._held += content
        if len(self._held) >= PIECE_BYTES:
            await self._flush()

    async def finish(self) -> StoredFile:
        """All of it has come.

        Raises:
            RequestError: there is no file in the form, or it is not whole, or its purpose came too late.
        """
        if not self._form.is_whole or not self._is_begun:
            raise RequestError("request.form", "The form holds no whole file named `file`.", param="file")
        if self._form.fields.get("purpose", self._file.purpose) != self._file.purpose:
            words = "purpose: it must stand before the file in the form, unless it is `batch`"
            raise RequestError("request.purpose", words, param="purpose")
        await self._flush()
        return await self._queue.finish_file(self._file.id)

    async def drop(self) -> None:
        """What has come is not kept."""
        if self._is_begun:
            with contextlib.suppress(EcotoneError):
                await self._queue.delete_file(self._file.id)

    async def _begin(self, name: str) -> None:
        purpose = read_purpose(self._form.fields.get("purpose", PURPOSE))
        expires_at_ms = _expiry_ms(self._form.fields, self._file.created_at_ms)
        self._file = StoredFile(
            id=self._file.id,
            name=name,
            purpose=purpose,
            created_at_ms=self._file.created_at_ms,
            key=self._file.key,
            labels=self._file.labels,
            expires_at_ms=expires_at_ms,
        )
        await self._queue.begin_file(self._file)
        self._is_begun = True

    async def _flush(self) -> None:
        held = bytes(self._held)
        self._held.clear()
        if held:
            await self._queue.append_file(self._file.id, held)


def _expiry_ms(fields: Mapping[str, str], now_ms: int) -> int:
    """When a file is removed; 0: when its owner asks.

    Raises:
        RequestError: `expires_after[seconds]` is no number of an hour to 30 days.
    """
    value = fields.get("expires_after[seconds]", "")
    if not value:
        return 0
    if not (value.isascii() and value.isdigit() and len(value) <= 7 and 3600 <= int(value) <= 2_592_000):
        words = "expires_after[seconds]: a whole number from 3600 to 2592000 is needed"
        raise RequestError("request.expires_after", words, param="expires_after")
    return now_ms + int(value) * 1000


def _no_such_file() -> RequestError:
    return RequestError("request.file", "There is no file of this id here.", status=404, param="id")
