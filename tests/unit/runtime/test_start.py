"""A start that fails says so, and ends with the code for it."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from ecotone.values import RefusalError

start = importlib.import_module("ecotone.runtime.run")
"""The module: its name in the package is that of the function."""


@pytest.mark.parametrize(
    "error", [RefusalError("refused.ledger", "the ledger cannot be written", status=503), OSError(5, "I/O error")]
)
def test_a_disk_that_fails_at_the_start_is_told_without_a_traceback(
    error: Exception, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(main: Any) -> int:
        main.close()
        raise error

    monkeypatch.setattr(start, "_run_loop", fail)
    monkeypatch.setattr(start, "missing", lambda config, store: [])
    monkeypatch.setattr(start, "set_up_logs", lambda level, form: None)
    environ = {"ECOTONE_STORE_PATH": str(tmp_path)}
    assert start.run(None, environ, {}) == 2
    assert "the site cannot go on: " in capsys.readouterr().err
