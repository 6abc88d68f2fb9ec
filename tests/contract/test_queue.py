"""`ports.Queue` as the durable queue and the simulated one keep it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ecotone.jobs import AGEING_MS, DEFER_MS_MAX, STARVATION_MS_MAX
from ecotone.ports import Queue
from ecotone.sim.queue import MemoryQueue
from ecotone.store import Queue as DurableQueue
from ecotone.store import QueueLimits
from ecotone.values import (
    Batch,
    Ending,
    Endpoint,
    Job,
    JobFilter,
    JobState,
    Leased,
    RefusalError,
    RequestError,
    StoredFile,
    Wish,
)

HOUR_MS = 3_600_000
START_MS = 1_800_000_000_000
ANSWER = Ending(state=JobState.ANSWERED, status=200, reason="edge.private", body=b'{"a":1}', target="small", at="edge")
BOUNDS = {
    "waiting_max": 12,
    "waiting_bytes_max": 1000,
    "body_bytes_max": 500,
    "files_max": 3,
    "file_bytes_max": 1 << 20,
}
Scene = Callable[[Queue], Awaitable[None]]
Play = Callable[[Scene], None]


def job(number: int, **more: Any) -> Job:
    at_ms = START_MS + number
    given = {"created_at_ms": at_ms, "deadline_at_ms": at_ms + 24 * HOUR_MS, "model": "auto", "endpoint": Endpoint.CHAT}
    return Job(id=f"job-{number:06d}", **(given | more))


@pytest.fixture(params=["durable", "simulated"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Plays a scene with a queue of small bounds."""

    def durable() -> Queue:
        return DurableQueue.open(tmp_path, b"k" * 32, limits=QueueLimits(**BOUNDS, check_s=5.0), now_ms=START_MS)

    def simulated() -> Queue:
        return MemoryQueue(**BOUNDS)

    async def scene(act: Scene) -> None:
        queue = durable() if request.param == "durable" else simulated()
        try:
            await act(queue)
        finally:
            await queue.close()

    return lambda act: asyncio.run(asyncio.wait_for(scene(act), 20))


async def begun(queue: Queue, now_ms: int = START_MS + 1000, n: int = 1) -> Leased:
    [leased] = await queue.lease(n, now_ms=now_ms, lease_ms=10_000)
    return leased


def test_a_job_is_accepted_worked_on_and_answered_once(play: Play) -> None:
    asked = job(
        1, key="research", labels=("person", "medical"), wish=Wish.EDGE, priority=7, idempotency="once",
        batch="batch-1", line=3, custom_id="case 7", webhook="http://10.0.0.9/done",
    )  # fmt: skip

    async def act(queue: Queue) -> None:
        assert await queue.put([(asked, b"what?")]) == (asked.id,)
        assert await queue.get(asked.id) == asked
        assert await queue.body(asked.id) == b"what?"
        assert await queue.answer(asked.id) is None
        leased = await begun(queue)
        assert leased.body == b"what?"
        assert leased.until_ms == START_MS + 11_000
        assert (leased.job.state, leased.job.attempts, leased.job.labels) == (JobState.RUNNING, 1, asked.labels)
        assert await queue.settle(leased.token, ANSWER, now_ms=START_MS + 2000)
        ended = await queue.get(asked.id)
        assert ended is not None
        assert (ended.state, ended.status, ended.reason) == (JobState.ANSWERED, 200, "edge.private")
        assert (ended.target, ended.at, ended.ended_at_ms, ended.custom_id) == (
            "small",
            "edge",
            START_MS + 2000,
            "case 7",
        )
        assert await queue.answer(asked.id) == b'{"a":1}'
        assert await queue.body(asked.id) == b"what?"
        assert not await queue.settle(leased.token, ANSWER, now_ms=START_MS + 3000)
        assert not await queue.extend(leased.token, now_ms=START_MS, lease_ms=1)
        assert await queue.cancel(asked.id, now_ms=START_MS + 3000) is JobState.ANSWERED
        assert await queue.lease(1, now_ms=START_MS + 10**9, lease_ms=1) == ()
        assert queue.status().states[JobState.ANSWERED] == 1
        assert queue.status().waiting_bytes == 0

    play(act)


