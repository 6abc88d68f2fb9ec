"""Whatever bytes come, the transfer's parsers refuse them in the house's own way or say something true of them."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.transfer.files import gguf, reader, safetensors, text

from ecotone.transfer import Manifest, Part, Segment, decode, deltas, encode, formats, layout, plan
from ecotone.values import TrustError

DICE = random.Random(17)
GGUF = gguf(
    [("a", (700,), DICE.randbytes(700)), ("b", (10, 20), DICE.randbytes(200))],
    keys=[("words", 9, b"\x08\0\0\0\x02\0\0\0\0\0\0\0" + text("x") + text("yy")), ("n", 4, bytes(4))],
)
TABLE = safetensors([("a", DICE.randbytes(700)), ("b", DICE.randbytes(200))])
DIGESTS = st.sampled_from([f"{n:064x}" for n in range(6)])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """One of the files with some bytes changed, inserted or cut off; or any bytes behind a known beginning."""
    content = bytearray(draw(st.sampled_from([GGUF, TABLE, b"GGUF\x03\0\0\0" + draw(st.binary(max_size=200))])))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        content[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


@given(damaged() | st.binary(max_size=300))
def test_any_file_is_refused_or_cut_into_runs_that_make_it_up(content: bytes) -> None:
    read = reader(content)
    try:
        kind = formats.found(read, len(content))
        spans = list(layout.cuts(read, len(content), layout.tensors(read, len(content), kind)))
    except TrustError as error:
        code = error.code
    else:
        code = ""
        assert b"".join(content[span.at : span.at + span.length] for span in spans) == content
    assert code in ("", "delivery.unsafe", "delivery.malformed")


@given(st.binary(max_size=2000))
def test_any_bytes_as_a_manifest_are_refused_or_read(raw: bytes) -> None:
    try:
        decode(raw)
        code = ""
    except TrustError as error:
        code = error.code
    assert code in ("", "delivery.manifest")


@given(st.binary(max_size=500), st.binary(min_size=1, max_size=500))
def test_any_bytes_as_a_delta_are_refused_or_give_as_many_bytes(patch: bytes, base: bytes) -> None:
    try:
        length, code = len(deltas.applied(patch, base)), ""
    except TrustError as error:
        length, code = len(base), error.code
    assert length == len(base)
    assert code in ("", "delivery.delta")


@given(st.data())
def test_a_delta_that_was_made_leads_back(data: st.DataObject) -> None:
    base = data.draw(st.binary(min_size=1, max_size=3000))
    fresh = bytearray(base)
    for at in data.draw(st.lists(st.integers(0, len(base) - 1), max_size=3)):
        fresh[at] ^= 0x55
    patch = deltas.made(bytes(fresh), base)
    assert patch is None or deltas.applied(patch, base) == fresh


@given(st.lists(DIGESTS, min_size=1, max_size=12), st.sets(DIGESTS))
def test_a_plan_has_each_segment_once_and_its_requests_hold_all_that_is_fetched(
    names: list[str], held: set[str]
) -> None:
    segments = tuple(Segment(name, 1000, 0, int(name, 16) * 5000) for name in names)
    part = Part(path="m", bytes=1000 * len(names), blake3=names[0], sha256=names[0], format="text", segments=segments)
    manifest = Manifest(name="m", version="1", kind="model", licence="MIT", packs=("a" * 64,), parts=(part,))
    found = plan(decode(encode(manifest)), held)
    assert sorted([*found.copies, *(get.blake3 for get in found.gets)]) == sorted(set(names))
    assert set(found.copies) == set(names) & held
    assert [get for one in found.ranges for get in one.gets] == list(found.gets)
    for one in found.ranges:
        for get in one.gets:
            assert one.offset <= get.offset
            assert get.offset + get.length <= one.offset + one.length
