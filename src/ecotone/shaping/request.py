"""From an OpenAI request to what the engine is sent. Pure.

The engine is always asked for a stream: it does not stop a whole answer when the caller leaves. Fields that mean
nothing here pass through.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecotone.shaping import prompts
from ecotone.shaping.calls import ToolReply
from ecotone.shaping.profile import Profile
from ecotone.shaping.reply import (
    ChosenLogprobsReply,
    CompletionReply,
    RawChatReply,
    RawClassifyReply,
    Reply,
)
from ecotone.shaping.schemas import Fitter, Schema
from ecotone.shaping.tools import Offer, envelope_schema, offer
from ecotone.values import Endpoint, RequestError, TargetError

Body = dict[str, Any]

CHAT: Final = "/chat/completions"
COMPLETIONS: Final = "/completions"
EMBEDDINGS: Final = "/embeddings"

_CHAT_ONLY: Final = (
    "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "top_logprobs", "functions",
    "function_call",
)  # fmt: skip
_RAW_TURN: Final = "\n\nUser:"
"""Where a plain transcript's answer ends: the model would go on with the other side's turn."""


class Shaped(msgspec.Struct, kw_only=True):
    """What the engine is sent, and what turns its answer back.

    Attributes:
        path: Below the engine's `/v1`.
        payload: The JSON body.
        reply: Takes the events of this one answer.
        is_plain: The reply would change nothing, if the worker's alias is the asset's name: it may be left out.
        is_stream: False for embeddings alone.
        form: `template`, `tools`, `raw_few_shot`, `raw_chat`, `completion` or `embedding`: for the decision's record.
        loose: Paths in the request of schema constraints that the engine cannot enforce.
    """

    path: str
    payload: Body
    reply: Reply
    is_plain: bool = False
    is_stream: bool = True
    form: str = "template"
    loose: tuple[str, ...] = ()


def shape(profile: Profile, endpoint: Endpoint, body: Body, request_id: str = "") -> Shaped:
    """The engine's request for the caller's.

    Args:
        profile: The model.
        endpoint: What was called.
        body: The caller's JSON; not changed.
        request_id: Seeds the ids of tool calls.

    Raises:
        RequestError: the request is malformed; no target could take it.
        TargetError: this model or engine cannot do it (`capability`); the next target may.
    """
    if endpoint is Endpoint.EMBEDDINGS:
        return _embeddings(profile, body)
    if endpoint is Endpoint.COMPLETIONS:
        return _completions(profile, body)
    return _chat(profile, body, request_id)


def unable(param: str, why: str) -> TargetError:
    """This engine cannot; another target may."""
    return TargetError("capability", f"{param}: {why}", status=400, param=param)


def _base(profile: Profile, body: Body) -> Body:
    options = body.get("stream_options")
    return {
        **body,
        "model": profile.name,
        "stream": True,
        "stream_options": {**(options if isinstance(options, dict) else {}), "include_usage": True},
    }


def _choices(profile: Profile, body: Body) -> int:
    """The request's `n`, within the engine's limit."""
    n = body.get("n")
    if n is None:
        return 1
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise RequestError("request.n", "n: a whole number of at least 1 is needed", param="n")
    if n > profile.slots:
        raise unable("n", f"the local engine gives at most {profile.slots} choices")
    return n


def _stops(body: Body) -> list[str]:
    stops = body.get("stop") or []
    if isinstance(stops, str):
        return [stops]
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise RequestError("request.stop", "stop: a string or a list of strings is needed", param="stop")
    return stops


def _embeddings(profile: Profile, body: Body) -> Shaped:
    if not profile.has_embeddings:
        raise unable("model", f"{profile.name} was not started for embeddings")
    payload = {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
    payload["model"] = profile.name
    return Shaped(
        path=EMBEDDINGS, payload=payload, reply=Reply(profile.name), is_stream=False, form="embedding", is_plain=True
    )


def _completions(profile: Profile, body: Body) -> Shaped:
    n = _choices(profile, body)
    for field, harmless in (("echo", False), ("suffix", ""), ("best_of", n)):
        if body.get(field) not in (None, harmless):
            raise unable(field, "the local engine does not know it")  # it would ignore it in silence
    payload = _base(profile, body)
    loose = _bind(payload, in_completions=True)
    logprobs = body.get("logprobs")
    if logprobs is not None and (not isinstance(logprobs, int) or isinstance(logprobs, bool) or logprobs < 0):
        raise RequestError("request.logprobs", "logprobs: a whole number is needed", param="logprobs")
    if logprobs == 0:
        payload["logprobs"] = 1  # the engine takes 0 for none at all
    reply = CompletionReply(profile.name, choices_per_prompt=n, logprobs=logprobs)
    return Shaped(path=COMPLETIONS, payload=payload, reply=reply, form="completion", loose=loose)


def _chat(profile: Profile, body: Body, request_id: str) -> Shaped:
    messages = prompts.checked(body.get("messages"))
    n = _choices(profile, body)
    if body.get("audio") or "audio" in str(body.get("modalities")):
        raise unable("modalities", "this model writes text only")
    offered = None if profile.tools == "native" else offer(body)
    if offered is not None:
        return _with_tools(profile, body, messages, offered, request_id)
    if profile.tools != "native" and prompts.has_tool_history(messages):
        messages = prompts.without_tool_roles(messages, is_enveloped=False)
    raw = _classify(profile, body, messages, n)
    if raw is not None:
        return raw
    payload = {**_base(profile, body), "messages": messages}
    if profile.tools != "native":
        for key in ("tools", "tool_choice", "parallel_tool_calls"):
            payload.pop(key, None)
    loose = _bind(payload, in_completions=not profile.has_template)
    if not profile.has_template:
        return _raw_chat(profile, payload, messages, n, loose)
    return _template(profile, payload, n, loose)


def _template(profile: Profile, payload: Body, n: int, loose: tuple[str, ...]) -> Shaped:
    reply: Reply
    if payload.get("logprobs") and not payload.get("top_logprobs"):
        payload["top_logprobs"] = 1  # the engine takes 0 for no logprobs, and gives 20 where nothing is said
        reply = ChosenLogprobsReply(profile.name, choices_per_prompt=n)
        return Shaped(path=CHAT, payload=payload, reply=reply, loose=loose)
    reply = Reply(profile.name, choices_per_prompt=n, is_usage_split=n > 1)
    return Shaped(path=CHAT, payload=payload, reply=reply, is_plain=n == 1, loose=loose)


def _raw_chat(profile: Profile, payload: Body, messages: list[Body], n: int, loose: tuple[str, ...]) -> Shaped:
    if profile.form("chat") != "raw_few_shot":
        raise unable("messages", f"{profile.name} has no chat template")
    raw = _to_completion(payload, prompts.raw_chat(messages))
    raw["stop"] = [*_stops(payload), _RAW_TURN]
    reply = RawChatReply(profile.name, choices_per_prompt=n)
    return Shaped(path=COMPLETIONS, payload=raw, reply=reply, form="raw_chat", loose=loose)


def _to_completion(payload: Body, prompt: str) -> Body:
    """A chat payload as one for `/completions`."""
    raw = {key: value for key, value in payload.items() if key not in _CHAT_ONLY}
    raw["prompt"] = prompt
    if raw.pop("logprobs", None):
        raw["logprobs"] = payload.get("top_logprobs") or 1
    if "max_completion_tokens" in raw:
        raw["max_tokens"] = raw.pop("max_completion_tokens")
    return raw


def _classify(profile: Profile, body: Body, messages: list[Body], n: int) -> Shaped | None:
    """The raw few-shot form, where the rule holds; else None.

    The rule, all of it: the profile asks for the raw form at `classify`; the answer is bound to one word of a list
    (a string enum, or an object with that as its only property); the conversation is examples and one open request
    (system texts, then user and assistant in turns, at least one pair); and each example's answer is one of the
    words, in the schema's form or bare. Anything else keeps the template: the raw form was measured for this alone.
    """
    if profile.form("classify") != "raw_few_shot" or body.get("grammar") or body.get("json_schema"):
        return None
    target = _word_list(body.get("response_format"))
    shots = prompts.few_shot(messages)
    if target is None or shots is None:
        return None
    words, key = target
    system, pairs, asked = shots
    examples = [(given, word) for given, answer in pairs if (word := _word(answer, key)) in words]
    if len(examples) < len(pairs):
        return None
    raw = _to_completion(_base(profile, body), prompts.raw_few_shot(system, examples, asked))
    raw.pop("stop", None)  # the grammar ends the answer
    raw["grammar"] = "root ::= " + " | ".join(_literal(" " + word) for word in words)
    reply = RawClassifyReply(profile.name, words, key=key, choices_per_prompt=n)
    return Shaped(path=COMPLETIONS, payload=raw, reply=reply, form="raw_few_shot")


def _word_list(response_format: Any) -> tuple[list[str], str | None] | None:
    """The words that a schema allows, and the one property that holds them (None: the answer is the string)."""
    described = response_format.get("json_schema") if isinstance(response_format, dict) else None
    schema = described.get("schema") if isinstance(described, dict) else None
    key = None
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict) and len(schema["properties"]) == 1:
        key = next(iter(schema["properties"]))
        if schema.get("required") != [key] or schema.keys() & {"anyOf", "oneOf", "allOf", "$ref"}:
            return None
        schema = schema["properties"][key]
    words = schema.get("enum") if isinstance(schema, dict) and schema.get("type", "string") == "string" else None
    if not isinstance(words, list) or not all(isinstance(word, str) and word and word.isprintable() for word in words):
        return None
    return (words, key) if words else None


def _word(answer: str, key: str | None) -> str:
    """The bare word of an example's answer, written bare or in the schema's form."""
    try:
        read = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return answer
    if key is not None and isinstance(read, dict):
        read = read.get(key)
    return read if isinstance(read, str) else answer


def _literal(text: str) -> str:
    """A GBNF literal; printable text needs no more than these two escapes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _with_tools(profile: Profile, body: Body, messages: list[Body], offered: Offer, request_id: str) -> Shaped:
    if profile.tools == "none" or not profile.has_template:
        raise unable("tools", f"{profile.name} cannot call tools")
    if body.get("logprobs"):
        raise unable("logprobs", "with tools, the local engine's logprobs are those of the call's JSON")
    for field in ("grammar", "json_schema"):
        if body.get(field):
            raise RequestError("request.grammar", f"{field}: it cannot be combined with tools", param=field)
    fitter = Fitter()
    asked = _asked_schema(body.get("response_format"), fitter)
    _refuse_loose_if(_is_strict(body), fitter)
    schema = envelope_schema(offered, asked, fitter)
    payload = {**_base(profile, body)}
    for key in ("tools", "tool_choice", "parallel_tool_calls", "stop"):
        payload.pop(key, None)
    history = prompts.without_tool_roles(messages, is_enveloped=True)
    payload["messages"] = prompts.with_tools(
        history,
        offered.tools,
        may_reply=offered.may_reply,
        is_after_result=messages[-1]["role"] in ("tool", "function"),
    )
    payload["response_format"] = _described("answer", schema)
    reply = ToolReply(
        profile.name,
        {tool["name"]: tool.get("parameters") or {} for tool in offered.tools},
        request_id,
        is_reply_json=asked is not None,
        stops=_stops(body),
        choices_per_prompt=_choices(profile, body),
    )
    return Shaped(path=CHAT, payload=payload, reply=reply, form="tools", loose=tuple(fitter.loose))