def test_what_is_not_there_is_not_there(play: Play) -> None:
    async def act(queue: Queue) -> None:
        for ask in (queue.get, queue.body, queue.answer, queue.file, queue.batch):
            assert await ask("nothing") is None
        assert await queue.cancel("nothing", now_ms=START_MS) is None
        assert await queue.read_file("nothing", 0, 10) is None
        assert not await queue.delete_file("nothing")
        assert not await queue.release("nothing", now_ms=1, not_before_ms=1, reason="")
        assert not await queue.settle("nothing", ANSWER, now_ms=1)
        assert await queue.next_due_ms(now_ms=START_MS) is None
        assert await queue.events(0, limit=9) == ()
        assert (await queue.page(JobFilter(after="nothing"), limit=9)).jobs == ()
        assert await queue.files(after="nothing", limit=9) == ()
        assert await queue.batches(after="nothing", limit=9) == ()
        assert await queue.defer(["nothing"], not_before_ms=1, reason="x") == 0
        assert await queue.defer([], not_before_ms=1, reason="x") == 0
        assert await queue.lease(5, now_ms=START_MS, lease_ms=1, ids=["nothing"]) == ()
        assert await queue.put([]) == ()

    play(act)


def test_a_repeat_is_the_same_job(play: Play) -> None:
    async def act(queue: Queue) -> None:
        first = job(1, key="a", idempotency="x")
        assert await queue.put([(first, b"1")]) == (first.id,)
        assert await queue.put([(job(2, key="a", idempotency="x"), b"2")]) == (first.id,)
        assert await queue.put([(job(3, key="b", idempotency="x"), b"3")]) == ("job-000003",)
        assert await queue.put([(first, b"1")]) == (first.id,)
        both = [(job(4, idempotency="y"), b"4"), (job(5, idempotency="y"), b"5"), (job(6), b"6"), (job(7), b"7")]
        assert await queue.put(both) == ("job-000004", "job-000004", "job-000006", "job-000007")
        assert await queue.body(first.id) == b"1"
        assert queue.status().states[JobState.WAITING] == 5

    play(act)


def test_a_repeat_is_answered_also_when_the_queue_is_full(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(number, idempotency=str(number)), b"x") for number in range(1, 13)])
        assert await queue.put([(job(99, idempotency="5"), b"x")]) == ("job-000005",)

    play(act)


def test_over_a_bound_all_of_a_batch_is_refused(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1), b"x" * 400)])
        for refused in ([(job(2), b"x" * 400), (job(3), b"x" * 400)], [(job(number), b"") for number in range(2, 14)]):
            with pytest.raises(RefusalError) as told:
                await queue.put(
                    refused, Batch(id="batch-1", endpoint="e", input_file="f", created_at_ms=1, expires_at_ms=2)
                )
            assert (told.value.code, told.value.status) == ("refused.queue_full", 429)
            assert told.value.retry_after_s
        with pytest.raises(RequestError) as long:
            await queue.put([(job(2), b""), (job(3), b"x" * 501)])
        assert (long.value.code, long.value.status) == ("request.too_large", 413)
        assert queue.status().states[JobState.WAITING] == 1
        assert queue.status().waiting_bytes == 400
        assert await queue.batch("batch-1") is None
        assert await queue.get("job-000002") is None
        assert len(await queue.events(0, limit=99)) == 1

    play(act)


def test_priority_goes_first_and_age_makes_up_for_it(play: Play) -> None:
    async def act(queue: Queue) -> None:
        late = START_MS + 2 * AGEING_MS + 1
        await queue.put([(job(1, priority=0), b""), (job(2, priority=5), b""), (job(3, priority=5), b"")])
        await queue.put([(job(4, priority=2, created_at_ms=late), b""), (job(5, priority=9, created_at_ms=late), b"")])
        order = [found.id for found in await queue.due(9, now_ms=late)]
        assert order == ["job-000005", "job-000002", "job-000003", "job-000001", "job-000004"]
        assert [one.job.id for one in await queue.lease(2, now_ms=late, lease_ms=1)] == order[:2]
        newest = START_MS + STARVATION_MS_MAX + 10
        await queue.put([(job(6, priority=9, created_at_ms=newest), b"")])
        assert (await queue.due(1, now_ms=late))[0].id == "job-000003"
        assert [found.id for found in await queue.due(9, now_ms=newest)][-1] == "job-000006"

    play(act)


