"""What a made caller reads in what it got."""

from __future__ import annotations

from typing import Any

import msgspec

from ecotone.sim.world import MadeCaller
from ecotone.values import Request
from ecotone.wire import sse


def choices(request: Request, caller: MadeCaller) -> list[dict[str, Any]]:
    """All choices, or pieces of them, that the caller got."""
    if not (request.is_stream and caller.status == 200):
        return list(msgspec.json.decode(caller.body).get("choices", ()))
    events = [msgspec.json.decode(payload) for payload in sse.payloads(caller.body) if payload != b"[DONE]"]
    return [choice for event in events for choice in event.get("choices", ())]


def read(request: Request, caller: MadeCaller) -> tuple[str, str, bool, bool]:
    """(text, attempt that made it, is there an error, is there a [DONE]) of what the caller got."""
    if not (request.is_stream and caller.status == 200):
        answer = msgspec.json.decode(caller.body)
        if "error" in answer:
            return "", "", True, False
        return answer["choices"][0]["message"]["content"], answer["model"], False, False
    text, models, has_error, has_done = "", set(), False, False
    for payload in sse.payloads(caller.body):
        if payload == b"[DONE]":
            has_done = True
            continue
        event = msgspec.json.decode(payload)
        has_error = has_error or "error" in event
        for choice in event.get("choices", ()):
            models.add(event["model"])
            text += choice["delta"].get("content") or ""
    return text, " and ".join(sorted(models)), has_error, has_done
