"""`/v1/jobs`: the jobs of a caller, their answers, and what happens to them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from ecotone.flow.accepting import Terms
from ecotone.gateway.asking import Ask, Later, Route, Told
from ecotone.gateway.caller import CallerSide
from ecotone.gateway.corridor import Corridor
from ecotone.gateway.work import Work, answer, no_such_job, not_yet
from ecotone.ports import Queue
from ecotone.values import ENDED, Job, JobFilter, JobState, RefusalError, RequestError
from ecotone.wire import sse
from ecotone.wire.batches import OVER
from ecotone.wire.jobs import encode_deleted, encode_event, encode_job, encode_page, read_filter
from ecotone.wire.prefer import WAIT_S_MAX
from ecotone.wire.request import Head, decode

KEEP_ALIVE_S: Final = 15.0
EVENTS_MAX: Final = 256


class JobRoutes:
    """The routes of one gateway."""

    def __init__(self, corridor: Corridor) -> None:
        self._corridor = corridor
        self._listeners = 0
        self.exact: Mapping[str, Mapping[str, Route]] = {
            "/v1/jobs": {"GET": self._list},
            "/v1/jobs/events": {"GET": self._events},
        }
        self.below: Mapping[str, Mapping[str, Route]] = {
            "/v1/jobs/{id}": {"GET": self._get, "DELETE": self._delete},
            "/v1/jobs/{id}/answer": {"GET": self._answer},
            "/v1/jobs/{id}/cancel": {"POST": self._cancel},
            "/v1/jobs/{id}/retry": {"POST": self._retry},
        }

    async def _list(self, ask: Ask) -> Told:
        state, limit = read_filter(ask.query)
        which = JobFilter(
            state=state,
            key=self._corridor.seen_by(ask.key),
            batch=ask.query.get("batch") or None,
            after=ask.query.get("after", ""),
            is_oldest_first=ask.query.get("order") == "asc",
        )
        return Told(encode_page(await self._queue.page(which, limit=limit)))

    async def _get(self, ask: Ask) -> Told | Later:
        wait_s = _wait_s(ask)
        job = await self._job(ask)
        if wait_s and job.state not in ENDED:

            async def work(caller: CallerSide) -> None:
                told = await self._told(await self._work.news.ended(job.id, wait_s) or job)
                caller.begin(told.status, [("content-type", told.kind)], is_stream=False, length=len(told.body))
                caller.write(told.body)
                caller.finish()

            return Later(work)
        return await self._told(job)

    async def _answer(self, ask: Ask) -> Later:
        wait_s = _wait_s(ask)
        job = await self._job(ask)

        async def work(caller: CallerSide) -> None:
            found: Job | None = job
            if wait_s and job.state not in ENDED:
                found = await self._work.news.ended(job.id, wait_s)
            if found is None:
                raise no_such_job()
            if found.state in ENDED:
                await answer(self._work, found, caller)
            else:
                not_yet(found, caller)

        return Later(work)

    async def _cancel(self, ask: Ask) -> Told:
        job = await self._job(ask)
        await self._queue.cancel(job.id, now_ms=self._corridor.now_ms())
        return await self._told(await self._job(ask))

    async def _delete(self, ask: Ask) -> Told:
        """Ends a job; one that has ended is removed, with what it asked and how it was answered."""
        job = await self._job(ask)
        if job.state not in ENDED:
            return await self._cancel(ask)
        batch = await self._queue.batch(job.batch) if job.batch else None
        if batch is not None and batch.state not in OVER:
            words = f"The job is a line of {batch.id}, which has not ended; its result is still needed."
            raise RequestError("request.job_state", words, status=409, param="id")
        if not await self._queue.delete(job.id):
            raise no_such_job()
        return Told(encode_deleted(job))

    async def _retry(self, ask: Ask) -> Told:
        """A new job that asks the same: what ended stays as it is."""
        old = await self._job(ask)
        if old.state not in ENDED or old.state is JobState.ANSWERED:
            words = f"Only a job that ended without an answer can be tried again; this one is {old.state}."
            raise RequestError("request.job_state", words, status=409, param="id")
        body = await self._queue.body(old.id)
        if body is None:
            raise RequestError("job.lost", "What the job asked can no longer be read.", status=410)
        now_ms = self._corridor.now_ms()
        head = Head(
            id=self._corridor.mint("job"),
            received_at_s=self._corridor.now_s(),
            key=old.key,
            wish=old.wish,
            labels=old.labels,
        )
        terms = Terms(
            id=head.id,
            deadline_at_ms=now_ms + max(old.deadline_at_ms - old.created_at_ms, 0),
            priority=old.priority,
            custom_id=old.custom_id,
            webhook=old.webhook,
        )
        job, content = self._work.accept(decode(old.endpoint, body, head), terms)
        await self._queue.put([(job, content)])
        self._work.accepted(job)
        self._work.stir()
        return Told(encode_job(job), 202, headers=(("Location", f"/v1/jobs/{job.id}"),))

    async def _events(self, ask: Ask) -> Later:
        if self._listeners >= self._work.listeners_max:
            words = f"{self._listeners} callers follow the events here already."
            raise RefusalError("refused.listeners", words, status=429, retry_after_s=30.0)
        said = ask.header(b"last-event-id").strip()
        if said and not (said.isdigit() and len(said) <= 18):
            raise RequestError("request.header", "Last-Event-ID: a number is needed", param="Last-Event-ID")
        since = int(said) if said else self._queue.status().events
        key = self._corridor.seen_by(ask.key)

        async def work(caller: CallerSide) -> None:
            self._listeners += 1
            try:
                await self._follow(caller, since, key)
            finally:
                self._listeners -= 1

        return Later(work)

    async def _follow(self, caller: CallerSide, since: int, key: str | None) -> None:
        """Events as they come, comments in between; as fast as the caller reads."""
        ready = asyncio.Event()
        ready.set()
        headers = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")]
        caller.begin(200, headers, is_stream=True, length=None)
        caller.on_flow(ready.clear, ready.set)
        caller.write(b": jobs\n\n")
        is_open = True
        while is_open and not caller.is_over:
            await ready.wait()
            last = self._queue.status().events
            events = await self._queue.events(since, limit=EVENTS_MAX, key=key)
            for event in events:
                caller.write(encode_event(event))
            if events:
                since = events[-1].seq
            if len(events) < EVENTS_MAX:
                # Nothing of this caller's up to there.
                since = max(since, last)
                is_open = await self._work.news.more(since, KEEP_ALIVE_S)
                if is_open and self._queue.status().events <= since:
                    caller.write(sse.KEEP_ALIVE)
        caller.finish()

    @property
    def _work(self) -> Work:
        return self._corridor.work()

    @property
    def _queue(self) -> Queue:
        return self._work.queue

    async def _job(self, ask: Ask) -> Job:
        job = await self._queue.get(ask.rest)
        if job is None or self._corridor.seen_by(ask.key) not in (None, job.key):
            raise no_such_job()
        return job

    async def _told(self, job: Job) -> Told:
        content = await self._queue.answer(job.id) if job.state in ENDED else None
        return Told(encode_job(job, content))


def _wait_s(ask: Ask) -> int:
    value = ask.query.get("wait", "0")
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise RequestError("request.query", f"wait: whole seconds, at most {WAIT_S_MAX}, are needed", param="wait")
    return min(int(value), WAIT_S_MAX)
