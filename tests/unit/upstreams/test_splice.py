"""Splicing a model name into JSON bytes: the same document, but for the name (and the question for usage)."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecotone.upstreams import splice as room
from ecotone.upstreams.splice import splice
from ecotone.values import RequestError

NEW = b'"large-\xc3\xa9-1"'
NEW_NAME = "large-é-1"
USAGE = {"include_usage": True}

keys = st.sampled_from(
    ["model", "stream_options", "stream", "messages", 'a"model', 'x\\"model', "Model", "mod", "é", ""]
) | st.text(max_size=5)
texts = st.sampled_from(
    ["model", '"model"', '"model":"x"', 'a "stream_options"', '\\"model\\":\\"x\\"', "\\", 'end\\"model']
) | st.text(max_size=8)
leaves = (
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | texts
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
options = st.one_of(
    st.none(),
    st.just({}),
    st.dictionaries(st.sampled_from(["include_usage", "include_obfuscation", "a\\b"]), st.booleans(), max_size=3),
    leaves,
)


def spell(draw, text):
    """A JSON string in one of its many spellings."""
    if draw(st.booleans()):
        return json.dumps(text, ensure_ascii=draw(st.booleans()))
    escaped = draw(st.sets(st.integers(0, max(0, len(text) - 1)), max_size=3))
    return '"' + "".join(
        f"\\u{ord(sign):04x}" if n in escaped and ord(sign) < 65536 else json.dumps(sign, ensure_ascii=False)[1:-1]
        for n, sign in enumerate(text)
    ) + '"'  # fmt: skip


@st.composite
def bodies(draw):
    """(caller's model, bytes): pairs in any order, keys twice, any spelling, any white space."""
    model = draw(texts)
    pairs = [(key, draw(values)) for key in draw(st.lists(keys.filter(lambda key: key != "model"), max_size=4))]
    if draw(st.booleans()):
        pairs.append(("stream_options", draw(options)))
    pairs = draw(st.permutations(pairs))
    if draw(st.booleans()):
        pairs.insert(0, ("model", draw(values)))
    pairs.insert(draw(st.integers(1 if pairs and pairs[0][0] == "model" else 0, len(pairs))), ("model", model))
    space = st.text(" \t\r\n", max_size=2)

    def put(value):
        if isinstance(value, str):
            return spell(draw, value)
        if isinstance(value, dict):
            inside = ",".join(
                f"{draw(space)}{spell(draw, k)}{draw(space)}:{draw(space)}{put(v)}" for k, v in value.items()
            )
            return "{" + inside + "}"
        if isinstance(value, list):
            return "[" + ",".join(put(one) for one in value) + "]"
        return json.dumps(value)

    inside = ",".join(
        f"{draw(space)}{spell(draw, key)}{draw(space)}:{draw(space)}{put(value)}{draw(space)}" for key, value in pairs
    )
    text = draw(space) + "{" + inside + "}" + draw(space)
    return model, text.encode("utf-8", "surrogatepass")


def is_text(body):
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return True


@given(bodies().filter(lambda made: is_text(made[1])), st.booleans())
@settings(max_examples=300, deadline=None)
def test_only_the_model_and_the_question_for_usage_change(made, add_usage):
    model, body = made
    before = msgspec.json.decode(body)
    assert before["model"] == model
    after_bytes, is_added = splice(body, model, NEW, add_usage=add_usage)
    after = msgspec.json.decode(after_bytes)
    expected = dict(before, model=NEW_NAME)
    if is_added:
        given_options = before.get("stream_options")
        expected["stream_options"] = {**(given_options or {}), **USAGE}
    assert after == expected
    options_before = before.get("stream_options")
    asks = isinstance(options_before, dict) and options_before.get("include_usage") is True
    is_odd = not (options_before is None or isinstance(options_before, dict))
    assert is_added == (add_usage and not asks and not is_odd)


@given(
    st.dictionaries(st.text("abc", max_size=3), st.text('abcé\\" :{', max_size=8), max_size=3),
    st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_ordinary_bodies_are_never_decoded(rest, add_usage):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": 'my "model": x'}], **rest}).encode()
    decoder, room._TOP = room._TOP, None
    try:
        after, is_added = splice(body, "m", b'"n"', add_usage=add_usage)
    finally:
        room._TOP = decoder
    assert is_added is add_usage
    usage = b',"stream_options":{"include_usage":true}' if add_usage else b""
    assert after == body.replace(b'"model": "m"', b'"model": "n"' + usage, 1)


def test_the_same_name_leaves_the_very_bytes():
    body = b'{"model":"m","x":1}'
    assert splice(body, "m", b'"m"', add_usage=False)[0] is body


def test_numbers_keep_their_spelling_on_the_careful_way():
    body = b'{"model":"m","seed":12345678901234567890123,"t":1.000,"x":{"model": 1e400 }}'
    after, _ = splice(body, "m", b'"n"', add_usage=False)
    assert after == b'{"model":"n","seed":12345678901234567890123,"t":1.000,"x":{"model": 1e400 }}'


@pytest.mark.parametrize(
    ("options", "after", "is_added"),
    [
        ("{}", '{"include_usage":true}', True),
        ("null", '{"include_usage":true}', True),
        ('{"include_usage":false}', '{"include_usage":true}', True),
        ('{"include_usage":true}', '{"include_usage":true}', False),
        ('{"a": 1}', '{"a":1,"include_usage":true}', True),
        ("3", "3", False),
        ("[]", "[]", False),
    ],
)
def test_options_that_are_there(options, after, is_added):
    made = splice(f'{{"model":"m","stream_options":{options}}}'.encode(), "m", b'"n"', add_usage=True)
    assert made == (f'{{"model":"n","stream_options":{after}}}'.encode(), is_added)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"model"', b'{"model":', b'{"model":"m"}}', b'{"a":"model","model":"m",}']
)
def test_what_is_no_object_is_the_callers_fault(body):
    with pytest.raises(RequestError) as caught:
        splice(body.replace(b'"m"', b'"\\u006d"'), "m", b'"n"', add_usage=True)
    assert caught.value.code == "request.json"
