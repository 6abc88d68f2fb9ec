"""A model is replaced under load, with the real engine: no request fails, none is cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from ecotone.delivery import versions
from tests.e2e.conftest import ECOTONE, Site, Start, poll, starter_file
from tests.e2e.versions_site import Callers, adapter, config, filled, put, unknown_architecture, variant

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not starter_file().is_file(), reason="no starter model: `make test` fetches it"),
]
SWITCHES = int(os.environ.get("ECOTONE_SWITCHES", "4"))


def cli(site: Site, *words: str, code: int = 0) -> dict[str, object]:
    """What a command of the local administrator says."""
    done = subprocess.run(
        [ECOTONE, *words, "-c", str(site.file), "--json"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout or done.stderr)
    return found


def running(site: Site) -> list[str]:
    """The files of all engines that run, by the beginnings of their SHA-256."""
    return [row["file"] for row in site.status()["engines"].values() if row["state"] == "ready"]


def runs(site: Site, sha256: str) -> bool:
    """Whether that file alone is loaded."""
    return running(site) == [sha256[:12]]


def file_of(site: Site, version: str) -> str:
    (found,) = [one for one in versions.versions(site.store) if one.version == version]
    return found.files["m.gguf"]


@pytest.mark.parametrize("memory_mb", [None, 240], ids=["memory for both", "memory for one"])
def test_no_request_fails_and_none_is_cut_while_versions_change(start: Start, memory_mb: int | None) -> None:
    engines = {"measure": False} | ({} if memory_mb is None else {"memory_mb": memory_mb})
    site = start(config(engines=engines), fill=filled)
    one, two = file_of(site, "1"), file_of(site, "2")
    poll(lambda: runs(site, one), "version 1 runs", 60)
    with Callers(site) as callers:
        for number in range(SWITCHES):
            version = "21"[number % 2]
            said = cli(site, "models", "pin", f"hub:smol@{version}")
            assert said["pinned"] == version
            poll(lambda version=version: runs(site, two if version == "2" else one), f"version {version} runs", 90)
    ends = callers.ends
    print(f"{SWITCHES} switches, {dict(ends.kinds)}, longest {ends.longest_s:.2f} s, {len(ends.faults)} faults")
    assert ends.faults == []
    assert ends.kinds["stream"] > SWITCHES
    assert ends.kinds["plain"] > SWITCHES


def test_a_version_that_cannot_be_loaded_is_given_up_and_the_old_one_goes_on(start: Start) -> None:
    site = start(config(), fill=filled)
    poll(lambda: runs(site, file_of(site, "1")), "version 1 runs", 60)
    put(site.store, "3", unknown_architecture())
    with Callers(site, threads=2) as callers:
        cli(site, "models", "pin", "hub:smol@3")
        poll(lambda: [one for one in site.status()["troubles"] if "smol" in one], "the trouble is told", 60)
        poll(lambda: versions.in_force(site.store, "smol").version == "1", "version 1 is in force again")
        poll(lambda: callers.ends.whole > 4, "answers", 60)
    assert callers.ends.faults == []
    assert runs(site, file_of(site, "1"))


def test_going_back_is_one_command_with_a_site_and_without(start: Start) -> None:
    site = start(config(), fill=filled)
    poll(lambda: runs(site, file_of(site, "1")), "version 1 runs", 60)
    cli(site, "models", "pin", "hub:smol@2")
    poll(lambda: runs(site, file_of(site, "2")), "version 2 runs", 60)
    cli(site, "models", "unpin", "hub:smol")
    said = cli(site, "models", "rollback", "hub:smol")
    assert said["by"] == "the site that runs"
    poll(lambda: runs(site, file_of(site, "1")), "version 1 runs again", 60)
    assert site.stop() == 0
    said = cli(site, "models", "pin", "hub:smol@2")
    assert (said["by"], said["version"], said["pinned"]) == ("this command", "2", "2")
    assert "asset.unknown" in json.dumps(cli(site, "models", "pin", "hub:smol@9", code=2))


def test_an_adapter_is_loaded_with_its_model_and_switched_like_one(start: Start) -> None:
    def fill(store: Path) -> None:
        filled(store)
        put(store, "1", adapter(1), is_used=True, name="style")
        put(store, "2", adapter(2), name="style")
        put(store, "3", adapter(3, width=64, blocks=2), name="style")

    def says() -> str:
        body = {"model": "assistant", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
        status, _, told = site.ask("POST", "/v1/chat/completions", body | {"temperature": 0})
        assert status == 200, told
        answer = json.loads(told)
        assert answer["model"] == models()[0]
        return str(answer["choices"][0]["message"]["content"])

    def models() -> list[str]:
        return [name for name, row in site.status()["engines"].items() if row["state"] == "ready"]

    given = config()
    given["targets"]["small"]["adapter"] = "hub:style"
    site = start(given, fill=fill)
    poll(lambda: models() == ["hub:smol@1+hub:style@1"], "it runs with its adapter", 60)
    first = says()
    with Callers(site, threads=2) as callers:
        cli(site, "models", "pin", "hub:style@2")
        poll(lambda: models() == ["hub:smol@1+hub:style@2"], "the next adapter", 60)
        second = says()
        cli(site, "models", "pin", "hub:style@3")
        poll(lambda: [one for one in site.status()["troubles"] if "style" in one], "one for another model is told", 60)
        cli(site, "models", "pin", "hub:smol@2")
        poll(lambda: models() == ["hub:smol@2+hub:style@2"], "the next model", 60)
    assert callers.ends.faults == []
    assert first != second


def test_a_reload_takes_what_is_led_elsewhere(start: Start) -> None:
    site = start(config(), fill=filled)
    poll(lambda: runs(site, file_of(site, "1")), "version 1 runs", 60)
    with Callers(site, threads=2) as callers:
        versions.switch(site.store, "smol", "2")
        site.process.send_signal(signal.SIGHUP)
        poll(lambda: runs(site, file_of(site, "2")), "version 2 runs", 60)
    assert callers.ends.faults == []
    assert callers.ends.whole


def test_a_target_whose_file_comes_later_serves_from_then_on(start: Start) -> None:
    site = start(config(), fill=lambda store: store.mkdir())
    assert site.ask("POST", "/v1/chat/completions", {"model": "assistant", "messages": []})[0] >= 400
    put(site.store, "2", variant(2), is_used=True)
    site.process.send_signal(signal.SIGHUP)
    poll(lambda: runs(site, file_of(site, "2")), "version 2 runs", 60)
    with Callers(site, threads=1) as callers:
        poll(lambda: callers.ends.whole or callers.ends.faults, "an answer", 60)
    assert callers.ends.faults == []
