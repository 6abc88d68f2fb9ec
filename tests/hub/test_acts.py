"""The hub's ledger: one chain from many processes, read by the same tools as a site's, and what was tampered with."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from securesystemslib.signer import CryptoSigner
from sqlalchemy import Connection, select

from ecotone.assets import StoreError
from ecotone.cli.root import ecotone
from ecotone.delivery import hub_keys
from ecotone.hub import acts as room
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
from ecotone.hub.tables import acts, checkpoints, counters
from ecotone.store import chain
from ecotone.values import ConfigError


@pytest.fixture
def ledger(database: Database, tmp_path: Path) -> Acts:
    return Acts(database, room.signer(tmp_path / "keys", "north"))


def test_an_act_is_noted_before_it_takes_effect(ledger: Acts) -> None:
    assert ledger.write("person:ann", "release.start", "smol@2", "ab" * 32, sites=12, is_forced=True) == 1
    assert ledger.write("hub", "wishes.set", "smol@2") == 2
    genesis, first, _ = ledger.tail()
    assert genesis.kind == "genesis"
    assert first.body == {
        "actor": "person:ann",
        "act": "release.start",
        "subject": "smol@2",
        "digest": "ab" * 32,
        "figures": {"sites": 12, "is_forced": True},
    }
    assert [entry.seq for entry in ledger.tail(after=0, limit=1)] == [1]
    assert [entry.seq for entry in ledger.newest(2)] == [2, 1]
    assert [entry.seq for entry in ledger.newest(5, before=2)] == [1, 0]


def test_an_act_and_what_it_does_are_one(ledger: Acts, database: Database) -> None:
    def done(connection: Connection) -> None:
        ledger.write("person:ann", "count", "n", at=connection)
        connection.execute(counters.insert().values(name="n", value=1))

    database.run(done)
    with pytest.raises(Exception, match="hub_counters"):
        database.run(done)
    assert [entry.kind for entry in ledger.tail()] == ["genesis", "act"], "what was undone was not noted"


def test_content_cannot_be_noted(ledger: Acts) -> None:
    with pytest.raises(AssertionError):
        ledger.write("person:ann", "release.start", "x" * 2000)
    with pytest.raises(AssertionError):
        ledger.write("person:ann", "Not a word", "x")


WRITER = """
import sys
from ecotone.hub.acts import Acts
from ecotone.hub.database import Database
acts = Acts(Database.open(sys.argv[1]))
for number in range(25):
    acts.write(f"process:{sys.argv[2]}", "count", str(number))
