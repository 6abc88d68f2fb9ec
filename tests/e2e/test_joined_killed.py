"""A delivery that is killed, with its site or alone, goes on where it was; a newer wish ends an older delivery."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ecotone.delivery import hub_keys, packs
from ecotone.hub.serving import Hub
from tests.e2e.conftest import ECOTONE, Site, Start, Upstream, poll
from tests.e2e.test_joined import ASK, config, joining, settings, states
from tests.hub.served import Settings, assign, opened, serving

__all__ = ["settings"]

SLOW = {"kbit_per_s_max": 4000}
SIZE = 2 << 20


def publish(hub: Hub, version: str) -> None:
    """Weights that nothing of has been seen before: 4 s at the rate of these sites."""
    path = hub.settings.state / "weights.txt"
    path.write_text("".join(os.urandom(32).hex() + "\n" for _ in range(SIZE // 65)))
    manifest = packs.publish([path], hub.settings.folder, packs.About(name="big", version=version, licence="MIT"))
    hub.repositories.publish(manifest, hub_keys.read(hub.settings.keys / "publisher-models.key"))
    hub.repositories.refresh([hub_keys.read(hub.settings.keys / f"{key}.key") for key in ("online", "director")])


@pytest.fixture
def big(settings: Settings) -> Settings:
    with opened(settings) as hub:
        publish(hub, "1")
        publish(hub, "2")
    return settings


def child(site: Site) -> int:
    for pid in site.children():
        if b"ecotone.delivery.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return 0


def coming(site: Site) -> bool:
    """Whether some of it has come, and some not."""
    found = [one for one in site.status()["hub"]["assets"] if one["state"] == "fetching"]
    return bool(found) and 0 < (found[0]["left_bytes"] or 0) < SIZE - 300_000


def test_a_child_that_is_killed_is_followed_by_one_that_goes_on(
    start: Start, big: Settings, upstream: Upstream
) -> None:
    with serving(big) as hub:
        site = start(config(hub, upstream, **SLOW), fill=joining(hub))
        assign(hub, "test", "big@1")
        poll(lambda: coming(site), "half of it is here", 30)
        pid = child(site)
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert int(stat[16]) >= 15  # it goes last at the scheduler
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"ECOTONE" not in environ
        assert b"ecs1" not in Path(f"/proc/{pid}/cmdline").read_bytes() + environ
        os.kill(pid, signal.SIGKILL)
        assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
        poll(lambda: states(site) == {"big@1": "good"}, "another one brings it", 120)


def test_a_site_that_is_killed_goes_on_at_its_next_start(start: Start, big: Settings, upstream: Upstream) -> None:
    with serving(big) as hub:
        site = start(config(hub, upstream, **SLOW), fill=joining(hub))
        assign(hub, "test", "big@1")
        poll(lambda: coming(site), "half of it is here", 30)
        pid = child(site)
        left = next(one["left_bytes"] for one in site.status()["hub"]["assets"])
        site.stop(signal.SIGKILL)
        poll(lambda: not _is_alive(pid), "the child does not outlive its site", 10)
        again = subprocess.Popen(
            [ECOTONE, "up", "-c", str(site.file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert again.stdout is not None
            site.port = int(again.stdout.readline().decode().rsplit(":", 1)[1])
            seen = poll(
                lambda: [one["left_bytes"] for one in site.status()["hub"]["assets"] if one["state"] == "fetching"],
                "it is coming again",
                30,
            )
            assert seen[0] is None or seen[0] <= left + 70_000
            poll(lambda: states(site) == {"big@1": "good"}, "it is here", 120)
        finally:
            again.send_signal(signal.SIGTERM)
            again.wait(30)
            assert again.stdout is not None
            again.stdout.close()


def test_a_newer_wish_ends_the_delivery_of_an_older_one(start: Start, big: Settings, upstream: Upstream) -> None:
    with serving(big) as hub:
        site = start(config(hub, upstream, **SLOW), fill=joining(hub))
        assign(hub, "test", "big@1")
        poll(lambda: coming(site), "the first is on its way", 30)
        old = child(site)
        assign(hub, "test", "smol@1")
        poll(lambda: states(site) == {"smol@1": "good"}, "the newer wish", 60)
        assert child(site) != old


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
