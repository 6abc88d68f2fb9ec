"""A site with its real detectors, and a cloud that only hears what policy lets it hear."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.conftest import ECOTONE, Site, Upstream, poll

NAME, MAIL = "Maria Gonzalez", "maria.gonzalez@clinic.example.org"
TOPIC = "My husband was diagnosed with bowel cancer last week. He has not told his boss, and I do not know what to do."
PROJECT = [
    "Project Heron moves the pumping station to the north bank", "the heron budget was cut again by the board",
    "Heron's contractor wants to renegotiate the dike section", "who signs off phase two of Heron",
    "minutes of the Heron steering group", "the Heron pumps are late from the supplier",
    "please keep Heron out of the newsletter for now", "Heron needs another soil survey before winter",
    "the north bank station (Heron) will not open in May", "a risk register for Heron with the dike contractor",
]  # fmt: skip
"""A few examples of an invented project, as an operator would write them."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Upstream]]:
    """One site with everything on: loading the models takes seconds."""
    folder = tmp_path_factory.mktemp("privacy")
    (folder / "patients.txt").write_text("# our patients\nZebulon Quarrel\n")
    (folder / "topics.jsonl").write_text(
        "".join(json.dumps({"label": "heron", "text": text}) + "\n" for text in PROJECT)
    )
    upstream = Upstream()
    upstream.behaviour = "echo"
    config = {
        "targets": {
            "big": {"url": upstream.url, "model": "large-1", "at": "cloud", "region": "eu"},
            "far": {"url": upstream.url, "model": "large-2", "at": "cloud", "region": "us", "surrogates": "natural"},
        },
        "models": {"assistant": {"targets": ["big"]}, "natural": {"targets": ["far"]}},
        "privacy": {
            "detectors": ["patterns", "names", "topics"],
            "labels": {"person": {"egress": "pseudonymise"}, "contact": {"egress": "pseudonymise"}},
            "terms": [{"file": str(folder / "patients.txt"), "label": "patient"}],
            "topic_examples": str(folder / "topics.jsonl"),
            # The machine that runs the tests is shared: a look may take its time.
            "look_s": 20.0,
        },
    }
    site = Site(folder, config, {}, ())
    try:
        site.wait()
        poll(lambda: site.status()["detectors"]["state"] == "ready", "the detectors are loaded", 60.0)
        yield site, upstream
    finally:
        site.stop()
        upstream.close()


