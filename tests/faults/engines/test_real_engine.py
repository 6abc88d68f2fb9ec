"""Killing, stopping and starving the real engine. Figures are printed (`pytest -s`); what is asserted is generous."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from ecotone import assets, engines
from ecotone.engines.leftovers import Leftovers
from ecotone.engines.lifecycle import State

pytestmark = pytest.mark.engine
LONG = " ".join(f"item {number} is blue and" for number in range(230))


def now_s() -> float:
    return asyncio.get_running_loop().time()


def events(answer):
    lines = [line[6:] for line in answer.body.split(b"\n\n") if line.startswith(b"data: {")]
    return [msgspec.json.decode(line) for line in lines]


async def until(is_so, within_s=15.0):
    async with asyncio.timeout(within_s):
        while not is_so():
            await asyncio.sleep(0.005)


def test_a_real_chat_from_a_cold_start(site, asset):
    async def acts(made):
        target = made.target(asset)
        began_s = now_s()
        _, answer = made.ask(target, "What is the capital of France?", max_tokens=12)
        await answer.first
        first_s = now_s() - began_s
        await answer.over
        text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events(answer) if e["choices"])
        assert text.strip()
        assert {e["model"] for e in events(answer)} == {asset.name}
        found = made.supervisor.status().engines[0]
        print(f"spawn to first token {first_s:.2f} s, load {found.load_s:.2f} s, RSS {found.rss_bytes >> 20} MiB")
        assert found.rss_bytes < 400 << 20

    site(acts)


def test_a_killed_worker_is_noticed_and_replaced(site, asset):
    async def acts(made):
        target = made.target(asset)
        await made.told(target)
        _, answer = made.ask(target, "Count to one hundred.", max_tokens=400)
        await answer.first
        began_s = now_s()
        os.kill(target.engine.running.worker.pid, signal.SIGKILL)
        await answer.over
        noticed_s = now_s() - began_s
        assert answer.code == "engine_crashed"
        again = await made.told(target)
        print(f"noticed after {noticed_s * 1e3:.1f} ms, next answer after {now_s() - began_s:.2f} s")
        assert again.code == ""
        assert noticed_s < 1
        assert now_s() - began_s < 8

    site(acts)


HOST = """
import asyncio, sys
from pathlib import Path
from tests.faults.engines.conftest import Site
async def main():
    made = Site(Path(sys.argv[1]))
    asset = made.store.resolve("smollm2-135m")
    target = made.target(asset)
    made.ask(target, "Count to one thousand.", max_tokens=1500)
    while target.engine.running is None or target.load() != (1, 0):
        await asyncio.sleep(0.01)
    print(target.engine.running.worker.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_parent(asset, tmp_path, how):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    host = subprocess.Popen([sys.executable, "-c", HOST, str(tmp_path)], stdout=subprocess.PIPE, env=env)
    with contextlib.closing(host.stdout):
        pid = int(host.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        began_s = time.monotonic()
        host.send_signal(how)
        host.wait(10)
    while Path(f"/proc/{pid}").exists() and state_of(pid) != "Z":
        assert time.monotonic() - began_s < 5
        time.sleep(0.002)
    print(f"{how.name}: the worker was gone {(time.monotonic() - began_s) * 1e3:.0f} ms after its parent was killed")


def state_of(pid: int) -> str:
    """A zombie belongs to init by now: it is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_two_models_take_turns_in_memory_for_one(site, asset):
    async def acts(made):
        first, second = made.target(asset, name="one"), made.target(asset, name="two")
        for target, other in ((first, second), (second, first), (first, second)):
            assert (await made.told(target)).code == ""
            assert (target.engine.state, other.engine.state) == (State.READY, State.STOPPED)

    site(acts, memory_bytes=400 << 20)


def test_a_hung_engine_is_replaced(site, asset):
    async def acts(made):
        target = made.target(asset)
        await made.told(target)
        _, answer = made.ask(target, "Count to one hundred.", max_tokens=400)
        await answer.first
        began_s = now_s()
        os.kill(target.engine.running.worker.pid, signal.SIGSTOP)
        await asyncio.wait_for(asyncio.shield(answer.over), 10)
        assert answer.code == "engine_crashed"
        print(f"a stopped worker was given up after {now_s() - began_s:.1f} s")
        assert (await made.told(target)).code == ""

    site(acts, limits=engines.Limits(health_every_s=0.2, health_within_s=1.0))


def test_a_corrupt_file_is_refused_before_it_is_loaded(site, asset, tmp_path):
    async def acts(made):
        def hold():
            return assets.open_store(tmp_path).hold(msgspec.structs.replace(asset, path=str(path)))

        path = tmp_path / "model.gguf"
        path.write_bytes(Path(asset.path).read_bytes())
        with path.open("r+b") as file:
            file.seek(50_000_000)
            file.write(b"\0\0\0\0")
        target = made.target(asset, hold)
        answer = await made.told(target)
        assert answer.code == "engine_start"
        assert "refused" in answer.error.message
        assert target.engine.running is None

    site(acts)


@pytest.mark.parametrize(("cut", "why"), [(1_000_000, "read key-value"), (30_000_000, "not within the file bounds")])
def test_a_start_that_fails_is_explained(site, asset, tmp_path, cut, why):
    async def acts(made):
        path = tmp_path / "cut.gguf"
        path.write_bytes(Path(asset.path).read_bytes()[:cut])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        broken = msgspec.structs.replace(asset, path=str(path), digest=digest, is_own_file=True)
        answer = await made.told(made.target(broken, lambda: made.store.hold(broken)))
        print(answer.error.message)
        assert answer.code == "engine_start"
        assert why in answer.error.message

    site(acts)


def test_a_file_that_changes_while_it_loads_is_not_used_before_it_was_checked_again(site, asset, tmp_path):
    async def acts(made):
        path = tmp_path / "model.gguf"
        path.write_bytes(Path(asset.path).read_bytes())
        copy = msgspec.structs.replace(asset, path=str(path))

        async def refused(name, change, holds_needed):
            holds = []

            @contextlib.contextmanager
            def hold():
                holds.append(name)
                with made.store.hold(copy) as held:
                    change()
                    yield held

            target = made.target(asset, hold, name=name)
            answer = await made.told(target)
            assert answer.code == "engine_start"
            await until(lambda: target.engine.state is State.REFUSED)
            assert len(holds) == holds_needed

        await refused("touched", lambda: os.utime(path), 3)
        await refused("spoilt", lambda: path.write_bytes(b"GGUF something else"), 2)

    site(acts)


def test_who_leaves_in_prefill_frees_the_engine_within_a_second(site, asset):
    async def acts(made):
        target = made.target(asset)
        await made.told(target)
        stream, answer = made.ask(target, LONG)
        await until(lambda: answer.status == 200)
        await asyncio.sleep(0.2)
        began_s = now_s()
        stream.abort()
        await until(lambda: target.load() == (0, 0))
        freed_s = now_s() - began_s
        assert (await made.told(target)).code == ""
        print(f"free after {freed_s:.2f} s, next answer after {now_s() - began_s:.2f} s")
        assert target.engine.recycled == 1
        assert freed_s < 2

    site(acts)


def test_who_leaves_in_mid_answer_stops_the_work(site, asset):
    async def acts(made):
        target = made.target(asset)
        await made.told(target)
        stream, answer = made.ask(target, "Count to one thousand.", max_tokens=1500)
        await answer.first
        began_s = now_s()
        stream.abort()
        running = target.engine.running
        async with asyncio.timeout(5):
            while await Leftovers.busy_slots(running):
                await asyncio.sleep(0.002)
        print(f"the slot was free {(now_s() - began_s) * 1e3:.0f} ms after the caller left")
        assert target.engine.recycled == 0

    site(acts)


def test_the_second_turn_of_a_long_chat_reads_only_what_is_new(site, asset):
    async def acts(made):
        target = made.target(asset)
        await made.told(target)
        firsts = []
        turns = [{"role": "user", "content": LONG}]
        for _ in range(3):
            began_s = now_s()
            _, answer = made.ask(target, "", messages=turns, max_tokens=16)
            await answer.first
            firsts.append(now_s() - began_s)
            await answer.over
            last = events(answer)[-1]
            text = "".join(e["choices"][0]["delta"].get("content") or "" for e in events(answer) if e["choices"])
            turns += [{"role": "assistant", "content": text}, {"role": "user", "content": "And what else?"}]
        usage = last["usage"]
        print(f"TTFT of three turns: {[round(s, 3) for s in firsts]} s; cached {usage}")
        assert usage["prompt_tokens_details"]["cached_tokens"] > usage["prompt_tokens"] * 0.8
        assert firsts[1] < firsts[0] / 2

    site(acts)


def test_a_prompt_longer_than_a_slot_is_the_next_targets(site, asset):
    async def acts(made):
        answer = await made.told(made.target(asset), LONG * 3)
        assert answer.code == "context_exceeded"

    site(acts)


def test_the_safe_defaults_hold_over_the_socket(site, asset):
    async def acts(made):
        target = made.target(asset)
        await made.told(target)
        running = target.engine.running
        for key, path, status in ((running.key, "/slots", 200), ("wrong", "/slots", 401), (running.key, "/props", 200)):
            answer = Answer()
            headers = {"authorization": f"Bearer {key}", "origin": "http://evil.example"}
            running.channel.open("GET", path, headers, b"", answer)
            await answer.over
            assert answer.status == status
            assert answer.headers.get("access-control-allow-origin", "") == ""

    from tests.unit.engines.world import Answer

    site(acts)