def test_the_nearest_deadlines_can_be_asked_for(play: Play) -> None:
    async def act(queue: Queue) -> None:
        for number, hours in ((1, 9), (2, 1), (3, 2), (4, 3)):
            await queue.put([(job(number, deadline_at_ms=START_MS + hours * HOUR_MS), b"")])
        found = await queue.due(2, now_ms=START_MS, deadline_before_ms=START_MS + 3 * HOUR_MS)
        assert [one.id for one in found] == ["job-000002", "job-000003"]
        assert await queue.due(2, now_ms=START_MS, deadline_before_ms=START_MS + HOUR_MS) == ()

    play(act)


def test_what_is_put_off_waits_and_is_due_at_once_when_the_link_is_back(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(number), b"") for number in (1, 2, 3)])
        soon = START_MS + 60_000
        assert await queue.defer(["job-000001", "job-000002"], not_before_ms=soon, reason="deferred.offline") == 2
        assert [found.id for found in await queue.due(9, now_ms=START_MS)] == ["job-000003"]
        waiting = await queue.get("job-000001")
        assert waiting is not None
        assert (waiting.reason, waiting.not_before_ms, waiting.attempts) == ("deferred.offline", soon, 0)
        assert len(await queue.due(9, now_ms=soon)) == 3
        assert await queue.next_due_ms(now_ms=START_MS) == 0
        await begun(queue, START_MS)
        assert await queue.next_due_ms(now_ms=START_MS) == START_MS + 10_000
        assert await queue.hasten("deferred.asked") == 0
        assert await queue.hasten("deferred.offline") == 2
        assert await queue.hasten("deferred.offline") == 0
        assert len(await queue.due(9, now_ms=START_MS)) == 2
        assert await queue.defer(["job-000003"], not_before_ms=1, reason="") == 0

    play(act)


def test_a_clock_that_went_back_leaves_no_job_behind(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1), b""), (job(2), b"")])
        held = await begun(queue, START_MS + 5 * HOUR_MS)
        await queue.defer(["job-000002"], not_before_ms=START_MS + 5 * HOUR_MS, reason="deferred.offline")
        assert [found.id for found in await queue.due(9, now_ms=START_MS)] == ["job-000002"]
        assert await queue.next_due_ms(now_ms=START_MS) == START_MS
        assert await queue.due(9, now_ms=START_MS + 5 * HOUR_MS - DEFER_MS_MAX) == ()
        again = await queue.lease(9, now_ms=START_MS, lease_ms=10_000)
        assert {one.job.id for one in again} == {"job-000001", "job-000002"}
        assert not await queue.settle(held.token, ANSWER, now_ms=START_MS)

    play(act)


def test_a_released_job_comes_back_and_counts_its_attempts(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1), b"x")])
        first = await begun(queue)
        later = START_MS + 30_000
        assert await queue.release(first.token, now_ms=START_MS + 2000, not_before_ms=later, reason="fallback.reset")
        waiting = await queue.get("job-000001")
        assert waiting is not None
        assert (waiting.state, waiting.attempts, waiting.not_before_ms, waiting.reason) == (
            JobState.WAITING, 1, later, "fallback.reset",
        )  # fmt: skip
        assert await queue.lease(1, now_ms=later - 1, lease_ms=1) == ()
        second = await begun(queue, later)
        assert second.job.attempts == 2
        assert await queue.release(
            second.token, now_ms=later, not_before_ms=0, reason="deferred.asked", is_attempt=False
        )
        [third] = await queue.lease(1, now_ms=START_MS, lease_ms=1, ids=["job-000001"])
        assert third.job.attempts == 2
        assert not await queue.release(second.token, now_ms=later, not_before_ms=0, reason="")

    play(act)


