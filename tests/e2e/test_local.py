"""A site with its own model as users meet it: the official client, the real engine, and what can befall both."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.conftest import Site, Start, Upstream, link_starter, network_of, poll, starter_file

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not starter_file().is_file(), reason="no starter model: `make test` fetches it"),
]

ENV = {"UP_KEY": "sk-planted-key-42"}
MODEL = "smollm2-135m"
LONG = "The river rises in the hills and crosses the plain before it meets the sea. " * 25
"""About 450 tokens: some seconds of prefill on one thread."""


def small(**more: Any) -> dict[str, Any]:
    """A local target."""
    return {"engine": "llama.cpp", "model": MODEL, "slots": 2, "context_tokens": 1024, "threads": 1} | more


def alone(target: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A site with the local model and nothing else."""
    return {
        "engines": {"measure": False},
        "targets": {"small": target or small()},
        "models": {"assistant": {"targets": ["small"]}},
    } | more


def beside(upstream: Upstream, target: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """The local model first, then the cloud."""
    config = alone(target)
    config["targets"]["big"] = {"url": upstream.url, "model": "large-1", "key": "env:UP_KEY", "at": "cloud"}
    config["models"]["assistant"]["targets"].append("big")
    return config | more


def say(text: str = "Say hello.", **more: Any) -> dict[str, Any]:
    """A chat request that ends soon."""
    return {
        "model": "assistant",
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 16,
        "temperature": 0,
    } | more


def begin_long_stream(site: Site) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream that has begun and would go on for seconds."""
    connection = site.begin(say("Tell a very long story about a river.", max_tokens=900, stream=True))
    answer = connection.getresponse()
    seen = b""
    while seen.count(b'"content":"') < 3:
        seen += answer.read1(4096)
    return connection, answer


def engine(site: Site) -> dict[str, Any]:
    """The one engine's row in `ecotone status`."""
    (row,) = site.status()["engines"].values()
    found: dict[str, Any] = row
    return found


def is_ready(site: Site) -> bool:
    return all(row["state"] == "ready" for row in site.status()["engines"].values())


def leave(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse | None = None) -> None:
    """The caller goes away."""
    if answer is not None:
        answer.close()
    connection.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all tests that leave it as it was."""
    config = alone()
    config["targets"]["vectors"] = small(slots=1, context_tokens=512, embeddings=True)
    config["models"]["vectors"] = {"targets": ["vectors"]}
    site = Site(tmp_path_factory.mktemp("home"), config, {}, (), link_starter)
    try:
        site.wait()
        poll(lambda: is_ready(site), "both engines ready", 30)
        yield site
    finally:
        site.stop()


@pytest.fixture
def api(home: Site) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=home.url, api_key="unused", max_retries=0, timeout=60) as made:
        yield made


def test_a_chat_streamed_and_in_one_piece_is_the_same(api: openai.OpenAI) -> None:
    whole = api.chat.completions.create(**say())
    pieces = list(api.chat.completions.create(**say(), stream=True))
    text = whole.choices[0].message.content
    assert text
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == text
    assert pieces[0].choices[0].delta.role == "assistant"
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert {piece.id for piece in pieces} == {pieces[0].id}
    assert whole.model == pieces[0].model == MODEL, "the body names what really answered"
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_usage_comes_at_the_end_of_a_stream_where_it_was_asked_for(api: openai.OpenAI) -> None:
    counted = list(api.chat.completions.create(**say(), stream=True, stream_options={"include_usage": True}))
    assert counted[-1].usage is not None
    assert counted[-1].usage.completion_tokens > 0
    assert counted[-1].choices == []
    plain = list(api.chat.completions.create(**say(), stream=True))
    assert all(piece.usage is None for piece in plain)


def test_completions_streamed_and_in_one_piece_are_the_same(api: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "assistant", "prompt": "One two three", "max_tokens": 12, "temperature": 0}
    whole = api.completions.create(**asked)
    pieces = list(api.completions.create(**asked, stream=True))
    assert whole.choices[0].text
    assert "".join(piece.choices[0].text for piece in pieces) == whole.choices[0].text


def weather(name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": f"{name} of a city", "parameters": schema}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_tides"}}])
def test_a_tool_call_is_made_where_one_is_wanted(api: openai.OpenAI, choice: Any, stream: bool) -> None:
    asked = say("What is the weather in Oslo?", max_tokens=60, tool_choice=choice)
    asked["tools"] = [weather("get_weather"), weather("get_tides")]
    if stream:
        pieces = [piece.choices[0] for piece in api.chat.completions.create(**asked, stream=True)]
        made = [call.function for piece in pieces for call in piece.delta.tool_calls or [] if call.function]
        name, arguments = made[0].name, "".join(call.arguments or "" for call in made)
        finish = pieces[-1].finish_reason
    else:
        whole = api.chat.completions.create(**asked).choices[0]
        assert whole.message.tool_calls
        function = whole.message.tool_calls[0].function
        name, arguments, finish = function.name, function.arguments, whole.finish_reason
    assert name in ({"get_weather", "get_tides"} if choice == "required" else {"get_tides"})
    assert isinstance(json.loads(arguments)["city"], str)
    assert finish in ("tool_calls", "stop")


def test_an_answer_keeps_the_schema_that_was_asked_for(api: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["good", "bad"]}, "score": {"type": "integer", "minimum": 1, "maximum": 5}},
        "required": ["mood", "score"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema, "strict": True}}
    answer = api.chat.completions.create(**say("I like it a lot.", max_tokens=60, response_format=form))
    said = json.loads(answer.choices[0].message.content or "")
    assert said["mood"] in ("good", "bad")
    assert 1 <= said["score"] <= 5


def test_logprobs_come_with_their_alternatives(api: openai.OpenAI) -> None:
    told = api.chat.completions.create(**say(logprobs=True, top_logprobs=3)).choices[0].logprobs
    assert told is not None
    assert told.content
    assert all(len(one.top_logprobs) == 3 for one in told.content)
    assert all(one.logprob <= 0 for one in told.content)


@pytest.mark.parametrize("stream", [False, True])
def test_two_answers_where_two_were_asked_for(api: openai.OpenAI, stream: bool) -> None:
    asked = say("Name an animal.", n=2, temperature=1.5)
    if stream:
        indices = {
            choice.index for piece in api.chat.completions.create(**asked, stream=True) for choice in piece.choices
        }
    else:
        indices = {choice.index for choice in api.chat.completions.create(**asked).choices}
    assert indices == {0, 1}


def test_it_stops_where_it_was_told_to(api: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "assistant", "prompt": "1, 2, 3, 4, 5,", "max_tokens": 40, "temperature": 0}
    assert "8" in api.completions.create(**asked).choices[0].text
    choice = api.completions.create(**asked, stop=["8"]).choices[0]
    assert "7" in choice.text
    assert "8" not in choice.text
    assert choice.finish_reason == "stop"


def test_the_same_seed_gives_the_same_answer(api: openai.OpenAI) -> None:
    asked = say("Invent a name for a ship.", temperature=1.0, max_tokens=24)
    said = [api.chat.completions.create(**asked, seed=seed).choices[0].message.content for seed in (7, 7, 8)]
    assert said[0] == said[1]
    assert said[0] != said[2]


def test_embeddings_of_like_texts_are_alike(api: openai.OpenAI) -> None:
    texts = ["a cat sat on the mat", "a cat sat on a mat", "stocks fell sharply in Tokyo"]
    made = api.embeddings.create(model="vectors", input=texts)
    first, second, third = (one.embedding for one in sorted(made.data, key=lambda one: one.index))

    def like(a: list[float], b: list[float]) -> float:
        def dot(x: list[float], y: list[float]) -> float:
            return sum(p * q for p, q in zip(x, y, strict=True))

        return dot(a, b) / (dot(a, a) * dot(b, b)) ** 0.5

    assert like(first, second) > like(first, third)
    assert made.usage.prompt_tokens > 0


def test_an_unknown_model_is_openais_404(api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        api.chat.completions.create(**say(model="gpt-9"))
    assert caught.value.code == "model_not_found"


def test_embeddings_from_a_model_that_has_none_are_refused_in_words(api: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        api.embeddings.create(model="assistant", input="x")


# The first is more than the context by any count; the second only by the engine's own: each of these is several tokens.
TOO_LONG = {"seen at once": "word " * 3000, "seen by the engine": "\u0f3c\u0fd5" * 500}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", TOO_LONG)
def test_a_prompt_too_long_for_the_only_model_is_openais_error(home: Site, case: str, stream: bool) -> None:
    status, _, body = home.ask("POST", "/v1/chat/completions", say(TOO_LONG[case], stream=stream))
    assert status == 400, body
    assert json.loads(body)["error"]["code"] == "context_length_exceeded"


def test_the_second_turn_of_a_long_chat_reads_only_what_is_new(api: openai.OpenAI) -> None:
    talk: list[Any] = [{"role": "user", "content": LONG + "Summarise this in one sentence."}]
    first = api.chat.completions.create(**say(messages=talk))
    talk += [
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "And in one word?"},
    ]
    second = api.chat.completions.create(**say(messages=talk))
    assert second.usage is not None
    assert second.usage.prompt_tokens_details is not None
    cached = second.usage.prompt_tokens_details.cached_tokens or 0
    assert cached > 0.8 * second.usage.prompt_tokens


@pytest.mark.parametrize("case", TOO_LONG)
def test_a_prompt_too_long_for_the_model_goes_to_the_next_target(start: Start, upstream: Upstream, case: str) -> None:
    site = start(beside(upstream), ENV, fill=link_starter)
    status, headers, body = site.ask("POST", "/v1/chat/completions", say(TOO_LONG[case]))
    assert (status, headers["ecotone-placed"]) == (200, "cloud"), body
    assert headers["ecotone-reason"] in ("cloud.capability", "fallback.context_exceeded")
    assert site.ask("POST", "/v1/chat/completions", say())[1]["ecotone-placed"] == "edge", "no fault of the model's"


def test_a_worker_killed_in_mid_stream_is_told_and_replaced_at_once(start: Start) -> None:
    site = start(alone(), fill=link_starter)
    poll(lambda: is_ready(site), "ready")
    connection, answer = begin_long_stream(site)
    killed_s = time.monotonic()
    os.kill(site.children()[0], signal.SIGKILL)
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    told_s = time.monotonic() - killed_s
    leave(connection)
    last = [line for line in caught.value.partial.split(b"\n\n") if line][-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "engine_crashed"
    assert b"[DONE]" not in caught.value.partial
    assert told_s < 1.0
    status, _, body = site.ask("POST", "/v1/chat/completions", say())
    back_s = time.monotonic() - killed_s
    assert status == 200, body
    assert back_s < 3.0, "2 s on a quiet machine"
    print(f"\nMEASURED kill -9 in mid-stream: told after {told_s:.3f} s, next answer after {back_s:.3f} s")


@pytest.mark.parametrize("stream", [False, True])
def test_a_worker_killed_before_the_first_token_costs_the_caller_nothing(
    start: Start, upstream: Upstream, stream: bool
) -> None:
    site = start(beside(upstream), ENV, fill=link_starter)
    poll(lambda: is_ready(site), "ready")
    connection = site.begin(say(LONG, stream=stream))
    poll(lambda: engine(site)["slots_used"] == 1, "in prefill")
    killed_s = time.monotonic()
    os.kill(site.children()[0], signal.SIGKILL)
    answer = connection.getresponse()
    body = answer.read()
    print(f"\nMEASURED kill -9 in prefill: answer of the next target after {time.monotonic() - killed_s:.3f} s")
    connection.close()
    assert (answer.status, answer.getheader("Ecotone-Reason")) == (200, "fallback.engine_crashed"), body
    assert b"cloud " in body


def test_a_worker_that_hangs_before_the_first_token_is_passed_over(start: Start, upstream: Upstream) -> None:
    site = start(beside(upstream, timeouts={"first_byte_s": 0.5}), ENV, fill=link_starter)
    poll(lambda: is_ready(site), "ready")
    os.kill(site.children()[0], signal.SIGSTOP)
    status, headers, body = site.ask("POST", "/v1/chat/completions", say(stream=True))
    assert (status, headers["ecotone-reason"]) == (200, "fallback.first_byte_timeout"), body
    poll(lambda: engine(site)["recycled"] == 1, "replaced")
    poll(lambda: site.ask("POST", "/v1/chat/completions", say())[1]["ecotone-placed"] == "edge", "back in use")


def test_a_worker_that_hangs_in_mid_stream_is_replaced_and_the_caller_told(start: Start) -> None:
    site = start(alone(), fill=link_starter)
    poll(lambda: is_ready(site), "ready")
    connection, answer = begin_long_stream(site)
    os.kill(site.children()[0], signal.SIGSTOP)
    stopped_s = time.monotonic()
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    told_s = time.monotonic() - stopped_s
    leave(connection)
    assert b"engine_crashed" in caught.value.partial
    assert told_s < 8.0
    assert site.ask("POST", "/v1/chat/completions", say())[0] == 200
    print(f"\nMEASURED SIGSTOP in mid-stream: told after {told_s:.3f} s")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("when", ["as soon as it asked", "in prefill", "in mid-answer"])
def test_a_caller_who_leaves_gives_the_slot_back(start: Start, when: str, stream: bool) -> None:
    site = start(alone(small(slots=1)), fill=link_starter)
    poll(lambda: is_ready(site), "ready")
    text = LONG + LONG[: len(LONG) // 2] if when != "in mid-answer" else "Tell a very long story about a river."
    connection = site.begin(say(text, max_tokens=300, stream=stream))
    poll(lambda: engine(site)["slots_used"] == 1, "at work")
    if when != "as soon as it asked":
        before, enough_s = cpu_s(site.children()[0]), 0.7 if when == "in mid-answer" else 0.1
        poll(lambda: cpu_s(site.children()[0]) > before + enough_s, f"{when} (the short prompt takes 0.3 s)")
    left_s = time.monotonic()
    connection.close()
    poll(lambda: engine(site)["slots_used"] == 0, "the slot is free", 3.0)
    free_s = time.monotonic() - left_s
    status, _, body = site.ask("POST", "/v1/chat/completions", say())
    next_s = time.monotonic() - left_s
    print(f"\nMEASURED left {when}, stream={stream}: slot free after {free_s:.3f} s, "
          f"recycled {engine(site)['recycled']}, next answer after {next_s:.3f} s")  # fmt: skip
    assert status == 200, body
    assert free_s < 1.0
    assert next_s < 3.5, "the long prompt alone takes longer: nobody waited for it"


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_gone(pid: int) -> bool:
    """Whether a process is dead, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_the_site(start: Start, how: signal.Signals) -> None:
    site = start(alone(), fill=link_starter)
    poll(lambda: is_ready(site), "ready")
    connection, answer = begin_long_stream(site)
    workers = site.children()
    assert workers
    if how is signal.SIGTERM:
        leave(connection, answer)
    site.stop(how)
    poll(lambda: all(is_gone(pid) for pid in workers), "no worker is left", 2.0)
    leave(connection, answer)
    if how is signal.SIGTERM:
        assert list((site.store / "run").rglob("*.sock")) == []


def test_a_site_killed_while_its_model_loads_leaves_no_worker(start: Start) -> None:
    site = start(alone(), fill=link_starter)
    workers = poll(site.children, "a worker")
    site.stop(signal.SIGKILL)
    poll(lambda: all(is_gone(pid) for pid in workers), "no worker is left", 2.0)


@pytest.mark.parametrize("has_cloud", [False, True])
def test_a_full_queue_is_told_at_once_or_passed_by(start: Start, upstream: Upstream, has_cloud: bool) -> None:
    one = small(slots=1, queue_max=0)
    site = start(beside(upstream, one) if has_cloud else alone(one), ENV, fill=link_starter)
    poll(lambda: is_ready(site), "ready")
    connection, answer = begin_long_stream(site)
    asked_s = time.monotonic()
    status, headers, body = site.ask("POST", "/v1/chat/completions", say())
    assert time.monotonic() - asked_s < 1.0, "before the story ends"
    leave(connection, answer)
    if has_cloud:
        assert (status, headers["ecotone-placed"], headers["ecotone-reason"]) == (200, "cloud", "cloud.capacity")
    else:
        assert status == 429, body
        assert int(headers["retry-after"]) >= 1


def test_two_models_share_the_memory_for_one(start: Start) -> None:
    config = alone(small(context_tokens=512, slots=1))
    config["targets"]["other"] = small(slots=1)
    config["models"]["other"] = {"targets": ["other"]}
    config["engines"]["memory_mb"] = 330
    site = start(config, fill=link_starter)
    for _ in range(2):
        for name in ("assistant", "other"):
            began_s = time.monotonic()
            status, _, body = site.ask("POST", "/v1/chat/completions", say(model=name))
            print(f"\nMEASURED swap to {name}: {time.monotonic() - began_s:.3f} s")
            assert status == 200, body
            assert len(site.children()) == 1
    assert len(site.status()["engines"]) == 2, "each engine has its own row"


def test_an_idle_model_is_unloaded_and_comes_back_when_wanted(start: Start) -> None:
    site = start(alone(small(idle_unload_s=0.3)), fill=link_starter)
    poll(lambda: engine(site)["state"] == "stopped" and engine(site)["starts"] == 1, "unloaded")
    poll(lambda: not site.children(), "no worker")
    began_s = time.monotonic()
    assert site.ask("POST", "/v1/chat/completions", say())[0] == 200
    print(f"\nMEASURED load on demand and answer: {time.monotonic() - began_s:.3f} s")


def test_a_changed_model_file_is_not_loaded(start: Start, upstream: Upstream) -> None:
    site = start(beside(upstream), ENV, fill=link_starter)
    poll(lambda: is_ready(site), "ready")
    file = starter_file(site.store)
    copy = file.with_suffix(".copy")
    shutil.copyfile(file, copy)
    with copy.open("r+b") as changed:
        changed.seek(50_000_000)
        byte = changed.read(1)[0]
        changed.seek(50_000_000)
        changed.write(bytes([byte ^ 1]))
    copy.replace(file)
    os.kill(site.children()[0], signal.SIGKILL)
    poll(lambda: engine(site)["state"] == "refused", "refused")
    assert site.children() == []
    assert any("SHA-256" in trouble for trouble in site.status()["troubles"])
    assert site.ask("POST", "/v1/chat/completions", say())[1]["ecotone-placed"] == "cloud"


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root and unshare for a netns")
def test_with_no_network_at_all_the_local_model_answers(start: Start) -> None:
    began_s = time.monotonic()
    config = alone()
    config["targets"]["big"] = {"url": "https://cloud.invalid/v1", "model": "x", "at": "cloud"}
    config["models"]["assistant"]["targets"].insert(0, "big")
    site = start(config, ENV, ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"), link_starter)
    site.around = lambda: network_of(f"/proc/{site.process.pid}/ns/net")
    status, headers, body = site.ask("POST", "/v1/chat/completions", say())
    print(f"\nMEASURED offline, process start to first answer: {time.monotonic() - began_s:.3f} s")
    assert (status, headers["ecotone-placed"]) == (200, "edge"), body
    with contextlib.closing(site.begin(say(stream=True))) as connection:
        assert connection.getresponse().read().endswith(b"data: [DONE]\n\n")


def test_an_answer_that_breaks_off_in_the_cloud_is_written_on_here(start: Start, upstream: Upstream) -> None:
    """The text that the caller has is the beginning of what the local model writes, by its own template."""
    config = beside(upstream)
    config["models"]["assistant"] = {"targets": ["small", "big"], "mode": "cloud", "handover": "continue"}
    site = start(config, ENV, fill=link_starter).wait()
    poll(lambda: engine(site)["state"] == "ready", "the model is loaded", 60.0)
    upstream.behaviour, upstream.words = "cut", ["The capital ", "of France ", "is never said"]
    client = openai.OpenAI(base_url=site.url, api_key="unused")
    with contextlib.closing(client):
        messages: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
        chunks = list(
            client.chat.completions.create(
                model="assistant", messages=messages, max_tokens=24, temperature=0, stream=True
            )
        )
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        messages.append({"role": "assistant", "content": "The capital of France "})
        alone_said = client.chat.completions.create(
            model="assistant", messages=messages, max_tokens=16, temperature=0, extra_headers={"Ecotone-Place": "edge"}
        )
    rest = said.removeprefix("The capital of France ")
    assert rest != said
    assert rest
    assert (alone_said.choices[0].message.content or "").startswith(rest[:8])
    last = next(chunk for chunk in chunks if chunk.choices and chunk.choices[0].finish_reason)
    assert last.model_extra is not None
    assert last.model_extra["ecotone"]["handover"]["to"] == "small"
    outcomes = [entry["body"] for entry in poll(lambda: _outcomes(site), "the outcome is on disk")]
    assert (outcomes[0]["target"], outcomes[0]["continued"]) == ("big", "small")


def _outcomes(site: Site) -> list[dict[str, Any]]:
    return [entry for entry in site.ledger() if entry["kind"] == "outcome"]
