"""Whatever values stand where, and however an answer is cut: the same bytes come back.

By default 10,000 chunkings (200 examples of 50); `ECOTONE_RESTORE_EXAMPLES` sets the number of examples.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator

import chunk_invariance
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.pseudonyms.asking import NATURAL, TAGGED, answer, body, chat, event, masked, restored, streamed

from ecotone.pseudonyms import Masked
from ecotone.pseudonyms.matching import Channel, Counts
from ecotone.values import Endpoint, RefusalError, Surrogates

EXAMPLES = int(os.environ.get("ECOTONE_RESTORE_EXAMPLES", "200"))
CHUNKINGS = 50
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

VALUES = {
    "Maria Gonzalez": ("person", "person"),
    "Maria": ("person", "person"),
    "Dr. Jean-Luc O'Neil": ("person", "person"),
    "张三丰": ("person", "person"),
    "+49 30 1234567": ("contact", "phone"),
    "m.g@clinic.example.es": ("contact", "email"),
    "DE89 3704 0044 0532 0130 00": ("account", "iban"),
    "Acme Widgets GmbH": ("organisation", "organisation"),
    'a "quoted" \\ name': ("project", "term"),
    "12.03.1980": ("person", "date_of_birth"),
    "sk-abcdefghijklmnop1234567890": ("secret", "secret.openai"),
}
MADE = {style: masked(chat("; ".join(VALUES)), VALUES, style) for style in (TAGGED, NATURAL)}
FORMS = {style: sorted({row.surrogate for row in made._forms.rows.values()}) for style, made in MADE.items()}
NOISE = (
    "\\",
    "_",
    "-",
    " ",
    "s",
    "'s",
    "**",
    "\n",
    "1",
    "9",
    "é",
    "说",
    "\u200b",
    '"',
    "//",
    "](",
    ")",
    "<",
    ">",
    "a",
    "\\n",
)
styles = st.sampled_from((TAGGED, NATURAL))


@st.composite
def answers(draw: st.DrawFn, style: Surrogates) -> str:
    """Surrogates, whole and broken, in several writings, between noise."""
    parts = []
    for kind in draw(st.lists(st.integers(0, 6), max_size=12)):
        form = draw(st.sampled_from(FORMS[style]))
        if kind == 1:
            form = form.upper()
        elif kind == 2:
            form = form.lower().replace("_", "\\_")
        elif kind == 3:
            form = form[: draw(st.integers(0, len(form)))]
        elif kind >= 4:
            form = draw(st.sampled_from(NOISE) | st.text(max_size=3))
        parts.append(form)
        if draw(st.booleans()):
            parts.append(draw(st.sampled_from(NOISE)))
    return draw(st.sampled_from(("", '{"a": "'))) + "".join(parts)


def pieces(text: str, seed: int) -> Iterator[str]:
    """One random chunking, of tokens' size or of any."""
    dice = random.Random(seed)
    size = dice.choice((1, 2, 4, 8, 40))
    at = 0
    while at < len(text):
        step = dice.randint(1, size)
        yield text[at : at + step]
        at += step


def through(made: Masked, chunks: Iterable[str], counts: Counts) -> str:
    channel = Channel(made._forms, counts)
    return "".join([*(channel.feed(chunk) for chunk in chunks), channel.finish()])


@often
@given(st.data(), styles, st.integers(0, 1 << 30))
def test_an_answer_cut_anyhow_is_restored_as_if_it_were_whole(
    data: st.DataObject, style: Surrogates, seed: int
) -> None:
    made = MADE[style]
    text = data.draw(answers(style))
    counts = Counts()
    whole = through(made, [text], counts)
    for at in range(CHUNKINGS):
        again = Counts()
        assert through(made, pieces(text, seed + at), again) == whole
        assert again == counts


