"""Batches on virtual time: every line to one end, whatever is cut off when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ecotone.flow import batching
from ecotone.flow.batching import Batching, Lines
from ecotone.flow.draining import Drains
from ecotone.sim.queue import MemoryQueue
from ecotone.sim.scripted import SILENCE, ScriptedTarget, status, whole
from ecotone.values import Batch, JobEvent, JobState, Place, RequestError, StoredFile

from .yard import HOUR_MS, Refusing, Yard

Make = Callable[..., Yard]


def line(n: int, **changes: Any) -> bytes:
    body = {"model": "auto", "messages": [{"role": "user", "content": f"line {n}"}]}
    told = {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(told | changes).encode()


def lines(count: int) -> bytes:
    return b"\n".join(line(n) for n in range(count))


class Desk:
    """A yard with batches."""

    def __init__(self, made: Yard, queue: Any = None) -> None:
        self.made = made
        self.queue = queue or made.queue
        self.batching = Batching(lambda: made.stage.site, self.queue)
        made.start(self.batching.forever())
        made.news.on_end(self.batching.told)

    def batch(self, content: bytes, name: str = "batch-1", **changes: Any) -> Batch:
        """A new batch of a file with this content."""
        now_ms = self.made.now_ms
        file = StoredFile(id=f"file-{name}", name="in.jsonl", purpose="batch", created_at_ms=now_ms)
        self.made.run(self.made.queue.put_file(file, content))
        base: dict[str, Any] = {
            "id": name, "endpoint": "chat/completions", "input_file": file.id, "created_at_ms": now_ms,
            "expires_at_ms": now_ms + HOUR_MS,
        }  # fmt: skip
        batch = Batch(**base | changes)
        self.made.run(self.batching.create(batch))
        return batch

    def state(self, name: str = "batch-1") -> str:
        """What the queue keeps of it."""
        return self.made.queue._batches[name].state

    def get(self, name: str = "batch-1") -> Batch:
        """The batch as it is kept."""
        found = self.made.run(self.made.queue.batch(name))
        assert found is not None
        return found

    def over(self, state: str, name: str = "batch-1", within_s: float = 7_200.0) -> Batch:
        """The batch, once it is over."""
        self.made.until(lambda: self.state(name) == state, within_s)
        return self.get(name)

    def read(self, file: str) -> dict[str, Any]:
        """The results in a file by the caller's names."""
        content = self.made.run(self.made.queue.read_file(file, 0, 1 << 24))
        assert content is not None
        return {one["custom_id"]: one for one in map(json.loads, content.splitlines())}

    def restart(self) -> None:
        """The process ended, and another one begins."""

        async def end() -> None:
            for task in self.made.tasks:
                task.cancel()
            await asyncio.gather(*self.made.tasks, return_exceptions=True)

        self.made.run(end())
        del self.made.tasks[:]
        self.made.queue.restart(now_ms=self.made.now_ms)
        self.batching = Batching(lambda: self.made.stage.site, self.queue)
        self.made.start(self.batching.forever())


@pytest.fixture
def desk(yard: Make) -> Callable[..., Desk]:
    def make(*scripts: Any, concurrent: int = 8, refusing: dict[str, int] | None = None) -> Desk:
        made = yard(
            ScriptedTarget("small", *(scripts or (whole(),)), at=Place.EDGE), drains=Drains(concurrent=concurrent)
        )
        return Desk(made, Refusing(made.queue, **refusing) if refusing else None)

    return make


def test_every_line_is_answered(desk: Callable[..., Desk]) -> None:
    made = desk()
    made.batch(lines(100) + b"\n\n", labels=("hr",), priority=3)
    done = made.over("completed")
    told = made.read(done.output_file)
    assert set(told) == {f"r{n}" for n in range(100)}
    assert all(one["response"]["status_code"] == 200 for one in told.values())
    assert (done.total, done.completed, done.failed, done.error_file) == (100, 100, 0, "")
    assert set(done.times) == {"in_progress", "finalizing", "completed"}
    jobs = made.made.run(made.made.queue.due(1, now_ms=0))
    assert jobs == ()
    assert {kept.job.priority for kept in made.made.queue._kept.values()} == {3}
    assert {kept.job.labels for kept in made.made.queue._kept.values()} == {("hr",)}
    assert made.batching.oldest_ms() is None
    accepted = [entry for kind, entry in made.made.stage.journal.entries if kind == "accepted"]
    assert {one["job"] for one in accepted} == set(made.made.queue._kept)
    assert len(accepted) == 100


