"""Jobs, files and batches through both front ends, with a queue in memory behind them and nobody who works on it."""

from __future__ import annotations

import asyncio
import json
import time
import types
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from ecotone.flow.accepting import Terms, no_stream
from ecotone.flow.batching import Batching
from ecotone.flow.news import News
from ecotone.gateway import Work
from ecotone.sim.queue import MemoryQueue
from ecotone.values import Batch, Ending, Endpoint, Job, JobState, RefusalError, Request, RequestError, StoredFile

from .gateway_site import BOUND_S, Answer, Front, Site, Wire, get, post, said

Scenario = Callable[["Bench"], Coroutine[Any, Any, None]]


@pytest.fixture(params=["fast-uvloop", "plain-uvloop", "fast-asyncio", "plain-asyncio"])
def front(request: pytest.FixtureRequest) -> Front:
    return Front(request.param)


class Bench:
    """A site with a queue, and what a test does to it."""

    def __init__(self, site: Site, **work: Any) -> None:
        self.site = site
        self.queue = MemoryQueue()
        self.news = News(self.queue)
        self.stirred = 0
        self.refusal: Exception | None = None
        self.accepted: list[str] = []

        def current() -> Any:
            return types.SimpleNamespace(clock=types.SimpleNamespace(wall_s=time.time))

        self.batching = Batching(current, self.queue)
        self.work = Work(
            queue=self.queue,
            news=self.news,
            batching=self.batching,
            accept=self._accept,
            accepted=lambda job: self.accepted.append(job.id),
            check_webhook=self._check_webhook,
            stir=self._stir,
            **work,
        )
        site.corridor.doors = msgspec.structs.replace(site.doors, work=self.work)
        self.task = asyncio.create_task(self.news.forever())

    def _accept(self, request: Request, terms: Terms) -> tuple[Job, bytes]:
        if self.refusal is not None:
            raise self.refusal
        if request.is_stream:
            raise no_stream()
        now_ms = self.site.corridor.now_ms()
        job = Job(
            id=terms.id, endpoint=request.endpoint, model=request.model, created_at_ms=now_ms, key=request.key,
            deadline_at_ms=terms.deadline_at_ms, labels=request.labels, wish=request.wish, priority=terms.priority,
            idempotency=terms.idempotency, webhook=terms.webhook, custom_id=terms.custom_id, reason="deferred.asked",
        )  # fmt: skip
        return job, request.body

    def _check_webhook(self, url: str) -> None:
        if "public" in url:
            raise RequestError("request.header", "a public address", param="Ecotone-Webhook")

    def _stir(self) -> None:
        self.stirred += 1

    async def ask(self, raw: bytes) -> Answer:
        """One request on a connection of its own."""
        return await (await self.site.connect()).answer_to(raw)  # type: ignore[attr-defined]

    async def job(self, body: Any = None, **headers: str) -> str:
        """The id of a new job."""
        answer = await self.ask(post(body, **{"prefer": "respond-async", **headers}))
        assert answer.status == 202, answer.body
        return str(json.loads(answer.body)["id"])

    async def end(self, state: JobState = JobState.ANSWERED, body: bytes = b'{"done": 1}') -> None:
        """Ends the next job."""
        [leased] = await self.queue.lease(1, now_ms=self.site.corridor.now_ms(), lease_ms=60_000)
        ending = Ending(state=state, status=200, reason="edge.pinned", body=body, target="small", at="edge")
        await self.queue.settle(leased.token, ending, now_ms=self.site.corridor.now_ms())


async def answer_to(self: Wire, raw: bytes) -> Answer:
    self.send(raw)
    return await self.answer(is_head=raw.startswith(b"HEAD"))


Wire.answer_to = answer_to  # type: ignore[attr-defined]


