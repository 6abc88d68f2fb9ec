"""Requests of the OpenAI API, as far as the decision must see them. Pure.

Only what is looked at is decoded and checked; every other field stays in `Request.body` as the caller wrote it.

The prompt's length is estimated, since each target has its own tokenizer: a token for each four characters, a token
for each wide one (Chinese, Japanese, Korean: three bytes of UTF-8), and in between for other scripts; four tokens
around each message; `MEDIA_TOKENS` for each image, sound or file. Estimates err on the long side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from ecotone.values import Endpoint, Features, Request, RequestError, Wish
from ecotone.wire.prefer import Deferral, read_deferral

MEDIA_TOKENS: Final = 768
"""Tokens counted for a part that is not text. Precedent: OpenAI counts 765 for an image of 1024 x 1024."""

MESSAGE_TOKENS: Final = 4
"""Tokens around a message. Precedent: OpenAI's cookbook counts 3 to 4."""

DEADLINE_MS_MAX: Final = 24 * 3600 * 1000
LABELS_MAX: Final = 32
LABEL_CHARS_MAX: Final = 64
N_MAX: Final = 128
TOKENS_MAX: Final = 1_000_000_000
MODEL_CHARS_MAX: Final = 512

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_SPEAKERS: Final = frozenset({"system", "developer", "user"})
"""Roles whose message is nothing without content."""

_OWN: Final = (b"ecotone-", b"prefer", b"idempotency-key")
"""Beginnings of the names of headers that are read here."""

_LABEL: Final = re.compile(r"[a-z0-9_.:-]{1,64}")
_MEDIA: Final = {
    "image_url": "vision",
    "input_image": "vision",
    "image": "vision",
    "input_audio": "audio",
    "audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "file": "file",
    "input_file": "file",
}


