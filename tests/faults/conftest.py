"""Sites and instruments are those of the end-to-end tests."""

import pytest
from tests.e2e.conftest import start, upstream

__all__ = ["start", "upstream"]

LONG = "test_soak.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes ten minutes and little of the machine begins first, and runs beside all others."""
    items.sort(key=lambda item: item.path.name != LONG)
