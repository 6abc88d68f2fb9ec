"""From a hub's wish to what answers, with the real engine: variants, trials, and versions that are no good."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ecotone.delivery import hub_keys, packs
from ecotone.hub.settings import Settings
from ecotone.transfer import encode
from ecotone.trust.agreeing import Asset
from ecotone.values.fleet import Terms
from tests.e2e.conftest import ECOTONE, Start, link_starter, poll, starter_file
from tests.e2e.versions_site import Callers, config, put, unknown_architecture, variant
from tests.hub.served import OWNER, Served, TokenAsked, made, opened, serving

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not starter_file().is_file(), reason="no starter model: `make test` fetches it"),
]
QUICK = Terms(hours_min=0.0, requests_min=6, hours_max=1.0)
FASTER_THAN_ANY = 1e6


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")


@pytest.fixture
def hub(settings: Settings) -> Iterator[Served]:
    with serving(settings) as served:
        yield served


def publish(served: Served, version: str, content: bytes) -> Asset:
    """A version of `model`, as the director may want it."""
    with opened(served.settings) as hub:
        path = served.settings.state / "m.gguf"
        path.write_bytes(content)
        manifest = packs.publish([path], hub.objects, packs.About(name="model", version=version, licence="Apache-2.0"))
        path.unlink()
        hub.repositories.publish(manifest, hub_keys.read(served.settings.keys / "publisher-models.key"))
        hub.repositories.refresh([hub_keys.read(served.settings.keys / f"{one}.key") for one in ("online", "director")])
    raw = encode(manifest)
    return Asset("model", version, "model", hashlib.sha256(raw).hexdigest(), len(raw), terms=QUICK)


def want(served: Served, *assets: Asset) -> None:
    with opened(served.settings) as hub:
        hub.wishes.set({"test": list(assets)}, "a test")


def reported(served: Served) -> dict[str, tuple[str, str]]:
    """State and why of each version, as the hub knows it."""
    with opened(served.settings) as hub:
        raw = hub.reports.newest("test")
    found: list[dict[str, Any]] = [] if raw is None else json.loads(raw).get("assets", [])
    return {one["version"]: (one["state"], one.get("why", "")) for one in found}


def test_a_wish_is_tried_the_slow_variant_refused_and_what_does_not_load_gone_back_from(
    start: Start, hub: Served
) -> None:
    def fill(store: Path) -> None:
        link_starter(store)
        put(store, "1", None, is_used=True, name="model")
        with opened(hub.settings) as services:
            token = str(services.sites.tokens.new(OWNER, TokenAsked(site="test"))[1])
        command = [ECOTONE, "enroll", url, token, "-c", str(store.parent / "ecotone.yaml")]
        subprocess.run(command, check=True, capture_output=True, cwd=store.parent)

    url = f"http://127.0.0.1:{hub.port}"
    given = config(hub={"url": url, "report_minutes": 0.05, "poll_s": 2})
    given["targets"]["small"]["model"] = "hub:model"
    slow, quick = publish(hub, "2+large", variant(1)), publish(hub, "2+small", variant(2))
    bad = publish(hub, "3", unknown_architecture())
    site = start(given, fill=fill)

    def models() -> list[str]:
        return [name for name, row in site.status()["engines"].items() if row["state"] == "ready"]

    poll(lambda: models() == ["hub:model@1"], "version 1 runs", 60)
    with Callers(site, threads=2, max_tokens=8) as callers:
        want(hub, msgspec.structs.replace(slow, decode_tok_s_min=FASTER_THAN_ANY), quick)
        poll(lambda: reported(hub).get("2+small", ("",))[0] == "good", "the second variant is good", 120)
        assert reported(hub)["2+large"] == ("refused", "speed")
        assert models() == ["hub:model@2+small"]
        want(hub, bad)
        poll(lambda: reported(hub).get("3") == ("failed", "load"), "it is gone back from, and the hub knows", 120)
        assert models() == ["hub:model@2+small"]
        whole = callers.ends.whole
        poll(lambda: callers.ends.whole > whole + 2, "answers", 30)
    assert callers.ends.faults == []
    assert reported(hub)["2+small"][0] == "good"
