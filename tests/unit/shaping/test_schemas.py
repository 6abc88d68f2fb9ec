"""What is left of a schema for the engine, and what is said about the rest."""

from __future__ import annotations

from typing import Any

import pytest

from ecotone.shaping.schemas import DEPTH_MAX, NODES_MAX, Fitter
from ecotone.values import RequestError

TEXT = {"type": "string"}


def fit(schema: Any) -> tuple[Any, list[str]]:
    fitter = Fitter()
    return fitter.close(fitter.fit(schema, "s")), fitter.loose


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        TEXT,
        {"type": ["string", "null"], "description": "d"},
        {"const": 1},
        {"enum": ["a", 1, None]},
        obj(a=TEXT, b={"type": "array", "items": TEXT, "minItems": 1, "maxItems": 2}),
        {"anyOf": [TEXT, {"type": "null"}]},
        {"type": "string", "pattern": "^(a|b)[x|y$]\\.$", "minLength": 1, "maxLength": 3},
        {"type": "string", "format": "uuid"},
        {"type": "integer", "minimum": -2, "maximum": 3},
        {"type": "array", "prefixItems": [TEXT, {"type": "integer"}]},
        {"type": "object", "properties": {}, "required": [], "additionalProperties": TEXT},
    ],
)
def test_what_the_engine_takes_stays_as_it_is(schema: Any) -> None:
    assert fit(schema) == (schema, [])


@pytest.mark.parametrize(
    ("schema", "fitted"),
    [
        (True, {}),
        (
            {"type": "integer", "exclusiveMinimum": 1.5, "exclusiveMaximum": 9},
            {"type": "integer", "minimum": 2, "maximum": 8},
        ),
        ({"type": "integer", "minimum": 1.5, "exclusiveMaximum": True}, {"type": "integer", "minimum": 2}),
        (
            {"type": "string", "pattern": "^\\d\\w\\s$"},
            {"type": "string", "pattern": "^[0-9][a-zA-Z0-9_][ \\t\\n\\r]$"},
        ),
        ({"type": "string", "format": "email", "default": "x"}, TEXT),
        ({"oneOf": [TEXT]}, {"anyOf": [TEXT]}),
        ({"allOf": [TEXT], "description": "d"}, {"type": "string", "description": "d"}),
        (
            {"allOf": [obj(a=TEXT), {"properties": {"b": TEXT}, "required": ["b", "a"]}, True]},
            {
                "type": "object",
                "properties": {"a": TEXT, "b": TEXT},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
        ),
        ({"type": "array", "items": [TEXT]}, {"type": "array", "prefixItems": [TEXT]}),
        ({"type": "array", "prefixItems": [TEXT], "items": False}, {"type": "array", "prefixItems": [TEXT]}),
        ({"type": "array", "items": False}, {"type": "array", "maxItems": 0}),
        ({"properties": {"a": False, "b": TEXT}}, {"type": "object", "properties": {"b": TEXT}, "required": []}),
        ({"required": ["a"]}, {"type": "object", "properties": {"a": {}}, "required": ["a"]}),
    ],
)
def test_what_can_be_said_otherwise_is(schema: Any, fitted: Any) -> None:
    assert fit(schema) == (fitted, [])


@pytest.mark.parametrize(
    ("schema", "loose"),
    [
        (obj(a={"not": {}, "uniqueItems": True}), ["s.properties.a.not", "s.properties.a.uniqueItems"]),
        ({"items": {"additionalProperties": False, "patternProperties": {}}}, ["s.items.patternProperties"]),
        (obj(a=False) | {"additionalProperties": {"not": {}}}, ["s.additionalProperties.not"]),
        ({"type": "number", "minimum": 0}, ["s.minimum"]),
        ({"type": "string", "pattern": "a"}, ["s.pattern"]),
        ({"type": "string", "pattern": "^a\\$"}, ["s.pattern"]),
        ({"type": "string", "pattern": "^(?=a)$"}, ["s.pattern"]),
        ({"type": "string", "pattern": "^a|b$"}, ["s.pattern"]),
        ({"type": "string", "pattern": "^\\D$"}, ["s.pattern"]),
        ({"type": "string", "minLength": 5000}, ["s.minLength"]),
        ({"anyOf": [TEXT], "minLength": 1}, ["s.minLength"]),
        ({"properties": {}, "anyOf": [{"required": ["a"]}]}, ["s.anyOf"]),
        ({"anyOf": [False]}, ["s.anyOf.0.false"]),
        ({"allOf": [TEXT, {"type": "integer"}]}, ["s.allOf.1.type"]),
        ({"allOf": [{"type": "string", "title": "a"}, {"title": "b", "type": "string"}], "not": {}}, ["s.not"]),
        ({"$ref": "#/$defs/a", "minLength": 1, "$defs": {"a": TEXT}}, ["s.minLength"]),
    ],
)
def test_what_the_engine_does_not_enforce_is_listed(schema: Any, loose: list[str]) -> None:
    assert fit(schema)[1] == loose


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        (1, "s"),
        ({"type": "banana"}, "s.type"),
        ({"type": []}, "s.type"),
        ({"enum": []}, "s.enum"),
        ({"anyOf": []}, "s.anyOf"),
        ({"properties": [1]}, "s.properties"),
        ({"required": "a"}, "s.required"),
        ({"required": ["a"], "additionalProperties": False}, "s.required"),
        ({"minLength": -1}, "s.minLength"),
        ({"minItems": 3, "maxItems": 2}, "s.maxItems"),
        ({"pattern": "("}, "s.pattern"),
        ({"pattern": 1}, "s.pattern"),
        ({"type": "integer", "minimum": "1"}, "s.minimum"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "s"),
        ({"$ref": "https://x/y"}, "s.$ref"),
        ({"$ref": "#/$defs/none"}, "s.$ref"),
        ({"anyOf": [{"$ref": "#/anyOf/7"}]}, "s.anyOf.0.$ref"),
        ({"properties": {"a": {"type": 1}}}, "s.properties.a.type"),
        ({"$ref": "#"}, "s.$ref"),
        ({"anyOf": [TEXT, {"$ref": "#"}]}, "s.anyOf.1.anyOf.1.$ref"),
    ],
)
def test_what_nothing_could_match_is_refused_with_its_path(schema: Any, param: str) -> None:
    with pytest.raises(RequestError) as raised:
        fit(schema)
    assert (raised.value.code, raised.value.param) == ("request.schema", param)


