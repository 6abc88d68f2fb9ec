"""All engines together: memory, idle ones, reloads, measuring, status. Real processes, fake engine."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from pathlib import Path

import msgspec
import pytest

from ecotone.engines import Limits, supervisor
from ecotone.engines.lifecycle import State
from ecotone.values import ConfigError

MIB = 1 << 20
ONE_MODEL = 300 * MIB
"""Of the models of these tests one is guessed to need 252 MiB: there is room for one and not for two."""


@pytest.fixture
def heavy(monkeypatch):
    """Workers of the fake engine weigh 20 MiB; here each counts as 252."""
    from ecotone.engines.child import Worker

    monkeypatch.setattr(Worker, "rss_bytes", lambda self: 252 * MIB if self.is_alive else 0)


def test_an_idle_model_makes_room_for_another(scene, heavy):
    async def acts(world):
        first, second = world.engine(name="first"), world.engine(name="second")
        assert (await world.told(first)).code == ""
        assert (await world.told(second)).code == ""
        assert (first.state, second.state) == (State.STOPPED, State.READY)
        assert (await world.told(first)).code == ""

    scene(acts, memory_bytes=ONE_MODEL)


def test_a_busy_model_is_not_unloaded_and_the_other_gets_its_turn_when_it_is_done(scene, heavy):
    async def acts(world):
        first, second = world.engine(name="first"), world.engine(name="second")
        await world.told(first)
        _, busy = world.ask(first, "say 5 gap 0.02")
        await busy.first
        answer = await world.told(second)
        assert busy.code == answer.code == ""
        assert busy.over_at_s < answer.over_at_s

    scene(acts, memory_bytes=ONE_MODEL)


def test_a_model_that_is_always_busy_is_drained_in_favour_of_one_that_waits(scene, heavy):
    async def acts(world):
        first, second = world.engine(name="first"), world.engine(name="second")
        served = []

        async def caller():
            while len(served) < 400 and not done.is_set():
                served.append((await world.told(first, "say 3 gap 0.02")).code)

        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(caller())
            await world.until(lambda: len(served) > 2)
            answer = await world.told(second)
            assert answer.code == ""
            await world.until(lambda: first.state is State.READY)  # and it comes back
            done.set()
        assert not any(served), "no request of the busy one was lost"

    scene(acts, memory_bytes=ONE_MODEL)


def test_who_waits_for_memory_too_long_is_told_so(scene, heavy):
    async def acts(world):
        first, second = world.engine(name="first"), world.engine(name="second")
        await world.told(first)
        _stream, busy = world.ask(first, "say 100 gap 0.05")
        await busy.first
        answer = await world.told(second)
        assert answer.code == "engine_start"
        assert "other models were busy" in answer.error.message
        assert not busy.over.done()

    scene(acts, memory_bytes=ONE_MODEL, limits=Limits(room_s=0.3, starve_s=9))


def test_a_model_that_can_never_fit_says_what_to_change(scene):
    async def acts(world):
        answer = await world.told(world.engine())
        assert answer.code == "engine_start"
        assert "engines.memory_mb" in answer.error.message

    scene(acts, memory_bytes=100 * MIB)


def test_a_model_that_nobody_uses_is_unloaded_and_comes_back(scene):
    async def acts(world):
        engine = world.engine(idle_unload_s=0.2)
        await world.told(engine)
        await world.until(lambda: engine.state is State.STOPPED)
        assert (await world.told(engine)).code == ""
        assert engine.starts == 2

    scene(acts)


def test_a_reload_keeps_equal_models_and_drains_the_others(scene):
    async def acts(world):
        kept, gone, never = world.engine(name="kept"), world.engine(name="gone"), world.engine(name="never")
        await world.told(kept)
        await world.told(gone)
        _, busy = world.ask(gone, "say 20 gap 0.02")
        await busy.first
        waiting = [world.ask(gone)[1] for _ in range(3)]
        world.supervisor.keep([kept.model])
        assert world.engine(name="kept") is kept
        assert {engine.model for engine in world.supervisor.status().engines} == {"kept", "gone"}
        assert world.supervisor.in_use() == {"kept", "gone"}
        await asyncio.gather(*(answer.over for answer in (busy, *waiting)))
        assert not any(answer.code for answer in (busy, *waiting))
        await world.until(lambda: len(world.supervisor.status().engines) == 1)
        assert (kept.state, gone.state, never.state) == (State.READY, State.STOPPED, State.STOPPED)

    scene(acts)


@pytest.mark.parametrize("how", ["fails", "forged"])
def test_a_reload_lets_go_of_engines_in_trouble(scene, how):
    async def acts(world):
        engine = world.engine(how)
        _, answer = world.ask(engine)
        await asyncio.sleep(0.2)
        world.supervisor.keep([])
        await asyncio.wait_for(answer.over, 5)
        assert answer.code.startswith("engine_")
        await world.until(lambda: not world.supervisor.status().engines)

    scene(acts)


def test_who_waits_for_an_engine_that_a_reload_lets_go_is_served_first(scene):
    async def acts(world):
        engine = world.engine("slow 0.5")
        _, answer = world.ask(engine)
        await asyncio.sleep(0.1)
        world.supervisor.keep([])
        await asyncio.wait_for(answer.over, 10)
        assert answer.code == ""
        await world.until(lambda: not world.supervisor.status().engines)

    scene(acts)


def test_the_first_start_measures_and_keeps_what_it_found(scene, tmp_path):
    kept = tmp_path / "state" / "engines.json"

    async def acts(world):
        engine = world.engine()
        world.supervisor.warm(engine.model)
        assert engine.state is State.MEASURING
        await world.until(lambda: engine.state is State.READY)
        assert len(engine.measured.samples) == 3, "batches cannot be told apart at this speed"
        assert engine.tuned.threads == 2, "the fake engine is as fast beside a neighbour"
        assert any("reads" in line for line in world.lines)
        assert (await world.told(engine)).code == ""

    async def again(world):
        engine = world.engine()
        world.supervisor.warm(engine.model)
        assert engine.state is State.STARTING
        assert engine.tuned.threads == 2
        assert engine.measured.best.rss_bytes == engine.needed_bytes()
        await world.until(lambda: engine.state is State.READY)

    scene(acts, is_measured=True, tunings=kept)
    assert msgspec.json.decode(kept.read_bytes())
    scene(again, is_measured=True, tunings=kept)


def test_a_request_ends_measuring(scene):
    async def acts(world):
        engine = world.engine("starts stall")
        world.supervisor.warm(engine.model)
        await world.until(lambda: world.holds == 1)
        await asyncio.sleep(0.1)
        answer = await world.told(engine)
        assert answer.code == ""
        assert engine.measured is None
        assert engine.tuned.threads == 1

    scene(acts, is_measured=True)


def test_what_was_not_measured_at_first_is_measured_in_a_quiet_hour(scene, monkeypatch):
    monkeypatch.setattr(supervisor, "QUIET_S", 0.1)

    async def acts(world):
        engine = world.engine("starts quick")
        await world.told(engine)
        await world.until(lambda: engine.measured is not None)
        await world.until(lambda: engine.state is State.READY)

    scene(acts, is_measured=True)


@pytest.mark.parametrize(
    ("how", "state"), [("fails", State.CRASHED), ("forged", State.REFUSED), ("starts changed", State.REFUSED)]
)
def test_measuring_a_model_that_cannot_run_ends_like_its_start(scene, how, state):
    async def acts(world):
        engine = world.engine(how)
        world.supervisor.warm(engine.model)
        await world.until(lambda: engine.state is state)
        assert engine.measured is None

    scene(acts, is_measured=True)


def test_measuring_ends_where_the_engines_account_makes_no_sense_or_the_disk_refuses(scene, tmp_path):
    async def acts(world):
        odd, fine = world.engine("odd", name="odd"), world.engine(name="fine")
        for engine in (odd, fine):
            world.supervisor.warm(engine.model)
            await world.until(lambda engine=engine: engine.state is State.READY)
        assert odd.measured is None
        assert fine.measured is not None
        assert any("cannot be kept" in line for line in world.lines)

    (tmp_path / "file").write_text("")
    scene(acts, is_measured=True, tunings=tmp_path / "file" / "engines.json")


def test_a_model_too_large_to_measure_is_not_measured(scene):
    async def acts(world):
        engine = world.engine()
        world.supervisor.warm(engine.model)
        await world.until(lambda: engine.state is not State.MEASURING)
        assert any("not measured" in line for line in world.lines)

    scene(acts, is_measured=True, memory_bytes=100 * MIB)


def test_status_says_what_runs_and_how(scene):
    async def acts(world):
        engine = world.engine()
        assert world.supervisor.status().engines[0].state == "stopped"
        await world.told(engine)
        _, answer = world.ask(engine, "say 5 gap 0.05")
        await answer.first
        status = world.supervisor.status()
        found = status.engines[0]
        assert (found.state, found.slots_used, found.waiting, found.slots) == ("ready", 1, 0, 2)
        assert found.pid == engine.running.worker.pid
        assert found.rss_bytes > MIB
        assert found.load_s is not None
        assert status.machine.cores == 2
        assert msgspec.json.encode(status)
        await answer.over

    scene(acts)


def test_a_probe_starts_the_engine_and_says_whether_it_runs(scene):
    from tests.unit.engines.world import Answer

    async def acts(world):
        engine, broken = world.engine(), world.engine("fails", name="broken")
        for target, code in ((engine, ""), (engine, ""), (broken, "engine_start")):
            answer = Answer()
            stream = world.target(target).probe(answer, None, None)
            await asyncio.wait_for(answer.over, 5)
            assert answer.code == code
            stream.pause()
            stream.resume()
            stream.abort()
        answer = Answer()
        world.target(engine).probe(answer, None, None).abort()
        await asyncio.sleep(0.02)
        assert not answer.over.done()

    scene(acts)


def test_the_folder_for_sockets_is_private_short_and_swept(tmp_path, monkeypatch):
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / str(gone.pid)).mkdir()
    (tmp_path / str(gone.pid) / "a.sock").touch()
    (tmp_path / "notes").mkdir()
    folder = supervisor.socket_folder(tmp_path)
    assert folder == tmp_path / str(os.getpid())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([str(os.getpid()), "notes"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    long = supervisor.socket_folder(tmp_path / ("x" * 90))
    assert str(long).startswith("/tmp/")
    long.rmdir()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="somebody else"):
        supervisor.socket_folder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no folder"):
        supervisor.socket_folder(tmp_path / "file" / "run")


def test_without_the_engine_there_is_no_version(monkeypatch):
    assert supervisor.engine_version()

    def missing(name):
        raise supervisor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(supervisor.importlib.metadata, "version", missing)
    assert supervisor.engine_version() == ""


def test_the_folder_is_of_the_process(scene, tmp_path):
    async def acts(world):
        assert world.supervisor.launch.folder == Path(tmp_path / "run" / str(os.getpid()))

    scene(acts)
