"""What the engine is sent."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ecotone.shaping import SMOLLM2_135M, Profile, Shaped, capabilities, profile_for, shape
from ecotone.values import Endpoint, RequestError, TargetError

BASE = Profile(name="base", context_tokens=2048, has_template=False)
HI = [{"role": "user", "content": "Hi"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "set_light",
        "description": "Turns a light on or off",
        "parameters": {
            "type": "object",
            "properties": {"room": {"enum": ["hall", "attic"]}, "on": {"type": "boolean"}},
            "required": ["room"],
        },
    },
}
OTHER = {"type": "function", "function": {"name": "ping"}}
SHOTS = [{"role": "system", "content": "Label it."}, {"role": "user", "content": "nice"}]


def label(schema: Any = None) -> dict[str, Any]:
    words = {"type": "string", "enum": ["good", 'b"ad']}
    schema = schema or {"type": "object", "properties": {"label": words}, "required": ["label"]}
    return {"type": "json_schema", "json_schema": {"name": "l", "schema": schema}}


def chat(profile: Profile = SMOLLM2_135M, **fields: Any) -> Shaped:
    return shape(profile, Endpoint.CHAT, {"model": "auto", "messages": HI, **fields}, "r")


def schema_of(shaped: Shaped) -> Any:
    return shaped.payload["response_format"]["json_schema"]["schema"]


def tools_offered(shaped: Shaped) -> list[str]:
    return [next(iter(one["properties"].values())).get("const", "reply") for one in schema_of(shaped)["anyOf"]]


def test_an_ordinary_chat_is_passed_with_all_its_fields() -> None:
    shaped = chat(seed=1, stop=["x"], unknown={"a": 1}, stream_options={"include_usage": False, "other": 1})
    assert shaped.path == "/chat/completions"
    assert shaped.payload == {
        "model": "smollm2-135m", "messages": HI, "seed": 1, "stop": ["x"], "unknown": {"a": 1}, "stream": True,
        "stream_options": {"include_usage": True, "other": 1},
    }  # fmt: skip


def test_plain_text_binds_nothing() -> None:
    assert chat(response_format={"type": "text"}).payload["response_format"] == {"type": "text"}


def test_the_callers_body_is_not_changed() -> None:
    body = {"model": "auto", "messages": HI, "tools": [TOOL], "stop": "x", "response_format": label()}
    before = msgspec.json.encode(body)
    shape(SMOLLM2_135M, Endpoint.CHAT, body, "r")
    assert msgspec.json.encode(body) == before


def test_developer_speaks_as_system_and_parts_become_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
    shaped = chat(messages=[{"role": "developer", "content": parts}, {"role": "user", "content": None}])
    assert shaped.payload["messages"] == [{"role": "system", "content": "ab"}, {"role": "user", "content": ""}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": ["x"]}, "messages.0"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"tools": {}, "tool_choice": "required"}, "tool_choice"),
        ({"tools": {"a": 1}}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": [1]}}]},
            "tools.0.function.parameters",
        ),
        ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "nope"}}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": 3}}, "tool_choice"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": [1]}},
            "tool_choice.allowed_tools",
        ),
        ({"tools": [TOOL], "stop": 1}, "stop"),
        ({"tools": [TOOL], "grammar": "root ::= x"}, "grammar"),
        ({"response_format": {"type": "json_object"}, "grammar": "x"}, "response_format"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
    ],
)
def test_a_malformed_request_names_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as raised:
        chat(**fields)
    assert raised.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 3}, "n"),
        ({"functions": [{}]}, "functions"),
        ({"tools": [{"type": "custom"}]}, "tools.0"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"tools": [TOOL], "logprobs": True}, "logprobs"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0"),
        ({"response_format": {"type": "json_schema", "json_schema": {"strict": True, "schema": {"not": {}}}}},
         "response_format.json_schema.schema.not"),
    ],
)  # fmt: skip
def test_what_this_engine_cannot_do_goes_to_the_next_target(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(TargetError) as raised:
        chat(**fields)
    assert (raised.value.code, raised.value.param, raised.value.status) == ("capability", param, 400)


def test_tools_become_a_schema_and_examples() -> None:
    shaped = chat(messages=[{"role": "system", "content": "Be kind."}, *HI], tools=[TOOL, OTHER], stop=["\n"])
    assert shaped.form == "tools"
    assert tools_offered(shaped) == ["set_light", "ping", "reply"]
    system, *rest = shaped.payload["messages"]
    assert system["content"].startswith("Be kind.\n\n")
    assert "set_light(room: hall|attic, on?): Turns a light on or off\nping()" in system["content"]
    assert [message["role"] for message in rest] == ["user", "assistant"] * 3 + ["user"]
    assert not {"tools", "tool_choice", "stop"} & shaped.payload.keys()


@pytest.mark.parametrize(
    ("choice", "offered"),
    [
        ("auto", ["set_light", "ping", "reply"]),
        ("required", ["set_light", "ping"]),
        ({"type": "function", "function": {"name": "ping"}}, ["ping"]),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OTHER]}}, ["ping", "reply"]),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [OTHER]}}, ["ping"]),
    ],
)
def test_tool_choice_decides_what_may_be_said(choice: Any, offered: list[str]) -> None:
    assert tools_offered(chat(tools=[TOOL, OTHER], tool_choice=choice, parallel_tool_calls=True)) == offered


def test_with_tool_choice_none_the_tools_are_left_out() -> None:
    shaped = chat(tools=[TOOL], tool_choice="none")
    assert shaped.form == "template"
    assert not {"tools", "tool_choice", "response_format"} & shaped.payload.keys()


def test_arguments_take_nothing_that_the_tool_does_not_know() -> None:
    arguments = schema_of(chat(tools=[TOOL]))["anyOf"][0]["properties"]["arguments"]
    assert arguments["additionalProperties"] is False
    assert arguments["required"] == ["room"]


def test_references_of_two_tools_do_not_meet() -> None:
    tools = []
    for kind in ("string", "integer"):
        parameters = {"$defs": {"A": {"type": kind}}, "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}
        tools.append({"type": "function", "function": {"name": kind, "parameters": parameters}})
    root = {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object"}}}
    tools.append({"type": "function", "function": {"name": "root", "parameters": root}})
    definitions = schema_of(chat(tools=tools))["$defs"]
    assert [definition["type"] for definition in definitions.values()] == ["string", "integer", "object"]


def test_a_reply_takes_the_callers_schema() -> None:
    shaped = chat(tools=[TOOL], response_format={"type": "json_object"})
    assert schema_of(shaped)["anyOf"][-1]["properties"]["reply"] == {"type": "object"}


HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Light!"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "function": {"name": "set_light", "arguments": '{"room": "hall"}'}},
            {"id": "2", "function": {"name": "ping", "arguments": "not json"}},
            "nonsense",
        ],
    },
    {"role": "tool", "tool_call_id": "1", "content": "done"},
    {"role": "tool", "tool_call_id": "9", "content": "lost"},
]


def test_tool_history_is_rendered_as_the_model_would_have_written_it() -> None:
    shaped = chat(messages=[*HISTORY, {"role": "assistant", "content": "Done."}, *HI], tools=[TOOL])
    assert [message["content"] for message in shaped.payload["messages"][-5:]] == [
        "Light!",
        '{"tool":"set_light","arguments":{"room":"hall"}}\n{"tool":"ping","arguments":"not json"}',
        "Result of set_light: done\nResult of the tool: lost",
        '{"reply":"Done."}',
        "Hi",
    ]


def test_after_a_result_the_example_is_one_of_answering_it() -> None:
    assert "It is 14:05" in str(chat(messages=HISTORY, tools=[TOOL]).payload["messages"])
    required = chat(messages=HISTORY, tools=[TOOL], tool_choice="required")
    assert "It is 14:05" not in str(required.payload["messages"])


def test_tool_history_without_tools_leaves_the_calls_out() -> None:
    messages = [*HISTORY, {"role": "assistant", "content": "Done."}]
    assert chat(messages=messages).payload["messages"] == [
        {"role": "user", "content": "Light!\nResult of set_light: done\nResult of the tool: lost"},
        {"role": "assistant", "content": "Done."},
    ]


def test_a_model_with_tools_of_its_own_gets_them_as_they_are() -> None:
    native = msgspec.structs.replace(SMOLLM2_135M, tools="native")
    shaped = chat(native, tools=[TOOL], tool_choice="required", messages=HISTORY[2:])
    assert shaped.payload["tools"] == [TOOL]
    assert shaped.payload["messages"][0]["role"] == "tool"


def test_a_model_without_tools_or_template_cannot_call() -> None:
    for profile in (BASE, msgspec.structs.replace(SMOLLM2_135M, tools="none")):
        with pytest.raises(TargetError, match="cannot call tools"):
            chat(profile, tools=[TOOL])


def test_classification_by_examples_takes_the_raw_form() -> None:
    answers = ['{"label": "good"}', "good", '"good"']
    for answer in answers:
        shaped = chat(
            messages=[*SHOTS, {"role": "assistant", "content": answer}, *HI], response_format=label(), stop=["."],
            max_completion_tokens=9, logprobs=True, seed=3,
        )  # fmt: skip
        assert shaped.path == "/completions"
        assert shaped.payload == {
            "model": "smollm2-135m", "stream": True, "stream_options": {"include_usage": True}, "seed": 3,
            "prompt": "Label it.\n\nInput: nice\nOutput: good\n\nInput: Hi\nOutput:", "logprobs": 1, "max_tokens": 9,
            "grammar": 'root ::= " good" | " b\\"ad"',
        }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"messages": HI},
        {"messages": [*SHOTS, {"role": "assistant", "content": "neither"}, *HI]},
        {"messages": [*SHOTS, {"role": "assistant", "content": "[1]"}, *HI]},
        {"messages": [*SHOTS, *SHOTS, *HI]},
        {"response_format": {"type": "json_object"}},
        {"response_format": label({"type": "string"})},
        {"response_format": label({"enum": ["a\nb"]})},
        {"response_format": label({"enum": [1]})},
        {"response_format": label({"properties": {"label": {"enum": ["good"]}}})},
        {"grammar": "root ::= x", "response_format": None},
    ],
)
def test_anything_else_keeps_the_template(change: dict[str, Any]) -> None:
    fields = {"messages": [*SHOTS, {"role": "assistant", "content": "good"}, *HI], "response_format": label(), **change}
    assert chat(**fields).form == "template"


def test_a_profile_that_does_not_ask_for_the_raw_form_keeps_the_template() -> None:
    plain = msgspec.structs.replace(SMOLLM2_135M, forms={})
    messages = [*SHOTS, {"role": "assistant", "content": "good"}, *HI]
    assert chat(plain, messages=messages, response_format=label()).form == "template"


def test_chat_without_a_template_is_refused_unless_the_profile_has_the_raw_form() -> None:
    with pytest.raises(TargetError, match="no chat template"):
        chat(BASE)
    raw = msgspec.structs.replace(BASE, forms={"chat": "raw_few_shot"})
    shaped = chat(
        raw,
        messages=[{"role": "system", "content": "Be brief."}, *HI],
        stop="x",
        response_format={"type": "json_object"},
    )
    assert shaped.payload["prompt"] == "Be brief.\n\nUser: Hi\n\nAssistant:"
    assert shaped.payload["stop"] == ["x", "\n\nUser:"]
    assert shaped.payload["json_schema"] == {"type": "object"}
    assert "chat" in capabilities(raw)


def test_completions_bind_json_by_the_field_that_the_engine_reads() -> None:
    shaped = shape(SMOLLM2_135M, Endpoint.COMPLETIONS, {"prompt": "x", "response_format": label()})
    assert shaped.payload["json_schema"]["properties"]["label"]["enum"] == ["good", 'b"ad']
    assert "response_format" not in shaped.payload


@pytest.mark.parametrize("fields", [{"echo": True}, {"suffix": "x"}, {"best_of": 2}])
def test_completions_refuse_what_the_engine_would_ignore(fields: dict[str, Any]) -> None:
    with pytest.raises(TargetError):
        shape(SMOLLM2_135M, Endpoint.COMPLETIONS, {"prompt": "x", **fields})


@pytest.mark.parametrize("logprobs", ["x", True, -1])
def test_legacy_logprobs_are_a_number(logprobs: Any) -> None:
    with pytest.raises(RequestError):
        shape(SMOLLM2_135M, Endpoint.COMPLETIONS, {"prompt": "x", "logprobs": logprobs})


def test_embeddings_pass_without_a_stream() -> None:
    able = msgspec.structs.replace(SMOLLM2_135M, has_embeddings=True)
    shaped = shape(able, Endpoint.EMBEDDINGS, {"input": "x", "stream": True})
    assert (shaped.path, shaped.payload, shaped.is_stream) == (
        "/embeddings",
        {"input": "x", "model": "smollm2-135m"},
        False,
    )
    with pytest.raises(TargetError):
        shape(SMOLLM2_135M, Endpoint.EMBEDDINGS, {"input": "x"})


def test_capabilities_follow_from_the_profile() -> None:
    assert capabilities(SMOLLM2_135M) == {
        "chat", "completions", "tools", "json_schema", "json_object", "logprobs", "n", "stop", "seed", "stream",
        "continue",
    }  # fmt: skip
    assert not {"chat", "tools", "n", "continue"} & capabilities(
        profile_for("x", context_tokens=1, has_template=False, slots=1)
    )
    assert "embeddings" in capabilities(profile_for("smollm2-135m", context_tokens=1, has_embeddings=True))


def test_an_unknown_model_trusts_nothing_unmeasured() -> None:
    unknown = profile_for("x", context_tokens=10)
    assert (unknown.tools, unknown.form("classify"), unknown.has_template) == ("schema", "template", True)
