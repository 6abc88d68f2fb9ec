"""One model's queue and life, with real worker processes that run a fake engine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal

import pytest
import uvloop

from ecotone.engines import Limits, Patience, leftovers
from ecotone.engines.lifecycle import State


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run])
def test_a_model_is_started_when_it_is_wanted_and_answers(scene, runner):
    async def acts(world):
        engine = world.engine()
        assert engine.state is State.STOPPED
        first, second = await asyncio.gather(world.told(engine), world.told(engine, "say 3"))
        assert first.status == second.status == 200
        assert b"w1 " in first.body
        assert first.body.endswith(b"data: [DONE]\n\n")
        assert b"w2 " in second.body
        assert (engine.starts, world.holds, engine.state) == (1, 1, State.READY)
        assert engine.load() == (0, 0)

    scene(acts, runner)


def test_slots_are_served_first_come_first_served_and_a_full_queue_says_busy(scene):
    async def acts(world):
        engine = world.engine(slots=1, queue_max=2)
        order = []
        asked = [world.ask(engine, "say 2 gap 0.02") for _ in range(4)]
        for number, (_, answer) in enumerate(asked):
            answer.over.add_done_callback(lambda _, number=number: order.append(number))
        assert engine.load() == (0, 3)
        assert not asked[3][1].over.done(), "never before open returns"
        await asyncio.gather(*(answer.over for _, answer in asked))
        assert order == [3, 0, 1, 2]
        assert asked[3][1].code == "busy"

    scene(acts)


def test_a_waiting_request_may_leave(scene):
    async def acts(world):
        engine = world.engine(slots=1)
        _, first = world.ask(engine, "say 3 gap 0.05")
        stream, second = world.ask(engine)
        _, third = world.ask(engine)
        await first.first
        assert engine.load() == (1, 2)
        stream.pause()
        stream.resume()
        stream.abort()
        stream.abort()
        assert engine.load() == (1, 1)
        await third.over
        assert not second.over.done()

    scene(acts)


def test_the_death_of_a_worker_fails_its_requests_at_once_and_the_next_ones_wait_for_the_new_worker(scene):
    async def acts(world):
        engine = world.engine()
        _, answer = world.ask(engine, "say 99 gap 0.05")
        await answer.first
        pid = engine.running.worker.pid
        os.kill(pid, signal.SIGKILL)
        _, second = world.ask(engine)
        await asyncio.gather(answer.over, second.over)
        assert answer.code == "engine_crashed"
        assert second.code in ("", "engine_crashed")  # it may have hit the dead worker as well
        assert (await world.told(engine)).code == ""
        assert engine.running.worker.pid != pid
        assert (engine.crashes, engine.starts) == (1, 2)
        assert "SIGKILL" in engine.why

    scene(acts)


def test_of_a_running_worker_the_log_gives_the_fatal_line_and_no_content(scene):
    async def acts(world):
        engine = world.engine()
        assert (await world.told(engine, "die")).code == "engine_crashed"
        await world.until(lambda: engine.crashes == 1)
        assert "GGML_ASSERT(x)" in engine.why
        assert "secret" not in engine.why

    scene(acts)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("fails", "invalid magic characters"),
        ("aborts", "GGML_ASSERT(n > 0)"),
        ("silent", "exit status 3"),
    ],
)
def test_a_start_that_fails_is_explained_from_the_log(scene, how, why):
    async def acts(world):
        engine = world.engine(how)
        answer = await world.told(engine)
        assert answer.code == "engine_start"
        assert why in answer.error.message
        assert why in world.supervisor.status().engines[0].why

    scene(acts)


def test_an_engine_that_dies_too_often_rests_and_says_when_to_come_back(scene):
    async def acts(world):
        engine = world.engine("fails")
        await world.told(engine)
        await world.until(lambda: engine.state is State.CRASHED)
        assert engine.starts == 3
        answer = await world.told(engine)
        assert answer.code == "engine_start"
        assert 1.0 < answer.error.retry_after_s <= 2.0
        world.become("starts")
        await world.until(lambda: engine.state is State.STOPPED)
        assert (await world.told(engine)).code == ""

    scene(acts, patience=Patience(deaths_max=3, first_s=0.02, rest_s=2.0))


def test_a_short_rest_is_waited_out_by_nobody_and_a_short_back_off_by_all(scene):
    async def acts(world):
        engine = world.engine("fails")
        await world.told(engine)
        world.become("starts")
        assert (await world.told(engine)).code == ""
        assert engine.starts >= 2

    scene(acts, patience=Patience(first_s=0.1))


def test_a_wrong_digest_refuses_the_model_before_anything_is_loaded(scene):
    async def acts(world):
        engine = world.engine("forged")
        answer = await world.told(engine)
        assert (answer.code, engine.state) == ("engine_start", State.REFUSED)
        assert "refused: the digest is wrong" in answer.error.message
        assert world.holds == 1
        assert (await world.told(engine)).code == "engine_start"
        assert world.holds == 1, "the file is not hashed again for each request"
        world.become("starts")
        await world.until(lambda: engine.state is State.STOPPED)
        assert (await world.told(engine)).code == ""

    scene(acts)


def test_a_file_that_is_changed_while_it_loads_is_checked_again_and_then_refused(scene):
    async def acts(world):
        engine = world.engine("starts changed")
        assert (await world.told(engine)).code == "engine_start"
        assert engine.state is State.REFUSED
        assert world.holds == 3

    scene(acts)


def test_a_start_that_takes_too_long_is_ended(scene):
    async def acts(world):
        engine = world.engine("slow 20")
        answer = await world.told(engine)
        assert answer.code == "engine_start"
        assert "not ready within" in answer.error.message

    scene(acts, limits=Limits(start_s=0.3, start_s_per_gib=0.0))


def test_a_worker_that_dies_as_soon_as_it_is_ready_is_a_crash(scene):
    async def acts(world):
        engine = world.engine("dies-later")
        await world.told(engine)
        await world.until(lambda: engine.state is State.CRASHED)

    scene(acts, patience=Patience(deaths_max=3, first_s=0.01, rest_s=5))


def test_who_leaves_in_mid_answer_frees_the_slot_at_once(scene):
    async def acts(world):
        engine = world.engine(slots=1)
        stream, answer = world.ask(engine, "say 200 gap 0.02")
        await answer.first
        body = answer.body
        stream.abort()
        assert engine.load() == (0, 0)
        assert (await world.told(engine)).code == ""
        assert answer.body == body
        assert engine.recycled == 0

    scene(acts)


def test_who_leaves_in_prefill_has_the_worker_replaced_when_it_does_not_end_soon(scene):
    async def acts(world):
        engine = world.engine()
        await world.told(engine)
        stream, answer = world.ask(engine, "prefill 20 say 1")
        await world.until(lambda: answer.status == 200)
        await asyncio.sleep(0)
        stream.abort()
        assert engine.load() == (1, 0), "the slot is still at work"
        await world.until(lambda: engine.recycled == 1)
        assert (await world.told(engine)).code == ""
        assert engine.crashes == 0

    scene(acts)


def test_a_slot_that_is_not_freed_after_its_caller_left_in_mid_answer_has_the_worker_replaced(scene, monkeypatch):
    monkeypatch.setattr(leftovers, "FREED_S", 0.05)

    async def acts(world):
        engine = world.engine()
        stream, answer = world.ask(engine, "deaf 20")
        await answer.first
        stream.abort()
        assert engine.load() == (0, 0)
        await world.until(lambda: engine.recycled == 1)
        assert (await world.told(engine)).code == ""

    scene(acts)


def test_a_short_prefill_that_nobody_waits_for_is_left_to_end(scene):
    async def acts(world):
        engine = world.engine()
        await world.told(engine)
        stream, answer = world.ask(engine, "prefill 0.1 say 1")
        await world.until(lambda: answer.status == 200)
        stream.abort()
        await world.until(lambda: engine.load() == (0, 0))
        assert engine.recycled == 0

    scene(acts, limits=Limits(prefill_grace_s=8.0))


def test_a_worker_with_other_requests_is_not_replaced_until_they_are_gone(scene):
    async def acts(world):
        engine = world.engine()
        await world.told(engine)
        _, other = world.ask(engine, "say 30 gap 0.02")
        await other.first
        stream, answer = world.ask(engine, "prefill 20 say 1")
        await world.until(lambda: answer.status == 200)
        stream.abort()
        await asyncio.sleep(0.3)
        assert engine.load() == (2, 0)
        assert engine.recycled == 0
        await other.over
        assert other.code == ""
        await world.until(lambda: engine.recycled == 1)

    scene(acts)


@pytest.mark.parametrize("words", ["hang", "locked prefill 20"])
def test_a_worker_that_hangs_is_replaced(scene, words):
    async def acts(world):
        engine = world.engine()
        await world.told(engine)
        answer = await world.told(engine, words)
        assert answer.code == "engine_crashed"
        assert "no sign of life" in answer.error.message
        assert (await world.told(engine)).code == ""
        assert (engine.recycled, engine.crashes) == (1, 0)

    scene(acts)


def test_a_long_prefill_is_not_taken_for_a_hang(scene):
    async def acts(world):
        engine = world.engine()
        answer = await world.told(engine, "prefill 1.2 say 1")
        assert answer.code == ""
        assert engine.recycled == 0

    scene(acts)


def test_what_the_engine_prints_does_not_hold_it_up(scene):
    async def acts(world):
        engine = world.engine()
        assert (await world.told(engine, "spew say 1")).code == ""
        assert (await world.told(engine)).code == ""

    scene(acts)


def test_closing_fails_what_is_under_way_and_leaves_no_process(scene):
    async def acts(world):
        engine = world.engine()
        _, answer = world.ask(engine, "say 200 gap 0.02")
        await answer.first
        _, waiting = world.ask(world.engine("slow 5", name="other"))
        await asyncio.sleep(0.1)
        await world.supervisor.close(0.05)
        assert answer.code == waiting.code == "engine_crashed"
        assert engine.state is State.STOPPED
        assert (await world.told(engine)).code == "engine_crashed", "nothing is started any more"

    scene(acts)


def test_closing_lets_requests_finish(scene):
    async def acts(world):
        engine = world.engine()
        _, answer = world.ask(engine, "say 10 gap 0.02")
        await answer.first
        await world.supervisor.close()
        assert answer.code == ""
        assert answer.body.endswith(b"[DONE]\n\n")

    scene(acts)


def test_no_descriptor_is_left_behind(scene):
    async def acts(world):
        engine = world.engine()
        await world.told(engine)
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(3):
            os.kill(engine.running.worker.pid, signal.SIGKILL)
            await world.until(lambda: engine.state is not State.READY)
            await world.told(engine)
        await world.until(lambda: len(os.listdir("/proc/self/fd")) <= len(before))

    scene(acts, patience=Patience(deaths_max=9, first_s=0.01))


def test_a_worker_sees_no_secret_and_no_foreign_descriptor(scene, monkeypatch):
    monkeypatch.setenv("ECOTONE_CLOUD_KEY", "sk-secret")
    inherited = fcntl.fcntl(0, fcntl.F_DUPFD, 200)
    os.set_inheritable(inherited, True)

    async def acts(world):
        engine = world.engine()
        await world.told(engine)
        running = engine.running
        proc = f"/proc/{running.worker.pid}"
        with open(f"{proc}/environ", "rb") as file:
            assert b"secret" not in file.read()
        with open(f"{proc}/cmdline", "rb") as file:
            assert running.key.encode() not in file.read()
        with open(f"{proc}/oom_score_adj") as file:
            assert int(file.read()) == 600
        assert not os.path.exists(f"{proc}/fd/{inherited}")
        assert os.getpgid(running.worker.pid) == running.worker.pid
        assert os.stat(world.supervisor.launch.folder).st_mode & 0o777 == 0o700

    scene(acts)
    os.close(inherited)
