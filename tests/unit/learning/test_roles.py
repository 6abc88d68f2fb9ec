"""Roles are drawn by the seed alone, and paid pairs stay within their bounds."""

import itertools

import pytest

from ecotone.learning import roles
from ecotone.values.quality import Role


def test_a_seed_draws_the_same_role_again_and_seeds_in_a_row_draw_as_dice_do() -> None:
    drawn = [roles.draw(seed, 0.3) for seed in range(20_000)]
    assert drawn == [roles.draw(seed, 0.3) for seed in range(20_000)]
    certifying = [role is Role.CERTIFY for role, _ in drawn]
    assert sum(certifying) / 20_000 == pytest.approx(0.3, abs=0.015)
    # Neither does one seed say anything of the next, nor of its remainder (by which edge targets are chosen).
    both = sum(one and two for one, two in itertools.pairwise(certifying))
    assert both / 20_000 == pytest.approx(0.09, abs=0.01)
    assert sum(certifying[::2]) / 10_000 == pytest.approx(0.3, abs=0.02)


def test_the_probability_of_what_was_drawn_is_told() -> None:
    assert {roles.draw(seed, 0.25) for seed in range(200)} == {(Role.CERTIFY, 0.25), (Role.LEARN, 0.75)}


def test_a_certificate_on_few_pairs_gets_as_many_as_may_be() -> None:
    assert roles.share_standing(0.3, 0.02, 0.01, pairs=500, most=0.05) == 0.05
    assert roles.share_standing(0.3, 0.02, 0.01, pairs=500, most=1.0) == 1.0


def test_a_certificate_on_many_pairs_gets_what_renewing_it_takes() -> None:
    shares = [roles.share_standing(edge, 0.02, 0.01, pairs=3_000, most=0.05) for edge in (0.05, 0.3, 0.9)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(0.01)
    assert shares[1] == pytest.approx(2.7 * 0.1 * 30**2 / 10_000)
    assert shares[2] == 0.05
    # With the loss at its limit the slack is not taken for nothing.
    assert roles.share_standing(0.05, 0.02, 0.02, pairs=3_000, most=0.05) <= 0.05
