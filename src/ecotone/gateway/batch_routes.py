"""`/v1/batches` in OpenAI's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ecotone.gateway.asking import Ask, Route, Told, json
from ecotone.gateway.corridor import Corridor
from ecotone.ports import Queue
from ecotone.values import Batch, RequestError
from ecotone.wire.batches import OVER, batch_object, encode_list, read_batch
from ecotone.wire.jobs import read_limit
from ecotone.wire.prefer import read_priority
from ecotone.wire.request import Head, read_head

PRIORITY: Final = 2
"""Of a batch's jobs where nobody says: behind single jobs."""


class BatchRoutes:
    """The routes of one gateway."""

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self.exact: Mapping[str, Mapping[str, Route]] = {"/v1/batches": {"GET": self._list, "POST": self._create}}
        self.below: Mapping[str, Mapping[str, Route]] = {
            "/v1/batches/{id}": {"GET": self._get},
            "/v1/batches/{id}/cancel": {"POST": self._cancel},
        }

    async def _create(self, ask: Ask) -> Told:
        asked = read_batch(await ask.read())
        head = read_head(Head(id="", received_at_s=0.0), ask.headers)
        priority = read_priority(ask.headers, PRIORITY)
        file = await self._queue.file(asked.input_file)
        if file is None or not file.is_whole or self._corridor.seen_by(ask.key) not in (None, file.key):
            words = "input_file_id: there is no file of this id here"
            raise RequestError("request.input_file_id", words, status=404, param="input_file_id")
        now_ms = self._corridor.now_ms()
        batch = Batch(
            id=self._corridor.mint("batch"),
            endpoint=asked.endpoint.value,
            input_file=file.id,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + asked.window_ms,
            key=ask.key,
            window=asked.window,
            metadata=asked.metadata,
            labels=tuple(dict.fromkeys((*file.labels, *head.labels))),
            wish=head.wish,
            priority=priority,
        )
        await self._corridor.work().batching.create(batch)
        return json(await self._object(batch))

    async def _list(self, ask: Ask) -> Told:
        limit = read_limit(ask.query)
        key, after = self._corridor.seen_by(ask.key), ask.query.get("after", "")
        found = await self._queue.batches(key=key, after=after, limit=limit + 1)
        objects = [await self._object(batch) for batch in found[:limit]]
        return Told(encode_list(objects, has_more=len(found) > limit))

    async def _get(self, ask: Ask) -> Told:
        return json(await self._object(await self._batch(ask)))

    async def _cancel(self, ask: Ask) -> Told:
        batch = await self._corridor.work().batching.cancel(await self._batch(ask))
        if batch.state in OVER:
            words = f"The batch is over ({batch.state})."
            raise RequestError("request.batch_over", words, status=409, param="id")
        return json(await self._object(batch))

    @property
    def _queue(self) -> Queue:
        return self._corridor.work().queue

    async def _batch(self, ask: Ask) -> Batch:
        batch = await self._queue.batch(ask.rest)
        if batch is None or self._corridor.seen_by(ask.key) not in (None, batch.key):
            raise RequestError("request.batch", "There is no batch of this id here.", status=404, param="id")
        return batch

    async def _object(self, batch: Batch) -> dict[str, Any]:
        counts = None if batch.state in OVER else await self._queue.counts(batch.id)
        return batch_object(batch, counts)
