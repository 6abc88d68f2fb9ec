"""What holds for all tests."""

from __future__ import annotations

import os

import pytest

# Before numpy is loaded: on a busy machine, threads that spin for each other make small fits a hundred times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

LONG = (
    "tests/e2e/test_hub", "tests/e2e/test_joined_", "tests/e2e/test_neighbour", "tests/e2e/test_switch",
    "tests/faults/hub/", "tests/faults/switch/test_rounds", "tests/faults/switch/test_steps",
    "tests/hub/test_bench", "tests/hub/test_serving_processes", "tests/hub/test_sites_killed",
    "tests/hub/test_wishes_kill",
)  # fmt: skip
"""Files of tests that start many processes, kill them and wait: CI and `make faults` run them; `make test` is quick."""
IS_WHOLE = "CI" in os.environ or "ECOTONE_FAULT_ROUNDS" in os.environ


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests run in CI, in `make faults`, and where they are asked for by name."""
    if IS_WHOLE or any(argument.split("::")[0].endswith(".py") for argument in config.args):
        return
    skip = pytest.mark.skip(reason="long: CI runs it, and `make faults`")
    for item in items:
        if item.nodeid.startswith(LONG):
            item.add_marker(skip)
