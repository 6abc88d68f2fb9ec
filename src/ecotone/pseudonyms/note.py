"""The one line that tells a model what tagged surrogates are."""

from __future__ import annotations

from typing import Any

_ROLES = ("system", "developer")


def note(tag: str) -> str:
    """The line; the same in all turns of a conversation, so that an upstream's prompt cache hits."""
    return (
        f"Words of the form TYPE_{tag}1 (a type, {tag} and a number) stand for private values. Copy such a word "
        "exactly as it is written wherever its value belongs, and do not guess, translate, split or explain it."
    )


def add_note(root: Any, line: str) -> None:
    """Appends the line to the system message, or puts a system message first."""
    messages = root["messages"]
    first = messages[0]
    content = first.get("content")
    if first.get("role") in _ROLES and isinstance(content, str):
        first["content"] = f"{content}\n\n{line}" if content else line
    elif first.get("role") in _ROLES and isinstance(content, list):
        content.append({"type": "text", "text": line})
    else:
        messages.insert(0, {"role": "system", "content": line})