class Head(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is known of a request besides its body. See `values.Request` for the fields.

    Attributes:
        deferral: It is to be done later, as a job; then that has the deadline.
    """

    id: str
    received_at_s: float
    seed: int = 0
    key: str = ""
    wish: Wish = Wish.AUTO
    deadline_at_s: float | None = None
    labels: tuple[str, ...] = ()
    is_debug: bool = False
    deferral: Deferral | None = None


# `Raw | None` would mean None alone to msgspec.
_ABSENT: Final = msgspec.Raw(b"null")


class _Part(msgspec.Struct, gc=False):
    type: str
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: msgspec.Raw = _ABSENT


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Format(msgspec.Struct, gc=False):
    type: str
    json_schema: msgspec.Raw = _ABSENT


class _Common(msgspec.Struct, gc=False, kw_only=True):
    model: str
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    n: int | None = None
    response_format: _Format | None = None


class _Chat(_Common, gc=False, kw_only=True):
    messages: list[_Message]
    max_completion_tokens: int | None = None
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = _ABSENT
    logprobs: bool | None = None
    modalities: list[str] | None = None


_Texts = str | list[str | int | list[int]]


class _Completion(_Common, gc=False, kw_only=True):
    prompt: _Texts
    logprobs: int | bool | None = None


class _Embedding(msgspec.Struct, gc=False):
    model: str
    input: _Texts


_read_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_chat = msgspec.json.Decoder(_Chat).decode
_read_completion = msgspec.json.Decoder(_Completion).decode
_read_embedding = msgspec.json.Decoder(_Embedding).decode


def mint_id(at_ms: int, prefix: str, counter: int) -> str:
    """A request's id: `req-`, 11 hex digits of Unix milliseconds, `-`, the process's 6 and the counter's 6."""
    return f"req-{at_ms & 0xFFFFFFFFFFF:011x}-{prefix}{counter & 0xFFFFFF:06x}"


def decode(endpoint: Endpoint, body: bytes, head: Head) -> Request:
    """The request that these bytes ask for.

    Raises:
        RequestError: not UTF-8, not JSON, or a field that is looked at is missing or wrong; `param` names it.
    """
    try:
        if not body.isascii():
            body.decode()
        return _READERS[endpoint](body, head)
    except UnicodeDecodeError as error:
        raise _bad_json(f"the body is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _bad_json("the body is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise _bad_field(str(error)) from None
    except msgspec.DecodeError as error:
        raise _bad_json(_where(str(error), body)) from None


def in_one_piece(body: bytes) -> bytes:
    """The same request, asking for an answer in one piece; of a body that `decode` took."""
    if b'"stream' not in body:
        return body
    asked = _read_raw(body)
    return msgspec.json.encode({key: value for key, value in asked.items() if key not in ("stream", "stream_options")})


def read_head(head: Head, headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """The head with what the request's own headers add; response names and unknown ones are ignored.

    Args:
        headers: Names in lower case, with their values.

    Raises:
        RequestError: a value that is not allowed; `param` is the header's name.
    """
    own = [(name, value) for name, value in headers if name.startswith(_OWN)]
    return _read_own(head, own) if own else head


def _read_own(head: Head, own: list[tuple[bytes, bytes]]) -> Head:
    wish, deadline_at_s, is_debug = head.wish, head.deadline_at_s, head.is_debug
    labels, deferral = list(head.labels), read_deferral(own)
    for name, raw in own:
        value = raw.decode("latin-1").strip()
        if name == b"ecotone-place":
            wish = _read_wish(value)
        elif name == b"ecotone-deadline-ms" and deferral is None:
            deadline_at_s = head.received_at_s + _read_deadline_ms(value) / 1e3
        elif name == b"ecotone-labels":
            labels += _read_labels(value)
        elif name == b"ecotone-debug":
            is_debug = _read_flag("Ecotone-Debug", value)
    kept = tuple(dict.fromkeys(labels))
    if len(kept) > LABELS_MAX:
        raise _bad_header("Ecotone-Labels", f"at most {LABELS_MAX} labels")
    return msgspec.structs.replace(
        head, wish=wish, deadline_at_s=deadline_at_s, is_debug=is_debug, labels=kept, deferral=deferral
    )


def _read_wish(value: str) -> Wish:
    try:
        return Wish(value.lower())
    except ValueError:
        raise _bad_header("Ecotone-Place", "`auto`, `edge` or `cloud`") from None


def _read_deadline_ms(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 8 and 0 < int(value) <= DEADLINE_MS_MAX):
        raise _bad_header("Ecotone-Deadline-Ms", f"whole milliseconds from 1 to {DEADLINE_MS_MAX} (24 hours)")
    return int(value)


def _read_labels(value: str) -> list[str]:
    labels = [label.strip() for label in value.split(",") if label.strip()]
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad_header("Ecotone-Labels", f"labels of a-z 0-9 _ . : -, at most {LABEL_CHARS_MAX} each, with commas")
    return labels


def _read_flag(name: str, value: str) -> bool:
    if value.lower() not in ("1", "0", "true", "false"):
        raise _bad_header(name, "`1` or `0`")
    return value.lower() in ("1", "true")


def _chat(body: bytes, head: Head) -> Request:
    read = _read_chat(body)
    if not read.messages:
        raise RequestError("request.messages", "messages: at least one is needed", param="messages")
    tokens, media = _messages(read.messages)
    if read.modalities and "audio" in read.modalities:
        media.add("audio")
    needs = []
    tools = read.tools or read.functions
    if tools:
        tokens += sum(_raw_tokens(tool) for tool in tools)
        if bytes(read.tool_choice) != b'"none"':
            needs.append("tools")
    if read.logprobs:
        needs.append("logprobs")
    if media:
        needs += sorted(media)
    name = "max_tokens" if read.max_completion_tokens is None else "max_completion_tokens"
    limit = read.max_tokens if read.max_completion_tokens is None else read.max_completion_tokens
    if limit is not None and not 1 <= limit <= TOKENS_MAX:
        raise _bad_value(name, "a whole number of at least 1")
    return _request(Endpoint.CHAT, read, (tokens, limit, needs, len(read.messages)), body, head)


def _messages(messages: list[_Message]) -> tuple[int, set[str]]:
    """(estimated tokens, capabilities that the media need)."""
    tokens, media = MESSAGE_TOKENS * len(messages), set[str]()
    for at, message in enumerate(messages):
        content = message.content
        if message.role not in ROLES:
            raise _bad_value(f"messages[{at}].role", f"one of {', '.join(sorted(ROLES))}")
        if isinstance(content, str):
            tokens += text_tokens(content)
        elif content is not None:
            tokens += _parts(content, media)
        elif message.role in _SPEAKERS:
            raise _bad_value(f"messages[{at}].content", "a string or a list of parts")
        if message.tool_calls is not _ABSENT:
            tokens += _raw_tokens(message.tool_calls)
    return tokens, media


def _completion(body: bytes, head: Head) -> Request:
    read = _read_completion(body)
    tokens = _texts_tokens(read.prompt, "prompt")
    # 0 is allowed here: `echo` with `logprobs` scores a prompt without writing on.
    if read.max_tokens is not None and not 0 <= read.max_tokens <= TOKENS_MAX:
        raise _bad_value("max_tokens", "a whole number of at least 0")
    needs = ["logprobs"] if read.logprobs is not None and read.logprobs is not False else []
    return _request(Endpoint.COMPLETIONS, read, (tokens, read.max_tokens, needs, 1), body, head)


def _embedding(body: bytes, head: Head) -> Request:
    read = _read_embedding(body)
    features = Features(_texts_tokens(read.input, "input"), 0)
    return Request(
        id=head.id,
        endpoint=Endpoint.EMBEDDINGS,
        model=_model(read.model),
        body=body,
        is_stream=False,
        is_usage_asked=False,
        features=features,
        received_at_s=head.received_at_s,
        seed=head.seed,
        key=head.key,
        labels=head.labels,
        wish=head.wish,
        deadline_at_s=head.deadline_at_s,
        is_debug=head.is_debug,
    )


_READERS: Final[dict[Endpoint, Callable[[bytes, Head], Request]]] = {
    Endpoint.CHAT: _chat,
    Endpoint.COMPLETIONS: _completion,
    Endpoint.EMBEDDINGS: _embedding,
}


def _request(
    endpoint: Endpoint, read: _Common, counted: tuple[int, int | None, list[str], int], body: bytes, head: Head
) -> Request:
    """What chat and completions share. `counted`: (prompt tokens, limit on output, needs so far, turns)."""
    tokens, limit, needs, turns = counted
    is_stream = read.stream is True
    if is_stream:
        needs.insert(0, "stream")
    if read.n is not None and read.n != 1:
        if not 1 <= read.n <= N_MAX:
            raise _bad_value("n", f"a whole number from 1 to {N_MAX}")
        needs.append("n")
    if read.response_format is not None:
        if read.response_format.type in ("json_schema", "json_object"):
            needs.append(read.response_format.type)
        if read.response_format.json_schema is not _ABSENT:
            tokens += _raw_tokens(read.response_format.json_schema)
    options = read.stream_options
    return Request(
        id=head.id,
        endpoint=endpoint,
        model=_model(read.model),
        body=body,
        is_stream=is_stream,
        is_usage_asked=is_stream and options is not None and options.include_usage is True,
        features=Features(tokens, limit, tuple(needs), turns),
        received_at_s=head.received_at_s,
        seed=head.seed,
        key=head.key,
        labels=head.labels,
        wish=head.wish,
        deadline_at_s=head.deadline_at_s,
        is_debug=head.is_debug,
    )


def _model(name: str) -> str:
    if not name or len(name) > MODEL_CHARS_MAX:
        raise _bad_value("model", f"a model's name of 1 to {MODEL_CHARS_MAX} characters")
    return name


def text_tokens(text: str) -> int:
    """Estimated tokens of a text: a quarter of its plain characters and all of its wide ones, rounded up."""
    chars = len(text)
    if text.isascii():
        return (chars + 3) // 4
    # UTF-8 spends 0 extra bytes on ASCII, 1 on Cyrillic or Arabic, 2 on CJK, 3 on emoji: half of them is 'wide'.
    wide = (len(text.encode()) - chars) / 2
    return int((chars - min(wide, chars)) / 4 + wide) + 1


def _raw_tokens(raw: msgspec.Raw) -> int:
    return len(memoryview(raw)) // 4 + 1


def _parts(parts: list[_Part], media: set[str]) -> int:
    """Estimated tokens; adds to `media` the capabilities that the parts need."""
    tokens = 0
    for part in parts:
        if part.text is not None:
            tokens += text_tokens(part.text)
        kind = _MEDIA.get(part.type)
        if kind is not None:
            media.add(kind)
            tokens += MEDIA_TOKENS
    return tokens


def _texts_tokens(texts: Any, name: str) -> int:
    if isinstance(texts, str):
        return text_tokens(texts)
    if not texts:
        raise _bad_value(name, "a string, or a list with at least one string or token")
    return sum(
        text_tokens(item) if isinstance(item, str) else len(item) if isinstance(item, list) else 1 for item in texts
    )


def _bad_json(what: str) -> RequestError:
    return RequestError("request.json", what)


def _bad_value(param: str, wanted: str) -> RequestError:
    return RequestError(f"request.{_top(param)}", f"{param}: {wanted} is needed", param=param)


def _bad_header(name: str, wanted: str) -> RequestError:
    return RequestError("request.header", f"{name}: {wanted} is needed", param=name)


def _top(path: str) -> str:
    """The first name of a path: `messages` of `messages[0].role`."""
    return re.split(r"[.\[]", path, maxsplit=1)[0]


_AT: Final = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `([^`]*)`")
_BYTE: Final = re.compile(r"\(byte (\d+)\)")


def _bad_field(told: str) -> RequestError:
    """msgspec's words as an error with an exact path; they hold no content of the request."""
    found = _AT.fullmatch(told)
    what, path = (found[1], found[2]) if found else (told, "")
    missing = _MISSING.fullmatch(what)
    if missing:
        path = f"{path}.{missing[1]}" if path else missing[1]
        return RequestError(f"request.{_top(path)}", f"{path}: it is missing", param=path)
    if not path:
        return _bad_json(f"the body: {what[:1].lower()}{what[1:]}")
    return RequestError(f"request.{_top(path)}", f"{path}: {what[:1].lower()}{what[1:]}", param=path)


def _where(told: str, body: bytes) -> str:
    """A syntax error with line and column, for who wrote the body by hand."""
    found = _BYTE.search(told)
    if found is None:
        return f"the body is not JSON: {told[:1].lower()}{told[1:]} (at byte {len(body)})"
    at = int(found[1])
    line = body.count(b"\n", 0, at) + 1
    column = at - body.rfind(b"\n", 0, at)
    words = _BYTE.sub("", told).removeprefix("JSON is malformed: ").strip()
    return f"the body is not JSON at byte {at} (line {line}, column {column}): {words}"
