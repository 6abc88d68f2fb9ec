"""The real worker process, when detectors hang, crash, allocate, phone home or flood, and when someone kills it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.unit.detectors import plugins

from ecotone.detectors import Inspectors, Limits

LONG_S = 30.0
TEXT = ("Ada Lovelace",)


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    plugins.install(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def run(names, acts, **limits):
    """Runs `acts(inspectors)` on a started worker, and looks that nothing is left of it."""

    async def whole():
        inspectors = Inspectors(names, {"word": "told"}, Limits(**limits))
        inspectors.start()
        try:
            async with asyncio.timeout(120):
                await acts(inspectors)
        finally:
            pid = inspectors.status().pid
            await inspectors.close()
        assert inspectors.status().state == "closed"
        assert pid is None or not Path(f"/proc/{pid}").exists(), "a worker or its zombie is left"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    before = set(os.listdir("/proc/self/fd"))
    asyncio.run(whole())
    assert len(os.listdir("/proc/self/fd")) <= len(before), "a descriptor is left"


async def ready(inspectors):
    assert await inspectors.wait_ready(LONG_S)
    return inspectors.status().pid


async def healthy(inspectors, name="first"):
    """A look that finds something; waits for a restart."""
    await ready(inspectors)
    looked = await inspectors.look(TEXT, (name,), limit_s=LONG_S)
    assert looked.missing == ()
    assert len(looked.found[0]) == 1


def test_it_looks_and_tells_how_it_is():
    async def acts(inspectors):
        assert inspectors.status().state == "starting"
        early = await inspectors.look(TEXT, ("first",), limit_s=LONG_S)
        assert early.missing == (("first", "starting"),)
        await ready(inspectors)
        looked = await inspectors.look(("Ada Lovelace", "Bob \ud800"), ("first", "settings", "first"), limit_s=LONG_S)
        assert [[(one.detector, one.kind, one.end) for one in each] for each in looked.found] == [
            [("first", "person", 5), ("settings", "told", 1)]
        ] * 2
        status = inspectors.status()
        assert (status.state, status.restarts, status.died) == ("ready", 0, "")
        assert status.versions == {"first": "7", "settings": "7"}
        assert status.failed["unmade"][0] == "broken"
        assert status.isolation in ("namespace", "hook")
        assert (await inspectors.look((), ("first",), limit_s=1)).found == ()
        assert (await inspectors.look(TEXT, (), limit_s=1)).found == ((),)

    run(("first", "settings", "unmade"), acts)


def test_one_that_fails_does_not_spoil_the_others():
    names = ("raises", "exits", "allocates", "short", "far", "cannot", "unmade", "first")

    async def acts(inspectors):
        pid = await ready(inspectors)
        looked = await inspectors.look(TEXT, (*names, "unasked"), limit_s=LONG_S)
        assert dict(looked.missing) == {
            "raises": "failed",
            "exits": "failed",
            "allocates": "failed",
            "short": "bad_answer",
            "far": "bad_answer",
            "cannot": "no_model:xx",
            "unmade": "broken",
            "unasked": "absent",
        }
        assert [one.detector for one in looked.found[0]] == ["cannot", "first"]
        assert inspectors.status().pid == pid

    run(names, acts)


def test_memory_has_a_limit():
    async def acts(inspectors):
        await ready(inspectors)
        looked = await inspectors.look(TEXT, ("grows",), limit_s=60)
        assert looked.missing[0][1] in ("failed", "crashed")
        await healthy(inspectors)

    run(("grows", "first"), acts)


def test_python_code_that_takes_too_long_is_stopped_and_the_worker_lives():
    async def acts(inspectors):
        pid = await ready(inspectors)
        looked = await inspectors.look(TEXT, ("first", "sleeps", "swallows"), limit_s=0.3)
        assert looked.missing == (("sleeps", "late"), ("swallows", "late"))
        assert len(looked.found[0]) == 1, "what was seen before is kept"
        await healthy(inspectors)
        assert inspectors.status().pid == pid

    run(("first", "sleeps", "swallows"), acts, grace_s=20)


def test_native_code_that_hangs_is_killed_and_the_worker_starts_again():
    async def acts(inspectors):
        pid = await ready(inspectors)
        began_s = time.monotonic()
        looked, behind = await asyncio.gather(
            inspectors.look(TEXT, ("first", "hangs"), limit_s=0.3),
            inspectors.look(TEXT, ("first",), limit_s=0.3),
        )
        assert looked.missing == (("hangs", "late"),)
        assert behind.missing == (("first", "late"),)
        assert time.monotonic() - began_s < 20
        while inspectors.status().died != "hung":
            await asyncio.sleep(0.01)
        await healthy(inspectors)
        status = inspectors.status()
        assert status.pid != pid
        assert status.restarts == 1

    run(("first", "hangs"), acts, grace_s=0.1)


@pytest.mark.parametrize("name", ["dies"])
def test_a_detector_that_crashes_the_process_is_told_and_the_worker_starts_again(name):
    async def acts(inspectors):
        await ready(inspectors)
        looked = await inspectors.look(TEXT, ("first", name, "settings"), limit_s=LONG_S)
        assert looked.missing == ((name, "crashed"), ("settings", "crashed"))
        assert len(looked.found[0]) == 1
        await healthy(inspectors)
        assert (inspectors.status().died, inspectors.status().restarts) == ("crashed", 1)

    run(("first", name, "settings"), acts)


def test_killed_in_the_middle_of_a_look_and_between_looks():
    async def acts(inspectors):
        for _ in range(3):
            pid = await ready(inspectors)
            look = asyncio.ensure_future(inspectors.look(TEXT, ("sleeps",), limit_s=LONG_S))
            await asyncio.sleep(0.05)
            os.kill(pid, signal.SIGKILL)
            assert (await look).missing == (("sleeps", "crashed"),)
            await healthy(inspectors)
        os.kill(await ready(inspectors), signal.SIGKILL)
        while inspectors.status().restarts < 4:
            await asyncio.sleep(0.01)
        await healthy(inspectors)

    run(("sleeps", "first"), acts)


def test_stopped_it_counts_as_hung():
    async def acts(inspectors):
        os.kill(await ready(inspectors), signal.SIGSTOP)
        looked = await inspectors.look(TEXT, ("first",), limit_s=0.2)
        assert looked.missing == (("first", "late"),)
        while inspectors.status().died != "hung":
            await asyncio.sleep(0.01)
        await healthy(inspectors)

    run(("first",), acts, grace_s=0.1)


def test_flooded_it_refuses_and_answers_the_rest():
    async def acts(inspectors):
        await ready(inspectors)
        looks = [inspectors.look(("Ada " * 100,), ("first",), limit_s=LONG_S) for _ in range(300)]
        words = [looked.missing for looked in await asyncio.gather(*looks)]
        assert words.count(()) >= 8
        assert set(words) == {(), (("first", "busy"),)}
        long = await inspectors.look(("a" * 600, "b" * 401), ("first",), limit_s=LONG_S)
        assert long.missing == (("first", "too_long"),)
        await healthy(inspectors)

    run(("first",), acts, waiting_max=8, chars_max=1000)


def test_a_caller_that_goes_away_spoils_nothing():
    async def acts(inspectors):
        await ready(inspectors)
        looks = [asyncio.ensure_future(inspectors.look(TEXT, ("first",), limit_s=LONG_S)) for _ in range(20)]
        await asyncio.sleep(0)
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        await healthy(inspectors)

    run(("first",), acts)


def test_nothing_gets_out():
    async def acts(inspectors):
        await ready(inspectors)
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = str(server.getsockname()[1])
            looked = await inspectors.look((port,), ("calls_home",), limit_s=LONG_S)
            assert looked.missing == ()
            assert [one.kind for one in looked.found[0]] == ["refused"] * 7
            native = await inspectors.look((port,), ("calls_home_natively",), limit_s=LONG_S)
            if inspectors.status().isolation == "namespace":
                assert [one.kind for one in native.found[0]] == ["refused"]
                server.setblocking(False)
                with pytest.raises(BlockingIOError):
                    server.accept()

    run(("calls_home", "calls_home_natively"), acts)


def test_it_has_no_secrets_no_files_and_little_priority(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")

    async def acts(inspectors):
        await ready(inspectors)
        looked = await inspectors.look(TEXT, ("environment", "process"), limit_s=LONG_S)
        seen = {one.kind for one in looked.found[0]}
        assert "e.OMP_NUM_THREADS" in seen
        assert not any("OPENAI" in kind for kind in seen)
        assert {f"nice{os.nice(0) + 5}", f"parent{os.getpid()}", "files3"} <= seen

    run(("environment", "process"), acts)


@pytest.mark.parametrize(("name", "died"), [("deadly", "crashed"), ("babbling", "crashed"), ("slowly", "hung")])
def test_one_that_ends_or_hangs_the_start_is_tried_again_ever_more_rarely(name, died):
    async def acts(inspectors):
        while inspectors.status().restarts < 3:
            await asyncio.sleep(0.01)
        looked = await inspectors.look(TEXT, ("first",), limit_s=LONG_S)
        assert looked.missing == (("first", "late" if died == "hung" else "crashed"),)
        assert inspectors.status().died == died
        assert not await inspectors.wait_ready(0.01)

    run((name, "first"), acts, load_s=0.5 if died == "hung" else LONG_S, pause_s=0.01, pause_s_max=0.02)


def test_where_no_process_can_be_made_it_tries_again(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    async def acts(inspectors):
        while inspectors.status().restarts < 2:
            await asyncio.sleep(0.01)
        assert (inspectors.status().state, inspectors.status().died) in (
            ("pausing", "crashed"),
            ("starting", "crashed"),
        )
        monkeypatch.undo()

    run(("first",), acts, pause_s=0.01, pause_s_max=0.02)


def test_closed_it_says_so_and_lets_nobody_wait():
    async def acts(inspectors):
        await ready(inspectors)
        looks = [asyncio.ensure_future(inspectors.look(TEXT, ("sleeps",), limit_s=LONG_S)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await inspectors.close()
        for look in looks:
            assert (await asyncio.wait_for(look, 5)).missing[0][1] in ("closed", "late")
        assert (await inspectors.look(TEXT, ("sleeps",), limit_s=LONG_S)).missing == (("sleeps", "closed"),)
        await inspectors.close()

    run(("sleeps",), acts)


GATEWAY = """
import asyncio, sys
from ecotone.detectors import Inspectors

async def main():
    inspectors = Inspectors(("sleeps",), {})
    inspectors.start()
    await inspectors.wait_ready(30)
    print(inspectors.status().pid, flush=True)
    await inspectors.look(("a",), ("sleeps",), limit_s=60)

asyncio.run(main())
"""


def test_it_dies_with_a_gateway_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", GATEWAY], stdout=subprocess.PIPE) as gateway:
        pid = int(gateway.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        gateway.kill()
        gateway.wait()
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s and _is_alive(pid):
            time.sleep(0.01)
        assert not _is_alive(pid)


def _is_alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


WORKER = """
import sys
from ecotone.detectors import worker
worker.serve = lambda link, isolation: print("served")
worker.main()
"""


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_worker_whose_parent_died_before_it_could_ask_loads_nothing(is_gone):
    """Its new parent would never end: only the link tells. What the old one had sent is in there all the same."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"what a parent says")
        if is_gone:
            ours.close()
        command = [sys.executable, "-c", WORKER]
        done = subprocess.run(command, stdin=theirs, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"" if is_gone else b"served\n"), done.stderr
