"""The engine's recorded events, turned back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from ecotone.shaping import SMOLLM2_135M, Reply, Shaped, shape
from ecotone.shaping.calls import StopCutter, ToolReply, call_id
from ecotone.shaping.reply import ChunkReply, RawChatReply, RawClassifyReply
from ecotone.values import Endpoint

RECORDED = Path(__file__).parent / "recorded"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
USER = [{"role": "user", "content": "What is the weather in Oslo?"}]
WORDS = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"enum": ["positive", "negative"]}}}


def play(name: str, reply: Reply) -> list[dict[str, Any]]:
    """Feeds a recording and gives the events that came out."""
    events = (RECORDED / f"{name}.jsonl").read_bytes().split(b"\n")[:-1]
    return [json.loads(made) for made in feed(reply, [event for event in events if event != b"[DONE]"])]


def feed(reply: Reply, events: list[bytes]) -> list[bytes]:
    return [made for event in events for made in reply.feed(event)] + list(reply.finish())


def chat(**fields: Any) -> Shaped:
    return shape(SMOLLM2_135M, Endpoint.CHAT, {"messages": USER, **fields}, "req-1")


def joined(events: list[dict[str, Any]], field: str = "content") -> str:
    choices = [choice for event in events for choice in event["choices"]]
    return "".join((choice["delta"].get(field) if "delta" in choice else choice["text"]) or "" for choice in choices)


def reasons(events: list[dict[str, Any]]) -> list[str]:
    return [choice["finish_reason"] for event in events for choice in event["choices"] if choice["finish_reason"]]


def engine_chunk(content: str | None = None, reason: str | None = None, index: int = 0) -> bytes:
    delta = {} if content is None else {"content": content}
    return json.dumps(
        {"id": "c", "model": "m", "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}
    ).encode()


def engine_text(text: str, reason: str | None = None) -> bytes:
    return json.dumps(
        {"id": "c", "model": "m", "choices": [{"index": 0, "text": text, "finish_reason": reason}]}
    ).encode()


def tool_reply(**options: Any) -> ToolReply:
    return ToolReply("smollm2-135m", {"get_weather": CITY}, "req-1", **options)


def test_ordinary_chat_passes_with_the_assets_name_and_nothing_else_changed() -> None:
    events = (RECORDED / "chat.jsonl").read_bytes().split(b"\n")
    shaped = chat()
    made = feed(shaped.reply, events[:-2])
    assert shaped.is_plain
    assert made == [event.replace(b"SmolLM2-135M-Instruct.Q4_1.gguf", b"smollm2-135m") for event in events[:-2]]


def test_an_event_that_has_the_right_name_is_passed_as_the_same_object() -> None:
    event = b'{"choices":[{"index":0,"delta":{"role":"assistant"}}],"model":"smollm2-135m"}'
    assert Reply("smollm2-135m").feed(event)[0] is event


def test_content_that_looks_like_the_models_name_is_not_touched() -> None:
    reply = Reply("a")
    event = b'{"choices":[{"delta":{"role":"assistant","content":"\\"model\\":\\"x\\""}}],"model":"x"}'
    assert json.loads(reply.feed(event)[0])["choices"][0]["delta"]["content"] == '"model":"x"'


def test_a_first_event_without_a_role_gets_one() -> None:
    event = b'{"choices":[{"delta":{"content":"x"}}],"model":"a"}'
    assert json.loads(Reply("a").feed(event)[0])["choices"][0]["delta"] == {"role": "assistant", "content": "x"}


def test_usage_of_two_choices_is_added_up_to_one_event_at_the_end() -> None:
    events = play("chat_n2", chat(n=2).reply)
    assert [event["usage"] for event in events if "usage" in event] == [events[-1]["usage"]]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 4
    assert events[-1]["usage"]["total_tokens"] == events[-1]["usage"]["prompt_tokens"] + 4
    assert reasons(events) == ["length", "length"]


def test_chat_logprobs_without_top_logprobs_give_the_chosen_token_alone() -> None:
    shaped = chat(logprobs=True)
    assert shaped.payload["top_logprobs"] == 1
    events = play("chat_logprobs", shaped.reply)
    tokens = [t for e in events for c in e["choices"] for t in (c.get("logprobs") or {}).get("content", [])]
    assert [token["top_logprobs"] for token in tokens] == [[], []]
    assert events[-1]["usage"]["completion_tokens"] == 2


def test_a_list_of_prompts_with_n_and_logprobs_takes_the_legacy_shape() -> None:
    body = {"prompt": ["Paris is", "Rome is"], "n": 2, "logprobs": 2}
    events = play("completions_list_n2_logprobs", shape(SMOLLM2_135M, Endpoint.COMPLETIONS, body).reply)
    first = [choice for event in events for choice in event["choices"] if choice["index"] == 0]
    assert "".join(choice["text"] for choice in first) == "".join(
        token for choice in first if choice["logprobs"] for token in choice["logprobs"]["tokens"]
    )
    shown = [choice["logprobs"] for choice in first if choice["logprobs"]]
    assert [offset for one in shown for offset in one["text_offset"]] == [0, len(shown[0]["tokens"][0])]
    assert all(len(one["top_logprobs"][0]) == 2 for one in shown)
    assert len(reasons(events)) == 4
    assert events[-1]["usage"] | {"prompt_tokens_details": None} == {
        "prompt_tokens": 4, "completion_tokens": 8, "total_tokens": 12, "prompt_tokens_details": None,
    }  # fmt: skip


def test_completions_without_logprobs_have_usage_in_an_event_of_its_own() -> None:
    shaped = shape(SMOLLM2_135M, Endpoint.COMPLETIONS, {"prompt": "x"})
    events = play("raw_classify", shaped.reply)
    assert joined(events) == " positive"
    assert [bool(event["choices"]) for event in events if "usage" in event] == [False]


def test_legacy_logprobs_of_zero_show_no_alternatives() -> None:
    shaped = shape(SMOLLM2_135M, Endpoint.COMPLETIONS, {"prompt": "x", "logprobs": 0})
    assert shaped.payload["logprobs"] == 1
    events = play("completions_list_n2_logprobs", shaped.reply)
    assert {str(c["logprobs"]["top_logprobs"]) for e in events for c in e["choices"] if c["logprobs"]} == {"[{}]"}


def test_a_tool_call_is_given_whole() -> None:
    events = play("tool_call", chat(tools=[WEATHER]).reply)
    call = events[0]["choices"][0]["delta"]["tool_calls"][0]
    assert call == {
        "index": 0, "id": call_id("req-1", 0), "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'},
    }  # fmt: skip
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert reasons(events) == ["tool_calls"]
    assert events[-1]["usage"]["completion_tokens"] > 0
    assert {event["model"] for event in events} == {"smollm2-135m"}


def test_a_reply_is_given_as_it_comes() -> None:
    events = play("tool_reply", chat(tools=[WEATHER]).reply)
    assert joined(events) == "It is 12 C in Oslo."
    assert len(events) > 5
    assert reasons(events) == ["stop"]
    for event in events:
        ChatCompletionChunk.model_validate(event)


def test_an_error_in_mid_stream_is_classified_and_ends_all() -> None:
    reply = chat().reply
    events = play("broken", reply)
    assert events[-1]["error"]["code"] == "engine"
    assert reply.feed(engine_chunk("x")) == []


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ('{"tool":"get_weather","arguments":{"ci', "get_weather", '{"ci'),
        ('{"tool":"get_weather"', "get_weather", ""),
        ('{"tool":"get_wea', None, None),
        ('{"tool":"other","arguments":{', None, None),
    ],
)
def test_a_call_cut_by_max_tokens_is_given_as_far_as_it_came(
    text: str, name: str | None, arguments: str | None
) -> None:
    events = [json.loads(made) for made in feed(tool_reply(), [engine_chunk(text), engine_chunk(None, "length")])]
    calls = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", [])]
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls] == (
        [(name, arguments)] if name else []
    )
    assert reasons(events) == ["length"]


def test_a_reply_cut_by_max_tokens_ends_with_length() -> None:
    events = [
        json.loads(made)
        for made in feed(tool_reply(), [engine_chunk('{"reply":"It is\\'), engine_chunk(None, "length")])
    ]
    assert joined(events) == "It is"
    assert reasons(events) == ["length"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"tool":"get_weather","arguments":{}}', "tool_arguments"),
        ('{"tool":"other","arguments":{}}', "bad_answer"),
        ('{"tool":"get_weather","arguments"', "bad_answer"),
        ('{"reply":"never closed', "bad_answer"),
        ('{"reply":"\\q"}', "bad_answer"),
        ('{"reply":1}', "bad_answer"),
        ("plain text" * 40, "bad_answer"),
        ("", "bad_answer"),
    ],
)
def test_what_breaks_the_schema_is_an_error_and_never_a_clean_end(text: str, code: str) -> None:
    made = [
        json.loads(one)
        for one in feed(tool_reply(), [engine_chunk(text), engine_chunk(None, "stop"), engine_chunk("x")])
    ]
    assert made[-1]["error"]["code"] == code
    assert not any(reasons([event]) for event in made if "choices" in event)


def test_an_event_that_is_not_json_is_an_error() -> None:
    assert json.loads(tool_reply().feed(b"{nonsense")[0])["error"]["code"] == "bad_answer"


def test_stop_strings_apply_to_the_reply_and_not_to_the_json() -> None:
    reply = tool_reply(stops=["\n", "so far"])
    pieces = ['{\n"reply": "All is well so', " fa", 'r, or not"}']
    events = [json.loads(made) for made in feed(reply, [*map(engine_chunk, pieces), engine_chunk(None, "stop")])]
    assert joined(events) == "All is well "
    assert reasons(events) == ["stop"]


def test_text_held_back_for_a_stop_string_is_given_at_the_end() -> None:
    reply = tool_reply(stops=["END"])
    events = [
        json.loads(made) for made in feed(reply, [engine_chunk('{"reply":"the EN"}'), engine_chunk(None, "stop")])
    ]
    assert joined(events) == "the EN"


def test_a_stop_cutter_gives_nothing_after_the_cut() -> None:
    cutter = StopCutter(["b"])
    assert (cutter.feed("ab"), cutter.feed("c"), cutter.rest()) == ("a", "", "")


@pytest.mark.parametrize("value", ['{"a": ["}\\"", {}]}', '"a\\"}b"', "12.5", "[[], 1]"])
def test_a_reply_in_the_callers_schema_is_passed_as_it_stands(value: str) -> None:
    events = [engine_chunk(char) for char in '{"reply": ' + value + " }"] + [engine_chunk(None, "stop")]
    made = [json.loads(one) for one in feed(tool_reply(is_reply_json=True), events)]
    assert joined(made).strip() == value
    assert reasons(made) == ["stop"]


def test_choices_are_kept_apart() -> None:
    reply = tool_reply(choices_per_prompt=2)
    events = [engine_chunk('{"reply":"a', index=0), engine_chunk('{"tool":"get_weather",', index=1)]
    events += [engine_chunk('b"}', "stop", index=0), engine_chunk('"arguments":{"city":"X"}}', "stop", index=1)]
    made = [json.loads(one) for one in feed(reply, [*events, engine_chunk("late", index=1)])]
    assert sorted(reasons(made)) == ["stop", "tool_calls"]
    assert joined([event for event in made if event["choices"][0]["index"] == 0]) == "ab"


def test_a_bare_word_becomes_the_callers_json() -> None:
    shots = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "positive"}]
    shaped = chat(messages=[*shots, *USER], response_format=WORDS)
    events = play("raw_classify", shaped.reply)
    assert shaped.form == "raw_few_shot"
    assert joined(events) == '"positive"'
    assert reasons(events) == ["stop"]
    assert events[-1]["usage"]["prompt_tokens"] == 35


@pytest.mark.parametrize(
    ("text", "reason", "content", "ended"),
    [
        (" positive", "length", '{"label":"positive"}', ["stop"]),
        (" pos", "length", '{"label":"pos', ["length"]),
        (" neg", "length", '{"label":"neg', ["length"]),
    ],
)
def test_a_word_cut_short_stays_open(text: str, reason: str, content: str, ended: list[str]) -> None:
    reply = RawClassifyReply("m", ["positive", "neg", "negative"], key="label")
    events = [json.loads(made) for made in feed(reply, [engine_text(text), engine_text("", reason)])]
    assert joined(events) == content
    assert reasons(events) == ended


def test_a_word_that_is_not_on_the_list_is_an_error() -> None:
    reply = RawClassifyReply("m", ["a"], key=None)
    assert b'"bad_answer"' in feed(reply, [engine_text("zebra", "stop")])[0]


def test_raw_chat_loses_its_first_blanks_and_always_has_a_first_chunk() -> None:
    events = [
        json.loads(m) for m in feed(RawChatReply("m"), [engine_text(" "), engine_text(" Hi"), engine_text("", "stop")])
    ]
    assert joined(events) == "Hi"
    empty = [json.loads(m) for m in feed(RawChatReply("m"), [engine_text("", "stop")])]
    assert empty[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize(
    ("written", "text"),
    [("\\ud83d\\ude00", "😀"), ("\\ud83dx", "\ufffdx"), ("\\ude00", "\ufffd"), ("\\u00e9\\n", "é\n")],
)
def test_escapes_of_a_reply_are_decoded(written: str, text: str) -> None:
    events = [engine_chunk(char) for char in f'{{"reply":"{written}"}}'] + [engine_chunk(None, "stop")]
    assert joined([json.loads(made) for made in feed(tool_reply(), events)]) == text


def test_a_form_that_reads_no_choice_is_not_a_form() -> None:
    with pytest.raises(NotImplementedError):
        ChunkReply("m").feed(engine_chunk("x"))


def test_raw_chat_keeps_its_logprobs() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": []}]}
    event = {"id": "c", "choices": [{"index": 0, "text": "a", "logprobs": logprobs, "finish_reason": None}]}
    assert json.loads(RawChatReply("m").feed(json.dumps(event).encode())[0])["choices"][0]["logprobs"] == logprobs
