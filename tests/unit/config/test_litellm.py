"""A LiteLLM file becomes ours; `python tests/unit/config/test_litellm.py` writes the golden results anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecotone import config
from ecotone.config.litellm import import_litellm, place_of
from ecotone.values import ConfigError, Place

FOLDER = Path(__file__).parent / "litellm"
ENVIRON = {"MY_BASE": "http://gpu-box:8000/v1"}


def _imported(text: str) -> config.Config:
    return config.parse(import_litellm(text, "config.yaml", ENVIRON).text, "x")


def test_the_usual_file_is_golden_and_valid() -> None:
    result = import_litellm((FOLDER / "usual.yaml").read_text(), "usual.yaml", ENVIRON)
    assert result.text == (FOLDER / "usual.ecotone.yaml").read_text()
    assert config.parse(result.text, "x").keys["master"].startswith("sha256:")
    assert not [word for word in ("sk-literal-secret", "sk-1234", "secret-b", "u:secret") if word in result.text]


def test_every_key_of_the_usual_file_is_carried_or_named() -> None:
    text = import_litellm((FOLDER / "usual.yaml").read_text(), "usual.yaml", ENVIRON).text
    for key in (
        "rpm",
        "weight",
        "supports_vision",
        "redis_host",
        "callbacks",
        "database_url",
        "include",
        "num_retries",
    ):
        assert any("not carried over" in line and key in line for line in text.splitlines()), key


def test_targets_keep_the_order_of_fallbacks() -> None:
    tree = _imported((FOLDER / "usual.yaml").read_text())
    assert tree.models["gpt-4o"].targets == ("gpt-4o-2", "gpt-4o", "remote", "small-model-local")
    assert tree.models["gpt-4"].targets == tree.models["gpt-4o"].targets


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://localhost:1/v1", "edge"), ("http://127.0.0.1/v1", "edge"), ("http://10.1.2.3/v1", "edge"),
        ("http://vllm:8000/v1", "edge"), ("http://host.docker.internal/v1", "edge"), ("http://[fd00::1]/v1", "edge"),
        ("https://api.openai.com/v1", "cloud"), ("http://8.8.8.8/v1", "cloud"),
        ("https://x.local.example.com", "cloud"),
        ("http:///v1", "cloud"),
    ],
)  # fmt: skip
def test_the_place_is_read_off_the_address(url: str, place: str) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize("provider", ["azure", "bedrock", "anthropic", "vertex_ai"])
def test_a_provider_of_another_kind_is_said(provider: str) -> None:
    text = json.dumps({"model_list": [{"model_name": "a", "litellm_params": {"model": f"{provider}/x"}}]})
    with pytest.raises(ConfigError, match="no deployment") as caught:
        import_litellm(text, "config.yaml")
    assert provider in caught.value.problems[0] or "Azure" in caught.value.problems[0]


def test_ollama_is_at_the_edge_without_a_key() -> None:
    tree = _imported("model_list: [{model_name: a, litellm_params: {model: ollama_chat/llama3, api_key: none}}]")
    target = tree.targets["a"]
    assert isinstance(target, config.UrlTarget)
    assert (target.url, target.at, target.key) == ("http://localhost:11434/v1", Place.EDGE, None)


def test_what_is_said_in_a_strange_way_is_named() -> None:
    text = """
model_list:
  - {model_name: a, litellm_params: {model: ollama/x}}
  - {model_name: b, litellm_params: {model: hosted_vllm/x}}
litellm_settings: {fallbacks: [{a: [{model: b, extra: 1}]}]}
"""
    said = import_litellm(text, "config.yaml").text
    assert "b (hosted_vllm/x): it has no api_base" in said
    assert "a fallback with settings of its own in litellm_settings.fallbacks" in said


def test_headers_prices_and_providers_are_read() -> None:
    text = """
model_list:
  - model_name: a
    litellm_params:
      {model: x, custom_llm_provider: ollama, extra_headers: {"a b": c, X-A: os.environ/A}, organization: org,
       input_cost_per_token: -1, output_cost_per_token: many}
general_settings: {master_key: os.environ/MASTER}
"""
    said = import_litellm(text, "config.yaml").text
    tree = config.parse(said, "x")
    target = tree.targets["a"]
    assert isinstance(target, config.UrlTarget)
    assert target.headers == {"X-A": "env:A", "OpenAI-Organization": "env:A_OPENAI_ORGANIZATION"}
    assert target.price is None
    assert tree.keys == {"master": "env:MASTER"}
    for words in ("the header 'a b'", "input_cost_per_token is not a price", "output_cost_per_token is not a price"):
        assert words in said


@pytest.mark.parametrize("text", ["model_list: [", "a: 1\na: 2\n", "x: " + "[" * 40])
def test_a_file_that_cannot_be_read_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml:"):
        import_litellm(text, "config.yaml")


WORD = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=12) | st.sampled_from(
    [
        "a\tb\x01",
        "openai/gpt",
        "ollama/x",
        "os.environ/A",
        "http://h/v1",
        "http://[h",
        "http://h:99999/",
        "http://",
        "none",
        "*",
        "a b",
        "1e-6",
        "-1",
        "sk-x",
    ]
)
VALUE = st.recursive(
    WORD | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORD, inner, max_size=2),
    max_leaves=5,
)
PARAMS = st.fixed_dictionaries(
    {"model": WORD},
    optional={
        "api_base": WORD, "api_key": WORD, "input_cost_per_token": VALUE, "max_parallel_requests": VALUE,
        "order": VALUE,
        "extra_headers": VALUE, "organization": VALUE, "custom_llm_provider": WORD,
    },
)  # fmt: skip
DEPLOYMENT = st.fixed_dictionaries({"model_name": WORD, "litellm_params": PARAMS}, optional={"model_info": VALUE})
GOOD = {"model_name": "good", "litellm_params": {"model": "ollama/x"}}


@given(
    st.lists(DEPLOYMENT, max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "router_settings": st.dictionaries(
                st.sampled_from(["fallbacks", "timeout", "allowed_fails", "cooldown_time", "model_group_alias"]), VALUE
            ),
            "general_settings": st.dictionaries(st.sampled_from(["master_key", "max_request_size_mb"]), VALUE),
            "litellm_settings": VALUE,
        },
    ),
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_imported_is_valid(deployments: list[object], rest: dict[str, object]) -> None:
    text = json.dumps({"model_list": [GOOD, *deployments], **rest}, ensure_ascii=False)
    _imported(text)


@given(st.dictionaries(WORD | st.just("model_list"), VALUE, max_size=3))
@settings(max_examples=200, deadline=None)
def test_no_file_raises_anything_but_a_config_error(plain: dict[str, object]) -> None:
    try:
        _imported(json.dumps(plain))
    except ConfigError:
        return


if __name__ == "__main__":
    result = import_litellm((FOLDER / "usual.yaml").read_text(), "usual.yaml", ENVIRON)
    (FOLDER / "usual.ecotone.yaml").write_text(result.text)
