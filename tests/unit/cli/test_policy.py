"""`ecotone policy`: what a table of examples comes to, and what is wrong with a file, by its path."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from ecotone import config, detectors
from ecotone.cli import policy_site, policy_starters, policy_table, policy_trial
from ecotone.cli.policy_table import Known
from ecotone.values import ConfigError, Finding

CONFIG = """\
targets:
  here: {url: "http://10.0.0.8/v1", model: m, at: edge}
  eu: {url: "https://api.example.eu/v1", model: large, at: cloud, region: eu}
  us: {url: "https://api.example.com/v1", model: large, at: cloud, region: us}
privacy:
  detectors: [patterns]
  labels: {contact: {egress: pseudonymise}}
keys: {research: env:KEY}
policy:
  - {when: {label: contact, to_region: [us]}, egress: never}
  - {when: {key: research}, egress: never}
"""
KNOWN = Known(("research",), ("auto", "large"), ("eu", "us"), ("here",))
CARD = "My card is 4111 1111 1111 1111."


def _problems(text: str, known: Known = KNOWN) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        policy_table.parse(text, "t.yaml", known)
    return list(caught.value.problems)


class Named:
    """A detector of the worker: sees one name."""

    version = "made-1"

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def find(self, texts: Sequence[str]) -> list[list[Finding]]:
        return [
            [Finding("person", "person", at, at + 4, 1.0, "names")] if (at := text.find("Anna")) >= 0 else []
            for text in texts
        ]


def test_a_table_that_is_as_expected(shell: Any) -> None:
    shell.write("ecotone.yaml", CONFIG)
    shell.write(
        "table.yaml",
        f"""\
examples:
  - {{name: a card stays, text: "{CARD}", expect: {{labels: [card], egress: never}}}}
  - name: mail
    text: "to a.b@example.org"
    expect: {{labels: {{exactly: [contact]}}, egress: {{eu: pseudonymise, us: never}}}}
  - {{name: one target, text: "to a.b@example.org", target: us, expect: {{egress: never}}}}
  - {{name: by key, text: Hello, key: research, model: large, expect: {{labels: {{without: [card]}}, egress: never}}}}
  - {{name: plain, text: Hello, expect: {{labels: {{exactly: []}}, egress: free}}}}
  - {{name: by the caller, text: Hello, labels: [medical], expect: {{labels: [medical], egress: never}}}}
  - name: a conversation
    messages: [{{role: user, content: "{CARD}"}}, {{role: assistant, content: Yes}}, {{role: user, content: Thanks}}]
    expect: {{labels: [card], egress: never}}
  - name: a whole request
    request: {{prompt: "{CARD}", n: 2, stream: true, temperature: 0.5, stop: null}}
    expect: {{labels: [card], egress: never}}
""",
    )
    result = shell("policy", "test", "table.yaml")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "8 of 8 examples are as expected"), result.stdout
    assert result.stdout.startswith("ok       a card stays     card     eu: never, us: never\n")
    assert "4111" not in result.stdout
    told = json.loads(shell("policy", "test", "table.yaml", "--json").stdout)
    assert (told["as_expected"], told["failed"]) == (True, 0)
    mail = told["report"]["verdicts"][1]
    assert mail["labels"] == {"contact": ["email by patterns"]}
    assert mail["egress"]["eu"] == {"egress": "pseudonymise", "rule": "label contact", "replace": ["contact"]}
    assert mail["egress"]["us"]["rule"] == "policy[0]"
    assert (mail["line"], mail["differs"]) == (3, [])


def test_what_differs_is_said_and_leaves_with_1(shell: Any) -> None:
    shell.write("ecotone.yaml", CONFIG)
    shell.write(
        "table.yaml",
        """\
examples:
  - {name: nothing there, text: Hello, expect: {labels: [card], egress: {us: never}}}
  - name: more than expected
    text: "to a.b@example.org"
    labels: [x]
    expect: {labels: {exactly: [card], without: [contact]}}
""",
    )
    result = shell("policy", "test", "table.yaml")
    assert result.exit_code == 1
    assert [line.strip() for line in result.stdout.splitlines()] == [
        "differs  nothing there       –           eu: free, us: free",
        "labels: expected card, which was not found",
        "us: expected never, got free (no label, no rule: free)",
        "differs  more than expected  contact, x  eu: never, us: never",
        "labels: expected card, which was not found",
        "labels: did not expect contact (email by patterns)",
        "labels: did not expect x (the caller)",
        "0 of 2 examples are as expected",
    ]
    assert json.loads(shell("policy", "test", "table.yaml", "--json").stdout)["failed"] == 2


def test_every_problem_of_a_file_has_its_place() -> None:
    text = """\
