"""The shaping room against the real engine and the starter model."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletionChunk

from ecotone.shaping import SMOLLM2_135M, classify_error, shape
from ecotone.values import Endpoint
from tests.e2e.conftest import starter_file

pytestmark = pytest.mark.engine

# Ends with its parent: it reads standard input to the end.
WORKER = """
import sys, xllamacpp
p = xllamacpp.CommonParams()
p.model.path = sys.argv[1]
p.model_alias = {"smollm2-135m"}
p.n_ctx, p.n_parallel, p.port, p.verbosity, p.cache_ram_mib = 4096, 2, 0, 0, 64
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
p.no_extra_bufts = True
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""

TEXT = {"type": "string"}
SHOTS = [("I loved it", "positive"), ("Terrible, broke at once", "negative"), ("Works great", "positive")]


def tool(name: str, about: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": about, "parameters": parameters}}


TOOLS = [
    tool("get_weather", "Current weather in a city", city=TEXT),
    tool("set_light", "Turn the light in a room on or off", room=TEXT, on={"type": "boolean"}),
]


class Engine:
    """One worker, asked through `shape`."""

    def __init__(self, address: str) -> None:
        self._host = address.removeprefix("http://")

    def post(self, path: str, payload: dict[str, Any]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._host, timeout=120)
        connection.request("POST", "/v1" + path, json.dumps(payload), {"Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, body

    def ask(self, endpoint: Endpoint = Endpoint.CHAT, **body: Any) -> list[dict[str, Any]]:
        shaped = shape(SMOLLM2_135M, endpoint, {"temperature": 0, "max_tokens": 60, **body}, "req-1")
        status, answer = self.post(shaped.path, shaped.payload)
        assert status == 200, answer
        events = [line.removeprefix(b"data: ") for line in answer.split(b"\n") if line.startswith(b"data: ")]
        assert events.pop() == b"[DONE]"
        made = [one for event in events for one in shaped.reply.feed(event)] + shaped.reply.finish()
        if endpoint is Endpoint.CHAT:
            for one in made:
                ChatCompletionChunk.model_validate_json(one)
        return [json.loads(one) for one in made]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    command = [sys.executable, "-c", WORKER, str(starter_file())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as worker:
        assert worker.stdout is not None
        address = worker.stdout.readline().decode().strip()
        assert address, "the engine did not start"
        yield Engine(address)
        worker.kill()


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def text_of(events: list[dict[str, Any]]) -> str:
    deltas = [choice.get("delta", choice) for event in events for choice in event["choices"]]
    return "".join(delta.get("content") or delta.get("text") or "" for delta in deltas)


def calls_of(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    functions = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    return [(function["name"], json.loads(function["arguments"])) for function in functions]


def reason_of(events: list[dict[str, Any]]) -> str:
    return next(c["finish_reason"] for e in reversed(events) for c in e["choices"] if c["finish_reason"])


def test_ordinary_chat_carries_the_assets_name_and_usage(engine: Engine) -> None:
    events = engine.ask(messages=user("Say hi."), max_tokens=4)
    assert {event["model"] for event in events} == {"smollm2-135m"}
    assert events[-1]["usage"]["completion_tokens"] == 4
    assert text_of(events)


def test_a_tool_is_called_with_what_the_request_says(engine: Engine) -> None:
    events = engine.ask(messages=user("What is the weather in Oslo?"), tools=TOOLS)
    assert calls_of(events) == [("get_weather", {"city": "Oslo"})]
    assert reason_of(events) == "tool_calls"


def test_a_named_tool_is_the_one_that_is_called(engine: Engine) -> None:
    choice = {"type": "function", "function": {"name": "set_light"}}
    ((name, arguments),) = calls_of(engine.ask(messages=user("Weather?"), tools=TOOLS, tool_choice=choice))
    assert name == "set_light"
    assert isinstance(arguments["on"], bool)


def test_a_result_is_answered_in_words(engine: Engine) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
    turns = [
        *user("What is the weather in Oslo?"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "12 C and rain"},
    ]
    events = engine.ask(messages=turns, tools=TOOLS)
    assert reason_of(events) == "stop"
    assert "12" in text_of(events)


def test_awkward_schemas_are_taken_by_the_engine(engine: Engine) -> None:
    node = {"type": "object", "properties": {"v": {"type": "integer", "minimum": 1, "maximum": 9}}, "required": ["v"]}
    schema = {
        "$defs": {"a/b": node},
        "type": "object",
        "properties": {
            "n": {"$ref": "#/$defs/a~1b"},
            "o": {"allOf": [{"type": "string", "pattern": "^\\d{3}$"}], "description": "three digits"},
            "p": {"type": "array", "prefixItems": [True, {"const": 1}], "items": False},
        },
        "required": ["n", "o", "p"],
        "additionalProperties": False,
    }
    described = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    answer = json.loads(text_of(engine.ask(messages=user("Some JSON."), response_format=described, max_tokens=200)))
    assert 1 <= answer["n"]["v"] <= 9
    assert answer["o"].isdigit()
    assert answer["p"][1] == 1


def test_a_json_object_is_one(engine: Engine) -> None:
    schema = {"type": "json_object"}
    assert text_of(engine.ask(messages=user("A person."), response_format=schema, max_tokens=5)).lstrip()[:1] == "{"
    events = engine.ask(Endpoint.COMPLETIONS, prompt="A person:", response_format=schema, max_tokens=5)
    assert text_of(events).lstrip()[:1] == "{"


def test_classification_by_examples(engine: Engine) -> None:
    answer = {"type": "object", "properties": {"label": {"enum": ["positive", "negative"]}}, "required": ["label"]}
    turns: list[dict[str, Any]] = [{"role": "system", "content": "Classify the sentiment of the review."}]
    for given, label in SHOTS:
        turns += [*user(given), {"role": "assistant", "content": json.dumps({"label": label})}]
    described = {"type": "json_schema", "json_schema": {"name": "x", "schema": answer}}
    events = engine.ask(messages=[*turns, *user("The best purchase of the year")], response_format=described)
    assert json.loads(text_of(events)) == {"label": "positive"}


def test_legacy_completions_with_logprobs(engine: Engine) -> None:
    events = engine.ask(Endpoint.COMPLETIONS, prompt=["Paris is", "Rome is"], n=2, logprobs=1, max_tokens=2)
    shown = [choice["logprobs"] for event in events for choice in event["choices"] if choice["logprobs"]]
    assert len(shown) == 8
    assert all(one.keys() == {"tokens", "token_logprobs", "top_logprobs", "text_offset"} for one in shown)
    assert events[-1]["usage"]["completion_tokens"] == 8


def test_seed_and_stop_and_limits_are_the_engines_own(engine: Engine) -> None:
    one, other = (
        text_of(engine.ask(messages=user("A story?"), seed=7, temperature=1, max_completion_tokens=8)) for _ in "ab"
    )
    assert one == other
    assert "5" not in text_of(engine.ask(messages=user("Count from 1 to 10"), stop=["5"]))


def test_a_prompt_that_is_too_long_is_known_for_what_it_is(engine: Engine) -> None:
    shaped = shape(SMOLLM2_135M, Endpoint.CHAT, {"messages": user("hello " * 4000)})
    assert classify_error(*engine.post(shaped.path, shaped.payload))[0] == "context_exceeded"


def test_the_engine_names_the_model_by_its_alias(engine: Engine) -> None:
    shaped = shape(
        msgspec.structs.replace(SMOLLM2_135M, name="ignored"), Endpoint.CHAT, {"messages": user("Hi"), "max_tokens": 1}
    )
    assert b'"model":"smollm2-135m"' in engine.post(shaped.path, shaped.payload)[1]
