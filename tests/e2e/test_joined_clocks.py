"""Rule 2: a joined site whose clock is wrong. Sessions need no clock; what is signed has a floor; what runs goes on."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ECOTONE, Site, Start, Upstream, poll
from tests.e2e.test_joined import ASK, config, ecotone, joining, newest, settings, states, token, url
from tests.hub.served import Settings, assign, serving

__all__ = ["settings"]

CLOCK = """
import os, time
_real, _real_ns = time.time, time.time_ns
def _off():
    with open(os.path.join(os.path.dirname(__file__), "offset")) as file:
        return float(file.read())
time.time = lambda: _real() + _off()
time.time_ns = lambda: _real_ns() + int(_off() * 1e9)
"""
"""What a machine without a battery-backed clock does to a process, made from outside."""

YEAR_S = 365.25 * 86_400
BACK_TO_1970_S = -1.7956e9


@pytest.fixture
def clock(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "made-clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CLOCK)
    (folder / "offset").write_text("0")
    return {"PYTHONPATH": str(folder), "MADE_CLOCK": str(folder / "offset")}


def turn(clock: dict[str, str], seconds: float) -> None:
    Path(clock["MADE_CLOCK"]).write_text(str(seconds))


def test_a_clock_at_1970_joins_reports_and_takes_what_is_wanted(
    start: Start, settings: Settings, upstream: Upstream, clock: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in clock.items():
        monkeypatch.setenv(name, value)
    turn(clock, BACK_TO_1970_S)
    with serving(settings) as hub:
        site = start(config(hub, upstream), environ=clock, fill=joining(hub))
        assign(hub, "test", "smol@1")
        poll(lambda: states(site) == {"smol@1": "good"}, "the wish is carried out at 1970", 60)
        report = poll(lambda: (found := newest(hub)).get("generation") and found, "a report", 30)
        # Its reckoning is not below what it has seen signed.
        assert report["made_s"] > 1.7e9
        turn(clock, 0)
        assign(hub, "test", "smol@2")
        poll(lambda: states(site).get("smol@2") == "good", "the next, with a clock that is right", 60)


def test_a_clock_that_is_a_year_ahead_takes_nothing_new_and_runs_on(
    start: Start, settings: Settings, upstream: Upstream, clock: dict[str, str]
) -> None:
    with serving(settings) as hub:
        site = start(config(hub, upstream), environ=clock, fill=joining(hub))
        assign(hub, "test", "smol@1")
        poll(lambda: states(site) == {"smol@1": "good"}, "the wish is carried out", 60)
        turn(clock, YEAR_S)
        assign(hub, "test", "smol@2")
        poll(lambda: any("hub" in one for one in site.status()["troubles"]), "what is signed has expired here", 60)
        assert states(site) == {"smol@1": "good"}
        assert site.status()["hub"]["stale_since"] is not None
        assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
        assert "trust.expired" in poll(
            lambda: (found := newest(hub).get("trouble")) and "trust.expired" in found and found, "the hub hears", 60
        )
        turn(clock, 0)
        site.stop()
        again = _started(site, clock)
        try:
            poll(lambda: states(site).get("smol@2") == "good", "the clock is right again", 60)
        finally:
            again.send_signal(signal.SIGTERM)
            again.wait(30)
            assert again.stdout is not None
            again.stdout.close()


def test_a_step_back_of_a_day_changes_nothing(
    start: Start, settings: Settings, upstream: Upstream, clock: dict[str, str]
) -> None:
    with serving(settings) as hub:
        site = start(config(hub, upstream), environ=clock, fill=joining(hub))
        assign(hub, "test", "smol@1")
        poll(lambda: states(site) == {"smol@1": "good"}, "the wish is carried out", 60)
        poll(lambda: "seq" in newest(hub), "it has reported", 30)
        turn(clock, -86_400)
        seq = newest(hub)["seq"]
        assign(hub, "test", "smol@2")
        poll(lambda: states(site).get("smol@2") == "good", "the next wish", 60)
        poll(lambda: newest(hub)["seq"] > seq, "reports go on", 30)
        said: Any = json.loads(ecotone("status", "--sent", "--json", folder=site.store.parent).stdout)
        numbers = [one["report"]["seq"] for one in said["sent"]]
        assert numbers == sorted(set(numbers))
        assert token(hub, "other")
        assert url(hub)


def _started(site: Site, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    import os

    env = {key: value for key, value in os.environ.items() if not key.startswith("ECOTONE_")} | environ
    made = subprocess.Popen(
        [ECOTONE, "up", "-c", str(site.file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    )
    assert made.stdout is not None
    site.port = int(made.stdout.readline().decode().rsplit(":", 1)[1])
    return made
