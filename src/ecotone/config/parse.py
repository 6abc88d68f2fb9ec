"""Text into a configuration, or one error with everything that is wrong with it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ecotone.config import check
from ecotone.config.build import Builder
from ecotone.config.document import DocumentError, Position, Problem, read
from ecotone.config.tree import Config
from ecotone.values import ConfigError

PROBLEMS_MAX: Final = 100
INVALID: Final = "config.invalid"
"""Code of every error about what a configuration says."""


def parse(text: str, name: str) -> Config:
    """The configuration that a YAML text gives.

    Args:
        text: The file's content; at most 1 MiB.
        name: How messages call the file.

    Raises:
        ConfigError: with every problem, each as `NAME:LINE:COLUMN: path.to.key: what is wrong; how to mend it`.
    """
    try:
        root, problems = read(text)
    except DocumentError as error:
        raise config_error([error.problem], name) from error
    builder = Builder()
    plain = builder.build(root, config_type(), "")
    problems += builder.problems
    if problems:
        raise config_error(problems, name, builder.positions)
    try:
        config = msgspec.convert(plain, Config)
    except msgspec.ValidationError as error:
        raise config_error([Problem("", str(error), (1, 1))], name) from error
    wrong = check.problems(config)
    if wrong:
        raise config_error(wrong, name, builder.positions)
    return config


@functools.cache
def config_type() -> msgspec.inspect.Type:
    """The tree's types, as msgspec describes them."""
    return msgspec.inspect.type_info(Config)


def config_error(
    problems: Sequence[Problem], name: str, positions: Mapping[str, Position] | None = None
) -> ConfigError:
    """One error of all problems, in the order of the file."""
    placed = [(problem.position or _position(problem.path, positions or {}), problem) for problem in problems]
    placed.sort(key=lambda pair: pair[0] or (0, 0))
    lines = tuple(_line(name, position, problem) for position, problem in placed[:PROBLEMS_MAX])
    if len(placed) > PROBLEMS_MAX:
        lines += (f"{name}: and {len(placed) - PROBLEMS_MAX} more",)
    return ConfigError(INVALID, "\n".join(lines), problems=lines)


def _line(name: str, position: Position | None, problem: Problem) -> str:
    where = f"{name}:{position[0]}:{position[1]}" if position is not None else name
    return ": ".join(part for part in (where, problem.path, problem.message) if part)


def _position(path: str, positions: Mapping[str, Position]) -> Position | None:
    """Where a path stands in the text, or the nearest of its parents."""
    while path:
        if path in positions:
            return positions[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return positions.get("")
