"""Server-sent events: what a splitter gives, and what an event says."""

from __future__ import annotations

import pytest

from ecotone.values import TargetError
from ecotone.wire import sse


def fed(*chunks: bytes) -> tuple[list[bytes], bytes]:
    splitter = sse.Splitter()
    return [splitter.feed(chunk) for chunk in chunks], splitter.rest()


def test_whole_events_pass_as_they_are() -> None:
    assert fed(b"data: 1\n\ndata: 2\n\n") == ([b"data: 1\n\ndata: 2\n\n"], b"")


def test_a_part_of_an_event_waits_for_the_rest_of_it() -> None:
    blocks, rest = fed(b"data: 1\n\ndata", b": 2", b"\n", b"\ndata: 3")
    assert blocks == [b"data: 1\n\n", b"", b"", b"data: 2\n\n"]
    assert rest == b"data: 3"


def test_line_ends_of_all_three_kinds_become_lf() -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        assert fed(b"data: 1" + end + end)[0] == [b"data: 1\n\n"]


def test_a_crlf_cut_between_two_chunks_is_one_line_end() -> None:
    blocks, rest = fed(b"data: 1\r", b"\ndata: 2\r", b"\n\r", b"\ndata: 3")
    assert blocks == [b"", b"", b"data: 1\ndata: 2\n\n", b""]
    assert rest == b"data: 3"


def test_line_ends_may_change_in_mid_stream() -> None:
    assert fed(b"data: 1\n\n", b"data: 2\r\n\r\n")[0] == [b"data: 1\n\n", b"data: 2\n\n"]


def test_the_last_event_of_a_cr_stream_does_not_wait_for_another_chunk() -> None:
    assert fed(b"data: [DONE]\r\r") == ([b"data: [DONE]\n\n"], b"")


def test_an_empty_chunk_between_cr_and_lf_changes_nothing() -> None:
    assert fed(b"data: 1\r\n\r", b"", b"\ndata: 2\n\n")[0] == [b"data: 1\n\n", b"", b"data: 2\n\n"]


def test_a_byte_order_mark_at_the_start_is_not_a_part_of_the_first_field() -> None:
    bom = b"\xef\xbb\xbf"
    assert fed(bom + b"data: 1\n\n")[0] == [b"data: 1\n\n"]
    assert b"".join(fed(bom[:1], b"", bom[1:2], bom[2:], b"data: 1\n\n")[0]) == b"data: 1\n\n"
    assert b"".join(fed(bom[:1], b"data: 1\n\n")[0]) == bom[:1] + b"data: 1\n\n"
    assert b"".join(fed(b"data: 1\n\n" + bom + b"data: 2\n\n")[0]).count(bom) == 1


def test_an_event_without_end_is_not_held_for_ever() -> None:
    splitter = sse.Splitter()
    piece = b"x" * (1 << 20)
    for _ in range(4):
        assert splitter.feed(piece) == b""
    with pytest.raises(TargetError, match="bad_answer"):
        splitter.feed(b"x")


def test_the_payload_is_what_follows_data() -> None:
    assert sse.payload(b"data: 1") == b"1"
    assert sse.payload(b"data:1\n\n") == b"1"
    assert sse.payload(b"data:  1") == b" 1"
    assert sse.payload(b"id: 7\nevent: message\ndata: 1\nretry: 9") == b"1"


def test_several_data_lines_join_with_lf() -> None:
    assert sse.payload(b'data: {"a":\ndata: 1}') == b'{"a":\n1}'


def test_comments_and_events_without_data_have_no_payload() -> None:
    block = b": keep-alive\n\n\n\nevent: ping\n\ndata: 1\n\n:data: 2\n\n\ndata: 3\n\n"
    assert sse.payloads(block) == [b"1", b"3"]


def test_an_event_of_one_line_can_be_read_back() -> None:
    assert sse.payloads(sse.event(b"{}") + sse.DONE + sse.KEEP_ALIVE) == [b"{}", b"[DONE]"]


def test_an_event_of_a_payload_of_several_lines_can_be_read_back() -> None:
    made = sse.event(b'{"a":\n1}')
    assert made == b'data: {"a":\ndata: 1}\n\n'
    assert sse.payloads(made) == [b'{"a":\n1}']