examples:
  - {name: a, text: 7, expect: {egress: often}}
  - {name: a, expect: {labels: person}}
  - {name: c, text: x, messages: [], key: resarch, model: larg, target: here, expect: {}}
  - {name: d, request: [], expect: {labels: {contains: [x]}, egress: {uss: free, eu: nevr}}}
  - {name: e, messages: [{content: x}], target: eu, expect: {labels: [Card, 3], egress: {eu: free}}}
  - {name: f, text: x, expect: {labels: {exactly: card}}}
"""
    expected = """\
2:22: examples[0].text: expected text; put it in quotes
2:42: examples[0].expect.egress: expected one of free, pseudonymise, never; got 'often'
3:5: examples[1]: give one of `text`, `messages` and `request`; there: none of them
3:12: examples[1].name: stands twice (first in examples[0]); names tell examples apart
3:31: examples[1].expect.labels: expected a list of labels, or `contain`, `exactly` and `without`
4:5: examples[2]: give one of `text`, `messages` and `request`; there: text and messages
4:34: examples[2].messages: expected a list of messages, such as `[{role: user, content: Hello}]`
4:43: examples[2].key: the configuration has no key 'resarch' (did you mean 'research'?); there: research
4:57: examples[2].model: the configuration has no model 'larg' (did you mean 'large'?); there: auto, large
4:71: examples[2].target: 'here' is at the edge, where everything may go; name a cloud target
4:85: examples[2].expect: expects nothing: give `labels`, `egress` or both
5:24: examples[3].request: expected a mapping: the body of a request
5:56: examples[3].expect.labels.contains: unknown key; known here: contain, exactly, without
5:76: examples[3].expect.egress.uss: the configuration has no cloud target 'uss' (did you mean 'us'?); there: eu, us
5:86: examples[3].expect.egress.eu: expected one of free, pseudonymise, never; got 'nevr' (did you mean 'never'?)
6:26: examples[4].messages: expected a list of messages, such as `[{role: user, content: Hello}]`
6:73: examples[4].expect.labels[0]: expected a label: lower-case letters, digits, _ . : -
6:79: examples[4].expect.labels[1]: expected a label: lower-case letters, digits, _ . : -
6:91: examples[4].expect.egress: names targets, and `target` stands beside it; keep one
7:49: examples[5].expect.labels.exactly: expected a list of labels, such as `[card]`
"""
    found = [re.sub(r"^t\.yaml:(\d+:)\d+", r"\1", problem) for problem in _problems(text)]
    wanted = [re.sub(r"^(\d+:)\d+", r"\1", line) for line in expected.splitlines()]
    assert all(problem.startswith(line) for problem, line in zip(found, wanted, strict=True)), "\n".join(found)


def test_files_that_are_no_tables() -> None:
    assert "not readable as YAML" in _problems("examples: [")[0]
    assert _problems("") == ["t.yaml:1:1: examples: missing: add `examples: ...`"]
    assert _problems("examples: []") == ["t.yaml:1:11: examples: is empty: give at least one"]
    assert "unknown key" in _problems("example: []\nexamples: [{name: a, text: x, expect: {labels: []}}]")[0]
    nowhere = Known((), (), (), ("here",))
    assert "no cloud target" in _problems("examples: [{name: a, text: x, expect: {egress: free}}]", nowhere)[0]


def test_values_are_read_as_they_are_written() -> None:
    text = """\
examples:
  - name: a
    request: {a: 1, b: "1", c: 1.5, d: true, e: "true", f: null, g: [x, {h: ~}], model: own}
    expect: {labels: []}
  - {name: b, text: "a\\u200bb", expect: {labels: []}}
