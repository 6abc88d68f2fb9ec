"""Yardsticks that others published, run offline against a real site: its network has nothing but itself.

`pii-leak-benchmark` asks whether values reach the upstream and come back to the caller; its profile v2 does so with
every value cut at every place. `chunk-invariance` asks whether a stream says the same however it is cut.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chunk_invariance import assert_chunk_invariant

from ecotone.config.protection import Privacy
from tests.e2e.conftest import Site
from tests.egress.cloud import Cloud
from tests.faults.test_network import Link

BIN = Path(sys.executable).parent
MODEL = "conformance-model"
IS_LONG = "ECOTONE_EGRESS_CONVERSATIONS" in os.environ
IS_WITHHOLDING = "withhold" in Privacy.__struct_fields__
LABELS = ("contact", "card", "account", "national_id", "secret", "person")


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    """A network that ends at its own loopback."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    made = Link()
    try:
        made.make()
        made.down()
    except subprocess.CalledProcessError as error:
        made.remove()
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield made
    made.remove()


def begin(folder: Path, link: Link, port: int, style: str) -> Site:
    """A site that sends surrogates to an upstream at this port."""
    target = {"url": f"http://127.0.0.1:{port}/v1", "model": MODEL, "at": "cloud", "surrogates": style}
    config: dict[str, Any] = {
        "targets": {"big": target},
        "models": {MODEL: {"targets": ["big"], "mode": "cloud"}},
        "privacy": {
            "detectors": ["patterns"],
            "labels": {label: {"egress": "pseudonymise"} for label in LABELS},
        },
        "breaker": {"failures": 1000, "open_s": 0.05, "open_s_max": 0.05},
    }
    if IS_WITHHOLDING:
        config["privacy"]["withhold"] = ["contact", "card", "national_id"]
    site = Site(folder, config, {}, ("ip", "netns", "exec", link.site))
    site.around = link.at_site
    return site.wait()


def run(link: Link, *command: str) -> subprocess.CompletedProcess[str]:
    inside = ("ip", "netns", "exec", link.site, str(BIN / command[0]), *command[1:])
    return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=300)


def free_port(link: Link) -> int:
    with link.at_site(), socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_the_yardstick_tells_a_leak_from_none(link: Link) -> None:
    told = run(link, "pii-leak-benchmark", "selfcheck", "--target-base-url", "capture://self", "--iterations", "1")
    assert told.returncode == 1, told.stdout + told.stderr
    assert "LEAK" in told.stdout


@pytest.mark.parametrize("style", ["tagged", "natural"])
@pytest.mark.parametrize("profile", ["pii-v1", "pii-secrets-v1"])
def test_pii_leak_benchmark_is_clean(link: Link, tmp_path: Path, profile: str, style: str) -> None:
    port = free_port(link)
    site = begin(tmp_path, link, port, style)
    try:
        told = run(
            link, "pii-leak-benchmark", "selfcheck", "--target-base-url", site.url, "--target-model", MODEL,
            "--capture-port", str(port), "--profile", profile, "--duty", "restore",
            *(["--no-credentials"] if profile == "pii-v1" else []),
        )  # fmt: skip
    finally:
        site.stop()
    assert told.returncode == 0, told.stdout + told.stderr
    assert "CLEAN" in told.stdout


@pytest.mark.skipif(not IS_LONG, reason="20 s: make test-egress")
def test_every_value_comes_back_and_none_comes_in_wherever_a_stream_is_cut(link: Link, tmp_path: Path) -> None:
    """Profile v2, every cut: what was replaced is restored, and what the upstream invents is withheld."""
    port = free_port(link)
    site = begin(tmp_path, link, port, "natural")
    summary = tmp_path / "v2.json"
    try:
        told = run(
            link, "pii-leak-benchmark-v2", "--out", str(tmp_path / "v2"), "--only", "ecotone", "--gateway-url",
            f"{site.url}/chat/completions", "--upstream-port", str(port), "--model", MODEL, "--exhaustive-splits",
            "--partial-emission", "--seed", "a1b2c3d4e5f60001", "--json-out", str(summary),
        )  # fmt: skip
    finally:
        site.stop()
    (row,) = json.loads(summary.read_text())["rows"]
    print(f"\nMEASURED pii-leak-benchmark-v2 --exhaustive-splits: {row}\n{told.stdout}")
    assert row["request_path_leak"] == []
    assert row["fidelity_rate"] == 1.0
    assert (row["inconclusive"], row["cases_applicable"]) == (0, 32)
    assert row["delta_frag"] == 0.0, "how a stream is cut makes no difference"
    if IS_WITHHOLDING:
        assert (row["leak_single_chunk"], row["leak_adversarial"]) == (0.0, 0.0)
        assert row["outcome"] == "pass"


@pytest.mark.parametrize("style", ["tagged", "natural"])
@pytest.mark.parametrize("value", ["kim.example@daputame.org", "5105 1051 0510 5100", "+49 30 4561 2345"])
def test_an_answer_is_the_same_however_it_is_cut(link: Link, tmp_path: Path, value: str, style: str) -> None:
    with link.at_site():
        cloud = Cloud("127.0.0.1")
    site = begin(tmp_path, link, cloud.port, style)
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": f"My contact is {value} you see"}]}
    try:
        status, _, answer = site.ask("POST", "/v1/chat/completions", body)
        assert status == 200, answer
        sent = cloud.bodies[-1]["messages"][-1]["content"]
        surrogate = sent.removeprefix("My contact is ").removesuffix(" you see")
        assert value not in sent
        assert surrogate != sent

        def whole(text: str) -> str:
            cloud.script = [text]
            message = json.loads(site.ask("POST", "/v1/chat/completions", body)[2])["choices"][0]["message"]
            return str(message["content"])

        def streamed(chunks: Iterable[str]) -> Iterator[str]:
            cloud.script = list(chunks)
            told = site.ask("POST", "/v1/chat/completions", body | {"stream": True})[2].decode()
            for line in told.splitlines():
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        yield choice["delta"].get("content") or ""

        text = f"I wrote to {surrogate}, twice."
        assert whole(text) == f"I wrote to {value}, twice."
        assert assert_chunk_invariant(streamed, whole, text) >= len(text)
    finally:
        site.stop()
        cloud.close()
