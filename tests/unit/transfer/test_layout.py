"""Tensors and cuts: a tensor has the same segments wherever it lies, and hostile headers are refused."""

from __future__ import annotations

import random
import struct

import pytest
from tests.unit.transfer.files import gguf, reader, safetensors, text

from ecotone.transfer import layout
from ecotone.transfer.manifest import SEGMENT_BYTES_MAX
from ecotone.values import TrustError

DICE = random.Random(7)
BIG = DICE.randbytes(300_000)
SMALL = DICE.randbytes(1000)


def spans(content: bytes, kind: str) -> list[layout.Span]:
    read = reader(content)
    found = list(layout.cuts(read, len(content), layout.tensors(read, len(content), kind)))
    at = 0
    for span in found:
        assert span.at == at
        assert 0 < span.length <= SEGMENT_BYTES_MAX
        at += span.length
    assert at == len(content)
    return found


def pieces(content: bytes, kind: str) -> dict[tuple[str, ...], bytes]:
    return {span.piece: content[span.at : span.at + span.length] for span in spans(content, kind) if span.piece}


def test_a_tensor_is_cut_alike_wherever_the_header_ends() -> None:
    one = gguf([("a", (300_000,), BIG), ("b", (10, 100), SMALL)])
    other = gguf(
        [("x", (1000,), SMALL), ("a", (300_000,), BIG)],
        keys=[
            ("k", 8, text("some words")),
            ("n", 4, bytes(4)),
            ("l", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b")),
        ],
    )
    first, second = pieces(one, "gguf"), pieces(other, "gguf")
    shared = {key: content for key, content in first.items() if key[0] == "a"}
    assert len(shared) == 3
    assert shared == {key: content for key, content in second.items() if key[0] == "a"}


def test_values_of_every_kind_are_passed_over() -> None:
    keys = [
        ("u8", 0, b"1"), ("f64", 12, bytes(8)), ("bool", 7, b"1"), ("long", 8, text("x" * 70_000)),
        ("numbers", 9, struct.pack("<IQ", 6, 5) + bytes(20)), ("general.alignment", 8, text("not a number")),
    ]  # fmt: skip
    assert {key[0] for key in pieces(gguf([("t", (1000,), SMALL)], keys=keys), "gguf")} == {"t"}


def test_a_header_longer_than_what_is_read_at_once_is_read_on() -> None:
    keys = [("a", 8, text("y" * 1_100_000)), ("b", 9, struct.pack("<IQ", 8, 3) + 3 * text("z" * 400_000))]
    assert len(pieces(gguf([("t", (1000,), SMALL)], keys=keys), "gguf")) == 1


def test_an_alignment_of_its_own_is_heeded() -> None:
    content = gguf([("a", (1000,), SMALL), ("b", (1000,), SMALL)], alignment=4096)
    assert [tensor.at % 4096 for tensor in layout.tensors(reader(content), len(content), "gguf")] == [0, 0]


def test_large_tensors_have_large_pieces_and_no_piece_is_too_long() -> None:
    content = gguf([("a", (1,), bytes(9 << 20))])
    assert {span.length for span in spans(content, "gguf") if span.piece} == {SEGMENT_BYTES_MAX}


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
def test_a_file_without_tensors_is_cut_by_its_content(kind: str) -> None:
    content = gguf([]) if kind == "gguf" else safetensors([])
    assert not pieces(content, kind)


def test_safetensors_are_cut_at_their_tensors() -> None:
    content = safetensors([("a", BIG), ("empty", b""), ("b", SMALL)])
    assert {key[0] for key in pieces(content, "safetensors")} == {"a", "b"}


def test_content_is_cut_alike_behind_an_insertion_and_over_any_window() -> None:
    base = DICE.randbytes(9 << 20)
    first = {base[span.at : span.at + span.length] for span in spans(base, "text")}
    fresh = base[:1000] + b"something new" + base[1000:]
    second = {fresh[span.at : span.at + span.length] for span in spans(fresh, "text")}
    assert len(second - first) <= 3


def corrupt(content: bytes, at: int, fresh: bytes) -> bytes:
    return content[:at] + fresh + content[at + len(fresh) :]


GOOD = gguf([("t", (1000,), SMALL)])
HUGE = struct.pack("<Q", 1 << 60)


@pytest.mark.parametrize(
    "content",
    [
        gguf([("t", (1000,), SMALL)], version=1),
        corrupt(GOOD, 8, HUGE),  # tensors
        corrupt(GOOD, 16, HUGE),  # keys
        corrupt(GOOD, 16, struct.pack("<Q", 5)),  # keys that are not there
        corrupt(GOOD, 24, HUGE),  # a name longer than the file
        GOOD[:40],
        gguf([("t", (1,) * 9, SMALL)]),
        gguf([("t", (1000,), SMALL)], offsets=[1 << 40]),
        gguf([("t", (1000,), SMALL)], offsets=[7]),
        gguf([("t", (1000,), SMALL)], offsets=[32]),
        gguf([("t", (1000,), SMALL)], keys=[("general.alignment", 4, struct.pack("<I", 3))]),
        gguf([("t", (1000,), SMALL)], keys=[("k", 99, b"")]),
        gguf([("t", (1000,), SMALL)], keys=[("k", 9, struct.pack("<IQ", 9, 1))]),
        gguf([("t", (1000,), SMALL)], keys=[("k", 9, struct.pack("<IQ", 8, 1 << 50))]),
        gguf([("t", (1000,), SMALL)], keys=[("k", 9, struct.pack("<IQ", 0, 1 << 50))]),
        gguf([("t", (1000,), SMALL)], keys=[("k", 8, HUGE)]),
        gguf([("t", (1000,), SMALL), ("u", (1000,), SMALL)])[:200],
    ],
)
def test_a_hostile_gguf_is_refused(content: bytes) -> None:
    with pytest.raises(TrustError, match=r"delivery\.malformed"):
        layout.tensors(reader(content), len(content), "gguf")


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 1 << 40) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 8) + b'{"a": 1}',
        struct.pack("<Q", 1000) + b"[" * 1000,
        safetensors([("a", SMALL)], offsets=[(10, 1000)]),
        safetensors([("a", SMALL), ("b", SMALL)], offsets=[(0, 1000), (500, 2000)]),
        safetensors([("a", SMALL), ("b", SMALL)], offsets=[(0, 2000), (2000, 1000)]),
        safetensors([("a", SMALL)]) + b"behind the end",
    ],
)
def test_a_hostile_safetensors_is_refused(content: bytes) -> None:
    with pytest.raises(TrustError, match=r"delivery\.malformed"):
        layout.tensors(reader(content), len(content), "safetensors")


def test_a_table_of_more_tensors_than_any_model_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "TENSORS_MAX", 1)
    content = safetensors([("a", SMALL), ("b", SMALL)])
    with pytest.raises(TrustError, match="more tensors"):
        layout.tensors(reader(content), len(content), "safetensors")


def test_a_file_that_becomes_shorter_is_refused() -> None:
    with pytest.raises(TrustError, match="shorter"):
        layout.tensors(reader(GOOD[:30]), len(GOOD), "gguf")
    with pytest.raises(TrustError, match="shorter"):
        list(layout.cuts(reader(SMALL[:10]), 1000, ()))