def test_named_jobs_are_taken_up_also_before_they_are_due(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(number, not_before_ms=START_MS + 9000), b"") for number in (1, 2, 3)])
        assert await queue.lease(9, now_ms=START_MS, lease_ms=1000) == ()
        taken = await queue.lease(9, now_ms=START_MS, lease_ms=1000, ids=["job-000003", "job-000001", "job-000009"])
        assert [one.job.id for one in taken] == ["job-000003", "job-000001"]
        assert await queue.lease(9, now_ms=START_MS, lease_ms=1000, ids=["job-000003"]) == ()

    play(act)


def test_a_lease_that_ran_out_lets_the_job_go_to_another(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1), b"x")])
        first = await begun(queue)
        assert await queue.lease(1, now_ms=first.until_ms - 1, lease_ms=1000) == ()
        assert await queue.extend(first.token, now_ms=first.until_ms - 1, lease_ms=10_000)
        assert await queue.lease(1, now_ms=first.until_ms, lease_ms=1000) == ()
        second = await begun(queue, first.until_ms + 9_999)
        assert second.job.attempts == 2
        assert not await queue.settle(first.token, ANSWER, now_ms=START_MS)
        assert not await queue.extend(first.token, now_ms=START_MS, lease_ms=1000)
        assert await queue.settle(second.token, ANSWER, now_ms=second.until_ms)

    play(act)


def test_deadlines_end_what_waits_and_not_what_runs(play: Play) -> None:
    async def act(queue: Queue) -> None:
        near = START_MS + 5000
        await queue.put([(job(1, deadline_at_ms=near), b""), (job(2, deadline_at_ms=near + 1), b""), (job(3), b"")])
        held = await begun(queue, START_MS)
        assert held.job.id == "job-000001"
        assert await queue.expire_due(now_ms=near) == ()
        assert await queue.due(9, now_ms=near + 1) != ()
        assert await queue.expire_due(now_ms=near + 1) == ("job-000002",)
        ended = await queue.get("job-000002")
        assert ended is not None
        assert (ended.state, ended.reason, ended.ended_at_ms) == (JobState.EXPIRED, "refused.deadline", near + 1)
        assert await queue.answer("job-000002") is None
        assert await queue.expire_due(now_ms=held.until_ms) == ("job-000001",)
        assert not await queue.settle(held.token, ANSWER, now_ms=held.until_ms)

    play(act)


def test_a_job_whose_deadline_has_passed_is_not_begun(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1, deadline_at_ms=START_MS + 10), b"")])
        assert await queue.lease(1, now_ms=START_MS + 10, lease_ms=1000) == ()
        assert await queue.due(1, now_ms=START_MS + 10) == ()

    play(act)


def test_labels_are_only_ever_added(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1, labels=("medical",)), b"x")])
        assert await queue.label("job-000001", ["person", "medical"])
        assert await queue.label("job-000001", [])
        held = await begun(queue)
        assert held.job.labels == ("medical", "person")
        assert await queue.label("job-000001", ["secret"])
        found = await queue.get("job-000001")
        assert found is not None
        assert (found.labels, found.state) == (("medical", "person", "secret"), JobState.RUNNING)
        assert not await queue.label("nothing", ["secret"])

    play(act)


def test_a_cancelled_job_takes_no_answer(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1), b""), (job(2), b"")])
        held = await begun(queue)
        assert await queue.cancel("job-000001", now_ms=START_MS + 1) is JobState.CANCELLED
        assert await queue.cancel("job-000002", now_ms=START_MS + 2) is JobState.CANCELLED
        assert await queue.cancel("job-000002", now_ms=START_MS + 3) is JobState.CANCELLED
        assert not await queue.settle(held.token, ANSWER, now_ms=START_MS)
        assert not await queue.extend(held.token, now_ms=START_MS, lease_ms=1000)
        assert [event.job for event in await queue.events(3, limit=9)] == ["job-000001", "job-000002"]

    play(act)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.REFUSED, JobState.EXPIRED])
