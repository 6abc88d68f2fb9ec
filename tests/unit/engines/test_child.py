"""A worker process from its parent's side, where the tests of engines do not reach."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from ecotone.engines import child, worker
from ecotone.engines.child import Worker


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Puts another script in the worker's place."""

    def put(text):
        path = tmp_path / "worker.py"
        path.write_text(text)
        monkeypatch.setattr(worker, "__file__", str(path))

    return put


def run(acts):
    asyncio.run(asyncio.wait_for(acts(), 10))


def test_a_ready_line_that_is_none_ends_the_worker(script):
    script("print('hello', flush=True)\nimport time; time.sleep(60)")

    async def acts():
        made = Worker()
        assert await made.gone == -9
        assert not made.ready.done()
        assert made.why() == "killed by SIGKILL: its log is empty"
        assert (made.rss_bytes(), made.work_s(), made.is_alive) == (0, 0.0, False)
        made.kill()

    run(acts)


def test_its_log_is_bounded_and_what_is_not_ended_counts(script):
    script("import os\nos.write(2, b'x' * 60000 + b'\\n' + b'y' * 60000 + b'\\nE the reason')")

    async def acts():
        made = Worker()
        await made.gone
        assert made._log_bytes <= child.LOG_BYTES_MAX
        assert len(made.why()) < 400

    run(acts)


def test_a_worker_that_closes_its_outputs_is_still_watched(script):
    script("import os, time\nos.close(1)\nos.close(2)\ntime.sleep(0.3)")

    async def acts():
        made = Worker()
        assert await made.gone == 0
        assert made.why() == "exit status 0: its log is empty"

    run(acts)


def test_settings_for_one_that_is_gone_are_no_error(script):
    from ecotone.engines.settings import Limits, Model, Tuned, worker_settings

    script("")

    async def acts():
        made = Worker()
        while made._process.poll() is None:
            await asyncio.sleep(0)
            os.sched_yield()
        model = Model(name="m", digest="", file_bytes=1)
        settings = worker_settings(model, Tuned(threads=1), Limits(), is_x86=True, socket="", key="")
        made.configure(settings, [0])
        await made.gone

    run(acts)


def test_a_system_that_gives_no_process_leaves_nothing_behind(monkeypatch):
    async def acts():
        before = set(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match=r"nowhere|no descriptors"):
            Worker()
        assert set(os.listdir("/proc/self/fd")) == before

    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        run(acts)

    def refused(pid):
        raise OSError("no descriptors left")

    monkeypatch.setattr(os, "pidfd_open", refused)
    run(acts)


def test_only_what_a_worker_needs_of_the_environment_goes_to_it(monkeypatch):
    monkeypatch.setenv("ECOTONE_CLOUD_KEY", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = child._environment()
    assert "ECOTONE_CLOUD_KEY" not in found
    assert found["OMP_NUM_THREADS"] == "1"
    assert "PATH" in found
