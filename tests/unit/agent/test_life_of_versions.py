"""What the site does to a version is what `fleet.trial.TABLE` has for it."""

from __future__ import annotations

import pytest

from ecotone.agent import standings
from ecotone.agent.trials import Standing, Used, Wish
from ecotone.fleet.trial import Event, step
from ecotone.values.fleet import Terms

USED = Used(version="1", sha256="0" * 64, attempt=0, state="good", since_s=1.0)


def wish(terms: Terms | None, kind: str = "model") -> Wish:
    return Wish(name="ward", version="2", kind=kind, sha256="a" * 64, terms=terms)


@pytest.mark.parametrize(
    ("terms", "kind", "event"),
    [(Terms(), "model", Event.SWITCHED), (None, "model", Event.USED), (Terms(), "policy", Event.USED)],
)
def test_a_version_that_is_ready_is_tried_or_used(terms: Terms | None, kind: str, event: Event) -> None:
    now = standings.on_trial(Standing(kind=kind, used=USED), wish(terms, kind), 5.0)
    assert now.used.state == step("ready", event)
    assert (now.trial is not None) is (event is Event.SWITCHED)


def test_a_version_that_failed_is_told_so_and_the_one_before_is_used() -> None:
    tried = standings.on_trial(Standing(kind="model", used=USED), wish(Terms()), 5.0)
    after = standings.lost(tried, "errors", "failed", 9.0)
    told = {one.version: one.state for one in standings.reports("ward", after)}
    assert told == {"1": "good", "2": step("trying", Event.FAILED)}
