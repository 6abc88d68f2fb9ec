"""The scorer of `make bench-privacy`, against cases that were counted by hand."""

from __future__ import annotations

import pytest
from benchmarks.privacy.scoring import Document, Predicted, Span, Tally, document, score


def _document(text: str, *spans: tuple[int, int, str], **more: object) -> Document:
    return document({"id": "x", "text": text, "spans": list(spans), **more})


def _said(start: int, end: int, label: str, tier: str = "T1") -> Predicted:
    return Predicted(start, end, label, tier)


def test_f2_weighs_recall_four_times() -> None:
    # P = 1/2, R = 3/4: 5 * .5 * .75 / (4 * .5 + .75) = 1.875 / 2.75
    assert Tally(gold=4, found=3, predicted=6, right=3).f2 == pytest.approx(1.875 / 2.75)
    assert Tally(gold=4, found=0, predicted=0, right=0).f2 == 0.0
    assert Tally(gold=0, found=0, predicted=2, right=0).f2 is None
    assert Tally(gold=4).precision is None


def test_a_span_leaks_unless_nine_tenths_of_its_letters_and_digits_are_masked() -> None:
    # Ten digits and three separators; the separators do not count.
    one = _document("tel 012-345-678-9 ok", (4, 17, "PHONE"))
    assert score([one], [[_said(4, 15, "PHONE")]]).tiers["T1"].found == 1  # nine of ten digits
    assert score([one], [[_said(4, 14, "PHONE")]]).tiers["T1"].found == 0  # eight of ten


def test_two_predictions_of_other_labels_mask_a_span_together() -> None:
    one = _document("Main Street 12, 9000 Town", (0, 25, "ADDRESS"))
    result = score([one], [[_said(0, 14, "ADDRESS", "T2"), _said(16, 25, "ID")]])
    assert result.tiers["T2"].found == 1
    assert result.tiers["ALL"].found == 1
    # By label: the address alone covers 14 of 25, more than half; the ID is right only in the view of any label.
    assert (result.labels["ADDRESS"].found, result.labels["ADDRESS"].right) == (1, 1)
    assert (result.labels["ID"].predicted, result.labels["ID"].right) == (1, 0)
    assert (result.tiers["T1"].predicted, result.tiers["T1"].right) == (1, 1)


def test_what_can_be_masked_covers_and_what_the_default_policy_lets_go_does_not_hold() -> None:
    one = _document("Ask Anna Blum today", (4, 13, "PERSON"))
    result = score([one], [[_said(4, 13, "LOCATION", "T3")]])
    assert (result.tiers["T2"].found, result.tiers["ALL"].found, result.tiers["HELD"].found) == (1, 1, 0)
    assert result.tiers["ALL"].predicted == result.tiers["HELD"].predicted == 0
    assert result.labels["PERSON"].found == 0
    assert score([one], [[_said(4, 13, "ORG", "T3")]]).tiers["ALL"].found == 0


def test_by_label_half_of_the_span_is_enough_and_less_is_not() -> None:
    one = _document("Anna Blum", (0, 9, "PERSON"))
    assert score([one], [[_said(0, 4, "PERSON", "T2")]]).labels["PERSON"].found == 0  # 4 of 9
    half = score([one], [[_said(0, 5, "PERSON", "T2")]])
    assert (half.labels["PERSON"].found, half.labels["PERSON"].right) == (1, 1)
    assert half.tiers["T2"].found == 0  # but it leaks


def test_a_prediction_is_right_where_half_of_it_lies_in_gold_of_any_label() -> None:
    one = _document("Vienna, tomorrow at noon", (0, 6, "LOCATION"))
    assert score([one], [[_said(0, 12, "PERSON", "T2")]]).tiers["T2"].right == 1  # 6 of 12
    assert score([one], [[_said(0, 13, "PERSON", "T2")]]).tiers["T2"].right == 0  # 6 of 13


def test_overlapping_gold_is_counted_once() -> None:
    one = _document("0123456789", (0, 4, "ID"), (2, 5, "ID"))
    # The two cover 5 of 10 together, not 7.
    assert score([one], [[_said(0, 10, "ID")]]).tiers["T1"].right == 1
    assert score([_document("0123456789", (0, 4, "ID"), (0, 4, "ID"))], [[_said(0, 10, "ID")]]).tiers["T1"].right == 0


def test_a_kind_may_stand_for_two_labels_of_the_data() -> None:
    one = _document("passport X1234567", (9, 17, "ID"))
    result = score([one], [[Predicted(9, 17, "NATIONAL_ID", "T1", frozenset({"ID"}))]])
    assert result.labels["ID"].f2 == 1.0
    assert "NATIONAL_ID" not in result.labels


def test_where_something_must_match_it_is_counted_apart() -> None:
    row = {"id": "u", "text": "IBAN DE89", "spans": None, "type": "IBAN", "match": True}
    found = score([document(row)], [[_said(5, 9, "ID")]])
    assert (found.unplaced.gold, found.unplaced.found) == (1, 1)
    assert (found.tiers["T1"].gold, found.tiers["T1"].predicted, found.prompts.gold, found.ordinary) == (0, 0, 0, 0)
    missed = score([document(row)], [[_said(0, 4, "ORG", "T3")]])
    assert (missed.unplaced.recall, missed.misses[0].label) == (0.0, "IBAN")


def test_names_are_not_judged_where_they_are_not_labelled() -> None:
    one = _document("Anna Blum 0123456789", (10, 20, "PHONE"), structured_only=True)
    result = score([one], [[_said(0, 9, "PERSON", "T2"), _said(10, 20, "PHONE")]])
    assert result.tiers["ALL"].precision == 1.0
    assert result.tiers["T2"].predicted == 0
    assert result.tiers["T1"].f2 == 1.0


def test_prompts_and_alarms() -> None:
    documents = [
        _document("mail a@b.example", (5, 16, "EMAIL")),
        _document("Anna", (0, 4, "PERSON")),
        _document("Vienna", (0, 6, "LOCATION")),
        _document("nothing here"),
        _document("nothing there"),
    ]
    said = [
        [_said(5, 16, "EMAIL")],
        [],
        [_said(0, 6, "PERSON", "T2")],
        [_said(0, 7, "ID")],
        [Predicted(0, 0, "medical", "topic")],
    ]
    result = score(documents, said)
    assert (result.prompts.recall, result.prompts.precision) == (1 / 2, 1 / 3)
    assert (result.ordinary, result.alarms) == (2, {"T1": 1, "T2": 0, "topic": 1, "unknown": 0, "any": 2})
    assert {(miss.label, miss.is_alarm) for miss in result.misses} == {("PERSON", False), ("ID", True)}


def test_predictions_must_come_for_every_document() -> None:
    with pytest.raises(ValueError, match="shorter"):
        score([_document("a")], [])


def test_a_span_without_letters_or_digits_is_covered_by_its_characters() -> None:
    one = Document("x", "***", (Span(0, 3, "SECRET"),))
    assert score([one], [[_said(0, 3, "SECRET")]]).tiers["T1"].found == 1
    assert score([one], [[_said(0, 2, "SECRET")]]).tiers["T1"].found == 0
