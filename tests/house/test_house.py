"""What a machine can check of STYLE.md and no linter does. A list of debts may only shrink."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
FORBIDDEN_NAMES = {"utils", "helpers", "manager", "handler", "data", "process", "common", "misc"}


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name}: {lines} lines"


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_names_say_what_a_room_is_for(path: Path) -> None:
    assert path.stem not in FORBIDDEN_NAMES
    assert path.parent.name not in FORBIDDEN_NAMES


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_every_module_and_public_name_says_what_it_promises(path: Path) -> None:
    tree = ast.parse(path.read_text())
    if not tree.body:
        return
    assert ast.get_docstring(tree), "no module docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("path", SOURCES, ids=_id)
def test_exceptions_to_the_rules_give_their_reason(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.search(r"#\s*(?:noqa|type: ignore|pragma)\S*(?: [A-Z]+[0-9]+,?)*(.*)$", line)
        if found:
            assert len(found[1].split()) >= 3, f"line {number} gives no reason: {line.strip()}"


def test_importing_the_package_does_nothing_and_is_fast_enough_to_do_often() -> None:
    script = (
        "import sys; before = set(sys.modules); import ecotone; "
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith('ecotone')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_core_imports_no_server_and_no_engine() -> None:
    script = "import sys, ecotone.flow; print([m for m in ('uvicorn', 'xllamacpp', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_room_has_a_line_in_the_map() -> None:
    drawn = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = {path.name for path in (ROOT / "src" / "ecotone").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {room for room in rooms if f"`{room}`" not in drawn} <= {"cli", "ports"}


def test_every_decision_has_a_number_and_a_title() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        assert path.read_text().startswith(f"# {int(path.name[:4])}. ")