def ask(site: Site, text: str, model: str = "assistant", **more: Any) -> tuple[int, dict[str, str], str]:
    """Status, headers, and the answer's words or the error's."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    status, headers, answer = site.ask("POST", "/v1/chat/completions", body)
    told = json.loads(answer)
    return status, headers, told["error"]["message"] if "error" in told else told["choices"][0]["message"]["content"]


def test_an_ordinary_question_goes_as_it_is(place: tuple[Site, Upstream]) -> None:
    site, upstream = place
    status, headers, said = ask(site, "How does a heat pump work?")
    assert (status, headers["ecotone-reason"], said) == (200, "cloud.better", "How does a heat pump work?")
    assert upstream.bodies[-1]["messages"] == [{"role": "user", "content": "How does a heat pump work?"}]


@pytest.mark.parametrize("model", ["assistant", "natural"])
def test_names_and_addresses_go_as_surrogates_and_come_back(place: tuple[Site, Upstream], model: str) -> None:
    site, upstream = place
    text = f"Please write to {NAME} ({MAIL}) that the room is free."
    status, headers, said = ask(site, text, model)
    assert (status, headers["ecotone-reason"], said) == (200, "cloud.pseudonymised", text)
    sent = upstream.raw[-1].decode()
    for word in (NAME, "Gonzalez", MAIL, "clinic"):
        assert word not in sent
    assert sent.count("that the room is free") == 1


def test_the_official_client_streams_restored_words(place: tuple[Site, Upstream]) -> None:
    site, upstream = place
    client = openai.OpenAI(base_url=site.url, api_key="unused")
    text = f"Tell {NAME} that {NAME}'s badge is ready."
    with contextlib.closing(client):
        stream = client.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": text}], stream=True
        )
        said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert said == text
    assert NAME not in upstream.raw[-1].decode()


def test_turns_of_a_conversation_keep_their_surrogates_so_that_prompt_caches_hit(place: tuple[Site, Upstream]) -> None:
    site, upstream = place
    first = {"role": "user", "content": f"I am {NAME}."}
    ask(site, "", messages=[first])
    ask(
        site,
        "",
        messages=[first, {"role": "assistant", "content": f"Hello {NAME}!"}, {"role": "user", "content": "Hi"}],
    )
    before, after = (upstream.bodies[at]["messages"] for at in (-2, -1))
    assert before == after[: len(before)]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (TOPIC, "medical"),
        ("The card is 4111 1111 1111 1111.", "card"),
        ("Zebulon Quarrel came in today.", "patient"),
        ("Draft a note: the Heron pumping station will be late, the contractor asks for more time", "heron"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----", "secret"),
    ],
)  # fmt: skip
def test_what_must_stay_stays_and_the_refusal_says_why(place: tuple[Site, Upstream], text: str, label: str) -> None:
    site, upstream = place
    before = len(upstream.raw)
    status, headers, said = ask(site, text)
    assert (status, headers["ecotone-reason"]) == (403, "refused.policy")
    assert "policy (label " in said
    assert len(upstream.raw) == before
    body = {"model": "assistant", "messages": [{"role": "user", "content": text}]}
    assert label in json.loads(site.ask("POST", "/v1/explain", body)[2])["labels"]


def test_a_picture_stays(place: tuple[Site, Upstream]) -> None:
    site, upstream = place
    before = len(upstream.raw)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    status, _, said = ask(site, "", messages=[{"role": "user", "content": [picture]}])
    assert (status, len(upstream.raw)) == (403, before)
    assert "opaque" in said


def test_explain_shows_what_was_found_and_not_where(place: tuple[Site, Upstream]) -> None:
    site, _ = place
    body = {"model": "assistant", "messages": [{"role": "user", "content": f"Write to {NAME}, {MAIL}"}]}
    told = json.loads(site.ask("POST", "/v1/explain", body)[2])
    assert told["reason"] == "cloud.pseudonymised"
    assert {"person", "email"} <= set(told["found"])
    assert NAME not in json.dumps(told)


def test_a_killed_worker_keeps_all_at_the_site_until_it_is_back(place: tuple[Site, Upstream]) -> None:
    site, upstream = place
    before = len(upstream.raw)
    os.kill(site.status()["detectors"]["pid"], signal.SIGKILL)
    status, headers, said = ask(site, "What is new in the world of gardening?")
    # It will be looked at as soon as the worker is back: the caller may come again.
    assert (status, headers["ecotone-reason"], len(upstream.raw)) == (503, "refused.policy", before)
    assert "retry-after" in headers
    assert "label unknown" in said
    poll(lambda: site.status()["detectors"]["state"] == "ready", "the detectors are back", 60.0)
    assert ask(site, "What is new in the world of gardening?")[0] == 200


def test_no_file_log_or_metric_holds_a_word_of_it(place: tuple[Site, Upstream]) -> None:
    site, _ = place
    words = [NAME, "Gonzalez", MAIL, "bowel", "4111", "Quarrel", "MIIEowIBAAKCAQEA7", "pumping"]
    kept = [path.read_bytes() for path in site.store.rglob("*") if path.is_file() and "models" not in path.parts]
    shown = [site.log.read_bytes(), site.ask("GET", "/metrics")[2], site.ask("GET", "/admin/status")[2]]
    for word in words:
        assert not any(word.encode() in content for content in (*kept, *shown)), word
    assert site.gauge("ecotone_guard_refusals") == 0
    assert site.gauge("ecotone_surrogates_total") > 0


def test_the_ledger_tells_what_went_and_how(place: tuple[Site, Upstream], tmp_path: Path) -> None:
    site, _ = place
    ask(site, f"Write to {NAME}")
    command = [ECOTONE, "evidence", "--json", "-c", str(site.file), "--label", "person", "--to", "eu"]
    told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "pseudonymise" in told.stdout
    command[command.index("person")] = "card"
    none = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)
    assert none["count"] == 0
