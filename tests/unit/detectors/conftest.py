"""Detectors of a test's own, for this process and for workers."""

from __future__ import annotations

import sys

import pytest
from tests.unit.detectors import plugins


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The test's plug-ins are installed."""
    plugins.install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield
    sys.modules.pop("test_plugin", None)
