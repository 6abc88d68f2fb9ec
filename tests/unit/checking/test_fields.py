"""JSON answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.checking.made import ask, say

from ecotone.checking.fields import DEPTH_MAX, LEAVES_MAX, agreement, fields
from ecotone.values.quality import Comparison

SCHEMA = json.dumps({"type": "object", "required": ["name"], "properties": {"age": {"type": "integer"}}}).encode()
PROSE = "The river rises in the hills and crosses the plain before the sea."


@pytest.mark.parametrize(
    ("edge", "cloud", "gap", "qualities"),
    [
        ('{"name": "Ann", "age": 3}', '{"age": 3, "name": "ann"}', 0.0, (1.0, 1.0)),
        ('{"name": "Ann", "age": 4}', '{"name": "Ann", "age": 3}', 0.5, (0.5, 1.0)),
        ('{"name": "Ann", "age": "3"}', '{"name": "Ann", "age": 3}', 1.0, (0.0, 1.0)),
        ('```json\n{"name": "Ann"}\n```', '{"name": "Ann"}', 1.0, (0.0, 1.0)),
        ('{"name": "Ann"}', '{"name": "Ann"', -1.0, (1.0, 0.0)),
        ('{"age": 3}', "[]", 0.0, (0.0, 0.0)),
        ("", '{"name": "Ann"}', 1.0, (0.0, 1.0)),
    ],
)
def test_by_validity_and_then_by_fields(edge: str, cloud: str, gap: float, qualities: tuple[float, float]) -> None:
    found = fields(ask(form="json_schema", schema=SCHEMA), say(edge), say(cloud))
    assert found == Comparison(gap=gap, checker="json", edge=qualities[0], cloud=qualities[1])


@pytest.mark.parametrize(("edge", "gap"), [('{"a": 1}', 0.0), ("[1]", 1.0), ("1", 1.0)])
def test_an_object_that_was_asked_for_is_an_object(edge: str, gap: float) -> None:
    found = fields(ask(form="json_object"), say(edge), say('{"a": 1}'))
    assert found is not None
    assert found.gap == gap


def test_a_schema_that_cannot_be_read_binds_nothing() -> None:
    found = fields(ask(form="json_schema", schema=b"{"), say("1"), say("1"))
    assert found is not None
    assert found.gap == 0.0


def test_where_nobody_asked_for_json_a_fence_counts() -> None:
    found = fields(ask(), say('```json\n{"a": 1}\n```'), say('{"a": 1}'))
    assert found is not None
    assert found.gap == 0.0
    assert fields(ask(), say("{}"), say("words")) is None


@pytest.mark.parametrize(
    ("value", "reference", "share"),
    [
        (1, 1.0, 1.0),
        (True, 1, 0.0),
        (None, None, 1.0),
        ({}, {}, 1.0),
        ({}, [], 0.0),
        ({"a": 1}, {"a": 1, "b": 2}, 0.5),
        ({"a": 1, "b": 2}, {"a": 1}, 0.5),
        (["x", "y"], ["y", "x"], 1.0),
        (["x", "x"], ["x"], 0.5),
        ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}, 1.0),
        ({"a": ["x"]}, {"b": ["x"]}, 0.0),
        ([{"n": 1}, {"n": 2}], [{"n": 2}, {"n": 1}], 1.0),
        ({"a": "…"}, {"a": "…"}, 1.0),
        ({"a": "…"}, {"a": "!"}, 0.0),
        (10**400, 10**400, 1.0),
        (10**400, 10**401, 0.0),
        (10**400, 1.0, 0.0),
    ],
)
def test_the_share_of_fields_that_agree(value: Any, reference: Any, share: float) -> None:
    assert agreement(value, reference) == pytest.approx(share)


def test_prose_in_a_field_is_compared_by_its_words() -> None:
    share = agreement({"a": PROSE}, {"a": PROSE.replace("river", "stream")})
    assert 0.5 < share < 1.0
    assert agreement({"a": PROSE}, {"a": "Short."}) == 0.0


def test_what_is_large_or_deep_is_read_within_bounds() -> None:
    deep: Any = 1
    for _ in range(DEPTH_MAX + 3):
        deep = [deep]
    assert agreement(deep, deep) == 1.0
    many = list(range(LEAVES_MAX))
    assert agreement([*many, "x"], [*many, "y"]) == 1.0
