"""Fails when a flag, key, variable, code, header or metric is not in `docs/reference`, or a page is not up to date.

To mend it: `python -m ecotone.cli.reference`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest

from ecotone import config
from ecotone.cli import reference
from ecotone.config.overlay import OTHER_VARIABLES, variables
from ecotone.config.reference import keys
from ecotone.telemetry.metrics import METRICS
from ecotone.values import reasons

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
MOVES = {"errors.md"}
"""Pages that quote messages from the sources: checked for their codes, not word by word."""


def _page(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _missing(words: list[str], page: str) -> list[str]:
    return [word for word in words if f"`{word}`" not in page]


@pytest.mark.parametrize("name", sorted(set(reference.pages()) - MOVES))
def test_the_page_is_up_to_date(name: str) -> None:
    assert _page(name) == reference.pages()[name], f"{name}: run `python -m ecotone.cli.reference`"


def test_every_command_and_flag_is_documented() -> None:
    page = _page("cli.md")
    for path, command in reference.commands():
        assert f"`{path}`" in page
        for option in (parameter for parameter in command.params if isinstance(parameter, click.Option)):
            assert option.help, f"{path} {option.name} says nothing of itself"
            for flag in option.opts:
                assert flag in page, f"{path} {flag}"


def test_every_key_of_the_configuration_is_documented() -> None:
    assert not _missing(keys(), _page("configuration.md"))
    assert "targets.*.price.input_usd_per_mtok" in keys()
    assert "policy[].when.to_region" in keys()


def test_every_environment_variable_is_documented() -> None:
    assert not _missing([*variables(), *OTHER_VARIABLES], _page("configuration.md"))


def test_every_variable_that_the_sources_name_is_documented() -> None:
    page = _page("configuration.md") + _page("cli.md")
    source = Path(reference.__file__).parents[1]
    named = {
        name for path in source.rglob("*.py") for name in re.findall(r"\bECOTONE_[A-Z_]+[A-Z]\b", path.read_text())
    }
    assert not {name for name in named if name not in page and not name.endswith("_COMPLETE")}


def test_every_reason_obstacle_failure_and_ending_is_documented() -> None:
    words = [*reasons.REASONS, *reasons.OBSTACLES, *reasons.TARGET_FAILURES, *reasons.ENDINGS]
    assert not _missing(words, _page("reason-codes.md"))


def test_every_error_code_is_documented() -> None:
    assert not _missing(list(reference.error_codes()), _page("errors.md")), "run `python -m ecotone.cli.reference`"


def test_every_header_that_the_sources_name_is_documented() -> None:
    page = _page("headers.md").lower()
    source = Path(reference.__file__).parents[1]
    named = set()
    for room in ("flow", "gateway", "wire"):
        for path in (source / room).rglob("*.py"):
            named |= {name.lower() for name in re.findall(r"\b[Ee]cotone-[A-Za-z][A-Za-z-]*[a-z]\b", path.read_text())}
    assert not {name for name in named if f"`{name}`" not in page} - {"ecotone-ledger"}


def test_the_example_of_the_page_is_valid() -> None:
    example = re.findall(r"```yaml\n(.*?)```", _page("configuration.md"), re.DOTALL)[0]
    assert list(config.parse(example, "x").models) == ["assistant"]


def test_the_schema_is_json() -> None:
    assert json.loads(_page("ecotone.schema.json"))["$schema"].startswith("https://json-schema.org/")


def test_every_metric_is_documented() -> None:
    assert not _missing(list(METRICS), _page("metrics.md"))
