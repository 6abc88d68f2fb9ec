"""`make soak` in ten minutes, and in one: callers leave, targets fail, and nothing grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.conftest import Start, Upstream

ROOT = Path(__file__).resolve().parent.parent.parent
IS_CI = "CI" in os.environ
MINUTES, RATE = (9.0, 20.0) if IS_CI else (1.0, 20.0)
"""Beside the other tests: 20 requests a second take a seventh of a core, callers and targets included."""


@pytest.mark.skipif(
    not (IS_CI or "ECOTONE_FAULT_ROUNDS" in os.environ), reason="ten minutes: CI runs it, and `make faults` one of them"
)
def test_nothing_grows_at_moderate_load(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/soak/run.py"), "--small", "--out", str(tmp_path)]
    command += ["--minutes", str(MINUTES), "--rate", str(RATE)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # the site as it is
    done = subprocess.run(command, capture_output=True, text=True, timeout=MINUTES * 60 + 300, check=False, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    told = json.loads(next(tmp_path.glob("soak-*.json")).read_text())
    assert told["faults"] == []
    assert told["ends"]["answered"] > 0.6 * told["requests"]
    assert {one["name"] for one in told["trends"]} >= {"site_mb", "blocks", "fds", "threads", "tasks", "jobs_mb"}


def test_bodies_do_not_outlive_their_answers(start: Start, upstream: Upstream) -> None:
    """Each of these requests comes when the one before is over: the site needs room for one of them."""
    there = {"url": upstream.url, "model": "m"}
    targets = {"big": there | {"at": "cloud"}, "ward": there | {"at": "edge"}}
    models = {"assistant": {"targets": ["big", "ward"], "mode": "cloud"}}
    site = start({"targets": targets, "models": models, "privacy": {"detectors": []}})
    words = "The pump in hall three hums at night. " * 8000
    chat = {"model": "assistant", "messages": [{"role": "user", "content": words}]}

    def ask(times: int) -> int:
        for _ in range(times):
            assert site.ask("POST", "/v1/chat/completions", chat)[0] == 200
            upstream.raw.clear()
            upstream.bodies.clear()
        return site.rss_bytes()

    warm = ask(20)
    assert ask(150) - warm < 0.25 * 150 * len(words)
