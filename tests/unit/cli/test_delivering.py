"""How the configuration lets deliveries use the link, and what is left on the machine afterwards."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.delivery.hubs import Server, serving

MODEL = "hub.keys/publisher-models.key"
SITE = """
site: harbour
store: {{path: {store}}}
targets:
  small: {{engine: llama.cpp, model: "hub:smol"}}
  older: {{engine: llama.cpp, model: "hub:smol@1"}}
link: {{windows: [{{days: {days}, from: "00:00", to: "00:00"}}]}}
hub: {hub}
"""


@pytest.fixture
def hub(shell: Any) -> Any:
    """A hub, and a site that trusts it and wants `smol`."""
    done(shell, "hub", "init", "hub")
    version(shell, 1)
    configure(shell, {"url": "http://127.0.0.1:9/"})
    done(shell, "trust", "hub", "--site", "harbour", "-c", "site.yaml")
    return shell


@pytest.fixture
def server(hub: Any) -> Iterator[Server]:
    with serving(hub.folder / "hub") as state:
        yield state


def done(shell: Any, *arguments: str) -> str:
    result = shell(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def version(shell: Any, number: int) -> None:
    shell.write("smol.txt", random.Random(number).randbytes(40_000).hex())
    options = ["--name", "smol", "--version", str(number), "--licence", "MIT", "--key", MODEL]
    done(shell, "hub", "publish", "hub", "smol.txt", *options)
    done(shell, "hub", "assign", "hub", "harbour", f"smol@{number}")


def configure(shell: Any, hub: dict[str, Any], days: str = "daily") -> None:
    shell.write("site.yaml", SITE.format(store=shell.folder / "store", hub=json.dumps(hub), days=days))


def here(shell: Any) -> set[str]:
    return {
        row["name"] for row in json.loads(done(shell, "models", "list", "-c", "site.yaml", "--json")) if row["here"]
    }


def test_weights_come_from_a_mirror_and_what_is_signed_from_the_hub(hub: Any, server: Server) -> None:
    with serving(hub.folder / "hub") as mirror:
        configure(hub, {"url": server.url, "mirrors": [mirror.url], "kbit_per_s_max": 8_000_000})
        done(hub, "models", "pull", "hub:smol", "-c", "site.yaml")
        assert {request.split("/")[1] for request in mirror.requests} == {"packs"}
        assert not any(request.startswith("/packs") for request in server.requests)
    assert {"hub:smol", "hub:smol@1"} <= here(hub)


def test_a_mirror_that_is_gone_or_lies_costs_nothing_but_time(hub: Any, server: Server) -> None:
    with serving(hub.folder / "hub") as mirror:
        mirror.lie = lambda body: bytes(len(body))
        configure(hub, {"url": server.url, "mirrors": ["http://127.0.0.1:9/", mirror.url]})
        done(hub, "models", "pull", "hub:smol", "-c", "site.yaml")
    assert "hub:smol" in here(hub)


def test_outside_the_links_windows_the_hub_is_not_asked(
    hub: Any, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(hub, {"url": server.url, "in_windows": True}, days="mon")
    with monkeypatch.context() as patch:
        patch.setattr("ecotone.flow.windows.Windows.is_open", lambda _, wall_s: False)
        result = hub("models", "pull", "hub:smol", "-c", "site.yaml", "--json")
    assert json.loads(result.stdout)["error"]["code"] == "delivery.window"
    assert server.requests == []
    configure(hub, {"url": server.url, "in_windows": True})
    done(hub, "models", "pull", "hub:smol", "-c", "site.yaml")


def test_old_versions_go_and_what_the_configuration_names_stays(hub: Any) -> None:
    for number in (1, 2, 3, 4):
        if number > 1:
            version(hub, number)
        done(hub, "models", "pull", "hub:smol", "-c", "site.yaml", "--from", "hub")
    assert {name for name in here(hub) if "/" not in name} == {"hub:smol", "hub:smol@1", "hub:smol@3", "hub:smol@4"}


def test_a_hubs_model_is_removed_with_all_its_versions(hub: Any) -> None:
    done(hub, "models", "pull", "hub:smol", "-c", "site.yaml", "--from", "hub")
    for name in ("hub:smol@1", "hub:other", "hub:smol/smol.txt"):
        refused = hub("models", "rm", name, "-c", "site.yaml", "--json")
        assert json.loads(refused.stdout)["error"]["code"] == "asset.unknown"
    done(hub, "models", "rm", "hub:smol", "-c", "site.yaml")
    assert not here(hub)
    assert not list((Path(hub.folder) / "store" / "assets" / "sha256").glob("??/*"))
