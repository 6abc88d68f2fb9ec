"""The suite can fail: with a rule taken out of the product, the scenes that guard it see the leak.

The mutations are made from outside, by a `sitecustomize` in the site's process (`mutants/`); the product has no switch
for any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.egress import scenes
from tests.egress.stage import Leak, Stage


def _direct(stage: Stage, mutant: str) -> None:
    scenes.direct(stage, stage.site(mutant=mutant), 60)


def _rogue(stage: Stage, mutant: str) -> None:
    scenes.rogue(stage, 12, mutant=mutant)


def _detectors(stage: Stage, mutant: str) -> None:
    scenes.detectors(stage, 60, mutant=mutant)


def _hub(stage: Stage, mutant: str) -> None:
    scenes.hub(stage, 24, mutant=mutant)


MUTATIONS: dict[str, tuple[Callable[[Stage, str], None], str]] = {
    "permit": (_rogue, "outside|got out"),
    "guard": (_rogue, "outside|got out"),
    "taint": (_direct, "outside"),
    "fail_closed": (_detectors, "outside"),
    "chatty": (_hub, "outside"),
}


def test_every_mutation_is_played() -> None:
    folder = Path(__file__).parent / "mutants"
    assert {each.name for each in folder.iterdir() if each.is_dir()} == {
        *MUTATIONS,
        "common",
        "rogue",
        "hasty",
        "plain",
    }


@pytest.mark.parametrize("mutant", MUTATIONS)
def test_with_a_rule_taken_out_the_suite_fails(mutant: str, tmp_path: Path) -> None:
    scene, told = MUTATIONS[mutant]
    with Stage(tmp_path) as stage, pytest.raises(Leak, match=told) as caught:
        scene(stage, mutant)
    print(f"\nMEASURED without {mutant}: {str(caught.value)[:300]}")
