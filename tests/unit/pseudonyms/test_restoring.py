"""Shapes of answers on the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.pseudonyms.asking import (
    MARIA,
    NATURAL,
    TAGGED,
    answer,
    chat,
    cuts,
    event,
    masked,
    restored,
    said,
    streamed,
)

from ecotone.pseudonyms.nesting import UNREAD_CHARS_MAX
from ecotone.values import Endpoint

MADE = masked(chat("I am Maria Gonzalez"), MARIA)
WORD = said(MADE)[5:]
NAME = "Maria Gonzalez"


def fed(*events: Any) -> list[Any]:
    restorer = MADE.restorer(Endpoint.CHAT)
    return [json.loads(one) for given in events for one in restorer.feed(json.dumps(given).encode())]


def chunk(delta: Any, **more: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}


def test_an_event_with_nothing_to_restore_stays_as_it_is() -> None:
    for one in (
        chunk({"role": "assistant", "content": ""}),
        chunk({}),
        chunk({"content": None}),
        chunk({"content": "Hello"}),
        {"id": "c", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 0.5}},
        {"id": "c", "choices": [{"index": 0, "delta": {"content": "x"}}], "usage": {"prompt_tokens": 3}},
        {"id": "c", "choices": [7]},
        {"error": {"message": "no", "code": 400}},
    ):
        assert (
            fed(one) == [one if one.get("choices") != [7] else {"id": "c", "choices": []}][: one.get("choices") != [7]]
        )


@pytest.mark.parametrize("one", [b"[1]", b"{", b"\xff", b'"x"', b"[" * 100_000])
def test_what_is_no_answer_passes_for_others_to_judge(one: bytes) -> None:
    restorer = MADE.restorer(Endpoint.CHAT)
    assert restorer.feed(one) == (one,)
    assert restorer.whole(one) == one
    assert restorer.finish() == []


def test_log_probabilities_do_not_pass() -> None:
    """Their tokens are pieces of surrogates: neither a surrogate nor half a value is shown."""
    logprobs = {"content": [{"token": WORD[:4], "logprob": -0.1, "bytes": [80], "top_logprobs": []}]}
    assert fed(chunk({"content": "Hi"}, logprobs=logprobs), chunk({"content": "Ho"}, logprobs=logprobs)) == [
        chunk({"content": "Hi"}, logprobs=None),
        chunk({"content": "Ho"}, logprobs=None),
    ]
    whole = {"choices": [{"index": 0, "message": {"content": WORD}, "logprobs": logprobs, "finish_reason": "stop"}]}
    read = json.loads(MADE.restorer(Endpoint.CHAT).whole(json.dumps(whole).encode()))
    assert read["choices"][0]["logprobs"] is None
    legacy = {"choices": [{"index": 0, "text": f"{WORD}.", "logprobs": {"tokens": [WORD]}, "finish_reason": None}]}
    assert fed(legacy)[0]["choices"][0] == {"index": 0, "text": f"{NAME}.", "logprobs": None, "finish_reason": None}


def test_texts_that_come_whole_and_lists_of_texts() -> None:
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": f"ask_{WORD}", "arguments": ""}}
    assert fed(chunk({"tool_calls": [call], "names": [WORD, 1]}))[0]["choices"][0]["delta"] == {
        "tool_calls": [{**call, "function": {"name": f"ask_{NAME}", "arguments": ""}}],
        "names": [NAME, 1],
    }
    parts = [{"type": "text", "text": f"{WORD}!"}, {"type": "text", "text": f"{WORD}?", "n": 2}]
    assert fed(chunk({"reasoning_details": parts}))[0]["choices"][0]["delta"]["reasoning_details"] == [
        {"type": "text", "text": f"{NAME}!"},
        {"type": "text", "text": f"{NAME}?", "n": 2},
    ]
    assert fed({**chunk({"content": "x"}), "citations": [WORD], "n": 3})[0]["citations"] == [NAME]
    assert fed(chunk({"refusal": f"{WORD} "}))[0]["choices"][0]["delta"] == {"refusal": f"{NAME} "}


def test_an_answer_in_one_piece_is_read_to_its_last_string() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"q": WORD})}}
    body = {
        "id": WORD,
        "model": "big",
        "choices": [
            {"index": 0, "message": {"content": [{"text": WORD}], "refusal": WORD, "tool_calls": [call]}},
            {"index": 1, "message": {"content": None, "reasoning": WORD}, "finish_reason": "stop"},
            WORD,
        ],
        "usage": {"total_tokens": 3},
        "notes": {"a": [WORD, None, True]},
    }
    read = json.loads(MADE.restorer(Endpoint.CHAT).whole(json.dumps(body).encode()))
    assert json.dumps(read) == json.dumps(body).replace(WORD, NAME).replace(NAME, WORD, 1).replace(
        f'"stop"}}, "{NAME}"', f'"stop"}}, "{WORD}"'
    )
    odd = {"choices": {"a": WORD}}
    assert json.loads(MADE.restorer(Endpoint.CHAT).whole(json.dumps(odd).encode())) == odd


def test_a_tail_joins_the_text_of_the_event_that_ends_the_choice() -> None:
    restorer = MADE.restorer(Endpoint.CHAT)
    assert restorer.feed(event(f"Dear {WORD[:5]}")) != []
    (last,) = restorer.feed(event(WORD[5:], end="stop"))
    assert json.loads(last)["choices"][0] == {"index": 0, "delta": {"content": NAME}, "finish_reason": "stop"}


def test_a_stream_that_breaks_off_gives_up_what_it_holds() -> None:
    restorer = MADE.restorer(Endpoint.CHAT)
    arguments = [{"index": 3, "function": {"arguments": f'{{"a": "{WORD}'}}]
    restorer.feed(event(index=1, tool_calls=arguments))
    restorer.feed(event(WORD[:5], index=2))
    made = [json.loads(one)["choices"][0] for one in restorer.finish()]
    assert made == [
        {"index": 1, "delta": {"tool_calls": [{"index": 3, "function": {"arguments": NAME}}]}, "finish_reason": None},
        {"index": 2, "delta": {"content": WORD[:5]}, "finish_reason": None},
    ]
    assert restorer.finish() == []


def test_a_tail_event_looks_like_the_others() -> None:
    restorer = MADE.restorer(Endpoint.CHAT)
    restorer.feed(event(WORD))
    tail, end = (json.loads(one) for one in restorer.feed(event(end="stop")))
    assert {**tail, "choices": []} == {**end, "choices": []}


def test_short_words_are_judged_by_case_and_place() -> None:
    made = masked(chat("Ask Ines Zapatero or Ines."), {"Ines Zapatero": ("person", "person")}, NATURAL)
    given = said(made).split(" ")[1]
    assert restored(made, f"{given} and {given.lower()} and {given.upper()}") == f"Ines and {given.lower()} and INES"
    assert restored(made, f"{given}xx {given}ss x{given}") == f"{given}xx {given}ss x{given}"


def test_a_long_text_without_surrogates_is_put_by_in_bounds() -> None:
    restorer = MADE.restorer(Endpoint.CHAT)
    for _ in range(3):
        restorer.feed(event("x" * UNREAD_CHARS_MAX))
    assert json.loads(restorer.feed(event(f" {WORD}."))[0])["choices"][0]["delta"]["content"] == f" {NAME}."


@pytest.mark.parametrize(
    "open_link", ["![x](https://evil.example/(", "https://evil.example/", "<img src='//evil.example/"]
)
def test_a_link_without_end_is_one_however_long(open_link: str) -> None:
    restorer = MADE.restorer(Endpoint.CHAT)
    text = open_link + f"{WORD}/" * 2000
    assert "".join(streamed(restorer, (text[at : at + 37] for at in range(0, len(text), 37)))) == text
    assert restorer.counts.left == 2000
    rest = f"\\{WORD}) {WORD})' {WORD}"
    assert restored(MADE, text + rest).endswith(f" {NAME}")
    assert restored(MADE, text + "x" * 30 + rest).endswith(f" {NAME}")


@pytest.mark.parametrize("style", [TAGGED, NATURAL])
@pytest.mark.parametrize(
    "source",
    [
        '{{"a": "\\n{0}"}}',
        '{{"a": "\\u00a0{0}\\u0041"}}',
        '{{"a": "x\\\\{0}"}}',
        '{{"a": {{"b": "\\"{0}\\" \\\\"}}}}',
        '{{"a": "{{\\"b\\": \\"\\\\n{0}\\\\\\\\\\"}}"}}',
        '{{"a": "\\"{0}\\" says", "b": "{0}"}}',
        '{{"a": "https:\\/\\/x.y\\/{0}"}}',
    ],
)
def test_source_of_json_is_read_with_its_escapes_however_it_is_cut(style: Any, source: str) -> None:
    value = 'O"Neil \\ Sons'
    made = masked(chat(f"Ask {value}"), {value: ("organisation", "organisation")}, style)
    source = source.format(said(made)[4:])
    whole = restored(made, source)
    json.loads(whole)
    assert ("Neil" in whole) is ("https" not in source and "\\u0041" not in source)
    for pieces in (*cuts(source), tuple(source)):
        assert "".join(streamed(made.restorer(Endpoint.CHAT), pieces)) == whole


def test_backslashes_without_end_are_only_backslashes() -> None:
    text = '{"a": "' + "\\" * 101 + '"' + f' {WORD}"}}'
    whole = restored(MADE, text)
    assert whole == text.replace(WORD, NAME)
    assert "".join(streamed(MADE.restorer(Endpoint.CHAT), text)) == whole


def test_other_scripts_fold_without_losing_their_place() -> None:
    text = f"İİ ΣΑΣ ßẞ {WORD}. 전화 {WORD}는 {WORD}를 İ{WORD}"
    assert restored(MADE, text) == f"İİ ΣΑΣ ßẞ {NAME}. 전화 {NAME}는 {NAME}를 İ{WORD}"
    assert "".join(streamed(MADE.restorer(Endpoint.CHAT), text)) == restored(MADE, text)
    assert json.loads(MADE.restorer(Endpoint.CHAT).whole(answer("x")))["choices"][0]["message"]["content"] == "x"
