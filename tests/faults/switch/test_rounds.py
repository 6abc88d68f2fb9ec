"""Some rounds of trouble around switches; `make faults` runs 200 of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.faults.switch.campaign import KINDS, campaign, has_model

ROUNDS = len(KINDS) if "ECOTONE_FAULT_ROUNDS" in os.environ else 3


@pytest.mark.engine
@pytest.mark.skipif(not has_model(), reason="no starter model: `make test` fetches it")
def test_after_each_round_the_old_version_runs_or_the_new_one(tmp_path: Path) -> None:
    with campaign(tmp_path, seed=7) as rounds:
        rounds.run(ROUNDS)
    assert rounds.faults == []
    assert all(one.answers for one in rounds.rounds)