def test_lines_that_fail_go_to_the_errors(desk: Callable[..., Desk]) -> None:
    made = desk()
    bad = [
        line(1, body={"model": "auto", "messages": []}),
        line(2, body={"model": "nobody", "messages": [{"role": "user", "content": "x"}]}),
        line(3, body={"model": "auto", "stream": True, "messages": [{"role": "user", "content": "x"}]}),
    ]
    made.batch(b"\n".join([line(0), *bad]))
    done = made.over("completed")
    assert set(made.read(done.output_file)) == {"r0"}
    errors = made.read(done.error_file)
    assert {name: one["response"]["status_code"] for name, one in errors.items()} == {"r1": 400, "r2": 404, "r3": 400}
    assert (done.completed, done.failed) == (1, 3)


def test_a_target_that_is_down_for_good_fails_the_lines(desk: Callable[..., Desk]) -> None:
    made = desk(status(400, b'{"error": {"message": "no"}}'))
    made.batch(lines(2))
    done = made.over("completed")
    assert (done.output_file, done.failed) == ("", 2)


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        (b"", [("empty_file", 0)]),
        (b"\n \n", [("empty_file", 0)]),
        (lines(2) + b"\nno json\n\n" + line(0), [("invalid_json_line", 3), ("duplicate_custom_id", 5)]),
        (line(0, method="GET"), [("invalid_method", 1)]),
    ],
)
def test_a_file_that_is_wrong_fails_the_batch(
    desk: Callable[..., Desk], content: bytes, codes: list[tuple[str, int]]
) -> None:
    made = desk()
    made.batch(content)
    failed = made.over("failed")
    assert [(code, at) for code, _, at in failed.errors] == codes
    assert made.made.queue._kept == {}


