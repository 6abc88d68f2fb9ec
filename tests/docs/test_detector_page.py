"""docs/how-to/write-a-detector.md: its example runs, and its words are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from ecotone.detectors import checked, inspectors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/write-a-detector.md").read_text()


def test_the_example_finds_what_it_says():
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    scope = {}
    exec(compile(code, "our_projects.py", "exec"), scope)
    texts = ["See P-123456.", ""]
    found = checked(texts, scope["make"]({}).find(texts), "projects")
    assert [(one.label, one.start, one.end) for one in found[0]] == [("project", 4, 12)]
    assert found[1] == []


def test_every_word_of_missing_is_told():
    told = set(re.findall(r"\| `([a-z_]+)`(?:, `([a-z_]+)`)? \|$", PAGE, re.MULTILINE))
    words = {word for pair in told for word in pair if word}
    documented = set(re.findall(r"`([a-z_]+)`", inspectors.Inspectors.__doc__.partition("missing")[2]))
    assert words == documented - {"closed"}
