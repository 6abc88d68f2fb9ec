"""What the environment and the command line lay over a configuration. One table, made from the tree's types."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from ecotone.config import check
from ecotone.config.build import Builder, bare, meant
from ecotone.config.document import Problem, Scalar
from ecotone.config.parse import config_error, config_type
from ecotone.config.tree import Config

FLAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "address": "listen.address",
        "port": "listen.port",
        "store": "store.path",
        "log_level": "log.level",
        "log_format": "log.format",
    }
)
"""Command-line flag -> path in the tree. `no_cloud` is not among them: `runtime` reads it with `ECOTONE_NO_CLOUD`."""

OTHER_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ECOTONE_NO_CLOUD": "`1` keeps every request at the site, whatever the file says.",
        "ECOTONE_CLOUD_URL": "Without a file: base URL of the target `cloud`.",
        "ECOTONE_CLOUD_MODEL": "Without a file: the model's name there.",
        "ECOTONE_CLOUD_KEY": "Without a file: its API key, or `env:NAME` or `file:PATH`.",
        "ECOTONE_CLOUD_REGION": "Without a file: its region.",
        "ECOTONE_API_KEY": "The key that `status`, `top` and `explain` send to the site.",
    }
)
"""Variables that are not a key of the file, with what they do."""


@functools.cache
def variables() -> Mapping[str, str]:
    """Environment variable -> path in the tree, for every single value that stands at a fixed path."""
    found: dict[str, str] = {}
    root = bare(config_type())
    assert isinstance(root, types.StructType)
    for field in root.fields:
        inner = bare(field.type)
        if isinstance(inner, types.StructType):
            for leaf in inner.fields:
                if _is_single(leaf.type):
                    found[f"ECOTONE_{field.name}_{leaf.name}".upper()] = f"{field.name}.{leaf.name}"
        elif _is_single(field.type):
            found[f"ECOTONE_{field.name}".upper()] = field.name
    return MappingProxyType(found)


def overlay(config: Config, environ: Mapping[str, str], flags: Mapping[str, Any] = MappingProxyType({})) -> Config:
    """The configuration with `ECOTONE_*` over it, and flags over that; checked again as a whole.

    Args:
        config: From `parse` or `built_in`.
        environ: The environment. An empty variable counts as unset; an unknown one is not an error (see `notes`).
        flags: Values by the names of `FLAGS`; None counts as not given, other names are ignored.

    Raises:
        ConfigError: with every problem, each named by the variable or flag that caused it.
    """
    said: dict[str, tuple[str, str]] = {}
    for variable, path in variables().items():
        if environ.get(variable, "") != "":
            said[path] = (variable, environ[variable])
    for flag, path in FLAGS.items():
        if flags.get(flag) is not None:
            said[path] = (f"--{flag.replace('_', '-')}", str(flags[flag]))
    if not said:
        return config
    builder = Builder()
    for path, (source, text) in said.items():
        before = len(builder.problems)
        value = builder.build(Scalar(text, True, (0, 0)), _type_at(path), path)
        if len(builder.problems) == before:
            config = _with(config, path, value)
        else:
            problem = builder.problems.pop()
            builder.problems.append(Problem(f"{source} ({path})", problem.message))
    wrong = builder.problems or [_named(problem, said) for problem in check.problems(config)]
    if wrong:
        raise config_error(wrong, "settings")
    return config


def unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A note on each `ECOTONE_*` variable that is near to one that exists, and is none."""
    known = [*variables(), *OTHER_VARIABLES]
    strange = [name for name in environ if name.startswith("ECOTONE_") and name not in known]
    hints = [(name, meant(name, known, 0.85)) for name in sorted(strange)[:50]]
    return tuple(f"{name}: is not a variable that Ecotone reads{hint}" for name, hint in hints if hint)


def _named(problem: Problem, said: Mapping[str, tuple[str, str]]) -> Problem:
    if problem.path in said:
        return Problem(f"{said[problem.path][0]} ({problem.path})", problem.message)
    return problem


def _is_single(type_: types.Type) -> bool:
    inner = bare(type_)
    if isinstance(inner, types.UnionType):
        return all(isinstance(bare(choice), types.NoneType) or _is_single(choice) for choice in inner.types)
    return isinstance(
        inner, types.StrType | types.IntType | types.FloatType | types.BoolType | types.EnumType | types.LiteralType
    )


def _type_at(path: str) -> types.Type:
    type_ = config_type()
    for name in path.split("."):
        struct = bare(type_)
        assert isinstance(struct, types.StructType)
        type_ = next(field.type for field in struct.fields if field.name == name)
    return type_


def _with(config: Config, path: str, value: Any) -> Config:
    section, _, name = path.rpartition(".")
    if not section:
        return msgspec.structs.replace(config, **{name: value})
    type_ = bare(_type_at(section))
    assert isinstance(type_, types.StructType)
    plain = {field.name: getattr(getattr(config, section), field.name) for field in type_.fields}
    return msgspec.structs.replace(config, **{section: msgspec.convert({**plain, name: value}, type_.cls)})