def _bind(payload: Body, *, in_completions: bool) -> tuple[str, ...]:
    """Fits `response_format` to the engine, in place; gives what is left unenforced.

    `/completions` ignores `response_format` in silence and takes `json_schema`.
    """
    fitter = Fitter()
    schema = _asked_schema(payload.get("response_format"), fitter)
    if schema is None:
        return ()
    if payload.get("grammar") or payload.get("json_schema"):
        raise RequestError("request.grammar", "response_format: there is a grammar as well", param="response_format")
    _refuse_loose_if(_is_strict(payload), fitter)
    schema = fitter.close(schema)
    if in_completions:
        del payload["response_format"]
        payload["json_schema"] = schema
    else:
        payload["response_format"] = _described("answer", schema)
    return tuple(fitter.loose)


def _described(name: str, schema: Schema) -> Body:
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def _is_strict(body: Body) -> bool:
    described = (body.get("response_format") or {}).get("json_schema")
    return isinstance(described, dict) and described.get("strict") is True


def _refuse_loose_if(is_strict: bool, fitter: Fitter) -> None:
    """`strict` is a promise: what cannot be enforced while it streams is not sent."""
    if is_strict and fitter.loose:
        raise unable(fitter.loose[0], "the local engine cannot enforce it, and strict was asked for")


def _asked_schema(response_format: Any, fitter: Fitter) -> Schema | None:
    """The schema of the answer in words, None for plain text."""
    if response_format is None:
        return None
    where = "response_format"
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        given = response_format.get("schema")  # llama-server's own extension
        return {"type": "object"} if given is None else fitter.fit(given, f"{where}.schema")
    if kind != "json_schema":
        raise RequestError("request.response_format", f"{where}.type: text, json_object or json_schema", param=where)
    described = response_format.get("json_schema")
    if not isinstance(described, dict) or "schema" not in described:
        where = f"{where}.json_schema.schema"
        raise RequestError("request.response_format", f"{where}: a schema is needed", param=where)
    return fitter.fit(described["schema"], f"{where}.json_schema.schema")
