"""Properties of the configuration: what is rendered is read back, and no text breaks the reader."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ecotone import config
from ecotone.config import protection, tree
from ecotone.values import ConfigError, Egress, Endpoint, Mode, Place, Price

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
MODELS = st.from_regex(r"[a-z0-9A-Z/:@.~#!&*%-]{1,12}", fullmatch=True)
LABELS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
REGIONS = st.sampled_from(["eu", "no", "us-east-1", "1"])
AMOUNTS = st.floats(0, 1e9, allow_nan=False).map(lambda value: round(value, 6))


def _maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


LOCALS = st.builds(
    tree.LocalTarget,
    model=MODELS.filter(lambda text: ":" not in text),
    sha256=_maybe(st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
    context_tokens=_maybe(st.integers(1, 10**6)),
    slots=_maybe(st.integers(1, 64)),
    threads=_maybe(st.integers(1, 64)),
    cache_type=_maybe(st.sampled_from(["f16", "q8_0", "q4_0"])),
    idle_unload_s=_maybe(AMOUNTS),
    tools=st.sampled_from(["auto", "native", "schema", "none"]),
    embeddings=st.booleans(),
)
URLS = st.builds(
    tree.UrlTarget,
    url=st.sampled_from(["http://10.0.0.8:8000/v1", "https://api.example.com/v1", "https://[::1]:1/v1"]),
    model=MODELS,
    at=st.sampled_from(Place),
    key=_maybe(st.sampled_from(["env:BIG_KEY", "file:/run/secrets/a b", "file:~/no"])),
    region=_maybe(REGIONS),
    price=_maybe(st.builds(Price, AMOUNTS, AMOUNTS)),
    capabilities=_maybe(st.lists(LABELS, max_size=3).map(tuple)),
    endpoints=st.lists(st.sampled_from(Endpoint), min_size=1, max_size=3).map(tuple),
    headers=st.dictionaries(
        st.from_regex(r"X-[A-Za-z0-9]{1,8}", fullmatch=True),
        st.sampled_from(["plain", "no", "1", "a: b", "env:NAME", "# x", "ü"]),
        max_size=2,
    ),
    always_stream=st.booleans(),
)


@st.composite
def trees(draw: st.DrawFn) -> config.Config:
    targets = draw(st.dictionaries(NAMES, LOCALS | URLS, min_size=1, max_size=4))
    behind = st.lists(st.sampled_from(list(targets)), min_size=1, max_size=4, unique=True).map(tuple)
    models = draw(
        st.dictionaries(
            MODELS,
            st.builds(tree.Model, targets=behind, mode=st.sampled_from(Mode), quality=_maybe(st.builds(tree.Quality))),
            max_size=3,
        )
    )
    keys = draw(st.dictionaries(NAMES, st.sampled_from(["env:A", "file:/x", "sha256:" + "a" * 64]), max_size=3))
    names = list(config.model_names(config.Config(targets=targets, models=models)))
    when = st.builds(
        protection.When,
        key=_maybe(st.sampled_from(list(keys))) if keys else st.none(),
        label=_maybe(LABELS),
        model=_maybe(st.sampled_from(names)),
        target=_maybe(st.sampled_from(list(targets))),
        to_region=st.lists(REGIONS, max_size=2).map(tuple),
    )
    rules = st.builds(protection.Rule, when=when, egress=st.sampled_from(Egress))
    return config.Config(
        site=draw(NAMES),
        listen=tree.Listen(
            address=draw(st.sampled_from(["127.0.0.1", "::1", "0.0.0.0"] if keys else ["::1"])),
            port=draw(st.integers(0, 65535)),
        ),
        targets=targets,
        models=models,
        privacy=protection.Privacy(
            detectors=tuple(draw(st.lists(NAMES, max_size=2))),
            terms=tuple(
                draw(st.lists(st.builds(protection.Terms, file=st.just("t.txt"), label=LABELS), max_size=2)),
            ),
            topic_examples=draw(st.sampled_from([None, "topics.jsonl"])),
            look_s=draw(st.sampled_from([0.5, 1.0])),
            labels=draw(
                st.dictionaries(LABELS, st.builds(protection.Label, egress=st.sampled_from(Egress)), max_size=3)
            ),
        ),
        policy=tuple(draw(st.lists(rules, max_size=3))),
        budgets=tree.Budgets(cloud_usd_per_day=draw(_maybe(AMOUNTS)), egress_mb_per_day=draw(_maybe(AMOUNTS))),
        keys=keys,
        log=tree.Log(level=draw(st.sampled_from(["debug", "error"]))),
        fast_lane=draw(st.booleans()),
    )


@given(trees())
@settings(max_examples=150, deadline=None)
def test_what_is_rendered_is_read_back(made: config.Config) -> None:
    assert config.parse(config.render(made), "x") == made


@given(trees())
@settings(max_examples=30, deadline=None)
def test_the_tree_survives_msgspec(made: config.Config) -> None:
    assert msgspec.json.decode(msgspec.json.encode(made), type=config.Config) == made


def _reads_or_refuses(text: str) -> None:
    try:
        config.parse(text, "x")
        problems: tuple[str, ...] = ()
    except ConfigError as error:
        problems = error.problems or ("no problem is named",)
    assert all(problem.startswith("x:") for problem in problems)


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_text_raises_anything_but_a_config_error(text: str) -> None:
    _reads_or_refuses(text)


@given(st.lists(st.sampled_from([*"[]{}:,-&*!|>'\"%@`#?<~ \n\t", "a", "targets", "1", "---\n", "<<"]), max_size=60))
@settings(max_examples=500, deadline=None)
def test_no_yaml_punctuation_raises_anything_but_a_config_error(parts: list[str]) -> None:
    _reads_or_refuses("".join(parts))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = list(config.Config.__struct_fields__)


@given(st.dictionaries(st.sampled_from(SECTIONS), JSON, max_size=4))
@settings(max_examples=300, deadline=None)
def test_no_value_in_a_known_section_raises_anything_but_a_config_error(values: dict[str, object]) -> None:
    _reads_or_refuses(json.dumps(values))


@given(trees(), st.data())
@settings(max_examples=100, deadline=None)
def test_no_torn_file_raises_anything_but_a_config_error(made: config.Config, data: st.DataObject) -> None:
    text = config.render(made)
    cut = data.draw(st.integers(0, len(text)))
    junk = data.draw(st.text(max_size=3))
    _reads_or_refuses(text[:cut] + junk + text[cut:])
    _reads_or_refuses(text[:cut])
