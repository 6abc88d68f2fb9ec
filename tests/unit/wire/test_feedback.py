"""What callers say of answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecotone.values import RequestError
from ecotone.wire.feedback import BODY_BYTES_MAX, CORRECTION_CHARS_MAX, Feedback, decode

ID = "req-0019f2a3b4c-1a2b3c000001"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ({"score": 1}, Feedback(request=ID, score=1.0)),
        ({"score": 0.25, "target": "small"}, Feedback(request=ID, score=0.25, target="small")),
        ({"score": False, "target": None}, Feedback(request=ID, score=0.0)),
        ({"correction": "Paris"}, Feedback(request=ID, correction="Paris")),
    ],
)
def test_a_score_or_a_correction_is_enough(given: dict[str, Any], read: Feedback) -> None:
    assert decode(json.dumps({"id": ID} | given).encode()) == read


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({}, "score"),
        ({"score": 1.01}, "score"),
        ({"score": -1}, "score"),
        ({"score": "good"}, "score"),
        ({"correction": ""}, "correction"),
        ({"correction": " \n"}, "correction"),
        ({"correction": 7}, "correction"),
        ({"correction": "x" * (CORRECTION_CHARS_MAX + 1)}, "correction"),
        ({"score": 1, "target": 7}, "target"),
        ({"score": 1, "target": "x" * 65}, "target"),
        ({"score": 1, "id": None}, "id"),
        ({"score": 1, "id": "a b"}, "id"),
        ({"score": 1, "comment": "planted-secret"}, "body"),
    ],
)
def test_what_is_wrong_is_named_and_never_repeated(given: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as told:
        decode(json.dumps({"id": ID} | given).encode())
    assert (told.value.code, told.value.param, told.value.status) == ("request.feedback", param, 400)
    assert "planted" not in told.value.message


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"id":"\xff"}', b'{"x":' + b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as told:
        decode(body)
    assert told.value.code == "request.json"


def test_a_body_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(RequestError) as told:
        decode(b"x" * (BODY_BYTES_MAX + 1))
    assert (told.value.code, told.value.status) == ("request.too_large", 413)
