"""Values against schemas, in the keywords that the grammar may leave open."""

from __future__ import annotations

from typing import Any

import pytest

from ecotone.values.json_schema import violation


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, 1),
        ({"type": "integer"}, 2.0),
        ({"type": ["null", "boolean"]}, True),
        ({"type": "number"}, 1.5),
        ({"enum": [1, "a"]}, 1.0),
        ({"minimum": 1, "multipleOf": 0.1}, 1.3),
        ({"multipleOf": 2, "maxLength": 1, "maxItems": 0, "required": ["a"], "uniqueItems": True}, None),
        ({"uniqueItems": True}, [1, True, "1"]),
        ({"uniqueItems": False}, [1, 1]),
        ({"uniqueItems": True}, [1] * 501),
        ({"anyOf": [{"type": "null"}, {"minLength": 1}]}, "a"),
        ({"oneOf": [{"type": "null"}, {"minLength": 1}]}, "a"),
        ({"allOf": [{"minLength": 1}], "not": {"const": "b"}}, "a"),
        ({"properties": {"a": {"type": "null"}}, "additionalProperties": False}, {"a": None}),
        ({"properties": {"a": {}}}, {"b": 1}),
        ({"properties": {"a": {}, "b": {}}, "additionalProperties": {}}, {"a": 1, "b": 1, "c": 1, "d": 1}),
        ({"additionalProperties": False, "patternProperties": {"a": {}}}, {"b": 1}),
        ({"items": [{"type": "null"}]}, [None, 1]),
        ({"prefixItems": [{"type": "null"}], "items": {"type": "integer"}}, [None, 1]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "null"}}}, None),
        ({"$ref": "#/anyOf/0", "anyOf": [{}]}, 1),
        ({"$ref": "#/nothing"}, 1),
        ({"type": "object", "properties": {"next": {"$ref": "#"}}}, {"next": {"next": {}}}),
    ],
)
def test_a_value_that_holds_passes(schema: Any, value: Any) -> None:
    assert violation(schema, value) is None


@pytest.mark.parametrize(
    ("schema", "value", "where"),
    [
        (False, 1, "$: nothing is allowed"),
        ({"type": "integer"}, True, "$: type"),
        ({"type": "integer"}, 1.5, "$: type"),
        ({"const": 1}, True, "$: const"),
        ({"exclusiveMinimum": 1}, 1, "$: exclusiveMinimum"),
        ({"exclusiveMaximum": 1}, 1, "$: exclusiveMaximum"),
        ({"maximum": 1}, 1.1, "$: maximum"),
        ({"multipleOf": 2}, 3, "$: multipleOf"),
        ({"minProperties": 1}, {}, "$: minProperties"),
        ({"uniqueItems": True}, [1, 1.0], "$: uniqueItems"),
        ({"anyOf": [{"type": "null"}]}, 1, "$: anyOf"),
        ({"oneOf": [{}, {}]}, 1, "$: oneOf"),
        ({"allOf": [{"minimum": 2}]}, 1, "$: minimum"),
        ({"not": {}}, 1, "$: not"),
        ({"required": ["a"]}, {}, "$: required"),
        ({"properties": {"a": {"properties": {"b": {"maxLength": 1}}}}}, {"a": {"b": "xx"}}, "$.a.b: maxLength"),
        ({"additionalProperties": False}, {"x": 1}, "$.x: nothing is allowed"),
        ({"prefixItems": [{}], "items": {"type": "null"}}, [1, 2], "$.1: type"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}, 1, "$: type"),
    ],
)
def test_a_value_that_does_not_is_found_with_its_place(schema: Any, value: Any, where: str) -> None:
    assert violation(schema, value) == where


def test_a_reference_to_itself_ends() -> None:
    assert violation({"anyOf": [{"items": {"$ref": "#"}}]}, [[[]]]) is None


def test_a_malformed_part_binds_nothing() -> None:
    assert violation({"minLength": "x"}, "a") is None
