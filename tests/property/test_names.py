"""The detector `names` over any text."""

from __future__ import annotations

import itertools
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from ecotone.detectors import checked, names, names_text

PIECES = st.sampled_from(
    [
        *("Maria Lopez", "Dear ", "Mr. ", "name: ", "my name is ", ", ", " and ", "\n", " ", "'s", "O'Neil-Smith"),
        *("Best regards,\n", "```\n", "def f(x):\n", "    x = 1\n", "Dr", ".", "\xa0", "é", "İ", "ß", "\u200b", "😀"),
        *("john smith", "Patient: ", "hi ", "l'", "de la ", "van der ", "Иван", "王小明", "\r\n", "\x1e"),
    ]
)
TEXTS = st.one_of(st.text(st.characters(codec="utf-8"), max_size=200), st.lists(PIECES, max_size=30).map("".join))


@cache
def detector():
    return names.make({"names_zh": False})


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_findings_lie_inside_the_text_in_order_and_do_not_overlap(text):
    (found,) = checked([text], detector().find([text]), "names")
    spans = [(one.start, one.end) for one in found if one.label != "unknown"]
    assert all(one[1] <= following[0] for one, following in itertools.pairwise(spans))
    for start, end in spans:
        assert text[start:end].strip() == text[start:end]


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_prose_stands_where_it_says(text):
    end = 0
    for chunk in names_text.prose(text):
        assert chunk.start >= end
        end = chunk.start + len(chunk.text)
        assert text[chunk.start : end] == chunk.text