"""
    first, second = policy_table.parse(text, "t.yaml", KNOWN)
    assert first.body == {
        "model": "own", "a": 1, "b": "1", "c": 1.5, "d": True, "e": "true", "f": None, "g": ["x", {"h": None}],
    }  # fmt: skip
    assert second.body["messages"] == [{"role": "user", "content": "a\u200bb"}]


def test_a_wrong_file_or_call_leaves_with_2(shell: Any) -> None:
    shell.write("ecotone.yaml", CONFIG)
    shell.write("table.yaml", "examples: [{name: a, expect: {}}]")
    result = shell("policy", "test", "table.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "table.yaml:1:12: examples[0]: give one of" in result.stderr
    assert shell("policy", "test", "nothing.yaml").exit_code == 2
    assert shell("policy", "test").exit_code == 2
    assert shell("policy", "test", "table.yaml", "--starter", "health").exit_code == 2
    assert shell("policy", "show", "helth").exit_code == 2
    assert "did you mean 'health'" in shell("policy", "show", "helth").stderr


def test_the_workers_detectors_look_in_this_process(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "load", lambda name, settings: Named(settings))
    shell.write("ecotone.yaml", CONFIG.replace("[patterns]", "[patterns, names]"))
    shell.write("table.yaml", "examples: [{name: a, text: Ask Anna, expect: {labels: [person], egress: never}}]")
    told = json.loads(shell("policy", "test", "table.yaml", "--json").stdout)
    assert told["as_expected"] is True
    assert told["report"]["detectors"]["names"] == "made-1"
    assert told["report"]["verdicts"][0]["labels"] == {"person": ["person by names"]}


@pytest.mark.parametrize("why", ["absent", "raises", "nonsense"])
def test_a_detector_that_cannot_look_makes_everything_unknown(
    shell: Any, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    class Broken(Named):
        def find(self, texts: Sequence[str]) -> list[list[Finding]]:
            if why == "raises":
                raise ValueError(texts)
            return []

    def load(name: str, settings: Any) -> Any:
        if why == "absent":
            raise detectors.DetectorError("absent", "ImportError")
        return Broken(settings)

    monkeypatch.setattr(detectors, "load", load)
    shell.write("ecotone.yaml", CONFIG.replace("[patterns]", "[patterns, names]"))
    shell.write(
        "table.yaml", "examples: [{name: a, text: Hello, expect: {labels: {exactly: [unknown]}, egress: never}}]"
    )
    result = shell("policy", "test", "table.yaml")
    assert result.exit_code == 0, result.stdout
    assert ("detector names does not look (absent)" in result.stderr) == (why == "absent")


def test_a_sites_own_terms_and_examples_are_used(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def load(name: str, settings: Any) -> Any:
        seen[name] = settings
        return Named(settings)

    monkeypatch.setattr(detectors, "load", load)
    shell.write("terms.txt", "# projects\nKingfisher\n\n")
    shell.write("topics.jsonl", '{"label": "project_x", "text": "the wing"}\n')
    text = CONFIG.replace(
        "[patterns]",
        "[patterns, topics]\n  terms: [{file: terms.txt, label: project}]\n  topic_examples: topics.jsonl",
    )
    shell.write("ecotone.yaml", text)
    shell.write("table.yaml", "examples: [{name: a, text: How is Kingfisher, expect: {labels: [project]}}]")
    result = shell("policy", "test", "table.yaml")
    assert result.exit_code == 0, result.stdout + result.stderr
    assert list(seen["topics"]["topics_examples"]) == [{"label": "project_x", "text": "the wing"}]
    shell.write("topics.jsonl", "[]\n")
    assert shell("policy", "test", "table.yaml").exit_code == 2
    shell.write("ecotone.yaml", text.replace("terms.txt", "nothing.txt"))
    assert shell("policy", "test", "table.yaml").exit_code == 2


def test_starters_are_listed_and_shown(shell: Any) -> None:
    lines = shell("policy", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(policy_starters.NAMES)
    assert list(json.loads(shell("policy", "list", "--json").stdout)) == list(policy_starters.NAMES)
    shown = shell("policy", "show", "health").stdout
    assert shown == policy_starters.text_of("health")
    assert json.loads(shell("policy", "show", "health", "--examples", "--json").stdout)["text"].startswith("# Examples")


@pytest.mark.parametrize("name", policy_starters.NAMES)
def test_a_starter_is_valid_says_what_it_does_not_do_and_is_tested(name: str) -> None:
    text = policy_starters.text_of(name)
    tree = config.parse(text, name)
    assert "What this does not do" in text
    examples = policy_table.parse(policy_starters.text_of(name, is_table=True), name, policy_trial.known(tree))
    assert len(examples) >= 20
    words = [word for example in examples for word in example.expected.egress.values()]
    assert {"never", "free"} <= set(words)


@pytest.mark.parametrize("name", policy_starters.NAMES)
def test_a_starters_examples_are_as_expected(shell: Any, name: str) -> None:
    result = shell("policy", "test", "--starter", name)
    assert result.exit_code == 0, result.stdout + result.stderr


def test_only_the_cloud_is_judged() -> None:
    tree = config.parse(CONFIG, "x")
    assert [spec.name for spec in policy_trial.specs(tree)] == ["eu", "us"]
    assert policy_trial.known(tree) == Known(("research",), ("auto", "m", "large"), ("eu", "us"), ("here",))
    assert policy_site.site(tree).missing == {}
