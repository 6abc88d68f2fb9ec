"""What is known, and what is seen, of how good an answer at the edge is against the cloud's.

A *gap* is the quality of the cloud's answer less that of the edge's, in [-1, 1]: 0 where the edge did as well, 1 where
it failed and the cloud did not. The *loss* of a rule is the mean gap of what it sends to the edge, over all requests.
"""

from __future__ import annotations

import enum

import msgspec

from ecotone.values.request import Endpoint


class Question(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a request asks, as far as signals and checkers read it. It is content: never logged, never kept as it is.

    Attributes:
        key: Name of the API key, or `''`: which application asks.
        system: Text of the system and developer messages.
        asked: Text of the last user message; of `completions`, the prompt.
        tools: Names of the tools that are offered, sorted.
        form: `''`, `json_object` or `json_schema`.
        schema: The JSON Schema that the answer must follow, as JSON; or `b''`.
        turns: Messages in the conversation.
        chars: Characters of all text in it.
    """

    endpoint: Endpoint
    model: str
    key: str = ""
    system: str = ""
    asked: str = ""
    tools: tuple[str, ...] = ()
    form: str = ""
    schema: bytes = b""
    turns: int = 1
    chars: int = 0


class Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One answer in one piece, as far as checkers and signs read it. Content, as `Question`.

    Attributes:
        text: The first choice's text.
        calls: (name, arguments as JSON) of its tool calls.
        finish: Why it ended: `stop`, `length`, `tool_calls`, `content_filter`, or `''`.
        is_refusal: The model declined, by the API's own field.
        logprobs: Log probability of each token, where they were asked for.
        margins: For each of those tokens, how far the second best lay behind; empty where that was not asked for.
        model: What the target calls itself.
        tokens: Length, tokens; 0 where unknown.
    """

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = ""
    is_refusal: bool = False
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    model: str = ""
    tokens: int = 0


class Role(enum.StrEnum):
    """What a request's pair of answers is for. Drawn before placement, by the request's seed and nothing else."""

    NONE = ""
    LEARN = "learn"
    CERTIFY = "certify"


class Gate(enum.StrEnum):
    """Where a learned decision is made: on the prompt, or on the edge's own answer."""

    PROMPT = "prompt"
    ANSWER = "answer"


class Guess(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """What is predicted of an edge target's answer to one request, and how much may be risked.

    Attributes:
        gap: Predicted gap to the cloud's answer.
        sd: Standard deviation of that prediction.
        good: Calibrated probability that the answer is good enough (its gap is at most 0).
        gap_max: The edge may answer where `gap` is at most this; `-inf` without a certificate. JSON has no infinity:
            the largest finite float stands for it.
        skip_above: With a gate on the answer, the edge is not even asked where the prompt's `gap` is above this.
        certificate: Number of the certificate behind `gap_max`; 0 = none.
    """

    gap: float
    sd: float = 0.0
    good: float = 0.0
    gap_max: float = -1.7976931348623157e308
    skip_above: float = 1.7976931348623157e308
    certificate: int = 0


class Comparison(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How two answers to one request compare.

    Attributes:
        gap: In [-1, 1].
        checker: Who compared: `match`, `json`, `numbers`, `code`, `similar`, `judge`, a plug-in's name, `feedback`.
        edge, cloud: Quality of each in [0, 1], where the checker judges them one by one.
    """

    gap: float
    checker: str
    edge: float | None = None
    cloud: float | None = None


class Pair(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One labelled pair, without content: the ledger's `compared` entry.

    Attributes:
        request: Id of the request that a caller made.
        model: The name that it asked for.
        target, reference: The edge target, and the cloud target that it is compared with.
        role, share: What the pair is for, and the probability with which the request drew that role.
        placed: Who answered the caller: `edge` or `cloud`.
        guess: What was predicted when the request came.
        answer: What was predicted once the edge had answered, where a gate looks at answers.
        edge_s, cloud_s: Seconds that each answer took; 0 where unknown.
        edge_usd, cloud_usd: What each cost, US dollars.
    """

    request: str
    model: str
    target: str
    reference: str
    comparison: Comparison
    role: Role
    share: float = 1.0
    placed: str = ""
    guess: Guess | None = None
    answer: Guess | None = None
    edge_s: float = 0.0
    cloud_s: float = 0.0
    edge_usd: float = 0.0
    cloud_usd: float = 0.0


class Step(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Something that changed in what is promised: the ledger's `step` entry, with its figures.

    Attributes:
        model, target: The model name, and the edge target behind it.
        what: `certified`, `not_yet` (the data do not support it), `suspended`, `voided` (a version changed),
            `advanced` or `fell_back` (the ladder).
        why: A stable word: `drift.loss`, `drift.calibration`, `drift.traffic`, `version.edge`, `version.cloud`,
            `terms`, `evidence`, or `''`.
        gate: Which gate.
        mode_from, mode_to: The ladder's rungs, where it moved.
        figures: Numbers behind it, such as `pairs`, `pairs_needed`, `loss`, `loss_bound`, `edge_share`, `gap_max`.
    """

    model: str
    target: str
    what: str
    why: str = ""
    gate: Gate = Gate.PROMPT
    certificate: int = 0
    mode_from: str = ""
    mode_to: str = ""
    figures: dict[str, float] = {}


class QualityTerms(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a model name promises (`quality` in the configuration), and how it may be reached.

    Attributes:
        loss_max, confidence: The loss stays within `loss_max` with this confidence.
        cloud_share: Share of calls that the operator wants in the cloud at most and at least (a budget, held by a
            price); None = as few as the promise allows.
        is_auto: The ladder advances by itself, with proof.
        has_answer_gate: The edge answers first, and its own answer decides (`cascade: true`).
        paid_share_max: Most of what the edge answers that is checked in the cloud.
    """

    loss_max: float = 0.02
    confidence: float = 0.95
    cloud_share: float | None = None
    is_auto: bool = False
    has_answer_gate: bool = False
    paid_share_max: float = 0.05
