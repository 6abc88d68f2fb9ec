"""The ladder's table, and its picture in the docs."""

import itertools
from pathlib import Path

import pytest

from ecotone.learning import ladder
from ecotone.learning.ladder import Proof
from ecotone.values.request import Mode


def test_every_rung_knows_what_to_do_with_every_proof() -> None:
    assert set(ladder.TABLE) == set(itertools.product(Mode, Proof))


def test_nobody_climbs_more_than_one_rung_at_once() -> None:
    height = list(Mode)
    for (old, _), new in ladder.TABLE.items():
        assert height.index(new) - height.index(old) <= 1


@pytest.mark.parametrize("rung", [Mode.SHADOW, Mode.AUTO, Mode.EDGE])
def test_a_lost_promise_leads_back_to_the_shadow(rung: Mode) -> None:
    assert ladder.TABLE[rung, Proof.LOST] is Mode.SHADOW


def test_proof_leads_up() -> None:
    assert ladder.TABLE[Mode.SHADOW, Proof.SOME] is Mode.AUTO
    assert ladder.TABLE[Mode.AUTO, Proof.ALL] is Mode.EDGE
    assert ladder.TABLE[Mode.EDGE, Proof.SOME] is Mode.AUTO
    assert ladder.is_up(Mode.SHADOW, Mode.AUTO)
    assert not ladder.is_up(Mode.EDGE, Mode.SHADOW)


def test_by_hand_the_configuration_decides_but_for_a_lost_promise_at_the_edge() -> None:
    for mode, proof in itertools.product(Mode, Proof):
        expected = Mode.AUTO if (mode, proof) == (Mode.EDGE, Proof.LOST) else mode
        assert ladder.by_hand(mode, proof) is expected


def test_the_picture_in_the_docs_is_drawn_from_the_table() -> None:
    page = Path(__file__).parents[3] / "docs" / "explanation" / "learning.md"
    assert ladder.picture() in page.read_text()
