"""Reads a request's tools and makes the schema that binds the model to them. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecotone.shaping.schemas import Fitter, Schema
from ecotone.values import RequestError, TargetError

TOOLS_MAX: Final = 128
"""OpenAI's own limit."""


class Offer(msgspec.Struct):
    """The tools of one request.

    Attributes:
        tools: Name, description and parameters of each tool that may be called now.
        may_reply: Whether a plain answer is allowed as well.
    """

    tools: list[dict[str, Any]]
    may_reply: bool


def offer(body: dict[str, Any]) -> Offer | None:
    """What the request lets the model call; None where that is nothing.

    `parallel_tool_calls` is a permission and changes nothing: one call is made per turn.

    Raises:
        RequestError: `tools` or `tool_choice` is malformed.
        TargetError: a kind of tool that has no schema (`capability`).
    """
    if body.get("functions") or body.get("function_call"):
        raise TargetError("capability", "functions: use tools", status=400, param="functions")
    listed = body.get("tools") or []
    choice = body.get("tool_choice")
    if not listed:
        if choice not in (None, "none", "auto"):
            raise _bad("tool_choice", "there are no tools to choose from")
        return None
    if not isinstance(listed, list) or len(listed) > TOOLS_MAX:
        raise _bad("tools", f"a list of at most {TOOLS_MAX} is needed")
    tools = [_function(tool, f"tools.{i}") for i, tool in enumerate(listed)]
    if choice == "none":
        return None
    return _chosen(tools, choice)


def _bad(where: str, why: str) -> RequestError:
    return RequestError("request.tools", f"{where}: {why}", param=where)


def _function(tool: Any, where: str) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind not in (None, "function"):
        raise TargetError("capability", f"{where}: only function tools are taken", status=400, param=where)
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise _bad(where, "a function with a name is needed")
    if not isinstance(function.get("parameters") or {}, dict):
        raise _bad(f"{where}.function.parameters", "a JSON Schema of an object is needed")
    return {**function, "where": f"{where}.function.parameters"}


def _chosen(tools: list[dict[str, Any]], choice: Any) -> Offer:
    if choice in (None, "auto", "required"):
        return Offer(tools=tools, may_reply=choice != "required")
    if not isinstance(choice, dict):
        raise _bad("tool_choice", "none, auto, required or a function is needed")
    may_reply = False
    wanted = [choice]
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or choice
        if not isinstance(allowed, dict) or not isinstance(allowed.get("tools"), list):
            raise _bad("tool_choice.allowed_tools", "a list of tools is needed")
        wanted, may_reply = allowed["tools"], allowed.get("mode", "auto") == "auto"
    names = {_name(one) for one in wanted}
    kept = [tool for tool in tools if tool["name"] in names]
    if not kept or len(names) > len(kept):
        raise _bad("tool_choice", "it names a function that is not among the tools")
    return Offer(tools=kept, may_reply=may_reply)


def _name(choice: Any) -> str:
    function = (choice.get("function") or choice) if isinstance(choice, dict) else {}
    return str(function.get("name")) if isinstance(function, dict) else ""


def envelope_schema(offered: Offer, reply: Schema | None, fitter: Fitter) -> Schema:
    """The schema that binds the model to a call of one tool or, where allowed, a reply.

    Args:
        offered: The tools.
        reply: Schema of the reply where the caller asked for JSON; None for plain text.
        fitter: Collects definitions and what is left unenforced.
    """
    forms = []
    for tool in offered.tools:
        arguments = fitter.fit(_of_object(tool.get("parameters") or {}), tool["where"])
        forms.append(_closed(tool={"const": tool["name"]}, arguments=arguments))
    if offered.may_reply:
        forms.append(_closed(reply={"type": "string"} if reply is None else reply))
    return fitter.close({"anyOf": forms})


def _of_object(parameters: Schema) -> Schema:
    """Arguments are an object, and hold nothing that the tool does not know unless it says so."""
    if parameters.keys() & {"$ref", "anyOf", "oneOf", "allOf"}:
        return parameters
    return {"additionalProperties": False, "properties": {}, **parameters, "type": "object"}


def _closed(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
