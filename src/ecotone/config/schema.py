"""The configuration's JSON Schema, for editors."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecotone.config.tree import Config

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file, with descriptions; the same on every call and machine."""
    _, parts = msgspec.json.schema_components([Config], ref_template="#/$defs/{name}")
    root = parts.pop("Config")
    _free_the_tag(root, parts)
    schema = {"$schema": DIALECT, "title": "Ecotone configuration", **_plain(root), "$defs": _plain(parts)}
    schema["title"] = "Ecotone configuration"
    return schema


def _free_the_tag(root: dict[str, Any], parts: dict[str, Any]) -> None:
    """A target with `url` need not name its engine: `url` tells the two apart."""
    root["properties"]["targets"]["additionalProperties"].pop("discriminator")
    url_target = parts["UrlTarget"]
    url_target["required"] = [name for name in url_target["required"] if name != "engine"]
    url_target["properties"]["engine"]["description"] = "The API that the server speaks; need not be written."
    parts["LocalTarget"]["properties"]["engine"]["description"] = "The engine that runs the model."


def _plain(value: Any) -> Any:
    """Tuples as lists, and mappings in a fixed order."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
