"""`make soak` in small: callers leave, targets fail, and nothing grows by more than a coarse bound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MINUTES = "1" if "ECOTONE_FAULT_ROUNDS" in os.environ else "0.6"


@pytest.mark.skipif(
    not {"CI", "ECOTONE_FAULT_ROUNDS"} & set(os.environ), reason="a minute and a half: CI and `make faults` run it"
)
def test_nothing_grows_at_moderate_load(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/soak/run.py"), "--minutes", MINUTES, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told = json.loads(next(tmp_path.glob("soak-*.json")).read_text())
    assert told["at_rest"]["in_flight"] == 0
    assert not told["ends"].get("unexplained"), told["whys"]
    assert told["ends"]["answered"] > 0.6 * told["requests"]