def test_bounds_of_a_file(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    made = desk()
    monkeypatch.setattr(batching, "LINES_MAX", 70)
    made.batch(lines(71), "batch-1")
    assert made.over("failed").errors[0][0] == "too_many_tasks"
    monkeypatch.setattr(batching, "LINE_BYTES_MAX", 1_000)
    monkeypatch.setattr(batching, "PIECE_BYTES", 512)
    made.batch(line(0) + b" " * 3_000 + b"\n" + line(1), "batch-2")
    assert made.over("failed", "batch-2").errors[0][0] == "line_too_long"
    monkeypatch.setattr(batching, "ERRORS_MAX", 5)
    made.batch(b"\n".join([b"x"] * 70), "batch-3")
    assert len(made.over("failed", "batch-3").errors) == 5


@pytest.mark.parametrize("piece", [1, 7, 64, 4096])
def test_lines_whatever_the_pieces(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(batching, "PIECE_BYTES", piece)

    async def scene() -> list[tuple[int, bytes]]:
        queue = MemoryQueue()
        file = StoredFile(id="f", name="n", purpose="p", created_at_ms=0)
        await queue.put_file(file, b"one\r\n\n  \ntwo\nthree")
        reader, found = Lines(queue, "f"), []
        while taken := await reader.take(2):
            found += taken
        return found

    assert asyncio.run(scene()) == [(1, b"one"), (4, b"two"), (5, b"three")]


def test_a_file_that_goes_away_ends_the_batch(desk: Callable[..., Desk]) -> None:
    made = desk()
    batch = made.batch(lines(1))
    made.over("completed")
    made.made.run(made.batching.create(msgspec.structs.replace(batch, id="batch-2", input_file="file-x")))
    assert made.over("failed", "batch-2").errors[0][0] == "input_file_missing"


def test_what_was_awaited_for_a_batch_that_changed_meanwhile_is_dropped(desk: Callable[..., Desk]) -> None:
    made = desk()
    batch = msgspec.structs.replace(made.batch(lines(3)), state="in_progress", total=3)
    made.over("completed")

    async def wrong(batch: Batch) -> bool:
        raise RequestError("made", "made")

    async def scene() -> None:
        work = made.batching
        assert not await work._guarded(batch, wrong)
        work._progress[batch.id] = batching._Progress(Lines(made.queue, batch.input_file))
        assert not await work._enqueue(batch)
        work._progress.clear()
        assert (await work._resumed(batch)).count == 3
        assert work._progress == {}
        await made.made.queue.delete_file(batch.input_file)
        await made.made.queue.put_file(StoredFile(id=batch.input_file, name="n", purpose="p", created_at_ms=0), line(0))
        assert (await work._resumed(batch)).count == 1

    made.made.run(scene())


def test_results_in_small_pieces(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PIECE_BYTES", 64)
    made = desk()
    made.batch(lines(5))
    assert len(made.read(made.over("completed").output_file)) == 5


def test_a_file_that_shrank_ends_the_batch(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WAITING_MAX", 0)
    made = desk()
    made.batch(lines(3))
    made.made.until(lambda: made.state() == "in_progress")
    file = made.get().input_file
    made.made.run(made.made.queue.delete_file(file))
    made.made.run(made.made.queue.put_file(StoredFile(id=file, name="n", purpose="p", created_at_ms=0), b""))
    monkeypatch.setattr(batching, "WAITING_MAX", 100)
    assert made.over("failed").errors[0][0] == "input_file_missing"


def test_after_a_kill_at_any_instant_each_line_is_done_once(desk: Callable[..., Desk], monkeypatch: Any) -> None:
    monkeypatch.setattr(batching, "PUT_LINES", 4)
    made = desk(concurrent=3)
    made.batch(lines(30))
    for _ in range(12):
        made.made.stage.later(0.13)
        made.restart()
    done = made.over("completed")
    assert set(made.read(done.output_file)) == {f"r{n}" for n in range(30)}
    assert len(made.made.queue._kept) == 30


def test_results_are_written_anew_after_a_kill_in_the_middle(desk: Callable[..., Desk]) -> None:
    made = desk()
    made.batch(lines(3))
    done = made.over("completed")
    half = msgspec.structs.replace(done, state="finalizing", output_file="", completed=0)
    made.made.run(made.made.queue.put_batch(half))
    made.restart()
    again = made.over("completed")
    assert again.output_file == done.output_file
    assert len(made.read(again.output_file)) == 3


def test_many_batches_are_found_again(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "PAGE", 2)
    made = desk()
    for n in range(5):
        made.batch(lines(2), f"batch-{n}")
    made.restart()
    for n in range(5):
        made.over("completed", f"batch-{n}")


def test_batches_leave_room_for_others(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WAITING_MAX", 40)
    made = desk(concurrent=1)
    made.batch(lines(200))
    made.made.stage.later(5)
    assert made.made.queue.status().states[JobState.WAITING] <= 40 + batching.PUT_LINES
    assert made.over("completed").completed == 200


def test_a_batch_that_is_cancelled_keeps_what_was_done(desk: Callable[..., Desk]) -> None:
    made = desk(concurrent=1)
    batch = made.batch(lines(50))
    made.made.until(lambda: made.made.queue.status().states[JobState.ANSWERED] >= 3)
    told = made.made.run(made.batching.cancel(batch))
    assert told.state == "cancelling"
    assert made.made.run(made.batching.cancel(batch)).state == "cancelling"
    done = made.over("cancelled")
    assert len(made.read(done.output_file)) == done.completed >= 3
    assert {one["error"]["code"] for one in made.read(done.error_file).values()} == {"batch_cancelled"}
    assert made.made.run(made.batching.cancel(done)).state == "cancelled"


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.05])
def test_a_batch_may_be_cancelled_at_any_time(desk: Callable[..., Desk], after_s: float) -> None:
    made = desk(concurrent=1)
    batch = made.batch(lines(300))
    made.made.stage.later(after_s)
    made.made.run(made.batching.cancel(batch))
    made.over("cancelled")
    assert all(kept.job.ended_at_ms for kept in made.made.queue._kept.values())


def test_a_batch_whose_window_ends_expires(desk: Callable[..., Desk]) -> None:
    made = desk(whole(), SILENCE, concurrent=1)
    made.batch(lines(3), expires_at_ms=made.made.now_ms + 60_000)
    done = made.over("expired")
    assert len(made.read(done.output_file)) == 1
    assert {one["error"]["code"] for one in made.read(done.error_file).values()} == {"batch_expired"}
    assert (done.completed, done.failed) == (1, 2)


@pytest.mark.parametrize(
    "call", ["batches", "put", "put_batch", "read_file", "counts", "page", "begin_file", "cancel_batch", "delete_file"]
)
def test_a_store_that_refuses_is_asked_again(desk: Callable[..., Desk], call: str) -> None:
    made = desk(refusing={call: 0})
    made.batch(lines(3))
    made.queue.times[call] = 2
    assert made.over("completed").completed == 3


def test_results_that_do_not_fit_fail_the_batch(desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    made = desk()

    async def full(file: str, content: bytes) -> int:
        raise RequestError("request.too_large", "made", status=413)

    made.batch(lines(2))
    monkeypatch.setattr(batching, "PIECE_BYTES", 10)
    made.made.until(lambda: made.state() != "validating")
    monkeypatch.setattr(made.made.queue, "append_file", full)
    assert made.over("failed").errors[0][0] == "request.too_large"


def test_a_failed_batch_whose_jobs_could_not_be_cancelled_is_told_again(desk: Callable[..., Desk]) -> None:
    made = desk(refusing={"put_batch": 0})
    made.batch(b"no json")
    made.queue.times["put_batch"] = 1
    made.over("failed")
    made.made.stage.later(2)
    assert made.batching.oldest_ms() is None


def test_news_of_other_jobs_wakes_nobody(desk: Callable[..., Desk]) -> None:
    made = desk()
    made.batching._wake.clear()
    made.batching.told(JobEvent(seq=1, job="j", state=JobState.ANSWERED, at_ms=0, batch="batch-x"))
    assert not made.batching._wake.is_set()
    made.batch(lines(1))
    assert made.batching.oldest_ms() is not None
    made.over("completed")
