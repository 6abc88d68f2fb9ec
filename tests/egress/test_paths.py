"""Nothing protected is seen outside, on any path. The scenes are in `scenes.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import pytest

from ecotone.gateway.corridor import Corridor
from ecotone.gateway.routes import Routes
from tests.e2e.conftest import Site
from tests.egress import scenes
from tests.egress.stage import TOTAL, Stage, small_disk

SHARE = max(12, TOTAL // 20)
ROUTES = Routes(cast(Corridor, None))._exact


@pytest.fixture(scope="module")
def site(stage: Stage) -> Iterator[Site]:
    """The site of the scenes that need no other."""
    made = stage.site()
    yield made
    stage.look_inside(made)


@pytest.mark.parametrize("scene", scenes.ON_ONE_SITE, ids=lambda scene: scene.__name__)
def test_nothing_protected_leaves_on(scene: Callable[[Stage, Site, int], None], stage: Stage, site: Site) -> None:
    scene(stage, site, SHARE * (2 if scene is scenes.direct else 1))


def test_what_is_found_after_a_reload_stays(stage: Stage) -> None:
    scenes.reloading(stage, SHARE * 2)


def test_with_the_cloud_switched_off_not_a_packet_leaves(stage: Stage) -> None:
    scenes.no_cloud(stage, SHARE)


def test_with_a_full_disk_nothing_leaves_at_all(stage: Stage) -> None:
    with small_disk(stage.folder / "disk") as disk:
        scenes.full_disk(stage, SHARE, disk)


def test_nothing_protected_leaves_while_the_site_stops(stage: Stage) -> None:
    scenes.stopping(stage, SHARE)


def test_values_go_as_surrogates_and_come_back_as_themselves(stage: Stage) -> None:
    site = stage.site(stage.config(**scenes.MASKED))
    scenes.masked(stage, site, SHARE * 3)
    stage.look_inside(site)
    site.stop()


def test_names_and_topics_stay_also_when_their_detector_is_killed_or_held(stage: Stage) -> None:
    scenes.detectors(stage, SHARE * 2)


def test_the_sites_own_terms_stay(stage: Stage) -> None:
    scenes.terms(stage, SHARE)


def test_who_starts_beside_a_slow_edge_gets_nothing_protected(stage: Stage) -> None:
    scenes.hedge(stage, SHARE)


def test_an_answer_that_goes_on_at_the_edge_sends_nothing_more_out(stage: Stage) -> None:
    scenes.handover(stage, SHARE)


def test_second_answers_in_silence_take_nothing_protected_out(stage: Stage) -> None:
    scenes.shadow(stage, SHARE)


def test_an_answer_that_is_not_sure_takes_nothing_protected_up(stage: Stage) -> None:
    scenes.cascade(stage, SHARE)


@pytest.mark.skipif("/v1/jobs" not in ROUTES, reason="there are no jobs yet")
def test_what_is_answered_later_stays_and_is_sealed_on_disk(stage: Stage) -> None:
    scenes.jobs(stage, SHARE)


@pytest.mark.skipif("/v1/jobs" not in ROUTES, reason="there are no jobs yet")
def test_a_job_goes_by_the_policy_of_the_moment_it_is_done(stage: Stage) -> None:
    scenes.jobs_overtaken(stage, SHARE)


def test_what_the_site_says_to_its_hub_holds_no_word_of_a_caller(stage: Stage) -> None:
    scenes.hub(stage, SHARE * 2)


@pytest.mark.skipif("/v1/batches" not in ROUTES, reason="there are no batches yet")
def test_a_batch_keeps_what_must_stay(stage: Stage) -> None:
    scenes.batch(stage, SHARE)


def test_the_other_way_in_is_as_tight(stage: Stage) -> None:
    scenes.other_lane(stage, SHARE)


def test_rules_by_key_label_region_and_model_hold(stage: Stage) -> None:
    scenes.rules(stage, SHARE)


def test_a_rogue_in_the_process_gets_nothing_out(stage: Stage) -> None:
    scenes.rogue(stage, SHARE)


def test_a_value_that_is_given_as_a_name_is_told_to_the_caller_alone(stage: Stage) -> None:
    site = stage.site()
    try:
        scenes.wrong_names(stage, site, 6)
    finally:
        site.stop()
        stage.judged.clear()