def test_a_job_ends_in_other_ways_too(play: Play, state: JobState) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1), b"")])
        held = await begun(queue)
        ending = Ending(state=state, status=503, reason="refused.policy", body=b'{"error":{}}')
        assert await queue.settle(held.token, ending, now_ms=START_MS + 2)
        ended = await queue.get("job-000001")
        assert ended is not None
        assert (ended.state, ended.status, ended.reason) == (state, 503, "refused.policy")
        assert await queue.answer("job-000001") == b'{"error":{}}'

    play(act)


def test_every_change_of_state_is_told_once_and_in_order(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1, key="a", batch="batch-1"), b""), (job(2, key="b"), b"")])
        first = await begun(queue)
        await queue.release(first.token, now_ms=START_MS + 1, not_before_ms=0, reason="fallback.reset")
        await begun(queue, START_MS + 2)
        told = await queue.events(0, limit=99)
        assert [(event.job, event.state, event.reason) for event in told] == [
            ("job-000001", JobState.WAITING, ""),
            ("job-000002", JobState.WAITING, ""),
            ("job-000001", JobState.RUNNING, ""),
            ("job-000001", JobState.WAITING, "fallback.reset"),
            ("job-000001", JobState.RUNNING, ""),
        ]
        assert [event.seq for event in told] == sorted({event.seq for event in told})
        assert told[0].batch == "batch-1"
        assert await queue.events(told[1].seq, limit=1) == told[2:3]
        assert await queue.events(0, limit=9, key="b") == told[1:2]
        assert queue.status().events == told[-1].seq

    play(act)


def test_who_follows_is_woken_by_a_change(play: Play) -> None:
    async def act(queue: Queue) -> None:
        followers = [asyncio.create_task(queue.changed(0)) for _ in range(3)]
        leaving = asyncio.create_task(queue.changed(0))
        await asyncio.sleep(0)
        leaving.cancel()
        await queue.put([(job(1), b"")])
        seen = await asyncio.gather(*followers)
        assert seen == [queue.status().events] * 3
        assert await queue.changed(0) == seen[0]
        with pytest.raises(asyncio.CancelledError):
            await leaving

    play(act)


def test_jobs_are_listed_by_pages(play: Play) -> None:
    async def act(queue: Queue) -> None:
        for number in range(1, 8):
            await queue.put([(job(number, key="ab"[number % 2], batch="batch-1" if number > 3 else ""), b"")])
        await queue.cancel("job-000004", now_ms=START_MS)

        async def listed(limit: int = 9, **which: Any) -> list[int]:
            page = await queue.page(JobFilter(**which), limit=limit)
            return [int(found.id[4:]) for found in page.jobs] + ([0] if page.has_more else [])

        assert await listed() == [7, 6, 5, 4, 3, 2, 1]
        assert await listed(is_oldest_first=True, limit=3) == [1, 2, 3, 0]
        assert await listed(is_oldest_first=True, limit=4, after="job-000003") == [4, 5, 6, 7]
        assert await listed(after="job-000003") == [2, 1]
        assert await listed(state=JobState.CANCELLED) == [4]
        assert await listed(key="b") == [7, 5, 3, 1]
        assert await listed(key="a", state=JobState.WAITING, batch="batch-1") == [6]
        assert await listed(batch="batch-1", is_oldest_first=True, after="job-000005") == [6, 7]
        assert await listed(batch="batch-1", limit=2) == [7, 6, 0]
        assert await listed(batch="") == []
        counts = await queue.counts("batch-1")
        assert (counts[JobState.WAITING], counts[JobState.CANCELLED], counts[JobState.FAILED]) == (3, 1, 0)
        assert (await queue.counts())[JobState.WAITING] == 6

    play(act)


