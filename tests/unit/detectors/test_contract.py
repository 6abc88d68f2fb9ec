"""What a detector may be and may answer."""

from __future__ import annotations

import pytest

from ecotone import detectors
from ecotone.detectors import DetectorError, checked, contract
from ecotone.values import Finding


def finding(**changes):
    fields = {"label": "person", "kind": "person", "start": 0, "end": 3, "confidence": 0.5, "detector": "d"} | changes
    return Finding(**fields)


def test_a_plug_in_is_made_with_the_settings(installed):
    made = detectors.load("settings", {"word": "here"})
    assert made.version == "7"
    assert made.find(["a"])[0][0].kind == "here"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere", "absent"),
        ("needs", "absent"),
        ("rival", "absent"),
        ("unmade", "broken"),
        ("unversioned", "broken"),
    ],
)
def test_one_that_cannot_be_made_says_why_and_nothing_of_what_it_held(installed, name, why):
    with pytest.raises(DetectorError) as caught:
        detectors.load(name, {})
    assert caught.value.why == why
    assert "secret" not in str(caught.value)


def test_no_plug_in_takes_the_place_of_a_built_in_one(installed):
    assert contract._make("names").__module__ == "ecotone.detectors.names"
    assert detectors.known()[:2] == ("names", "topics")
    assert detectors.known().count("names") == 1
    assert "first" in detectors.known()


def test_findings_inside_the_text_are_believed_and_bear_the_detectors_name():
    found = checked(["Ada", ""], [[finding(detector="x")], [finding(start=0, end=0, detector="d")]], "d")
    assert found == [[finding(detector="d")], [finding(start=0, end=0, detector="d")]]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        [[], []],
        [None],
        [["Ada"]],
        [[finding(end=4)]],
        [[finding(start=-1)]],
        [[finding(start=2, end=2)]],
        [[finding(start=2, end=1)]],
        [[finding(label="")]],
        [[finding(label="a name")]],
        [[finding(kind="k" * 65)]],
        [[finding(kind="\x00")]],
        [[finding(confidence=1.1)]],
        [[finding(confidence=float("nan"))]],
    ],
)
def test_an_answer_that_no_detector_gives_is_refused(answer):
    with pytest.raises(DetectorError, match="bad_answer"):
        checked(["Ada"], answer, "d")


def test_an_error_is_told_by_class_and_place_only():
    with pytest.raises(ValueError, match="Ada") as caught:
        raise ValueError("Ada")
    assert contract.place(caught.value).startswith("ValueError at test_contract.py:")
    assert contract.place(ValueError("Ada")) == "ValueError"
