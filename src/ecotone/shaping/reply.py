"""Turns the engine's events into those that OpenAI's API promises. Without I/O.

All forms share `Reply`: `feed` takes the JSON of one engine event and gives the JSON of zero or more events for the
caller, `finish` what is left at the end. What the engine does and the API does not, and what is done about it:

- it sends `null` events between the prompts of a list: dropped;
- it names the model by its alias or file: replaced where that is not the asset's name;
- it sends usage once per choice: added up to one event at the end;
- `/completions` puts usage into the last choice's event and the logprobs into the chat form: taken apart, converted;
- it leaves out the role where the first token is a part of a character: added;
- errors in mid-stream are an `error` object with a numeric code: classified, and nothing follows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from ecotone.shaping.failures import classify_error, error_event

_read: Final = msgspec.json.Decoder(dict[str, Any]).decode
encode: Final = msgspec.json.encode
_MODEL: Final = re.compile(rb'"model":("(?:[^"\\]|\\.)*")')
_USAGE: Final = b'"usage":{'
"""Cannot occur inside a JSON string, where its quotes would be escaped; the engine writes no blanks."""


class Reply:
    """Passes events on unchanged but for the model's name and the sum of usage; base of the other forms."""

    def __init__(self, model: str, *, choices_per_prompt: int = 1, is_usage_split: bool = False) -> None:
        """Args:
        model: The name that answers carry.
        choices_per_prompt: The request's `n`.
        is_usage_split: Usage comes once per choice, or inside a choice's event, and must be taken apart.
        """
        self.model = model
        self._n = choices_per_prompt
        self._is_usage_split = is_usage_split
        self._usages: list[dict[str, Any]] = []
        self._rename: tuple[bytes, bytes] | None = None
        self._is_first = True
        self._is_broken = False
        self.last: dict[str, Any] = {}

    def whole(self, body: bytes) -> bytes:
        """A body in one piece: the engine's errors come like that, and they are classified elsewhere."""
        return body

    def feed(self, event: bytes) -> list[bytes]:
        """JSON of one engine event in, JSON of zero or more events out."""
        if self._is_broken or event == b"null":
            return []
        if event.startswith(b'{"error"'):
            return self.broken(*classify_error(200, event))
        if self._is_first:
            self._is_first = False
            self._look(event)
            if b'"role"' not in event:
                event = event.replace(b'"delta":{"', b'"delta":{"role":"assistant","', 1)
        if self._rename is not None:
            event = event.replace(*self._rename, 1)
        try:
            return self._event(event)
        except msgspec.DecodeError:
            return self.broken("bad_answer", "the engine sent an event that is not JSON")

    def finish(self) -> list[bytes]:
        """What is held back, at [DONE] or where the engine's stream ended."""
        if not self._usages or self._is_broken:
            return []
        usages, self._usages = self._usages, []
        return [encode({**self._head(), "choices": [], "usage": add_usages(usages, self._n)})]

    def broken(self, code: str, message: str) -> list[bytes]:
        """The final error event."""
        self._is_broken = True
        return [error_event(code, message)]

    def _look(self, event: bytes) -> None:
        """Learns from the first event what the engine calls the model."""
        found = _MODEL.search(event)
        own = encode(self.model)
        if found is not None and found[1] != own:
            self._rename = (found[0], b'"model":' + own)

    def _event(self, event: bytes) -> list[bytes]:
        if not self._is_usage_split or _USAGE not in event:
            return [event]
        read = self.read(event)
        return [encode(read)] if read.get("choices") else []

    def read(self, event: bytes) -> dict[str, Any]:
        """Decodes an event and puts its usage aside."""
        self.last = read = _read(event)
        usage = read.pop("usage", None)
        if usage:
            self._usages.append(usage)
        return read

    def _head(self) -> dict[str, Any]:
        """What is common to all events, from the last one."""
        return {key: value for key, value in self.last.items() if key != "choices"}


def add_usages(usages: list[dict[str, Any]], n: int) -> dict[str, Any]:
    """One usage of several choices; a prompt counts once, however many choices it has."""
    prompt = sum(usage.get("prompt_tokens", 0) for usage in usages) // n
    completion = sum(usage.get("completion_tokens", 0) for usage in usages)
    cached = [(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0) for usage in usages]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        # The choices of one prompt share its prefix with each other: the least is what was cached before.
        "prompt_tokens_details": {"cached_tokens": min(cached) if n > 1 else sum(cached)},
    }


class ChosenLogprobsReply(Reply):
    """Chat with `logprobs` and no `top_logprobs`: the engine gives none or twenty; the API the chosen one alone."""

    def _event(self, event: bytes) -> list[bytes]:
        read = self.read(event)
        choices = read.get("choices") or []
        for choice in choices:
            for token in (choice.get("logprobs") or {}).get("content") or ():
                token["top_logprobs"] = []
        return [encode(read)] if choices else []