def test_references_of_every_form_become_plain_definitions() -> None:
    fitted, loose = fit(
        {
            "$defs": {"a/b": TEXT, "c d": {"type": "null"}},
            "anyOf": [
                {"$ref": "#/$defs/a~1b"},
                {"$ref": "#/$defs/c%20d"},
                {"$ref": "#/anyOf/0"},
                {"$ref": "#/$defs/a~1b"},
            ],
        }
    )
    assert [one["$ref"] for one in fitted["anyOf"]] == [f"#/$defs/d{i}" for i in (0, 1, 2, 0)]
    assert fitted["$defs"] == {"d0": TEXT, "d1": {"type": "null"}, "d2": {"$ref": "#/$defs/d0"}}
    assert loose == []


def test_a_schema_may_contain_itself() -> None:
    fitted, _ = fit({"type": "object", "properties": {"next": {"$ref": "#"}}})
    assert fitted["properties"]["next"] == fitted["$defs"]["d0"]["properties"]["next"] == {"$ref": "#/$defs/d0"}


def test_allof_sees_through_references() -> None:
    assert fit({"$defs": {"a": TEXT}, "allOf": [{"$ref": "#/$defs/a"}], "default": 1})[0] == TEXT


def test_depth_and_size_have_limits() -> None:
    deep: Any = TEXT
    for _ in range(DEPTH_MAX + 2):
        deep = {"items": deep}
    loop = {"allOf": [{"$ref": "#"}]}
    wide = {"anyOf": [TEXT] * NODES_MAX}
    for schema in (deep, loop, wide):
        with pytest.raises(RequestError):
            fit(schema)
