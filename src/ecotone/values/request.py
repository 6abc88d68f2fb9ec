"""What a caller asked for."""

from __future__ import annotations

import enum

import msgspec


class Place(enum.StrEnum):
    """Where a target runs: on the premises, or outside them."""

    EDGE = "edge"
    CLOUD = "cloud"


class Wish(enum.StrEnum):
    """The caller's `Ecotone-Place`: a wish; policy wins."""

    AUTO = "auto"
    EDGE = "edge"
    CLOUD = "cloud"


class Mode(enum.StrEnum):
    """How far a model name has moved to the edge (DESIGN.md, 1.3)."""

    CLOUD = "cloud"
    SHADOW = "shadow"
    AUTO = "auto"
    EDGE = "edge"


class Endpoint(enum.StrEnum):
    """The API that was called; the value is the path below `/v1/`."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"


class Features(msgspec.Struct, frozen=True, gc=False):
    """What placement needs to know of a request, without its content.

    Attributes:
        prompt_tokens: Estimated input tokens.
        output_tokens_max: The caller's limit, or None where none was given.
        needs: Capabilities asked for: `stream`, `tools`, `json_schema`, `json_object`, `logprobs`, `n`,
            `vision`, `audio` ...
        turns: Messages in the conversation.
    """

    prompt_tokens: int
    output_tokens_max: int | None = None
    needs: tuple[str, ...] = ()
    turns: int = 1


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One decoded request.

    Attributes:
        body: The caller's exact bytes (JSON); never logged.
        received_at_s: Monotonic instant of arrival.
        deadline_at_s: Monotonic instant by which the answer must be whole, or None.
        labels: Labels from the caller's header; `privacy.inspect` only adds.
        key: Name of the API key that was used, or `''`.
        seed: Seeds every choice made for this request, so that it can be replayed.
        purpose: `''` for a caller's request; `shadow` or `judge` for one of the site's own, which compares answers.
    """

    id: str
    endpoint: Endpoint
    model: str
    body: bytes
    is_stream: bool
    is_usage_asked: bool
    features: Features
    received_at_s: float
    seed: int = 0
    key: str = ""
    labels: tuple[str, ...] = ()
    wish: Wish = Wish.AUTO
    deadline_at_s: float | None = None
    is_debug: bool = False
    purpose: str = ""
