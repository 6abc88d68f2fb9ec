"""`make bench-hub` in its small form: real processes and sockets, one killed, a release that comes to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "benchmarks" / "hub" / "run.py"


@pytest.mark.usefixtures("postgres_server")
def test_no_acknowledged_report_is_lost_and_a_release_comes_to_its_end() -> None:
    command = [sys.executable, str(RUN), "--quick", "--sites", "20", "--only", "postgresql"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| one process killed: acknowledged reports lost | 0 |" in done.stdout
    assert "| what became of the release | done |" in done.stdout
