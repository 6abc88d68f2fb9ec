"""The ring of sealed examples."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest

from ecotone.store.disk import Disk
from ecotone.store.examples import TEXT_CHARS_MAX, Example, Examples
from ecotone.values import EcotoneError

KEY = bytes(range(32))


def example(number: int, model: str = "assistant", **said: str) -> Example:
    texts = {"question": f"question {number}", "edge": "no", "cloud": "yes", **said}
    return Example(
        request=f"req-{number}", model=model, target="small", at_ms=1000 + number, gap=1.0, checker="match", **texts
    )


class NoDisk(Disk):
    def save(self, path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    def remove(self, path: Path) -> None:
        raise OSError(errno.EROFS, "read only")


def test_examples_come_back_newest_first_and_lie_sealed(tmp_path: Path) -> None:
    ring = Examples(tmp_path, KEY)
    assert ring.read() == []
    assert ring.add(example(1), ())
    assert ring.add(example(2, "other"), ())
    assert [one.request for one in Examples(tmp_path, KEY).read()] == ["req-2", "req-1"]
    assert Examples(tmp_path, KEY).read("other") == [example(2, "other")]
    files = list((tmp_path / "examples").iterdir())
    assert len(files) == 2
    assert all(b"question" not in path.read_bytes() and path.stat().st_mode & 0o777 == 0o600 for path in files)


def test_nothing_is_kept_of_a_conversation_with_labels(tmp_path: Path) -> None:
    ring = Examples(tmp_path, KEY)
    assert not ring.add(example(1), ("person",))
    assert not (tmp_path / "examples").exists()


def test_the_oldest_makes_room_also_after_a_start(tmp_path: Path) -> None:
    ring = Examples(tmp_path, KEY, kept_max=3)
    for number in range(5):
        ring.add(example(number), ())
    assert [one.request for one in ring.read()] == ["req-4", "req-3", "req-2"]
    again = Examples(tmp_path, KEY, kept_max=3)
    again.add(example(5), ())
    assert [one.request for one in again.read()] == ["req-5", "req-4", "req-3"]
    assert len(list((tmp_path / "examples").iterdir())) == 3


def test_what_cannot_be_opened_is_left_out_and_overwritten_first(tmp_path: Path) -> None:
    ring = Examples(tmp_path, KEY, kept_max=2)
    ring.add(example(1), ())
    ring.add(example(2), ())
    (tmp_path / "examples" / "0001.sealed").write_bytes(b"broken")
    (tmp_path / "examples" / "9999.sealed").write_bytes(b"of a larger ring")
    assert [one.request for one in ring.read()] == ["req-1"]
    again = Examples(tmp_path, KEY, kept_max=2)
    again.add(example(3), ())
    assert [one.request for one in again.read()] == ["req-3", "req-1"]
    assert Examples(tmp_path, bytes(32)).read() == []


def test_a_file_opens_in_its_own_place_only(tmp_path: Path) -> None:
    ring = Examples(tmp_path, KEY)
    ring.add(example(1), ())
    (tmp_path / "examples" / "0000.sealed").replace(tmp_path / "examples" / "0007.sealed")
    assert ring.read() == []


def test_long_texts_keep_their_ends_and_odd_ones_can_be_written(tmp_path: Path) -> None:
    ring = Examples(tmp_path, KEY)
    ring.add(example(1, question="a" + "b" * 9_000 + "c", edge="\ud800"), ())
    (kept,) = ring.read()
    assert len(kept.question) <= TEXT_CHARS_MAX
    assert kept.question[0] == "a"
    assert kept.question[-1] == "c"
    assert kept.edge == "?"


def test_purging_removes_the_old_ones_or_all(tmp_path: Path) -> None:
    ring = Examples(tmp_path, KEY)
    assert ring.purge() == 0
    for number in range(4):
        ring.add(example(number), ())
    (tmp_path / "examples" / "0009.sealed").write_bytes(b"broken")
    assert ring.purge(before_ms=1002) == 2
    assert [one.request for one in ring.read()] == ["req-3", "req-2"]
    assert ring.purge() == 3
    assert list((tmp_path / "examples").iterdir()) == []


def test_a_disk_that_refuses_is_told(tmp_path: Path) -> None:
    Examples(tmp_path, KEY).add(example(1), ())
    refused = Examples(tmp_path, KEY, disk=NoDisk())
    with pytest.raises(EcotoneError, match=r"store\.examples"):
        refused.add(example(2), ())
    with pytest.raises(EcotoneError, match="read only"):
        refused.purge()
    assert msgspec.json.encode(refused.read()[0].request) == b'"req-1"'
