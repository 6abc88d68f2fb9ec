"""`ecotone replay`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.made_traffic import SITE, Traffic, write

LOOSE = SITE.replace("loss_max: 0.02", "loss_max: 0.15")
CLOUD = SITE.replace("mode: auto, quality: {loss_max: 0.02, confidence: 0.95}", "mode: cloud")
EDGE = SITE.replace("mode: auto, quality: {loss_max: 0.02, confidence: 0.95}", "mode: edge")
POOR = SITE + "budgets: {cloud_usd_per_day: 0.1}\n"
STRICT = SITE + "keys: {chat: env:CHAT}\npolicy:\n  - {when: {key: chat}, egress: never}\n"
OPEN = SITE + "privacy: {labels: {medical: {egress: free}}}\n"
CHEAP = SITE.replace(
    "input_usd_per_mtok: 1.0, output_usd_per_mtok: 4.0", "input_usd_per_mtok: 0.5, output_usd_per_mtok: 2.0"
)
NEWER = SITE.replace("targets: [small, big]", "targets: [newer, small, big]").replace(
    "models:", '  newer: {url: "http://127.0.0.1:10/v1", model: newer-1, at: edge}\nmodels:'
)
LOCAL = SITE.replace(
    '{url: "http://127.0.0.1:9/v1", model: small-1, at: edge}', "{engine: llama.cpp, model: smollm2-135m}"
)
OTHER = SITE.replace("assistant:", "other:")
CASCADE = SITE.replace("mode: auto,", "mode: auto, cascade: true,")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """A store, written once, and the truth about what passed."""
    folder = tmp_path_factory.mktemp("written") / "store"
    return folder, write(folder, Traffic(count=2000))


@pytest.fixture
def ledger(shell: Any, written: tuple[Path, dict[str, float]]) -> Any:
    shutil.copytree(written[0], shell.folder / "store")
    shell.truth = written[1]
    return shell


def replay(shell: Any, *configs: str, more: tuple[str, ...] = ("--as-recorded",)) -> Any:
    names = []
    for number, text in enumerate(configs):
        shell.write(f"{number}.yaml", text)
        names += ["--config", f"{number}.yaml"]
    result = shell("replay", "store", "--json", *names, *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def holds(band: Any, value: float) -> bool:
    return bool(band["low"] - 1e-9 <= value <= band["high"] + 1e-9)


def test_every_recorded_decision_comes_out_again(ledger: Any) -> None:
    said = replay(ledger, more=())
    assert said["verified"]["mismatches"] == 0
    assert said["verified"]["checked"] > 2000  # second answers were decided too
    (one,) = said["configurations"]
    assert (one["name"], one["requests"], one["changed"]) == ("as recorded", 2000, 0)
    assert holds(one["loss"], ledger.truth["lost"] / ledger.truth["eligible"])
    assert said["drawn"] == said["pairs"] == ledger.truth["certify"]
    assert said["differences"] == []


def test_a_decision_that_does_not_come_out_again_is_told(ledger: Any) -> None:
    segment, *_ = sorted((ledger.folder / "store" / "ledger").glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes().replace(b'"order":["small","big"]', b'"order":["big","small"]', 1))
    result = ledger("replay", "store")
    assert result.exit_code == 1
    assert "NOT REPRODUCED: 1 of" in result.stdout


def test_configurations_stand_side_by_side_with_the_truth_in_their_bands(ledger: Any) -> None:
    said = replay(ledger, SITE, CLOUD, EDGE)
    recorded, same, cloud, edge = said["configurations"]
    truth = ledger.truth
    assert same["loss"] == recorded["loss"]
    assert same["cost_usd"]["mean"] == pytest.approx(recorded["cost_usd"]["mean"])
    assert cloud["loss"]["mean"] == 0.0
    assert holds(edge["loss"], truth["all_edge"] / truth["eligible"])
    assert holds(cloud["total_s"], 1.0 * 0.9 + 0.3 * 0.1)
    assert edge["total_s_p50"]["mean"] == pytest.approx(0.3, rel=0.05)
    assert holds(cloud["cost_usd"], truth["eligible"] / 2000 * 0.0012)
    assert edge["cost_usd"]["mean"] == 0.0
    assert edge["edge_share"]["mean"] == 1.0
    none, less, more = said["differences"]
    assert none["loss"]["mean"] == 0.0
    assert less["cost_usd"]["mean"] > 0 > more["cost_usd"]["mean"]
    assert more["loss"]["low"] > 0
    assert all(not one["notes"] for one in said["configurations"])


def test_a_looser_promise_gets_a_threshold_that_other_pairs_prove(ledger: Any) -> None:
    _, loose = replay(ledger, LOOSE)["configurations"]
    recorded = replay(ledger)["configurations"][0]
    assert loose["edge_share"]["mean"] > recorded["edge_share"]["mean"]
    assert loose["loss"]["mean"] <= 0.15
    assert loose["changed"] > 0


def test_a_promise_that_nothing_proves_moves_nothing(ledger: Any) -> None:
    tight = SITE.replace("loss_max: 0.02, confidence: 0.95", "loss_max: 0.0001, confidence: 0.999")
    recorded, strict = replay(ledger, tight)["configurations"]
    assert strict["edge_share"]["mean"] == pytest.approx(1 - ledger.truth["eligible"] / 2000)
    assert strict["loss"]["mean"] == 0.0
    assert recorded["loss"]["mean"] >= 0.0


def test_budgets_are_counted_by_the_day(ledger: Any) -> None:
    recorded, poor = replay(ledger, POOR)["configurations"]
    assert poor["edge_share"]["mean"] > recorded["edge_share"]["mean"]
    assert poor["cost_usd"]["mean"] * 2000 <= 0.1 * 2 + 0.03  # two days


def test_policy_speaks_again_about_the_recorded_labels(ledger: Any) -> None:
    recorded, strict, free = replay(ledger, STRICT, OPEN)["configurations"]
    assert strict["edge_share"]["mean"] >= recorded["edge_share"]["mean"]
    assert free["edge_share"]["mean"] < recorded["edge_share"]["mean"]


def test_prices_are_those_of_the_configuration(ledger: Any) -> None:
    cloud = CHEAP.replace("mode: auto, quality: {loss_max: 0.02, confidence: 0.95}", "mode: cloud")
    said = replay(ledger, CLOUD, cloud, more=())
    dear, cheap = said["configurations"]
    assert cheap["cost_usd"]["mean"] < dear["cost_usd"]["mean"]


def test_what_a_ledger_cannot_know_is_said(ledger: Any) -> None:
    (_, newer), (_, local), (_, other), (_, cascade) = (
        replay(ledger, text)["configurations"] for text in (NEWER, LOCAL, OTHER, CASCADE)
    )
    assert any("nothing is recorded of it" in note for note in newer["notes"])
    assert local["requests"] == 2000
    assert other["refusals"] == {"no_target": 2000}
    assert other["refused_share"]["mean"] == 1.0
    assert any("without `cascade`" in note for note in cascade["notes"])


def test_missing_pairs_are_taken_to_miss_at_random(shell: Any) -> None:
    truth = write(shell.folder / "store", Traffic(count=2000, missing=0.4))
    said = replay(shell, EDGE)
    assert said["pairs"] < 0.75 * said["drawn"]
    assert holds(said["configurations"][1]["loss"], truth["all_edge"] / truth["eligible"])


def test_a_cascade_is_replayed_by_what_the_answers_showed(shell: Any) -> None:
    truth = write(shell.folder / "store", Traffic(count=2000, cascade=True))
    said = replay(shell, CASCADE, CASCADE.replace("loss_max: 0.02", "loss_max: 0.15"), SITE)
    recorded, same, loose, prompt = said["configurations"]
    assert holds(recorded["loss"], truth["lost"] / truth["eligible"])
    assert holds(same["loss"], truth["lost"] / truth["eligible"])
    assert holds(recorded["edge_share"], (truth["moved"] + 2000 - truth["eligible"]) / 2000)
    assert loose["edge_share"]["mean"] > same["edge_share"]["mean"]
    assert loose["loss"]["mean"] <= 0.15
    assert prompt["loss"]["mean"] <= 0.02


def test_it_reads_as_a_table(ledger: Any) -> None:
    ledger.write("same.yaml", SITE)
    (ledger.folder / "other").mkdir()
    ledger.write("other/same.yaml", NEWER)
    result = ledger("replay", "store", "--config", "same.yaml", "--config", "other/same.yaml", "--model", "assistant")
    assert result.exit_code == 0
    out = result.stdout
    assert "made again from their recorded values: all the same" in out
    assert "same.yaml (2) less same.yaml" in out
    assert "same.yaml (2): target newer" in out
    assert "-0.0" not in out.replace("[-0.0", "")
    empty = ledger("replay", "store", "--model", "none")
    assert empty.exit_code == 0


def test_a_span_narrows_it(ledger: Any) -> None:
    said = replay(ledger, SITE, more=("--since", "2026-09-21T20:00", "--until", "2026-09-21T21:00"))
    assert said["configurations"][0]["requests"] == pytest.approx(180, abs=1)
    nothing = replay(ledger, more=("--since", "2031-01-01"))
    assert (nothing["since"], nothing["configurations"][0]["requests"]) == ("", 0)


def test_what_is_wrong_is_told(ledger: Any) -> None:
    assert ledger("replay", "nowhere").exit_code == 2
    ledger.write("bad.yaml", "site: [")
    assert ledger("replay", "store", "--config", "bad.yaml").exit_code == 2
    assert ledger("replay", "store", "--config", "none.yaml").exit_code == 2


def test_steps_of_another_form_are_passed_over(ledger: Any) -> None:
    segment, *_ = sorted((ledger.folder / "store" / "ledger").glob("*.jsonl"))
    head = b'{"v":1,"seq":1,"at_ms":1790000000000,"kind":"step","body":{"figures":1},"prev":"","hash":""}\n'
    segment.write_bytes(head + segment.read_bytes())
    assert replay(ledger, SITE)["configurations"][1]["requests"] == 2000


CLIMBING = SITE.replace("mode: auto,", "mode: shadow, advance: auto,")


def test_a_name_that_climbs_by_itself_goes_where_the_certificates_led(ledger: Any) -> None:
    """Recorded in mode `auto` by hand, with a certificate from the first request on: a ladder would have gone there."""
    recorded, climbing, by_edge = replay(ledger, CLIMBING, CLIMBING.replace("shadow", "edge"))["configurations"]
    assert climbing["edge_share"]["mean"] == recorded["edge_share"]["mean"] > 0.3
    assert climbing["changed"] == by_edge["changed"] == 0
    assert any(
        "from `shadow` on the rungs to which the recorded certificates lead" in note for note in climbing["notes"]
    )
    manual = replay(ledger, SITE.replace("mode: auto,", "mode: shadow,"))["configurations"][1]
    assert manual["edge_share"]["mean"] < 0.2
    assert manual["notes"] == []


def test_a_name_that_climbs_under_another_promise_is_judged_by_its_own_threshold(ledger: Any) -> None:
    loose, climbing = replay(ledger, LOOSE, LOOSE.replace("mode: auto,", "mode: shadow, advance: auto,"), more=())[
        "configurations"
    ]
    assert climbing["edge_share"] == loose["edge_share"]
    assert any("the promise is another than the recorded one" in note for note in climbing["notes"])


def test_mode_edge_asks_the_edge_whatever_an_answer_gate_would_skip(shell: Any) -> None:
    """Without a certificate no answer is looked at: it is given as it is."""
    truth = write(shell.folder / "store", Traffic(count=1500, cascade=True, gap_max=None, skips=True))
    cascade = CASCADE.replace("mode: auto", "mode: edge")
    tight = cascade.replace("loss_max: 0.02, confidence: 0.95", "loss_max: 0.0001, confidence: 0.999")
    recorded, edge, strict = replay(shell, cascade, tight)["configurations"]
    assert recorded["edge_share"]["mean"] == pytest.approx(1 - truth["eligible"] / 1500)
    assert edge["edge_share"]["mean"] == strict["edge_share"]["mean"] == 1.0
    assert holds(edge["loss"], truth["all_edge"] / truth["eligible"])
    assert edge["notes"] == []


def test_mode_edge_with_a_gate_on_answers_says_that_it_looks(shell: Any) -> None:
    write(shell.folder / "store", Traffic(count=600, cascade=True))
    recorded, edge = replay(shell, CASCADE.replace("mode: auto", "mode: edge"))["configurations"]
    assert edge["edge_share"] == recorded["edge_share"]
    assert any("looked at in mode `edge` too" in note for note in edge["notes"])
