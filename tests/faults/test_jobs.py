"""A site that is killed while it takes and does jobs: what it acknowledged ends once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Site, Upstream, poll

ROUNDS = int(os.environ.get("ECOTONE_FAULT_ROUNDS", "3"))
PATH = "/v1/chat/completions"
CALLERS = 4


def config(upstream: Upstream) -> dict[str, Any]:
    ward = {"url": upstream.url, "model": "small-1", "at": "edge"}
    return {
        "targets": {"ward": ward},
        "models": {"assistant": {"targets": ["ward"]}},
        "jobs": {"concurrent": 4},
    }


def put_until_it_dies(site: Site, caller: int, taken: dict[str, str]) -> None:
    """Jobs with keys of their own; what was acknowledged is written down."""
    turn = 0
    with contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            turn += 1
            words = f"caller {caller} turn {turn} of {site.process.pid}"
            body = {"model": "assistant", "messages": [{"role": "user", "content": words}]}
            headers = {"Prefer": "respond-async", "Idempotency-Key": words}
            status, _, told = site.ask("POST", PATH, body, headers)
            assert status in (202, 429), told
            if status == 202:
                taken[words] = json.loads(told)["id"]


def test_every_job_that_was_acknowledged_ends_once(tmp_path: Path, upstream: Upstream) -> None:
    upstream.behaviour = "echo"
    dice = random.Random(20261125)
    taken: dict[str, str] = {}
    for _ in range(ROUNDS):
        site = Site(tmp_path, config(upstream), {}, ()).wait()
        callers = [threading.Thread(target=put_until_it_dies, args=(site, number, taken)) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        with contextlib.suppress(TimeoutError):
            callers[0].join(dice.uniform(0.05, 0.6))
        site.stop(signal.SIGKILL)
        for caller in callers:
            caller.join()
    site = Site(tmp_path, config(upstream), {}, ()).wait()
    try:
        poll(lambda: site.status()["jobs"]["waiting"] + site.status()["jobs"]["running"] == 0, "all end", 120)
        assert taken
        for words, job in taken.items():
            status, _, told = site.ask("GET", f"/v1/jobs/{job}/answer")
            assert status == 200
            assert json.loads(told)["choices"][0]["message"]["content"] == words
        seen: dict[str, int] = {}
        for event in _events(site):
            if event["state"] == "answered":
                seen[event["job"]] = seen.get(event["job"], 0) + 1
        assert set(taken.values()) <= set(seen)
        assert set(seen.values()) == {1}
        print(f"\nMEASURED {ROUNDS} kills, {len(taken)} jobs acknowledged, {len(seen)} answered, each once")
    finally:
        site.stop()


def _events(site: Site) -> list[dict[str, Any]]:
    """All events so far."""
    found: list[dict[str, Any]] = []
    with contextlib.closing(site.connect(5.0)) as connection:
        connection.request("GET", "/v1/jobs/events", headers={"Last-Event-ID": "0"})
        answer = connection.getresponse()
        with contextlib.suppress(TimeoutError):
            while True:
                line = answer.readline()
                if line.startswith(b"data: "):
                    found.append(json.loads(line[6:]))
    return found