def test_a_batch_comes_with_its_jobs_and_is_cancelled_with_them(play: Play) -> None:
    batch = Batch(
        id="batch-1", endpoint="/v1/chat/completions", input_file="file-1", created_at_ms=START_MS, key="a",
        expires_at_ms=START_MS + HOUR_MS, metadata={"ward": "7"}, total=3,
        errors=(("bad_line", "line 3 is not JSON", 3),),
    )  # fmt: skip

    async def act(queue: Queue) -> None:
        await queue.put([(job(number, batch="batch-1"), b"") for number in (1, 2, 3)] + [(job(4), b"")], batch)
        assert await queue.batch("batch-1") == batch
        held = await begun(queue)
        await queue.settle(held.token, ANSWER, now_ms=START_MS)
        await begun(queue)
        other = Batch(id="batch-2", endpoint="e", input_file="f", created_at_ms=2, expires_at_ms=3, key="b")
        await queue.put_batch(other)
        ending = Batch(**{name: getattr(batch, name) for name in batch.__struct_fields__} | {"state": "cancelling"})
        assert await queue.cancel_batch(ending, now_ms=START_MS + 5) == 2
        assert await queue.batch("batch-1") == ending
        counts = await queue.counts("batch-1")
        assert (counts[JobState.ANSWERED], counts[JobState.CANCELLED]) == (1, 2)
        assert queue.status().states[JobState.WAITING] == 1
        assert await queue.batches(limit=9) == (other, ending)
        assert await queue.batches(limit=1) == (other,)
        assert await queue.batches(limit=9, after="batch-2") == (ending,)
        assert await queue.batches(limit=9, key="a") == (ending,)

    play(act)


def test_a_file_grows_and_is_read_in_parts(play: Play) -> None:
    whole = bytes(range(256)) * 3000

    async def act(queue: Queue) -> None:
        file = StoredFile(id="file-1", name="in.jsonl", purpose="batch", created_at_ms=1, key="a", labels=("person",))
        await queue.begin_file(file)
        size = 0
        for start in range(0, len(whole), 300_001):
            size = await queue.append_file("file-1", whole[start : start + 300_001])
        assert size == len(whole)
        assert await queue.files(limit=9) == ()
        done = await queue.finish_file("file-1")
        assert (done.size, done.is_whole, done.name, done.labels) == (len(whole), True, "in.jsonl", ("person",))
        assert await queue.file("file-1") == done
        for start, limit in (
            (0, len(whole)),
            (0, 1),
            (299_999, 5),
            (262_143, 2),
            (262_144, 262_144),
            (len(whole) - 3, 99),
        ):
            assert await queue.read_file("file-1", start, limit) == whole[start : start + limit]
        assert await queue.read_file("file-1", len(whole), 5) == b""
        assert await queue.read_file("file-1", len(whole) + 50, 5) == b""
        for wrong in (
            queue.append_file("file-1", b"x"),
            queue.finish_file("file-1"),
            queue.append_file("file-2", b"x"),
        ):
            with pytest.raises(RequestError) as told:
                await wrong
            assert (told.value.code, told.value.status) == ("request.file", 404)
        with pytest.raises(RequestError, match="whole already"):
            await queue.begin_file(file)
        assert await queue.delete_file("file-1")
        assert await queue.file("file-1") is None
        assert await queue.read_file("file-1", 0, 1) is None

    play(act)


def test_a_file_that_is_not_whole_may_begin_anew(play: Play) -> None:
    async def act(queue: Queue) -> None:
        file = StoredFile(id="file-1", name="out.jsonl", purpose="batch_output", created_at_ms=1)
        await queue.begin_file(file)
        await queue.append_file("file-1", b"half")
        await queue.begin_file(file)
        await queue.append_file("file-1", b"all of it")
        assert (await queue.finish_file("file-1")).size == 9
        assert await queue.read_file("file-1", 0, 99) == b"all of it"

    play(act)


def test_files_have_bounds(play: Play) -> None:
    async def act(queue: Queue) -> None:
        def named(number: int) -> StoredFile:
            return StoredFile(id=f"file-{number}", name="n", purpose="batch", created_at_ms=1, key="ab"[number % 2])

        with pytest.raises(RequestError) as long:
            await queue.put_file(named(1), b"x" * ((1 << 20) + 1))
        assert long.value.code == "request.too_large"
        assert await queue.file("file-1") is None
        for number in (1, 2, 3):
            assert (await queue.put_file(named(number), b"x" * number)).size == number
        with pytest.raises(RefusalError) as full:
            await queue.put_file(named(4), b"")
        assert (full.value.code, full.value.status) == ("refused.queue_full", 429)
        assert [file.id for file in await queue.files(limit=9)] == ["file-3", "file-2", "file-1"]
        assert [file.id for file in await queue.files(limit=9, after="file-3", key="b")] == ["file-1"]
        await queue.delete_file("file-3")
        await queue.begin_file(named(4))
        await queue.append_file("file-4", b"x" * (1 << 20))
        with pytest.raises(RequestError):
            await queue.append_file("file-4", b"x")
        assert (await queue.finish_file("file-4")).size == 1 << 20

    play(act)


