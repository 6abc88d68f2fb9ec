"""`ecotone neighbour up`: says where it is, serves until it is told to stop, and refuses what is no address."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ecotone.cli import neighbours
from ecotone.cli.root import ecotone
from ecotone.delivery.neighbour_server import NeighbourServer


def run(folder: Path, *arguments: str) -> Result:
    (folder / "site.yaml").write_text(json.dumps({"store": {"path": str(folder / "store")}}))
    return CliRunner().invoke(ecotone, ["neighbour", "up", "-c", str(folder / "site.yaml"), *arguments])


@pytest.mark.parametrize("listen", ["10.0.0.9", ":3270", "10.0.0.9:x", "10.0.0.9:99999", ""])
def test_what_is_no_address_is_refused(tmp_path: Path, listen: str) -> None:
    result = run(tmp_path, "--listen", listen, "--json")
    assert (result.exit_code, json.loads(result.output)["error"]["code"]) == (2, "hub.listen")


def test_it_is_off_unless_somebody_says_where(tmp_path: Path) -> None:
    assert "--listen" in run(tmp_path).output
    assert run(tmp_path).exit_code == 2


@pytest.mark.parametrize(
    ("is_json", "said"), [(True, '"segments":0'), (False, "neighbour: neighbour+http://127.0.0.1:")]
)
def test_it_serves_until_it_is_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_json: bool, said: str
) -> None:
    made: list[NeighbourServer] = []

    def server(*arguments: Any) -> NeighbourServer:
        made.append(NeighbourServer(*arguments))
        return made[0]

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(neighbours, "NeighbourServer", server)
    stop = threading.Thread(target=_stop_when, args=(made,))
    stop.start()
    try:
        result = run(tmp_path, "--listen", "127.0.0.1:0", "--mbit-per-s", "8", *(["--json"] if is_json else []))
    finally:
        stop.join()
        for number, action in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, action)
    assert result.exit_code == 0, result.output
    assert said in result.output
    assert made[0].bucket._rate == 1_000_000
    assert made[0].fileno() == -1  # closed


def _stop_when(made: list[NeighbourServer]) -> None:
    """As an operator does once it is there: handlers are set before it says where it is."""
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        if made and signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, None):
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(0.01)
