"""The chain: bytes of an entry, and every way in which a row of entries can be broken."""

from __future__ import annotations

import hashlib
import json

import pytest

from ecotone.store import chain


def row(count: int, first: int = 0, prev: bytes = chain.NOTHING) -> list[bytes]:
    """Lines of a good chain."""
    lines = []
    for seq in range(first, first + count):
        text, prev = chain.line(seq, 1000 + seq, b"placed", b'{"n":%d}' % seq, prev)
        lines.append(text)
    return lines


def fed(lines: list[bytes], links: chain.Chain | None = None) -> chain.Fault | None:
    """The first fault."""
    links = links or chain.Chain()
    for text in lines:
        fault = links.feed(text)
        if fault is not None:
            return fault
    return None


def test_a_line_can_be_checked_with_sha256sum() -> None:
    text, own = chain.line(0, 5, b"genesis", b'{"site":"a"}', chain.NOTHING)
    said, _, rest = text.partition(b',"hash":')
    assert hashlib.sha256(said).hexdigest().encode() == own
    assert rest == b'"' + own + b'"}\n'
    assert json.loads(text)["body"] == {"site": "a"}
    assert list(json.loads(text)) == ["v", "seq", "at_ms", "kind", "body", "prev", "hash"]


def test_a_whole_chain_is_counted_and_dated() -> None:
    links = chain.Chain()
    assert fed(row(4), links) is None
    assert (links.entries, links.seq, links.first_at_ms, links.last_at_ms) == (4, 4, 1000, 1003)
    assert links.head == json.loads(row(4)[-1])["hash"]


def test_a_chain_may_begin_anywhere_where_that_is_asked_for() -> None:
    assert fed(row(3, first=7, prev=b"a" * 64), chain.Chain(None, None)) is None
    assert fed(row(3, first=7, prev=b"a" * 64), chain.Chain(7, "a" * 64)) is None
    fault = fed(row(3, first=8, prev=b"a" * 64), chain.Chain(7, None))
    assert fault is not None
    assert (fault.why, fault.seq) == ("dropped", 7)


def test_a_torn_first_line_of_an_unknown_chain_has_no_position() -> None:
    fault = fed([row(1)[0][:-1]], chain.Chain(None, None))
    assert fault is not None
    assert (fault.why, fault.seq) == ("torn", -1)


def test_missing_entries_are_named() -> None:
    lines = row(5)
    one = fed(lines[:1] + lines[2:])
    two = fed(lines[:1] + lines[3:])
    assert one is not None
    assert two is not None
    assert (one.why, one.seq, one.detail) == ("dropped", 1, "entry 1 is missing before entry 2")
    assert (two.why, two.seq, two.detail) == ("dropped", 1, "entry 1 to 2 is missing before entry 3")


@pytest.mark.parametrize(
    ("bent", "why", "seq"),
    [
        (lambda text: text[:-1], "torn", 1),
        (lambda text: text[:40] + b"\n", "unreadable", 1),
        (lambda text: b"[]\n", "unreadable", 1),
        (lambda text: text.replace(b'{"v":1', b'{"v":2'), "unreadable", 1),
        (lambda text: text.replace(b'"n":1', b'"n":2'), "changed", 1),
        (lambda text: text.replace(b'"hash"', b' "hash"'), "changed", 1),
        (lambda text: row(1)[0], "reordered", 0),
        (lambda text: chain.line(1, 5, b"placed", b"{}", b"b" * 64)[0], "changed", 1),
    ],
)
def test_a_bad_line_is_told_apart(bent, why: str, seq: int) -> None:
    lines = row(3)
    lines[1] = bent(lines[1])
    fault = fed(lines)
    assert fault is not None
    assert (fault.why, fault.seq) == (why, seq)


def test_an_entry_is_read_back_or_is_none() -> None:
    text = row(1)[0]
    read = chain.entry(text)
    assert read is not None
    assert (read.seq, read.kind, read.body) == (0, "placed", {"n": 0})
    assert chain.entry(text[:-5]) is None
    assert chain.intact(text)
    assert not chain.intact(text[:-1])
