"""Figures of several processes as one, also while one of them is just beginning its files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, threading, time
from pathlib import Path
from ecotone.hub import web_metrics
from ecotone.values import RefusalError

metrics = web_metrics.Metrics()
metrics.reports.labels("taken").inc(3)
metrics.waiting.set(2)
folder = Path(sys.argv[1])
half = folder / "counter_4194305.db"
half.touch()
try:
    metrics.text()
except RefusalError as error:
    print(error.code, error.status)
threading.Timer(0.05, half.unlink).start()
print(metrics.text().decode())
"""


def test_figures_are_of_all_processes_and_wait_for_one_that_begins(tmp_path: Path) -> None:
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    texts = []
    for _ in range(2):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout)
    assert texts[0].startswith("hub.busy 503")
    assert 'ecotone_hub_reports_total{what="taken"} 3.0' in texts[0]
    assert 'ecotone_hub_reports_total{what="taken"} 6.0' in texts[1]
