"""docs/explanation/releases.md names every code and every dial of a release."""

from __future__ import annotations

from pathlib import Path

from ecotone.fleet.accepting import SKIPS
from ecotone.fleet.evidence import at_site
from ecotone.fleet.release import Gate, Plan
from ecotone.fleet.waves import BAD, GATES
from ecotone.values.fleet import Figures, Terms

PAGE = (Path(__file__).parents[3] / "docs" / "explanation" / "releases.md").read_text()


def test_every_code_is_on_the_page() -> None:
    codes = [*BAD, *(code for code, *_ in GATES), "gate.hours", *SKIPS, "boots", *at_site(Figures(), None, Terms())]
    assert not [code for code in codes if f"`{code}`" not in PAGE]


def test_every_dial_is_on_the_page() -> None:
    dials = [*Gate.__struct_fields__, *Terms.__struct_fields__, "scouts_share", "sites_per_look"]
    assert not [dial for dial in dials if f"`{dial}`" not in PAGE]
    assert set(Plan.__struct_fields__) >= {"scouts_share", "sites_per_look", "gate", "terms"}