def play(front: Front, scenario: Scenario, *, keys: dict[str, str] | None = None, **limits: Any) -> None:
    work = {name: limits.pop(name) for name in ("file_bytes_max", "listeners_max") if name in limits}

    async def scene(site: Site) -> None:
        bench = Bench(site, **work)
        try:
            await scenario(bench)
        finally:
            bench.task.cancel()

    front.run(scene, keys=keys, **limits)


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.code


# Deferring.


def test_respond_async_is_202_with_all_that_is_needed(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        answer = await bench.ask(post(prefer="respond-async", ecotone_priority="7", ecotone_labels="hr"))
        told = json.loads(answer.body)
        assert answer.status == 202
        assert answer.headers["location"] == f"/v1/jobs/{told['id']}"
        assert answer.headers["ecotone-id"] == told["id"]
        assert answer.headers["ecotone-placed"] == "deferred"
        assert answer.headers["ecotone-reason"] == "deferred.asked"
        assert answer.headers["preference-applied"] == "respond-async"
        assert (told["state"], told["priority"], told["labels"]) == ("waiting", 7, ["hr"])
        assert bench.site.requests == []
        assert bench.stirred == 1
        assert bench.accepted == [told["id"]]

    play(front, scenario)


def test_without_prefer_or_without_a_queue_it_is_answered_at_once(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        assert (await bench.ask(post(idempotency_key="x", ecotone_priority="junk"))).status == 200
        bench.site.corridor.doors = msgspec.structs.replace(bench.site.doors, work=None)
        assert (await bench.ask(post(prefer="respond-async"))).status == 200
        assert code(await bench.ask(get("/v1/jobs"))) == (404, "request.path")

    play(front, scenario)


def test_wait_gives_the_answer_itself_or_202(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        wire = await bench.site.connect()
        wire.send(post(prefer="wait=20"))
        while not bench.stirred:
            await asyncio.sleep(0)
        await bench.end()
        answer = await wire.answer()
        assert (answer.status, answer.body) == (200, b'{"done": 1}')
        assert answer.headers["preference-applied"] == "wait=20"
        assert answer.headers["ecotone-target"] == "small"
        late = await bench.ask(post(prefer="respond-async, wait=1"))
        assert late.status == 202
        assert late.headers["preference-applied"] == "respond-async, wait=1"

    play(front, scenario)


def test_who_leaves_while_waiting_loses_nothing(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        wire = await bench.site.connect()
        wire.send(post(prefer="wait=200"))
        while not bench.stirred:
            await asyncio.sleep(0)
        wire.leave()
        async with asyncio.timeout(BOUND_S):
            while bench.site.corridor.in_flight:
                await asyncio.sleep(0.01)
        assert bench.queue.status().states[JobState.WAITING] == 1

    play(front, scenario)


def test_an_idempotency_key_stands_for_one_request(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        first = await bench.job(idempotency_key="k")
        assert await bench.job(idempotency_key="k") == first
        other = await bench.ask(post(said("other"), prefer="respond-async", idempotency_key="k"))
        assert code(other) == (422, "request.idempotency")
        elsewhere = post({"model": "m", "input": "x"}, "/v1/embeddings", prefer="respond-async", idempotency_key="k")
        assert code(await bench.ask(elsewhere)) == (422, "request.idempotency")
        await bench.end()
        again = await bench.ask(post(prefer="respond-async, wait=5", idempotency_key="k"))
        assert (again.status, again.body) == (200, b'{"done": 1}')
        bench.queue._kept.clear()
        gone = await bench.ask(post(prefer="respond-async", idempotency_key="k"))
        assert gone.status in (404, 422)

    play(front, scenario)


def test_what_cannot_become_a_job_is_told_at_once(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        assert code(await bench.ask(post(said("x", stream=True), prefer="wait=5"))) == (400, "request.stream")
        assert code(await bench.ask(post(prefer="respond-async", ecotone_priority="10"))) == (400, "request.header")
        hook = post(prefer="respond-async", ecotone_webhook="http://public/")
        assert code(await bench.ask(hook)) == (400, "request.header")
        bench.queue._bounds = (0, 0, 1 << 20)
        full = await bench.ask(post(prefer="respond-async"))
        assert code(full) == (429, "refused.queue_full")
        assert full.headers["retry-after"] == "30"
        bench.refusal = RefusalError("refused.policy", "made")
        assert code(await bench.ask(post(prefer="respond-async"))) == (403, "refused.policy")
        bench.refusal = ZeroDivisionError()
        assert code(await bench.ask(post(prefer="respond-async"))) == (500, "internal")
        assert "refused.queue_full" in bench.site.refused

    play(front, scenario)


# The routes of jobs.


def test_a_job_and_its_answer(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        job = await bench.job()
        path = f"/v1/jobs/{job}"
        assert json.loads((await bench.ask(get(path))).body)["state"] == "waiting"
        early = await bench.ask(get(f"{path}/answer"))
        assert (early.status, early.headers["retry-after"], early.headers["location"]) == (202, "1", path)
        assert (await bench.ask(get(f"{path}?wait=1"))).status == 200
        await bench.end()
        told = json.loads((await bench.ask(get(f"{path}?wait=5"))).body)
        assert told["response"] == {"status_code": 200, "body": {"done": 1}}
        assert (await bench.ask(get(f"{path}/answer?wait=5"))).body == b'{"done": 1}'
        head = await bench.ask(get(path, "HEAD"))
        assert head.status == 200
        bench.queue._kept[job].answer = None
        assert code(await bench.ask(get(f"{path}/answer"))) == (410, "job.lost")
        assert code(await bench.ask(get(f"{path}?wait=x"))) == (400, "request.query")
        assert code(await bench.ask(get("/v1/jobs/job-x"))) == (404, "request.job")
        assert code(await bench.ask(get("/v1/jobs/a/b"))) == (404, "request.path")
        assert code(await bench.ask(get(f"{path}/cancel"))) == (405, "request.method")

    play(front, scenario)


def test_waiting_for_a_job_that_ends_or_goes_away(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        for path in ("", "/answer"):
            job = await bench.job()
            wire = await bench.site.connect()
            wire.send(get(f"/v1/jobs/{job}{path}?wait=20"))
            while not bench.news._waiting:
                await asyncio.sleep(0)
            await bench.end()
            assert b'"done"' in (await wire.answer()).body
        job = await bench.job()
        wire = await bench.site.connect()
        wire.send(get(f"/v1/jobs/{job}/answer?wait=20"))
        while not bench.news._waiting:
            await asyncio.sleep(0)
        bench.queue._kept.clear()
        bench.news.close()
        assert code(await wire.answer()) == (404, "request.job")

    play(front, scenario)


def test_cancel_delete_and_retry(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        job = await bench.job(ecotone_labels="hr", ecotone_priority="3")
        assert code(await bench.ask(post(b"", f"/v1/jobs/{job}/retry"))) == (409, "request.job_state")
        assert json.loads((await bench.ask(post(b"", f"/v1/jobs/{job}/cancel"))).body)["state"] == "cancelled"
        assert code(await bench.ask(get(f"/v1/jobs/{job}/answer"))) == (409, "job.cancelled")
        answer = await bench.ask(post(b"", f"/v1/jobs/{job}/retry"))
        new = json.loads(answer.body)
        assert (answer.status, answer.headers["location"]) == (202, f"/v1/jobs/{new['id']}")
        assert new["id"] != job
        assert (new["labels"], new["priority"]) == (["hr"], 3)
        assert json.loads((await bench.ask(get(f"/v1/jobs/{new['id']}", "DELETE"))).body)["state"] == "cancelled"
        answer = await bench.ask(get(f"/v1/jobs/{new['id']}", "DELETE"))
        assert json.loads(answer.body) == {"id": new["id"], "object": "job", "deleted": True}
        assert code(await bench.ask(get(f"/v1/jobs/{new['id']}", "DELETE"))) == (404, "request.job")
        assert bench.accepted == [job, new["id"]]
        bench.queue._kept[job].body = None  # type: ignore[assignment]
        assert code(await bench.ask(post(b"", f"/v1/jobs/{job}/retry"))) == (410, "job.lost")

    play(front, scenario)


def test_a_line_of_a_batch_is_removed_only_when_the_batch_is_over(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        batch = Batch(id="batch-1", endpoint="/v1/chat/completions", input_file="f", created_at_ms=1, expires_at_ms=9)
        await bench.queue.put_batch(msgspec.structs.replace(batch, state="in_progress"))
        job = Job(
            id="job-1", endpoint=Endpoint.CHAT, model="auto", created_at_ms=1, deadline_at_ms=1 << 60, batch="batch-1"
        )
        await bench.queue.put([(job, b"{}")])
        await bench.end()
        assert code(await bench.ask(get("/v1/jobs/job-1", "DELETE"))) == (409, "request.job_state")
        await bench.queue.put_batch(msgspec.structs.replace(batch, state="completed"))
        assert json.loads((await bench.ask(get("/v1/jobs/job-1", "DELETE"))).body)["deleted"] is True
        assert await bench.queue.answer("job-1") is None

    play(front, scenario)


def test_a_job_that_somebody_removed_meanwhile_is_not_there(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        job = await bench.job()
        await bench.end()

        async def gone(name: str) -> bool:
            return False

        bench.queue.delete = gone  # type: ignore[method-assign]
        assert code(await bench.ask(get(f"/v1/jobs/{job}", "DELETE"))) == (404, "request.job")

    play(front, scenario)


def test_lists_are_filtered_and_paged(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        jobs = [await bench.job() for _ in range(3)]
        await bench.end()

        async def ids(query: str) -> tuple[list[str], bool]:
            page = json.loads((await bench.ask(get(f"/v1/jobs{query}"))).body)
            return [one["id"] for one in page["data"]], page["has_more"]

        assert await ids("") == (jobs[::-1], False)
        assert await ids("?limit=2") == (jobs[:0:-1], True)
        assert await ids(f"?limit=2&after={jobs[1]}") == (jobs[:1], False)
        assert await ids("?state=answered&order=asc") == (jobs[:1], False)
        assert code(await bench.ask(get("/v1/jobs?state=odd"))) == (400, "request.query")
        assert code(await bench.ask(get("/v1/jobs?" + "a=1&" * 50))) == (400, "request.query")

    play(front, scenario)


def test_a_key_sees_its_own(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        ann, bob = {"x_api_key": "a"}, {"x_api_key": "b"}
        job = await bench.job(**ann)
        assert code(await bench.ask(get("/v1/jobs"))) == (401, "auth.missing_key")
        assert json.loads((await bench.ask(get("/v1/jobs", **bob))).body)["data"] == []
        assert len(json.loads((await bench.ask(get("/v1/jobs", **ann))).body)["data"]) == 1
        for path, method in (("", "GET"), ("/answer", "GET"), ("/cancel", "POST"), ("/retry", "POST"), ("", "DELETE")):
            answer = await bench.ask(get(f"/v1/jobs/{job}{path}", method, **bob))
            assert code(answer) == (404, "request.job")
        await bench.queue.put_file(StoredFile(id="file-1", name="n", purpose="batch", created_at_ms=0, key="ann"), b"x")
        for path, method in (("", "GET"), ("/content", "GET"), ("", "DELETE")):
            assert (await bench.ask(get(f"/v1/files/file-1{path}", method, **bob))).status == 404
        batch = {"input_file_id": "file-1", "endpoint": "/v1/embeddings", "completion_window": "24h"}
        assert (await bench.ask(post(batch, "/v1/batches", **bob))).status == 404
        told = json.loads((await bench.ask(post(batch, "/v1/batches", **ann))).body)
        assert (await bench.ask(get(f"/v1/batches/{told['id']}", **bob))).status == 404
        assert json.loads((await bench.ask(get("/v1/batches", **bob))).body)["data"] == []

    play(front, scenario, keys={"a": "ann", "b": "bob"})


def test_events_are_told_and_go_on(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        await bench.job()
        wire = await bench.site.connect()
        wire.send(get("/v1/jobs/events", last_event_id="0"))
        status, headers = await wire.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert (await wire.chunk()).startswith(b": ")
        assert b'"waiting"' in await wire.chunk()
        await bench.end()
        told = await wire.chunk()
        while b'"answered"' not in told:
            told += await wire.chunk()
        assert b"id: 3\nevent: job\n" in told
        bench.news.close()
        while await wire.chunk():
            pass

    play(front, scenario)


def test_events_of_now_keep_alive_and_bounds(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecotone.gateway.job_routes.KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr("ecotone.gateway.job_routes.EVENTS_MAX", 2)

    async def scenario(bench: Bench) -> None:
        for _ in range(5):
            await bench.job()
        wire = await bench.site.connect()
        wire.send(get("/v1/jobs/events"))
        await wire.head()
        assert (await wire.chunk()).startswith(b": jobs")
        assert await wire.chunk() == b": keep-alive\n\n"
        assert code(await bench.ask(get("/v1/jobs/events"))) == (429, "refused.listeners")
        assert code(await bench.ask(get("/v1/jobs/events", last_event_id="x"))) == (429, "refused.listeners")
        wire.leave()
        async with asyncio.timeout(BOUND_S):
            while bench.site.corridor.in_flight:
                await asyncio.sleep(0.01)
        assert code(await bench.ask(get("/v1/jobs/events", last_event_id="x"))) == (400, "request.header")
        wire = await bench.site.connect()
        wire.send(get("/v1/jobs/events", last_event_id="0"))
        await wire.head()
        told = b""
        while told.count(b"event: job") < 5:
            told += await wire.chunk()

    play(front, scenario, listeners_max=1)


def test_a_stop_does_not_wait_for_those_who_wait(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        job = await bench.job()
        wires = [await bench.site.connect() for _ in range(3)]
        wires[0].send(get("/v1/jobs/events"))
        wires[1].send(get(f"/v1/jobs/{job}/answer?wait=200"))
        wires[2].send(post(prefer="wait=200"))
        await wires[0].head()
        while len(bench.news._waiting) < 2:
            await asyncio.sleep(0)
        bench.site.stop.set()
        assert (await wires[1].answer()).status == 202
        assert (await wires[2].answer()).status == 202
        await wires[0].gone()

    play(front, scenario)


def test_there_is_room_for_so_many_who_wait(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        wire = await bench.site.connect()
        wire.send(post(prefer="wait=200"))
        while not bench.news._waiting:
            await asyncio.sleep(0)
        [job] = bench.news._waiting
        assert code(await bench.ask(get(f"/v1/jobs/{job}/answer"))) == (503, "refused.concurrency")
        assert (await bench.ask(get(f"/v1/jobs/{job}"))).status == 200

    play(front, scenario, in_flight_max=1)


# Files and batches.


def form(content: bytes, *, purpose: str | None = "batch", is_last: bool = False, **fields: str) -> bytes:
    parts = [(name, value.encode(), "") for name, value in fields.items()]
    mine = [("purpose", purpose.encode(), "")] if purpose is not None else []
    file = [("file", content, '; filename="in.jsonl"')]
    body = b""
    for name, value, more in [*parts, *(file + mine if is_last else mine + file)]:
        name = name.replace("__", "[") + ("]" if "__" in name else "")
        body += f'--xyz\r\ncontent-disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"
    return body + b"--xyz--\r\n"


def upload(body: bytes, **headers: str) -> bytes:
    return post(body, "/v1/files", **{"content_type": "multipart/form-data; boundary=xyz", **headers})


CONTENT = b"0123456789abcdef" * 40_000


def test_a_file_comes_back_as_it_went(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        answer = await bench.ask(upload(form(CONTENT, expires_after__seconds="3600"), ecotone_labels="hr"))
        told = json.loads(answer.body)
        assert answer.status == 200, answer.body
        assert (told["object"], told["bytes"], told["filename"], told["purpose"]) == (
            "file", len(CONTENT), "in.jsonl", "batch",
        )  # fmt: skip
        assert told["expires_at"] == told["created_at"] + 3600
        path = f"/v1/files/{told['id']}"
        assert json.loads((await bench.ask(get(path))).body) == told
        content = await bench.ask(get(f"{path}/content"))
        assert content.body == CONTENT
        assert content.headers["content-type"] == "application/octet-stream"
        kept = await bench.queue.file(told["id"])
        assert kept is not None
        assert kept.labels == ("hr",)
        assert json.loads((await bench.ask(get(path, "DELETE"))).body)["deleted"] is True
        assert code(await bench.ask(get(path))) == (404, "request.file")

    play(front, scenario)


def test_after_a_large_upload_the_connection_lives_on(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        wire = await bench.site.connect()
        for _ in range(3):
            wire.send(upload(form(CONTENT * 4)))
            assert (await wire.answer()).status == 200
            wire.send(get("/v1/files"))
            assert (await wire.answer()).status == 200
            wire.send(post())
            assert (await wire.answer()).status == 200

    play(front, scenario)


def test_files_are_listed_by_purpose_and_in_pages(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        for n in range(4):
            await bench.ask(upload(form(b"x", purpose="batch" if n % 2 else "user_data")))
        page = json.loads((await bench.ask(get("/v1/files?limit=2"))).body)
        assert (len(page["data"]), page["has_more"]) == (2, True)
        rest = json.loads((await bench.ask(get(f"/v1/files?after={page['last_id']}"))).body)
        assert (len(rest["data"]), rest["has_more"]) == (2, False)
        some = json.loads((await bench.ask(get("/v1/files?purpose=batch&limit=1"))).body)
        assert ([one["purpose"] for one in some["data"]], some["has_more"]) == (["batch"], True)

    play(front, scenario)


def test_what_is_no_upload_leaves_nothing(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        for raw, wanted in (
            (post(b"{}", "/v1/files"), (415, "request.form")),
            (upload(b"junk"), (400, "request.form")),
            (upload(form(b"x")[:-10]), (400, "request.form")),
            (upload(b"--xyz--\r\n"), (400, "request.form")),
            (upload(form(b"x", purpose="no such")), (400, "request.purpose")),
            (upload(form(b"x", expires_after__seconds="5")), (400, "request.expires_after")),
            (upload(form(b"x" * 300_000)), (413, "request.too_large")),
        ):
            assert code(await bench.ask(raw)) == wanted
        assert (await bench.ask(upload(form(b"x", is_last=True)))).status == 200
        assert (await bench.ask(upload(form(b"x", purpose=None)))).status == 200
        assert len(bench.queue._files) == 2

    play(front, scenario, file_bytes_max=100_000)


def test_a_purpose_may_come_late_if_it_is_the_usual_one(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        for purpose, status in (("user_data", 400), ("batch", 200)):
            wire = await bench.site.connect()
            raw = upload(form(CONTENT, purpose=purpose, is_last=True))
            wire.send(raw[:300_000])
            async with asyncio.timeout(BOUND_S):
                while not bench.queue._files:
                    await asyncio.sleep(0.01)
            wire.send(raw[300_000:])
            assert (await wire.answer()).status == status
            if status == 400:
                assert bench.queue._files == {}

    play(front, scenario)


def test_an_empty_file_is_a_file(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        told = json.loads((await bench.ask(upload(form(b"")))).body)
        assert told["bytes"] == 0
        assert (await bench.ask(get(f"/v1/files/{told['id']}/content"))).body == b""

    play(front, scenario)


def test_an_upload_without_a_length_is_bounded_too(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        wire = await bench.site.connect()
        head = b"POST /v1/files HTTP/1.1\r\nhost: made\r\ncontent-type: multipart/form-data; boundary=xyz\r\n"
        wire.send(head + b"transfer-encoding: chunked\r\n\r\n")
        body = form(b"x" * 400_000)
        for at in range(0, len(body), 50_000):
            piece = body[at : at + 50_000]
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert code(await wire.answer()) == (413, "request.too_large")
        assert bench.queue._files == {}

    play(front, scenario, file_bytes_max=100_000)


def test_who_leaves_in_the_middle_of_an_upload_leaves_nothing(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        wire = await bench.site.connect()
        raw = upload(form(CONTENT))
        wire.send(raw[:400_000])
        async with asyncio.timeout(BOUND_S):
            while not bench.queue._files:
                await asyncio.sleep(0.01)
            wire.leave()
            while bench.queue._files:
                await asyncio.sleep(0.01)

    play(front, scenario)


def test_a_file_that_can_no_longer_be_read(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        told = json.loads((await bench.ask(upload(form(CONTENT)))).body)
        read, left = bench.queue.read_file, [1]

        async def torn(file: str, start: int, limit: int) -> bytes | None:
            left[0] -= 1
            return await read(file, start, limit) if left[0] >= 0 else None

        bench.queue.read_file = torn  # type: ignore[method-assign]
        answer = await bench.ask(get(f"/v1/files/{told['id']}/content"))
        assert (answer.status, answer.is_whole) == (200, False)
        assert code(await bench.ask(get(f"/v1/files/{told['id']}/content"))) == (404, "request.file")

    play(front, scenario)


def test_batches_are_taken_listed_and_cancelled(front: Front) -> None:
    async def scenario(bench: Bench) -> None:
        file = json.loads((await bench.ask(upload(form(b"{}"), ecotone_labels="hr"))).body)["id"]
        ask = {"input_file_id": file, "endpoint": "/v1/embeddings", "completion_window": "2h", "metadata": {"a": "b"}}
        answer = await bench.ask(post(ask, "/v1/batches", ecotone_labels="legal", ecotone_place="edge"))
        told = json.loads(answer.body)
        assert (answer.status, told["object"], told["status"]) == (200, "batch", "validating")
        assert told["expires_at"] == told["created_at"] + 7200
        kept = await bench.queue.batch(told["id"])
        assert kept is not None
        assert (kept.labels, kept.wish.value, kept.priority) == (("hr", "legal"), "edge", 2)
        assert json.loads((await bench.ask(get(f"/v1/batches/{told['id']}"))).body)["metadata"] == {"a": "b"}
        for _ in range(2):
            await bench.ask(post(ask, "/v1/batches", ecotone_priority="9"))
        page = json.loads((await bench.ask(get("/v1/batches?limit=2"))).body)
        assert (len(page["data"]), page["has_more"]) == (2, True)
        assert code(await bench.ask(post(ask | {"input_file_id": "file-x"}, "/v1/batches")))[0] == 404
        assert code(await bench.ask(post(b"{}", "/v1/batches"))) == (400, "request.batch")
        assert code(await bench.ask(get("/v1/batches/batch-x"))) == (404, "request.batch")
        stopped = json.loads((await bench.ask(post(b"", f"/v1/batches/{told['id']}/cancel"))).body)
        assert stopped["status"] == "cancelling"
        over = msgspec.structs.replace(kept, id="batch-over", state="completed", completed=3, total=3)
        await bench.queue.put_batch(over)
        assert code(await bench.ask(post(b"", "/v1/batches/batch-over/cancel"))) == (409, "request.batch_over")
        counts = json.loads((await bench.ask(get("/v1/batches/batch-over"))).body)["request_counts"]
        assert counts == {"total": 3, "completed": 3, "failed": 0}

    play(front, scenario)
