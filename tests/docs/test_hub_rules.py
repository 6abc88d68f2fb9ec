"""docs/explanation/hub-rules.md names tests that are there, and leaves out no rule and no attack of the suite."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "explanation" / "hub-rules.md"
NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)(?:::([A-Za-z0-9_]+))?`")
ATTACKS = (
    "Rollback", "Freeze", "Mix and match", "Wrong threshold", "Keys rotated and revoked", "Endless data", "Slow data",
    "A tampered chunk", "A file swapped after it was verified", "A stolen key of a site", "Everything has expired",
    "A clock years off", "A bundle for another site",
)  # fmt: skip


def rows() -> dict[str, list[tuple[str, str]]]:
    """First cell of each row -> (file, test) that it names."""
    cells = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {row[1].strip(): NAMED.findall(row[2]) for row in cells if row[1].strip() not in ("Rule", "Attack")}


def defined(path: Path) -> set[str]:
    """Names of the tests in a file, without importing it."""
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds) and node.name.startswith("test_")}


@pytest.mark.parametrize(("file", "test"), sorted({one for named in rows().values() for one in named}))
def test_what_the_page_names_is_there(file: str, test: str) -> None:
    path = ROOT / file
    assert path.is_file(), f"{file}: there is no such file"
    assert defined(path), f"{file} has no test"
    assert not test or test in defined(path), f"{file}: there is no {test}"


def test_no_line_is_without_a_test() -> None:
    assert [row for row, named in rows().items() if not named] == []


def test_all_ten_rules_and_all_attacks_of_the_suite_have_their_line() -> None:
    numbers = [int(row.partition(".")[0]) for row in rows() if row[0].isdigit()]
    assert numbers == list(range(1, 11))
    assert [attack for attack in ATTACKS if attack not in rows()] == []


def test_what_is_not_proven_is_said() -> None:
    said = PAGE.read_text().partition("## What is not proven")[2]
    assert "conformance" in said