class CompletionReply(Reply):
    """`/completions`: the engine's chat-form logprobs as the legacy ones."""

    def __init__(self, model: str, *, choices_per_prompt: int = 1, logprobs: int | None = None) -> None:
        super().__init__(model, choices_per_prompt=choices_per_prompt, is_usage_split=True)
        self._logprobs = logprobs
        self._offsets: dict[int, int] = {}

    def _event(self, event: bytes) -> list[bytes]:
        if self._logprobs is None:
            return super()._event(event)
        read = self.read(event)
        choices = read.get("choices") or []
        for choice in choices:
            found = (choice.get("logprobs") or {}).get("content")
            choice["logprobs"] = self._legacy(choice.get("index", 0), found) if found else None
        return [encode(read)] if choices else []

    def _legacy(self, index: int, tokens: list[dict[str, Any]]) -> dict[str, Any]:
        """Offsets count characters from the start of the returned text."""
        made: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        at = self._offsets.get(index, 0)
        for token in tokens:
            made["tokens"].append(token["token"])
            made["token_logprobs"].append(token["logprob"])
            top = token.get("top_logprobs") or [] if self._logprobs else []
            made["top_logprobs"].append({other["token"]: other["logprob"] for other in top})
            made["text_offset"].append(at)
            at += len(token["token"])
        self._offsets[index] = at
        return made


class ChunkReply(Reply):
    """Base of the forms that write chat chunks of their own."""

    def __init__(self, model: str, *, choices_per_prompt: int = 1) -> None:
        super().__init__(model, choices_per_prompt=choices_per_prompt, is_usage_split=True)
        self._begun: set[int] = set()
        self._ended: set[int] = set()

    def _event(self, event: bytes) -> list[bytes]:
        made: list[bytes] = []
        for choice in self.read(event).get("choices") or ():
            index = choice.get("index", 0)
            if index not in self._ended and not self._is_broken:
                made += self.choice(index, choice)
        return made

    def choice(self, index: int, choice: dict[str, Any]) -> list[bytes]:
        """One choice of one engine event."""
        raise NotImplementedError

    def delta(self, index: int, delta: dict[str, Any], logprobs: Any = None) -> bytes:
        """A chunk; the first one of a choice carries the role."""
        if index not in self._begun:
            self._begun.add(index)
            delta = {"role": "assistant", "content": None, **delta}
        return self._chunk(index, delta, None, logprobs)

    def end(self, index: int, reason: str) -> list[bytes]:
        """The last chunk of a choice."""
        self._ended.add(index)
        empty = [] if index in self._begun else [self.delta(index, {"content": ""})]
        return [*empty, self._chunk(index, {}, reason, None)]

    def _chunk(self, index: int, delta: dict[str, Any], reason: str | None, logprobs: Any) -> bytes:
        choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": reason}
        if logprobs:
            choice["logprobs"] = logprobs
        return encode({**self._head(), "choices": [choice]})

    def _head(self) -> dict[str, Any]:
        return {
            "id": self.last.get("id", ""),
            "object": "chat.completion.chunk",
            "created": self.last.get("created", 0),
            "model": self.model,
            "system_fingerprint": self.last.get("system_fingerprint"),
        }


class RawChatReply(ChunkReply):
    """Text of `/completions` as chat chunks."""

    def choice(self, index: int, choice: dict[str, Any]) -> list[bytes]:
        """See `ChunkReply.choice`."""
        text = choice.get("text") or ""
        if index not in self._begun:
            text = text.lstrip()
        made = [self.delta(index, {"content": text}, choice.get("logprobs"))] if text else []
        reason = choice.get("finish_reason")
        return made + (self.end(index, reason) if reason else [])


class RawClassifyReply(ChunkReply):
    """A bare word of `/completions` as the JSON that the caller's schema asks for, in one chunk."""

    def __init__(self, model: str, words: Sequence[str], *, key: str | None, choices_per_prompt: int = 1) -> None:
        """`key`: the property that holds the word; None where the answer is the string itself."""
        super().__init__(model, choices_per_prompt=choices_per_prompt)
        self._allowed = words
        self._key = key
        self._words: dict[int, str] = {}
        self._logprobs: dict[int, list[Any]] = {}

    def choice(self, index: int, choice: dict[str, Any]) -> list[bytes]:
        """See `ChunkReply.choice`."""
        self._words[index] = self._words.get(index, "") + (choice.get("text") or "")
        self._logprobs.setdefault(index, []).extend((choice.get("logprobs") or {}).get("content") or ())
        reason = choice.get("finish_reason")
        if not reason:
            return []
        word = self._words[index].removeprefix(" ")
        if self._is_whole(word):
            reason = "stop"  # `max_tokens` may end it before the end-of-text token: the answer is there
        elif reason != "length" and word not in self._allowed:
            return self.broken("bad_answer", "the model did not keep the grammar")
        text = encode(word if self._key is None else {self._key: word}).decode()
        if reason == "length":
            text = text[: -1 if self._key is None else -2]  # cut short: the string and object stay open
        logprobs = {"content": self._logprobs[index]} if self._logprobs[index] else None
        return [self.delta(index, {"content": text}, logprobs), *self.end(index, reason)]

    def _is_whole(self, word: str) -> bool:
        """Whether it is one of the words, and no longer one could have followed."""
        return word in self._allowed and sum(other.startswith(word) for other in self._allowed) == 1