"""


def test_many_processes_write_one_chain(ledger: Acts, database_url: str) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, database_url, str(n)]) for n in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    ledger.checkpoint()
    report = ledger.verify()
    assert report.is_whole
    assert report.attested.is_signed
    own = [entry for entry in ledger.tail(limit=500) if entry.body.get("actor") == "process:2"]
    assert [entry.body["subject"] for entry in own] == [str(number) for number in range(25)]


def test_checkpoints_are_signed_when_there_is_something_new(
    ledger: Acts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ledger.checkpoint() == b""
    ledger.write("hub", "start", "x")
    first = ledger.checkpoint()
    assert first
    assert ledger.checkpoint() == first
    monkeypatch.setattr(room, "CHECKPOINT_ENTRIES", 4)
    for _ in range(10):
        ledger.write("hub", "look", "x")
    with database.read() as connection:
        assert len(connection.execute(select(checkpoints.c.size)).all()) >= 3
    assert ledger.verify().is_whole
    assert Acts(database).checkpoint() == ledger.checkpoint(), "who has no key gives the newest that there is"


def test_a_clock_that_falls_back_begins_a_segment(database: Database, tmp_path: Path) -> None:
    now = [2_000_000_000.0]
    ledger = Acts(database, room.signer(tmp_path / "keys", "north"), wall_s=lambda: now[0])
    for step in (0.0, 10.0, -5.0, -1e6, 1.0):
        now[0] += step
        ledger.write("hub", "look", "x")
    copy = ledger.export(tmp_path / "copy")
    assert len(list(copy.glob("*.jsonl"))) == 2
    assert ledger.verify().is_whole


def test_the_usual_tools_read_an_export(ledger: Acts, tmp_path: Path) -> None:
    for number in range(5):
        ledger.write("person:ann", "look", str(number))
    copy = ledger.export(tmp_path / "copy")
    with pytest.raises(ConfigError, match=r"hub\.file"):
        ledger.export(copy)
    run = CliRunner().invoke(ecotone, ["ledger", "verify", str(copy), "--key", str(copy / "site.pub"), "--json"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.output)
    assert told["whole"]
    assert told["signed"]
    run = CliRunner().invoke(ecotone, ["evidence", "--file", str(copy), "--key", str(copy / "site.pub")])
    assert run.exit_code == 0, run.output


def _line(connection: Connection, seq: int) -> bytes:
    return bytes(connection.execute(select(acts.c.line).where(acts.c.seq == seq)).scalar_one())


def _changed(connection: Connection) -> None:
    text = _line(connection, 3).replace(b"person:ann", b"person:eve")
    connection.execute(acts.update().where(acts.c.seq == 3).values(line=text))


def _dropped(connection: Connection) -> None:
    connection.execute(acts.delete().where(acts.c.seq == 3))


def _cut(connection: Connection) -> None:
    connection.execute(acts.delete().where(acts.c.seq >= 3))


def _garbage(connection: Connection) -> None:
    connection.execute(acts.update().where(acts.c.seq == 0).values(line=b"none\n"))


def _rewritten(connection: Connection) -> None:
    """The whole chain anew, as who has the database and not the key can do."""
    prev = chain.NOTHING
    for row in connection.execute(select(acts.c.seq, acts.c.at_ms, acts.c.line).order_by(acts.c.seq)).all():
        entry = chain.entry(bytes(row.line))
        assert entry is not None
        body = json.dumps(entry.body, separators=(",", ":")).replace("ann", "eve").encode()
        text, prev = chain.line(row.seq, row.at_ms, entry.kind.encode(), body, prev)
        connection.execute(acts.update().where(acts.c.seq == row.seq).values(line=text))


def _unsigned(connection: Connection) -> None:
    _rewritten(connection)
    connection.execute(checkpoints.delete())


@pytest.mark.parametrize("tamper", [_changed, _dropped, _cut, _garbage, _rewritten, _unsigned])
def test_tampering_is_found(ledger: Acts, database: Database, tamper: Callable[[Connection], None]) -> None:
    for number in range(6):
        ledger.write("person:ann", "look", str(number))
    ledger.checkpoint()
    assert ledger.verify().is_whole
    database.run(tamper)
    assert not ledger.verify().is_whole


def test_a_hub_without_its_database_notes_nothing(ledger: Acts, database: Database, database_url: str) -> None:
    ledger.write("hub", "look", "x")
    if database.dialect == "sqlite":
        database.close()
        Path(database_url.removeprefix("sqlite:///")).unlink()
        with pytest.raises(StoreError, match=r"hub\.database"):
            ledger.write("hub", "look", "x")


def test_a_key_is_made_once(tmp_path: Path) -> None:
    first = room.signer(tmp_path, "north")
    assert room.signer(tmp_path, "north").public == first.public
    (tmp_path / room.KEY).write_bytes(b"none")
    with pytest.raises(ConfigError, match=r"hub\.keys"):
        room.signer(tmp_path, "north")


def test_two_processes_that_make_the_key_at_once_have_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    written = hub_keys.written

    def late(key: CryptoSigner, path: Path) -> Path:
        if not made:
            made.append(written(hub_keys.made(), path))
        return written(key, path)

    monkeypatch.setattr(hub_keys, "written", late)
    first = room.signer(tmp_path, "north")
    assert room.signer(tmp_path, "north").public == first.public


def test_it_is_whole_while_it_is_written(ledger: Acts) -> None:
    ledger.write("hub", "look", "x")
    is_over = threading.Event()

    def write() -> None:
        while not is_over.is_set():
            ledger.write("hub", "look", "x")
            ledger.checkpoint()

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            report = ledger.verify()
            assert report.is_whole, report.bad
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
