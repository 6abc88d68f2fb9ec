"""Whatever the chunking and the line ends: the same events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecotone.wire import sse

line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12).map(str.encode)
events = st.lists(st.lists(st.tuples(st.sampled_from((b"data: ", b"data:", b": ", b"id: ")), line), min_size=1))
ends = st.sampled_from((b"\n", b"\r\n", b"\r"))
line_ends = st.lists(st.sampled_from((b"a", b"data: x", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\xef")))


def stitched(chunks: list[bytes]) -> tuple[bytes, bytes]:
    splitter = sse.Splitter()
    return b"".join(splitter.feed(chunk) for chunk in chunks), splitter.rest()


@st.composite
def cut(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)))))
    return [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@given(st.data(), line_ends)
def test_any_chunking_of_any_bytes_gives_the_same_events(data: st.DataObject, parts: list[bytes]) -> None:
    whole = b"".join(parts)
    block, rest = stitched(data.draw(cut(whole)))
    again, rest_again = stitched([whole])
    assert sse.payloads(block) == sse.payloads(again)
    assert block + rest == again + rest_again


@given(st.data(), events, ends)
def test_line_ends_and_a_byte_order_mark_change_no_payload(
    data: st.DataObject, told: list[list[tuple[bytes, bytes]]], end: bytes
) -> None:
    lines = [b"".join(field + value + b"\n" for field, value in one) + b"\n" for one in told]
    plain = b"".join(lines)
    block, rest = stitched(data.draw(cut(b"\xef\xbb\xbf" + plain.replace(b"\n", end))))
    assert block == plain
    assert rest == b""


@given(st.data(), line_ends)
def test_every_block_ends_with_a_blank_line_and_none_is_left_behind(data: st.DataObject, parts: list[bytes]) -> None:
    splitter = sse.Splitter()
    for chunk in data.draw(cut(b"".join(parts))):
        block = splitter.feed(chunk)
        assert not block or block.endswith(b"\n\n")
        assert b"\n\n" not in splitter.rest()
    assert b"\r" not in splitter.rest()


@given(st.lists(st.binary(min_size=1).filter(lambda one: b"\r" not in one and one.strip(b"\n"))))
def test_payloads_of_made_events_are_what_they_were_made_of(payloads: list[bytes]) -> None:
    assert sse.payloads(b"".join(sse.event(one) for one in payloads)) == payloads
