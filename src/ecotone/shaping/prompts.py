"""Tools, tool history and examples as text that a small model can take. Pure.

Measured with SmolLM2-135M on 11 requests for one of three tools and 5 for none (greedy, the schema of
`request.tool_schema`, two cores; one run, the probe separates 'works' from 'does not'):

| examples before the request | right tool | right arguments | plain reply |
|---|---|---|---|
| in the system text only | 4 | 4 | 0 |
| call | 4 | 4 | 0 |
| call, reply | 0 | 0 | 5 |
| reply, call `get_time(city)` | 4 | 4 | 1 |
| reply, call `get_time`, call `play_music` (used for `auto`) | 10 | 8 | 2 |
| call `get_time`, call `play_music` (used for `required`) | 10 | 9 | - |

So two calls with different tools are shown, the last one unlike common tools (it copies the last one's tool when the
arguments look alike), and no reply after them. The form was chosen among some twenty on these same items: its numbers
are optimistic. Whether to call at all is beyond this model: in none of seven sets of examples (not the final one) did
the log-odds of `tool` against `reply` tell requests that need a tool from those that do not.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecotone.values import RequestError, TargetError

Message = dict[str, Any]

_EXAMPLE_CALLS: Final[tuple[Message, ...]] = (
    {"role": "user", "content": "What time is it in Rome?"},
    {"role": "assistant", "content": '{"tool":"get_time","arguments":{"city":"Rome"}}'},
    {"role": "user", "content": "Play some jazz music"},
    {"role": "assistant", "content": '{"tool":"play_music","arguments":{"genre":"jazz"}}'},
)
_EXAMPLE_REPLY: Final[tuple[Message, ...]] = (
    {"role": "user", "content": "Hi, how are you?"},
    {"role": "assistant", "content": '{"reply":"I am fine."}'},
)
_EXAMPLE_RESULT: Final[tuple[Message, ...]] = (
    *_EXAMPLE_CALLS[:2],
    {"role": "user", "content": "Result of get_time: 14:05"},
    {"role": "assistant", "content": '{"reply":"It is 14:05 in Rome."}'},
)
_ENUM_SHOWN_MAX: Final = 8
_DESCRIPTION_CHARS_MAX: Final = 200


def encode(value: Any) -> str:
    """Compact JSON text."""
    return msgspec.json.encode(value).decode()


def text_of(content: Any, where: str) -> str:
    """The text of a message's content that is not a plain string.

    Raises:
        TargetError: it holds an image, sound or file (`capability`).
        RequestError: it is of no form that the API has.
    """
    if content is None:
        return ""
    if not isinstance(content, list):
        raise RequestError("request.messages", f"{where}: a string or a list of parts is needed", param=where)
    texts = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal"):
            at = f"{where}.{i}"
            raise TargetError("capability", f"{at}: this model reads text only", status=400, param=at)
        texts.append(str(part.get(kind, "")))
    return "".join(texts)


def checked(messages: Any) -> list[Message]:
    """The messages, each an object with a role, text only, `developer` as `system`.

    Raises:
        RequestError, TargetError: see `text_of`.
    """
    if not isinstance(messages, list) or not messages:
        raise RequestError("request.messages", "messages: a list of at least one is needed", param="messages")
    found = []
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            where = f"messages.{i}"
            raise RequestError("request.messages", f"{where}: an object with a role is needed", param=where)
        if not isinstance(message.get("content"), str):
            message = {**message, "content": text_of(message.get("content"), f"messages.{i}.content")}
        if message["role"] == "developer":
            message = {**message, "role": "system"}
        found.append(message)
    return found


def has_tool_history(messages: list[Message]) -> bool:
    """Whether earlier turns hold calls or their results."""
    return any(message["role"] in ("tool", "function") or message.get("tool_calls") for message in messages)


def without_tool_roles(messages: list[Message], *, is_enveloped: bool) -> list[Message]:
    """The conversation in the roles system, user and assistant.

    A result becomes a user's message that names its tool. With `is_enveloped`, a call becomes the JSON that the model
    itself would have written and a plain answer takes the reply form, so that the history shows only what the schema
    allows. Without it calls are left out: a model that saw its own JSON would answer in JSON again.
    """
    names: dict[str, str] = {}
    found: list[Message] = []
    for message in messages:
        role, text = message["role"], message["content"]
        if role == "assistant":
            calls = _calls_of(message, names)
            if is_enveloped:
                lines = [encode({"reply": text}), *calls] if text or not calls else calls
                found.append({"role": "assistant", "content": "\n".join(lines)})
            elif text or not calls:
                found.append({"role": "assistant", "content": text})
        elif role in ("tool", "function"):
            name = message.get("name") or names.get(str(message.get("tool_call_id")), "the tool")
            _add_user(found, f"Result of {name}: {text}")
        else:
            found.append({"role": role, "content": text})
    return found


def _add_user(messages: list[Message], text: str) -> None:
    """Results of several calls go into one turn: templates want the roles in turns."""
    if messages and messages[-1]["role"] == "user":
        messages[-1] = {"role": "user", "content": f"{messages[-1]['content']}\n{text}"}
    else:
        messages.append({"role": "user", "content": text})


def _calls_of(message: Message, names: dict[str, str]) -> list[str]:
    calls = []
    made = message.get("tool_calls")
    for call in made if isinstance(made, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            continue
        name, arguments = str(function.get("name", "")), str(function.get("arguments") or "{}")
        names[str(call.get("id"))] = name
        try:
            calls.append(encode({"tool": name, "arguments": msgspec.json.decode(arguments)}))
        except msgspec.DecodeError:
            calls.append(encode({"tool": name, "arguments": arguments}))
    return calls


def with_tools(
    messages: list[Message], tools: list[dict[str, Any]], *, may_reply: bool, is_after_result: bool
) -> list[Message]:
    """The conversation with the tools in its system message and examples before its first turn.

    Where a tool's result was the last thing said, the example is one of answering it: after two calls the model would
    call the same tool again, and an agent would never end.
    """
    listing = "\n".join(_signature(tool) for tool in tools)
    closing = "; else give a reply" if may_reply else ""
    instruction = (
        f"You can call these tools:\n{listing}\n"
        "Answer in JSON. Call a tool when one fits the request, with values taken from the request" + closing + "."
    )
    rest = list(messages)
    system = []
    while rest and rest[0]["role"] == "system":
        system.append(rest.pop(0)["content"])
    head = {"role": "system", "content": "\n\n".join([*system, instruction])}
    if is_after_result and may_reply:
        return [head, *_EXAMPLE_RESULT, *rest]
    return [head, *(_EXAMPLE_REPLY if may_reply else ()), *_EXAMPLE_CALLS, *rest]


def _signature(tool: dict[str, Any]) -> str:
    """`name(city, unit: c|f, days?): what it does`."""
    parameters = tool.get("parameters") or {}
    required, properties = parameters.get("required"), parameters.get("properties")
    required = required if isinstance(required, list) else []
    arguments = []
    for name, schema in properties.items() if isinstance(properties, dict) else ():
        choices = schema.get("enum") if isinstance(schema, dict) else None
        shown = ": " + "|".join(map(str, choices[:_ENUM_SHOWN_MAX])) if isinstance(choices, list) else ""
        arguments.append(f"{name}{'' if name in required else '?'}{shown}")
    about = str(tool.get("description") or "").strip()[:_DESCRIPTION_CHARS_MAX]
    return f"{tool['name']}({', '.join(arguments)})" + (f": {about}" if about else "")


def few_shot(messages: list[Message]) -> tuple[list[str], list[tuple[str, str]], str] | None:
    """(system texts, examples, the open request) where a conversation is exactly that; else None."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    turns = messages[len(system) :]
    roles = [message["role"] for message in turns]
    if len(turns) < 3 or roles != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
        return None
    texts = [turn["content"].strip() for turn in turns]
    return system, list(zip(texts[:-1:2], texts[1::2], strict=True)), texts[-1]


def raw_few_shot(system: list[str], examples: list[tuple[str, str]], asked: str) -> str:
    """Examples as plain text, for `/completions`; ends where the answer goes on with a blank and a word."""
    head = [text.strip() for text in system if text.strip()]
    shown = [f"Input: {given}\nOutput: {answer}" for given, answer in examples]
    return "\n\n".join([*head, *shown, f"Input: {asked}\nOutput:"])


def raw_chat(messages: list[Message]) -> str:
    """A conversation as a plain transcript, for a model without a chat template."""
    names = {"system": "", "user": "User: ", "assistant": "Assistant: "}
    lines = [names.get(message["role"], "User: ") + message["content"].strip() for message in messages]
    return "\n\n".join([*lines, "Assistant:"])
