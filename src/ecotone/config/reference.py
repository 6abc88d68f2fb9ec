"""The reference page of the configuration, made from the tree's types and descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from ecotone.config.build import bare
from ecotone.config.overlay import OTHER_VARIABLES, variables
from ecotone.config.parse import config_type

_HEAD: Final = """# Configuration

Generated from `src/ecotone/config/tree.py` by `python -m ecotone.cli.reference`; do not edit by hand.

One YAML file, `./ecotone.yaml` or the one named with `-c`. What is set wins in this order: defaults, file, `ECOTONE_*`
variables, flags. Unknown keys are refused with their place: `ecotone validate FILE` prints every problem as
`FILE:LINE:COLUMN: path.to.key: what is wrong; how to mend it` and leaves with exit code 2. `ecotone schema` prints the
JSON Schema for editors; name it in the first line of the file:

```yaml
# yaml-language-server: $schema=./ecotone.schema.json
site: clinic-7
targets:
  small: {engine: llama.cpp, model: smollm2-135m}
  ward: {url: "http://10.0.0.8:8000/v1", model: qwen3-8b, at: edge}
  big: {url: "https://api.example.com/v1", model: large-1, key: "env:BIG_KEY", at: cloud, region: eu,
        price: {input_usd_per_mtok: 0.25, output_usd_per_mtok: 2.0}}
models:
  assistant: {targets: [small, ward, big]}
```

Words are read as YAML 1.2 has them: `true` and `false` are the only truth values, `no` and `on` are text, a key may
stand only once. Secrets are never written into the file: `env:NAME` names an environment variable, `file:PATH` a file.
"""

_OTHER: Final = {
    ("Price", "input_usd_per_mtok"): "US dollars per million tokens of the prompt.",
    ("Price", "output_usd_per_mtok"): "US dollars per million tokens of the answer.",
}
"""Descriptions of what stands in `values`, which knows no configuration."""


def reference_markdown() -> str:
    """The whole page."""
    lines = [_HEAD, *tables(config_type())]
    lines += ["## Environment variables", "", "Each sets one key, over the file and under the flags.", ""]
    lines += ["| variable | sets |", "|---|---|"]
    lines += [f"| `{name}` | `{path}` |" for name, path in variables().items()]
    lines += [f"| `{name}` | {text} |" for name, text in OTHER_VARIABLES.items()]
    return "\n".join(lines) + "\n"


def tables(type_: types.Type) -> list[str]:
    """What a file of this type may hold: a table of its own keys, and one for each section."""
    root = bare(type_)
    assert isinstance(root, types.StructType)
    lines = ["## The file", "", *_table(_fields(root, ""))]
    for field in root.fields:
        for title, struct, path in _sections(field):
            doc = (struct.cls.__doc__ or "").strip()
            lines += [f"## `{title}`", "", doc, "", *_table(_fields(struct, path))]
    return lines


def keys() -> list[str]:
    """Every key of the file by its path, names of the user's own as `*`."""
    return [path for path, *_ in _walk(config_type(), "")]


_Row = tuple[str, str, str, str]
"""(path, what it takes, default, description)"""


def _walk(type_: types.Type, path: str) -> Iterator[_Row]:
    inner = bare(type_)
    if isinstance(inner, types.UnionType):
        for choice in inner.types:
            yield from _walk(choice, path)
    elif isinstance(inner, types.DictType):
        yield from _walk(inner.value_type, f"{path}.*")
    elif isinstance(inner, types.VarTupleType):
        yield from _walk(inner.item_type, f"{path}[]")
    elif isinstance(inner, types.StructType):
        if inner.tag_field:
            yield _join(path, inner.tag_field), f"`{inner.tag}`", "", ""
        for field in inner.fields:
            below = _join(path, field.encode_name)
            yield below, _takes(field.type), _default(field), _described(inner, field)
            yield from _walk(field.type, below)


def _sections(field: types.Field) -> Iterator[tuple[str, types.StructType, str]]:
    """(title, struct, path) of every struct below a field of the root."""
    yield from _structs(field.type, field.name)


def _structs(type_: types.Type, path: str) -> Iterator[tuple[str, types.StructType, str]]:
    inner = bare(type_)
    if isinstance(inner, types.UnionType):
        for choice in inner.types:
            yield from _structs(choice, path)
    elif isinstance(inner, types.DictType):
        yield from _structs(inner.value_type, f"{path}.*")
    elif isinstance(inner, types.VarTupleType):
        yield from _structs(inner.item_type, f"{path}[]")
    elif isinstance(inner, types.StructType):
        title = {"llama.cpp": f"{path}, a local model", "openai": f"{path}, a server"}.get(str(inner.tag), path)
        yield title, inner, path
        for field in inner.fields:
            yield from _structs(field.type, f"{path}.{field.encode_name}")


def _fields(struct: types.StructType, path: str) -> list[_Row]:
    rows: list[_Row] = []
    if struct.tag_field:
        tag = "Runs the model here." if struct.tag == "llama.cpp" else "Need not be written: `url` says it."
        rows.append((_join(path, struct.tag_field), f"`{struct.tag}`", "", tag))
    for field in struct.fields:
        rows.append((_join(path, field.encode_name), _takes(field.type), _default(field), _described(struct, field)))
    return rows


def _table(rows: list[_Row]) -> list[str]:
    lines = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    lines += [f"| `{path}` | {takes} | {default} | {text} |" for path, takes, default, text in rows]
    return [*lines, ""]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _described(struct: types.StructType, field: types.Field) -> str:
    said = field.type.extra_json_schema if isinstance(field.type, types.Metadata) else None
    if said and "description" in said:
        return str(said["description"])
    return _OTHER.get((struct.cls.__name__, field.name), "")


def _default(field: types.Field) -> str:
    if field.required:
        return "**required**"
    value = field.default if field.default is not msgspec.NODEFAULT else None
    plain = msgspec.to_builtins(value)
    if plain is None or plain == {} or isinstance(plain, dict):
        return ""
    return f"`{msgspec.json.encode(plain).decode()}`"


def _takes(type_: types.Type) -> str:
    inner = bare(type_)
    match inner:
        case types.UnionType():
            return " or ".join(_takes(choice) for choice in inner.types if not isinstance(bare(choice), types.NoneType))
        case types.IntType() | types.FloatType():
            return _range(inner)
        case types.BoolType():
            return "`true` or `false`"
        case types.LiteralType() | types.EnumType():
            values: Any = inner.values if isinstance(inner, types.LiteralType) else list(inner.cls)
            return ", ".join(f"`{value}`" for value in values)
        case types.VarTupleType():
            return f"list of {_takes(inner.item_type)}"
        case types.DictType():
            return f"mapping to {_takes(inner.value_type)}"
        case types.StructType():
            return "mapping"
        case _:
            return "text"


def _range(type_: types.IntType | types.FloatType) -> str:
    what = "whole number" if isinstance(type_, types.IntType) else "number"
    bounds = [
        f"{sign} {_plain(bound)}"
        for sign, bound in (("≥", type_.ge), (">", type_.gt), ("≤", type_.le), ("<", type_.lt))
        if bound is not None
    ]
    return " ".join([what, ", ".join(bounds)]).strip()


def _plain(bound: float) -> str:
    return f"{int(bound)}" if float(bound).is_integer() else f"{bound}"