def test_what_ended_long_ago_is_forgotten(play: Play) -> None:
    async def act(queue: Queue) -> None:
        over = Batch(
            id="batch-1", endpoint="e", input_file="f", created_at_ms=1, expires_at_ms=START_MS, state="completed"
        )
        await queue.put([(job(1, batch="batch-1", idempotency="x"), b"x"), (job(2), b""), (job(3), b"")], over)
        await queue.put_file(
            StoredFile(id="file-1", name="n", purpose="p", created_at_ms=1, expires_at_ms=START_MS), b"x"
        )
        await queue.put_file(StoredFile(id="file-2", name="n", purpose="p", created_at_ms=1), b"x")
        held = await begun(queue)
        await queue.settle(held.token, ANSWER, now_ms=START_MS + 10)
        await queue.cancel("job-000002", now_ms=START_MS + 20)
        assert await queue.delete_ended(START_MS + 10, now_ms=START_MS - 1) == 0
        assert await queue.batch("batch-1") is not None
        assert await queue.file("file-1") is not None
        last = queue.status().events
        assert await queue.delete_ended(START_MS + 11, now_ms=START_MS) == 1
        assert await queue.get("job-000001") is None
        assert await queue.answer("job-000001") is None
        assert await queue.batch("batch-1") is None
        assert await queue.file("file-1") is None
        assert await queue.file("file-2") is not None
        assert {event.job for event in await queue.events(0, limit=99)} == {"job-000002", "job-000003"}
        assert queue.status().states[JobState.ANSWERED] == 0
        assert await queue.put([(job(9, idempotency="x"), b"")]) == ("job-000009",)
        assert (await queue.events(last, limit=9))[0].job == "job-000009"

    play(act)


def test_an_ended_job_is_removed_on_its_own_with_all_that_lies_beside_it(play: Play) -> None:
    async def act(queue: Queue) -> None:
        await queue.put([(job(1, idempotency="x"), b"secret"), (job(2), b""), (job(3), b"")])
        held = await begun(queue)
        assert not await queue.delete("job-000001"), "it is under way"
        assert not await queue.delete("job-000002"), "it waits"
        assert not await queue.delete("job-000009"), "there is none"
        assert await queue.settle(held.token, ANSWER, now_ms=START_MS + 10)
        assert await queue.delete("job-000001")
        assert not await queue.delete("job-000001")
        assert await queue.get("job-000001") is None
        assert await queue.body("job-000001") is None
        assert await queue.answer("job-000001") is None
        assert {event.job for event in await queue.events(0, limit=99)} == {"job-000002", "job-000003"}
        assert queue.status().states[JobState.ANSWERED] == 0
        assert await queue.put([(job(9, idempotency="x"), b"")]) == ("job-000009",), "its idempotency key is free"

    play(act)


def test_the_next_end_is_the_nearest_deadline_or_end_of_a_lease(play: Play) -> None:
    async def act(queue: Queue) -> None:
        assert await queue.next_end_ms() is None
        await queue.put([(job(1, deadline_at_ms=START_MS + 50_000), b""), (job(2, not_before_ms=START_MS + 9), b"")])
        assert await queue.next_end_ms() == START_MS + 50_000
        held = await begun(queue)
        assert held.job.id == "job-000001"
        assert await queue.next_end_ms() == held.until_ms
        await queue.settle(held.token, ANSWER, now_ms=START_MS + 10)
        assert await queue.next_end_ms() == job(2).deadline_at_ms

    play(act)
