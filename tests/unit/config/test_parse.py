"""What `parse` reads, and the exact words of its errors.

A golden file NAME.yaml has its error text in NAME.txt; `python tests/unit/config/test_parse.py` writes them anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ecotone import config
from ecotone.config.check import problems
from ecotone.config.document import NODES_MAX, TEXT_BYTES_MAX
from ecotone.values import ConfigError, Egress, Mode, Place, Price

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))


def _error(text: str, name: str = "ecotone.yaml") -> str:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, name)
    return "\n".join(caught.value.problems) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_error_texts_are_golden(case: str) -> None:
    assert _error((GOLDEN / f"{case}.yaml").read_text(), f"{case}.yaml") == (GOLDEN / f"{case}.txt").read_text()


def test_no_error_repeats_a_secret() -> None:
    for case in CASES:
        text = _error((GOLDEN / f"{case}.yaml").read_text())
        assert not [word for word in ("sk-abcdef", "hunter2", "Bearer", "user:secret") if word in text]


def test_the_design_file_is_read_and_what_deserves_a_second_look_is_noted() -> None:
    tree = config.parse((GOLDEN.parent / "design.yaml").read_text(), "design.yaml")
    noted = "\n".join(config.notes(tree))
    assert "hub:" not in noted
    assert "privacy.labels.person: pseudonymising is best effort" in noted
    small, ward, big = tree.targets.values()
    assert isinstance(small, config.LocalTarget)
    assert (small.engine, small.at, small.model) == ("llama.cpp", Place.EDGE, "smollm2-135m")
    assert isinstance(ward, config.UrlTarget)
    assert ward.at is Place.EDGE
    assert isinstance(big, config.UrlTarget)
    assert (big.key, big.region, big.price) == ("env:BIG_KEY", "eu", Price(0.25, 2.0))
    assert tree.models["assistant"].mode is Mode.AUTO
    assert tree.privacy.labels["person"].egress is Egress.PSEUDONYMISE
    assert tree.policy[1].when.to_region == ("us",)
    assert config.secrets.references(tree) == {"targets.big.key": "env:BIG_KEY", "keys.research": "env:KEY_RESEARCH"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "~", "---\n", "{}"])
def test_an_empty_file_gives_the_defaults(text: str) -> None:
    assert config.parse(text, "x") == config.Config() == config.built_in({})


@pytest.mark.parametrize(
    ("written", "read"),
    [("007", "007"), ("4.10", "4.10"), ("no", "no"), ("1e5", "1e5"), ("'7'", "7"), ("2026-01-01", "2026-01-01")],
)
def test_text_stays_as_written(written: str, read: str) -> None:
    assert config.parse(f"site: {written}", "x").site == read


def test_empty_sections_are_defaults() -> None:
    assert config.parse("listen:\nmodels:\npolicy:\nprivacy: {labels: }\n", "x") == config.Config()


def test_aliases_are_read() -> None:
    tree = config.parse("targets:\n  a: &a {engine: llama.cpp, model: m}\n  b: *a\n", "x")
    assert tree.targets["a"] == tree.targets["b"]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 20)]
    assert str(NODES_MAX) in _error("\n".join(lines))


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 100_000, "- " * 100_000, "a: \x00", "\ud800", "a: !!int 1"])
def test_hostile_text_is_a_config_error(text: str) -> None:
    _error(text)


def test_depth_counts_through_aliases() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} {'[' * 20}*a{n - 1}{']' * 20}" for n in range(1, 200)]
    assert "nested deeper than" in _error("\n".join(lines))


@pytest.mark.parametrize("text", ["&a [*a]", "? [a]\n: b", "{*a : 1}", "? &b {x: y}\n: c", "a: &a [x]\n*a : 1"])
def test_strange_keys_and_anchors_are_refused(text: str) -> None:
    _error(text)


def test_merge_keys_are_read_and_what_is_written_out_wins() -> None:
    text = """
targets:
  a: &a {engine: llama.cpp, model: m, slots: 2}
  b: {<<: *a, slots: 3}
  c: {<<: [*a, {threads: 4}]}
"""
    b, c = list(config.parse(text, "x").targets.values())[1:]
    assert (b.slots, c.slots, c.threads) == (3, 2, 4)  # type: ignore[union-attr]
    assert "takes a mapping" in _error("site: x\n<<: [1]\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('site: "a\\u0007b"', "cannot be printed"),
        ('store: {path: ""}', "store.path: is empty"),
        (f"targets: {{a: {{engine: llama.cpp, model: {'x' * 1025}}}}}", "longer than 1024"),
        ("targets: {a: {engine: [], model: x}}", "unknown engine ''"),
        ("targets: {a: 1}", "expected a mapping, got a single value"),
        ("keys: [1]", "expected a mapping, got a list"),
    ],
)
def test_texts_have_bounds(text: str, words: str) -> None:
    assert words in _error(text)


def test_a_socket_on_this_machine_is_a_target() -> None:
    assert config.parse("targets: {a: {url: 'unix:/run/x.sock:/v1', model: m, at: edge}}", "x").targets


def test_msgspec_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    from ecotone.config.build import Builder

    monkeypatch.setattr(Builder, "build", lambda *_: {"site": 1})
    assert "$.site" in _error("site: x")


def test_a_large_file_is_refused() -> None:
    assert "at most" in _error("#" * (TEXT_BYTES_MAX + 1))


def test_many_problems_are_cut() -> None:
    assert _error("".join(f"k{n}: 1\n" for n in range(500))).endswith("and 400 more\n")


def test_model_names_without_a_section() -> None:
    text = """
targets:
  a: {engine: llama.cpp, model: smollm2-135m}
  b: {url: http://10.0.0.8/v1, model: m, at: edge}
  c: {url: http://10.0.0.9/v1, model: m, at: edge}
  d: {engine: llama.cpp, model: "file:/x"}
  e: {url: http://10.0.0.9/v1, model: auto, at: edge}
"""
    names = config.model_names(config.parse(text, "x"))
    assert {name: model.targets for name, model in names.items()} == {
        "auto": ("a", "b", "c", "d", "e"), "smollm2-135m": ("a",), "m": ("b", "c"), "d": ("d",)
    }  # fmt: skip


def test_model_names_with_a_section_are_those_alone() -> None:
    tree = config.parse("targets: {a: {engine: llama.cpp, model: m}}\nmodels: {x: {targets: [a]}}\n", "x")
    assert list(config.model_names(tree)) == ["x"]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_keys(address: str) -> None:
    tree = config.parse(f"listen: {{address: '{address}'}}", "x")
    assert problems(tree) == []


def test_a_public_edge_target_can_be_ours() -> None:
    text = "targets: {a: {url: 'http://8.8.8.8/v1', model: m, at: edge, public_address_is_ours: true}}"
    assert config.parse(text, "x").targets


@pytest.mark.parametrize("url", ["http://[::1/v1", "http://a:99999/v1", "http:///v1"])
def test_a_broken_url_is_refused(url: str) -> None:
    assert "targets.a.url" in _error(f"targets: {{a: {{url: '{url}', model: m, at: edge}}}}")


if __name__ == "__main__":
    for name in CASES:
        try:
            config.parse((GOLDEN / f"{name}.yaml").read_text(), f"{name}.yaml")
        except ConfigError as error:
            (GOLDEN / f"{name}.txt").write_text("\n".join(error.problems) + "\n")
