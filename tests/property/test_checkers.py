"""Checkers, whatever the two answers are."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ecotone.checking import CHECKERS, auto, is_sound
from ecotone.checking.fields import agreement
from ecotone.checking.judge import asks, verdict
from ecotone.checking.words import overlap
from ecotone.learning.signs import NAMES, signs
from ecotone.values import Endpoint
from ecotone.values.agreeing import answer_key
from ecotone.values.normal import marked, normalised
from ecotone.values.quality import Question, Reply
from ecotone.values.quantity import is_same, numbers
from ecotone.wire.question import question
from ecotone.wire.reply import reply, with_logprobs, without_logprobs
from ecotone.wire.request import Head, decode

PIECES = [
    "The answer is ", "#### ", "\\boxed{", "}", "(B)", "A. cat\nB. dog", "1,234.5", "-3/4 km", "50%", "```python\n",
    "```\n", "def f(x):\n    return x\n", '{"a": [1, "b"]}', "[1, 2]", "I cannot help", "perhaps", "**", "<think>",
    "</think>", "答案是B", "\n", " ", "€", "１２", "é", "\x00", "'", '"', "x = ", "the ",
]  # fmt: skip
texts = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
calls = st.lists(st.tuples(st.sampled_from(["f", "g", ""]), st.sampled_from(["{}", '{"a": 1}', "{", ""])), max_size=3)
chances = st.lists(st.floats(-100, 0), max_size=6).map(tuple)
replies = st.builds(
    Reply,
    text=texts,
    calls=calls.map(tuple),
    finish=st.sampled_from(["stop", "length", "tool_calls", "content_filter", ""]),
    is_refusal=st.booleans(),
    logprobs=chances,
    margins=chances.map(lambda row: tuple(-one for one in row)),
)
schemas = st.sampled_from([b"", b"{", b'{"type": "object"}', b'{"items": {"type": "string"}}', b'{"$ref": "#"}'])
questions = st.builds(
    Question,
    endpoint=st.just(Endpoint.CHAT),
    model=st.just("m"),
    asked=texts,
    tools=st.sampled_from([(), ("f",)]),
    form=st.sampled_from(["", "json_object", "json_schema"]),
    schema=schemas,
)
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(questions, replies, replies)
def test_a_comparison_is_within_bounds_and_named_by_its_checker(asked: Question, edge: Reply, cloud: Reply) -> None:
    for name, compare in CHECKERS.items():
        found = compare(asked, edge, cloud)
        assert found is None or (is_sound(found) and found.checker == name)
    picked = auto(asked, edge, cloud)
    assert picked is None or picked.checker in CHECKERS


@given(questions, replies)
def test_an_answer_never_falls_behind_itself(asked: Question, one: Reply) -> None:
    for compare in (*CHECKERS.values(), auto):
        found = compare(asked, one, one)
        # Calls that cannot be carried out are worth as little on both sides.
        assert found is None or found.gap == 0.0 or one.calls


@given(questions, texts, texts)
def test_what_agrees_one_way_agrees_the_other_way(asked: Question, one: str, other: str) -> None:
    asked = msgspec.structs.replace(asked, asked="Where?")  # an option may be named by its words on one side
    edge, cloud = (Reply(text=text, finish="stop") for text in (one, other))
    for name in ("match", "numbers"):
        there, back = CHECKERS[name](asked, edge, cloud), CHECKERS[name](asked, cloud, edge)
        assert there is None or back is None or abs(there.gap) == abs(back.gap)


@given(values, values)
def test_the_agreement_of_fields_is_a_share_and_knows_no_order(one: Any, other: Any) -> None:
    assert 0.0 <= agreement(one, other) <= 1.0
    assert agreement(one, one) == 1.0
    assert abs(agreement(one, other) - agreement(other, one)) < 1e-12


@given(texts, texts)
def test_likeness_is_a_share_and_knows_no_order(one: str, other: str) -> None:
    assert 0.0 <= overlap(one, other) <= 1.0
    assert overlap(one, other) == overlap(other, one)


@given(texts)
def test_what_an_answer_comes_to_is_a_part_of_it_and_can_be_had_of_any_text(text: str) -> None:
    assert marked(text) in text
    assert isinstance(answer_key(text), str)
    assert normalised(text) == " ".join(normalised(text).split())
    for found in numbers(text):
        assert np.isfinite(found.value)
        assert is_same(found, found)


@given(questions, replies)
def test_signs_are_finite_whatever_was_said(asked: Question, one: Reply) -> None:
    row = signs(asked, one)
    assert row.shape == (len(NAMES),)
    assert np.isfinite(row).all()


@given(questions, replies, replies)
def test_what_a_judge_is_asked_is_a_request_that_a_site_takes(asked: Question, edge: Reply, cloud: Reply) -> None:
    for body in asks(asked, edge, cloud, model="judge"):
        assert decode(Endpoint.CHAT, body, Head(id="r", received_at_s=0.0)).model == "judge"
    found = verdict(edge, cloud)
    assert found is None or is_sound(found)


NAMES_OF_FIELDS = ["choices", "message", "content", "logprobs", "usage", "model", "text"]


@given(st.dictionaries(st.sampled_from(NAMES_OF_FIELDS), values), values)
def test_any_json_is_read_as_an_answer_or_as_none(top: dict[str, Any], choice: Any) -> None:
    for made in (top, {**top, "choices": [choice]}, {"choices": [{"message": choice, "logprobs": top}]}, choice):
        body = json.dumps(made).encode()
        for endpoint in (Endpoint.CHAT, Endpoint.COMPLETIONS):
            assert isinstance(reply(endpoint, body), Reply)
        bare = json.loads(without_logprobs(body))
        if isinstance(bare, dict) and isinstance(bare.get("choices"), list):
            choices = bare["choices"]
            assert not all(isinstance(one, dict) for one in choices) or not any(one.get("logprobs") for one in choices)
        assert isinstance(with_logprobs(body, 2), bytes)
        assert question(Endpoint.CHAT, body, model="m", key="k").model == "m"
