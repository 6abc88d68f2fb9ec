"""docs/reference/checkers.md: its example runs, and every checker is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ecotone.checking import CHECKERS, GROUP, Guarded
from ecotone.values import Endpoint
from ecotone.values.quality import Comparison, Question, Reply

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/checkers.md").read_text()


def test_the_example_is_a_checker() -> None:
    found = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    scope: dict[str, Any] = {}
    exec(compile(found[1], "our_units.py", "exec"), scope)
    guarded = Guarded("units", scope["make"]({}))
    asked = Question(endpoint=Endpoint.CHAT, model="assistant", asked="How much?")
    assert guarded.compare(asked, Reply(text="3 pounds"), Reply(text="a bushel")) == Comparison(
        gap=1.0, checker="units"
    )
    assert guarded.compare(asked, Reply(text="a bushel"), Reply(text="3 pounds")) is None
    assert (guarded.compared, guarded.passed, guarded.failed, guarded.refused) == (1, 1, 0, 0)


def test_every_checker_is_told() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert told == {*CHECKERS, "auto", "embedding", "judge", "feedback"}
    assert GROUP in PAGE
