"""A site's own terms."""

from __future__ import annotations

from ecotone.privacy.terms import Terms, same


def test_terms_are_found_as_whole_words_in_any_case() -> None:
    terms = Terms({"project": ["Heron", "Blue Heron", "x"], "patient": ["Heron", "李小龙"]})
    assert len(terms) == 3
    assert terms.find("HERON, herons, aHeron, a x") == [(0, 5, "project")]
    assert terms.find("my blue\theron") == [(3, 13, "project")]
    assert terms.find("病人李小龙来了") == [(2, 5, "patient")]


def test_no_terms_find_nothing() -> None:
    assert Terms({}).find("anything") == []


def test_folding_case_keeps_every_place() -> None:
    text = "İSTANBUL\r\nstraße"
    assert len(same(text)) == len(text)
    assert same("ABC") == "abc"
