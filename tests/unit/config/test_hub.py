"""The section `hub`: what is wrong with it, and what is worth a second look."""

from __future__ import annotations

import pytest

from ecotone import config
from ecotone.values import ConfigError

TARGETS = "targets: {a: {url: 'https://api.example.com/v1', model: m, at: cloud, region: eu, price: {}}}\n"


def parsed(text: str) -> config.Config:
    return config.parse(TARGETS + text, "ecotone.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hub: {url: 'https://:80'}", "names no host"),
        ("hub: {url: 'https://me:secret@hub.example.org'}", "holds a user"),
        ("hub: {url: 'https://hub.example.org?a=1'}", "a query"),
        ("hub: {url: 'https://hub.example.org:99999999'}", "is not an address"),
        ("hub: {url: 'ftp://hub.example.org'}", "an http(s) address"),
        ("hub: {url: 'https://h', mirrors: ['ftp://x']}", "neighbour+http"),
        ("policy: [{when: {target: hub}, egress: never}]", "no target 'hub'"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    assert words in "\n".join(caught.value.problems)
    assert "secret" not in "\n".join(caught.value.problems)


def test_no_target_goes_by_the_hubs_name() -> None:
    text = "targets: {hub: {url: 'https://x/v1', model: m, at: cloud}}\nhub: {url: 'https://hub.example.org'}"
    with pytest.raises(ConfigError, match="take another name"):
        config.parse(text, "ecotone.yaml")
    config.parse(text.partition("\n")[0], "ecotone.yaml")


def test_a_rule_may_speak_about_the_hub() -> None:
    found = parsed("hub: {url: 'https://h', mirrors: ['neighbour+http://10.0.0.9:3270']}\n"
                   "policy: [{when: {target: hub}, egress: never}]")  # fmt: skip
    assert found.policy[0].when.target == "hub"
    assert config.notes(found) == ()


def test_what_is_worth_a_second_look() -> None:
    open_link = config.notes(parsed("hub: {url: 'http://10.1.2.3'}"))
    assert [line for line in open_link if line.startswith("hub.url: http")]
    assert not config.notes(parsed("hub: {url: 'http://127.0.0.1:3269'}"))
    region = config.notes(parsed("hub: {url: 'https://h'}\npolicy: [{when: {to_region: [eu]}, egress: never}]"))
    assert [line for line in region if line.startswith("hub.region: is missing")]
