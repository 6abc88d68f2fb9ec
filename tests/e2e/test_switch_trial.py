"""Trials with a real site and the real engine: good, no good, and a site that is killed again and again."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ecotone.agent import trials
from ecotone.agent.trials import Kept, Standing, Used, Wish
from ecotone.delivery import versions
from ecotone.values.fleet import Terms
from tests.e2e.conftest import Site, poll, starter_file
from tests.e2e.versions_site import Callers, config, filled, put, unknown_architecture

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not starter_file().is_file(), reason="no starter model: `make test` fetches it"),
]
QUICK = Terms(hours_min=0.0, requests_min=6, hours_max=1.0)
LONG = Terms(hours_min=10.0, requests_min=1000)
Live = Callable[[], Site]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    """Lives of one site, one after the other, over one store."""
    lives: list[Site] = []

    def begin() -> Site:
        lives.append(Site(tmp_path, config(), {}, (), filled if not lives else None))
        return lives[-1].wait()

    yield begin
    for site in lives:
        site.stop(signal.SIGKILL)


def wait_for_use(store: Path, version: str, terms: Terms, attempt: int = 0) -> None:
    """As the site's agent leaves it when a version has come: it waits, and is tried as soon as the site runs."""
    used = versions.in_force(store, "smol")
    assert used is not None
    (come,) = [one for one in versions.versions(store) if one.version == version]
    wish = Wish(name="smol", version=version, kind="model", sha256=come.manifest, attempt=attempt, terms=terms)
    kept = trials.read(store)
    known = kept.assets.get("smol", Standing(kind="model", used=Used(version=used.version, sha256=used.manifest)))
    assets = {"smol": msgspec.structs.replace(known, ready=wish)}
    trials.write(store, msgspec.structs.replace(kept, assets=assets))


def standing(site: Site) -> Standing:
    return trials.read(site.store).assets["smol"]


def models(site: Site) -> list[str]:
    return [name for name, row in site.status()["engines"].items() if row["state"] == "ready"]


def runs(site: Site, version: str) -> bool:
    return models(site) == [f"hub:smol@{version}"]


def test_a_version_is_tried_under_load_and_good_and_the_next_that_does_not_load_is_gone_back_from(live: Live) -> None:
    site = live()
    poll(lambda: models(site) == ["hub:smol@1"], "version 1 runs", 60)
    assert site.stop() == 0
    wait_for_use(site.store, "2", QUICK)
    site = live()
    with Callers(site, threads=2) as callers:
        poll(lambda: standing(site).used.version == "2" and standing(site).used.state == "good", "it is good", 90)
        poll(lambda: models(site) == ["hub:smol@2"], "version 2 runs", 30)
    assert callers.ends.faults == []
    assert standing(site).former.version == "1"  # type: ignore[union-attr]  # it had one
    assert site.stop() == 0
    put(site.store, "3", unknown_architecture())
    wait_for_use(site.store, "3", QUICK)
    site = live()
    with Callers(site, threads=2) as callers:
        poll(lambda: standing(site).lost is not None, "it is gone back from", 90)
        poll(lambda: callers.ends.whole > 4, "answers", 60)
    lost: Any = standing(site).lost
    assert (lost.version, lost.state, lost.why) == ("3", "failed", "load")
    assert models(site) == ["hub:smol@2"]
    assert callers.ends.faults == []
    assert "hub:smol: 3 failed here (load)" in site.status()["troubles"]


def test_a_version_on_which_the_site_is_killed_at_each_start_is_gone_back_from(live: Live) -> None:
    site = live()
    poll(lambda: models(site) == ["hub:smol@1"], "version 1 runs", 60)
    assert site.stop() == 0
    wait_for_use(site.store, "2", LONG)
    for _ in range(LONG.boots_max):
        site = live()
        poll(functools.partial(runs, site, "2"), "version 2 runs", 60)
        site.stop(signal.SIGKILL)
    kept: Kept = trials.read(site.store)
    assert kept.assets["smol"].used.state == "trying"
    site = live()
    poll(lambda: models(site) == ["hub:smol@1"], "version 1 runs again", 60)
    lost: Any = standing(site).lost
    assert (lost.version, lost.why) == ("2", "boots")
    assert trials.read(site.store).memory.failed(lost.sha256, 0) is not None
