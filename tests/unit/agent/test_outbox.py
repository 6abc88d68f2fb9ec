"""Reports wait for the link: durable, numbered for ever, bounded, oldest first, none twice."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ecotone.agent import outbox
from ecotone.agent.outbox import Outbox
from ecotone.values import EcotoneError


def made(seq: int, dropped: int) -> bytes:
    return b'{"seq":%d,"dropped":%d}' % (seq, dropped)


def seqs(box: Outbox) -> list[int]:
    return [one.seq for one in box.unsent()]


def test_what_was_put_waits_until_it_is_acknowledged(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "hub" / "outbox.sqlite")
    assert [box.put(made, "state", 1.0) for _ in range(3)] == [1, 2, 3]
    assert [one.raw for one in Outbox(tmp_path / "hub" / "outbox.sqlite").unsent()] == [made(n, 0) for n in (1, 2, 3)]
    box.acked(2, entry=77)
    assert seqs(box) == [3]
    assert box.counts().acked_seq == 2
    box.acked(1)  # a late answer
    assert (seqs(box), box.counts().acked_seq) == ([3], 2)
    assert stat.S_IMODE((tmp_path / "hub" / "outbox.sqlite").stat().st_mode) == 0o600


def test_a_level_replaces_a_level_and_no_change(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.sqlite")
    for kind in ("level", "state", "level", "level", "state"):
        box.put(made, kind, 1.0)  # type: ignore[arg-type]
    assert seqs(box) == [2, 4, 5]
    assert box.counts().dropped == 0


def test_what_has_no_room_or_is_too_old_goes_and_is_counted(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.sqlite", bytes_max=1000, age_s_max=100.0)
    for n in range(20):
        box.put(lambda seq, dropped: b"x" * 100, "state", float(n))
    assert len(seqs(box)) == 11
    assert seqs(box)[-1] == 20
    assert box.counts().dropped == 9
    box.put(lambda seq, dropped: b"%d" % dropped, "state", 500.0)
    assert [one.raw for one in box.unsent()] == [b"20"]


def test_the_hub_knows_more_than_a_store_that_was_restored(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.sqlite")
    box.put(made, "state", 1.0)
    box.acked(4000)
    assert seqs(box) == []
    assert box.put(made, "state", 2.0) == 4001


def test_what_goes_is_kept_for_its_owner_to_read(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.sqlite")
    for n in range(outbox.SENT_KEPT + 5):
        box.put(made, "state", float(n))
    box.sending(box.unsent(), 9.0)
    assert len(box.sent()) == outbox.SENT_KEPT
    assert box.sent(1)[0].entry is None
    box.acked(outbox.SENT_KEPT + 5, entry=12)
    last = box.sent(1)[0]
    assert (last.seq, last.entry, last.sent_s, last.raw) == (55, 12, 9.0, made(55, 0))


def test_a_batch_holds_at_least_one_and_no_more_than_asked(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "outbox.sqlite")
    for _ in range(5):
        box.put(lambda seq, dropped: b"x" * 100, "state", 1.0)
    assert [one.seq for one in box.unsent(250)] == [1, 2]
    assert [one.seq for one in box.unsent(1)] == [1]


def test_starts_are_counted_and_a_broken_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    assert [Outbox(path).began() for _ in range(3)] == [1, 2, 3]
    assert Outbox(path).counts().boot == 3
    path.write_bytes(b"not a database at all, and long enough to be looked at" * 40)
    assert Outbox(path).began() == 1
    assert (tmp_path / "outbox.sqlite.broken-1").exists()


def test_a_disk_that_refuses_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EcotoneError) as caught:
        Outbox(tmp_path / "file" / "outbox.sqlite").put(made, "state", 1.0)
    assert caught.value.code == "hub.outbox"
    with pytest.raises(EcotoneError):
        Outbox(tmp_path / "file" / "outbox.sqlite").began()


def test_the_file_never_grows_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    box = Outbox(path, bytes_max=1 << 60)

    def fill() -> None:
        for _ in range(200):
            box.put(lambda seq, dropped: b"x" * 200_000, "state", 1.0)

    with pytest.raises(EcotoneError) as caught:
        fill()
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert path.stat().st_size <= outbox.FILE_BYTES_MAX
    box.acked(1 << 30)
    assert box.put(made, "state", 1.0) == (1 << 30) + 1
    assert path.stat().st_size < 1 << 20  # what was sent gives its room back


def test_a_kill_in_the_midst_loses_nothing_that_was_put(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        from pathlib import Path
        from ecotone.agent.outbox import Outbox
        box = Outbox(Path({str(tmp_path / "outbox.sqlite")!r}))
        while True:
            print(box.put(lambda seq, dropped: b"%d" % seq, "state", 1.0), flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(20)]
        child.kill()
        said += [int(line) for line in child.stdout.read().split()]
    found = seqs(Outbox(tmp_path / "outbox.sqlite"))
    assert found[: len(said)] == said
    assert len(found) <= len(said) + 1


class Histories(RuleBasedStateMachine):
    """Puts, acknowledgements, restarts, in any order."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.sqlite"
        self.box = Outbox(self.path, bytes_max=400)
        self.highest = 0
        self.acked = 0

    @rule(kind=st.sampled_from(["state", "level"]), size=st.integers(1, 120))
    def put(self, kind: str, size: int) -> None:
        seq = self.box.put(lambda seq, dropped: b"x" * size, kind, 1.0)  # type: ignore[arg-type]
        assert seq == self.highest + 1
        self.highest = seq

    @rule(step=st.integers(-3, 5))
    def ack(self, step: int) -> None:
        seq = max(0, self.acked + step)
        self.box.acked(seq)
        self.acked = max(self.acked, seq)
        self.highest = max(self.highest, seq)

    @rule()
    def restart(self) -> None:
        self.box = Outbox(self.path, bytes_max=400)

    @invariant()
    def numbers_grow_and_what_waits_is_bounded(self) -> None:
        waiting = self.box.unsent()
        numbers = [one.seq for one in waiting]
        assert numbers == sorted(set(numbers))
        assert all(self.acked < number <= self.highest for number in numbers)
        assert self.box.counts().bytes <= 400 + 120

    def teardown(self) -> None:
        self.folder.cleanup()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
