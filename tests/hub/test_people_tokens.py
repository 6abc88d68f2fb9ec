"""The hub's own secrets: made once whoever comes first, the same for all processes, and damage is told."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ecotone.access import Claims
from ecotone.hub.tokens import PEPPER, SESSIONS, Secrets
from ecotone.values import ConfigError

NOW_S = 1_800_000_000.0
CLAIMS = Claims(hub="h", site="s", generation=1, until_s=NOW_S + 900)


def test_secrets_are_made_once_and_are_for_the_hub_alone(tmp_path: Path) -> None:
    folder = tmp_path / "hub.keys"
    first, second = Secrets.at(folder), Secrets.at(folder)
    assert first.pepper == second.pepper
    assert second.sessions.claims(first.sessions.token(CLAIMS), "h", NOW_S) == CLAIMS
    assert {path.name for path in folder.iterdir()} == {PEPPER, SESSIONS}
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Secrets.at(tmp_path / "other").pepper != first.pepper


def test_of_processes_that_start_at_once_one_makes_them(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from ecotone.hub.tokens import Secrets; "
        f"print(Secrets.at(Path({str(tmp_path / 'k')!r})).pepper.hex())"
    )
    started = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=120)[0] for process in started}) == 1
    assert {path.name for path in (tmp_path / "k").iterdir()} == {PEPPER, SESSIONS}


def test_a_new_secret_of_sessions_is_seen_by_who_runs_already(tmp_path: Path) -> None:
    runs, changes = Secrets.at(tmp_path), Secrets.at(tmp_path)
    before = runs.sessions.token(CLAIMS)
    changes.renew_sessions()
    after = runs.sessions.token(CLAIMS)
    assert after != before
    assert runs.sessions.claims(before, "h", NOW_S) == CLAIMS
    changes.renew_sessions()
    assert runs.sessions.claims(before, "h", NOW_S) is None
    assert runs.sessions.claims(after, "h", NOW_S) == CLAIMS
    assert len((tmp_path / SESSIONS).read_text().splitlines()) == 2


@pytest.mark.parametrize("name", [PEPPER, SESSIONS])
@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 65, b"a b\nc d\n"])
def test_a_damaged_file_is_told_and_never_made_anew(tmp_path: Path, name: str, content: bytes) -> None:
    Secrets.at(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match="Restore it from a copy") as found:
        Secrets.at(tmp_path)
    assert found.value.code == "hub.keys"
    assert (tmp_path / name).read_bytes() == content


def test_a_file_that_is_gone_while_the_hub_runs_is_told(tmp_path: Path) -> None:
    secrets = Secrets.at(tmp_path)
    (tmp_path / SESSIONS).unlink()
    with pytest.raises(ConfigError, match="No such file"):
        assert secrets.sessions
    (tmp_path / SESSIONS).mkdir()
    with pytest.raises(ConfigError, match="cannot be used"):
        secrets.renew_sessions()
