"""The decision how a cut download goes on, without a network."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecotone.assets.errors import FetchError
from ecotone.assets.resume import Mark, Start, Wanted, asked, may_resume, understood

KNOWN = Wanted(url="http://x", what="x", sha256="ab" * 32)
UNKNOWN = Wanted(url="http://x", what="x")


def test_the_question():
    assert asked(0, Mark(etag='"a"')) == {}
    assert asked(5, Mark()) == {"Range": "bytes=5-"}
    assert asked(5, Mark(etag='"a"')) == {"Range": "bytes=5-", "If-Range": '"a"'}


def test_parts_are_joined_only_where_a_mistake_would_be_found_out():
    assert may_resume(KNOWN, Mark())
    assert may_resume(UNKNOWN, Mark(etag='"a"'))
    assert not may_resume(UNKNOWN, Mark())


@pytest.mark.parametrize(
    ("status", "headers", "start"),
    [
        (200, {"content-length": "9"}, Start(0, 9, None)),
        (200, {}, Start(0, None, None)),
        (200, {"content-length": "-9", "etag": 'W/"weak"'}, Start(0, None, None)),
        (206, {"content-range": "bytes 5-8/9", "etag": '"a"'}, Start(5, 9, '"a"')),
        (206, {"content-range": "bytes 5-8/9"}, Start(5, 9, None)),
        (206, {"content-range": "bytes 5-8/9", "etag": '"b"'}, None),
        (206, {"content-range": "bytes 5-9/10"}, None),
        (206, {"content-range": "bytes 4-8/9"}, None),
        (206, {"content-range": "bytes 5-7/9"}, None),
        (206, {"content-range": "bytes 5-8/*"}, None),
        (206, {}, None),
    ],
)
def test_the_answer(status, headers, start):
    assert understood(status, headers, 5, Mark(etag='"a"', total=9), KNOWN) == start


def test_without_a_digest_the_rest_must_carry_the_same_tag():
    assert understood(206, {"content-range": "bytes 5-8/9"}, 5, Mark(etag='"a"', total=9), UNKNOWN) is None


def test_a_size_above_the_limit_is_refused():
    small = Wanted(url="http://x", what="x", bytes_max=8)
    with pytest.raises(FetchError):
        understood(200, {"content-length": "9"}, 0, Mark(), small)


@given(
    st.sampled_from([200, 206]),
    st.dictionaries(st.sampled_from(["content-range", "content-length", "etag"]), st.text(max_size=30)),
    st.integers(0, 100),
)
def test_no_answer_makes_a_gap(status, headers, have):
    start = understood(status, headers, have, Mark(), KNOWN)
    assert start is None or start.at in (0, have)
