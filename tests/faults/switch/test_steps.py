"""SIGKILL, loss of power and a full disk at every file operation of delivery, switch, trial and way back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.faults.switch.steps import HOWS, SCENARIOS, every

STRIDE = 1 if "ECOTONE_FAULT_ROUNDS" in os.environ else 13


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("how", HOWS)
def test_at_any_step_the_old_version_runs_or_the_new_one_and_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, how: str
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "none"))
    found = every(tmp_path, scenario, how, STRIDE)
    print(f"MEASURED {how} {scenario}: {found}")
    assert found.operations > 60
    assert found.old
    assert found.new