@settings(max_examples=max(20, EXAMPLES // 4), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), styles, st.integers(0, 1 << 30))
def test_so_is_an_answer_in_events(data: st.DataObject, style: Surrogates, seed: int) -> None:
    made = MADE[style]
    text = data.draw(answers(style))
    assert "".join(streamed(made.restorer(Endpoint.CHAT), pieces(text, seed))) == restored(made, text)


words = st.sampled_from(
    ("and", "Hello", "will", "ask", ",", "\n", "说", '"', "\\", "Gonzalez", "MARIA GONZALEZ", *VALUES)
)


@often
@given(st.lists(words, min_size=1, max_size=30), styles, st.sampled_from((" ", ", ", "。")))
def test_what_a_model_repeats_comes_back_as_it_was_asked(said: list[str], style: Surrogates, between: str) -> None:
    text = between.join((*VALUES, *said))
    made = masked(chat(text), VALUES, style)
    out = body(made)["messages"][-1]["content"]
    for value in VALUES:
        assert value not in out
    back = restored(made, out)
    # A value in another case may come back in the case where it stood first.
    assert back.lower() == text.lower()


@often
@given(st.data(), styles)
def test_arguments_stay_json_whatever_values_they_hold(data: st.DataObject, style: Surrogates) -> None:
    made = MADE[style]
    texts = st.lists(st.sampled_from((*FORMS[style], '"', "\\", "a b", "\n", "{", "é")), max_size=5).map(" ".join)
    leaf = data.draw(st.dictionaries(st.text("abc"), texts, max_size=3))
    arguments = json.dumps({"a": leaf, "b": json.dumps(leaf)}, ensure_ascii=data.draw(st.booleans()))
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    read = json.loads(made.restorer(Endpoint.CHAT).whole(answer(None, tool_calls=[call])))
    back = json.loads(read["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])
    assert json.loads(back["b"]) == back["a"]
    originals = {row.surrogate: row.original for row in made._forms.rows.values()}
    for key, text in leaf.items():
        if text in originals:
            assert back["a"][key] == originals[text]


@pytest.mark.parametrize("style", [TAGGED, NATURAL])
@pytest.mark.parametrize(
    "text", ["Dear {0}'s {1}s", "x{0} \\_{1}.", "](//a.b/{0}) {1}", '{{"a": "{0}\\n{1}"}}', "{0}{1}", "**{0}** -{1}"]
)
def test_the_published_yardstick_of_chunk_invariance_passes(style: Surrogates, text: str) -> None:
    made = MADE[style]
    forms = FORMS[style]
    text = text.format(forms[0], forms[-1])

    def whole(given_text: str) -> str:
        return through(made, [given_text], Counts())

    def stream(chunks: Iterable[str]) -> Iterable[str]:
        channel = Channel(made._forms, Counts())
        for chunk in chunks:
            yield channel.feed(chunk)
        yield channel.finish()

    def events(chunks: Iterable[str]) -> Iterable[str]:
        restorer = made.restorer(Endpoint.CHAT)
        for chunk in chunks:
            for one in restorer.feed(event(chunk)):
                yield json.loads(one)["choices"][0]["delta"]["content"]
        for one in restorer.feed(event(end="stop")):
            yield json.loads(one)["choices"][0]["delta"].get("content", "")

    assert chunk_invariance.assert_chunk_invariant(stream, whole, text, splits=3) > 100
    assert chunk_invariance.assert_chunk_invariant(events, whole, text) >= len(text)
    short = forms[len(text) % len(forms)][:10] + "s "
    assert chunk_invariance.assert_chunk_invariant(stream, whole, short, splits="all") == 1 << (len(short) - 1)


# In JSON's source a value's own escapes are read as such; the values here have none but quotes and backslashes.
texts = st.lists(st.sampled_from((*VALUES, "and", "é", "x: ", '"', "{", "\n", "%20")), max_size=4).map(" ".join)
trees = st.recursive(
    texts | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=3)
        | st.dictionaries(texts, inner, max_size=2).map(json.dumps)
    ),
    max_leaves=12,
)


@settings(max_examples=max(50, EXAMPLES), deadline=None, suppress_health_check=list(HealthCheck))
@given(trees, styles)
def test_nothing_goes_out_of_any_body_and_all_comes_back(tree: object, style: Surrogates) -> None:
    asked = {**chat("; ".join(VALUES), json.dumps(tree)), "metadata": tree}
    try:
        made = masked(asked, VALUES, style)
    except RefusalError:
        return  # two keys would have had one name, or a number a name: it stays
    out = body(made)
    for text in strings(out):
        for value in VALUES:
            assert value not in text
    assert restored(made, out["messages"][-2]["content"]) == "; ".join(VALUES)
    assert sorted(restored_strings(made, out["metadata"])) == sorted(strings(tree))


def strings(node: object) -> Iterator[str]:
    """All strings and keys, those of JSON in strings too."""
    if isinstance(node, str):
        try:
            inner = json.loads(node)
        except ValueError:
            inner = None
        if isinstance(inner, dict | list):
            yield from strings(inner)
        else:
            yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from strings(value)
    elif isinstance(node, list):
        for item in node:
            yield from strings(item)


def restored_strings(made: Masked, node: object) -> Iterator[str]:
    """The same, each restored by itself; after a sign, so that a text with a brace first is not taken for JSON."""
    return (restored(made, f"= {text}")[2:] for text in strings(node))
