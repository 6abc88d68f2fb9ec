"""The stable words of a decision: reason codes, obstacles and failure classes.

They stand in headers, metrics and the ledger, so a word is never reused for another meaning.
"""

from __future__ import annotations

from typing import Final

EDGE_PRIVATE: Final = "edge.private"
EDGE_PINNED: Final = "edge.pinned"
EDGE_OFFLINE: Final = "edge.offline"
EDGE_FASTER: Final = "edge.faster"
EDGE_CHEAPER: Final = "edge.cheaper"
EDGE_GOOD_ENOUGH: Final = "edge.good_enough"
EDGE_BUDGET: Final = "edge.budget"
EDGE_WINDOW: Final = "edge.window"
CLOUD_BETTER: Final = "cloud.better"
CLOUD_FASTER: Final = "cloud.faster"
CLOUD_CAPACITY: Final = "cloud.capacity"
CLOUD_CAPABILITY: Final = "cloud.capability"
CLOUD_PINNED: Final = "cloud.pinned"
CLOUD_PSEUDONYMISED: Final = "cloud.pseudonymised"
ESCALATED_UNSURE: Final = "escalated.unsure"

REASONS: Final[dict[str, str]] = {
    EDGE_PRIVATE: "policy keeps this request at the site",
    EDGE_PINNED: "the caller, the model name's mode, ECOTONE_NO_CLOUD or a lack of alternatives asks for the edge",
    EDGE_OFFLINE: "the cloud target that would go first is not reachable now",
    EDGE_FASTER: "the cloud target that would go first cannot keep the deadline",
    EDGE_CHEAPER: "the edge goes first and costs less than the cloud",
    EDGE_GOOD_ENOUGH: "the edge goes first: its predicted loss is within the promise, or nothing speaks against it",
    EDGE_BUDGET: "the cloud budget (money or bytes) is used up",
    EDGE_WINDOW: "the metered link is closed outside its windows",
    CLOUD_BETTER: "the cloud goes first by mode or order, or the edge would risk more than the promise allows",
    CLOUD_FASTER: "the edge target that would go first cannot keep the deadline",
    CLOUD_CAPACITY: "the edge target that would go first has no room or is restarting",
    CLOUD_CAPABILITY: "the edge target that would go first lacks a capability or context length",
    CLOUD_PINNED: "the caller asks for the cloud",
    ESCALATED_UNSURE: "the edge answered, its answer was not sure enough for the promise, and the next target answers",
    CLOUD_PSEUDONYMISED: "the cloud goes first, and gets surrogates in place of what policy protects",
}
"""Reason codes of a placement, with their meaning. `fallback.<failure>` and `refused.<why>` are built from
`TARGET_FAILURES` and `OBSTACLES`."""

DEFERRALS: Final[dict[str, str]] = {
    "deferred.asked": "the caller asked for an answer later; the job waits for its turn",
    "deferred.offline": "the job waits for the cloud, which cannot be reached now",
    "deferred.window": "the job waits for the next window of the metered link (`link.windows`)",
    "deferred.budget": "the job waits: the budget of the day, or of the window, is used up",
    "deferred.retry": "an attempt failed, and the job is tried again after a pause",
    "failed.attempts": "the job was begun as often as it may be, and whoever worked on it ended each time",
    "failed.too_large": "the answer is longer than is kept",
}
"""Why a job waits, or ended without an answer of its own; else a job has the reason of its last attempt."""

OBSTACLES: Final[dict[str, str]] = {
    "policy": "policy does not let this request go there",
    "no_cloud": "ECOTONE_NO_CLOUD=1 keeps everything at the site",
    "wish": "the caller asked for the edge",
    "endpoint": "the target does not serve this endpoint",
    "capability": "the target lacks something that the request needs",
    "context": "prompt and answer do not fit the target's context",
    "budget": "the day's cloud budget is used up",
    "window": "the metered link is closed outside its windows (`link.interactive: refused`)",
    "unreachable": "the target's breaker is open after failures",
    "capacity": "the target's queue is full",
    "deadline": "the target is predicted to miss the deadline",
    "overload": "the wait for a slot is predicted to be longer than the deadline or `overload.wait_s_max` allows",
    "no_target": "the model name has no targets",
}
"""Why a target lost, in the order in which `placement.decide` asks."""

TARGET_FAILURES: Final[dict[str, str]] = {
    "dns": "the name could not be resolved",
    "refused": "nothing listens there, or the network is unreachable",
    "connect_timeout": "no connection within the connect limit",
    "tls": "the TLS handshake or certificate failed",
    "reset": "the connection was closed before the answer was whole",
    "first_byte_timeout": "no answer began within the limit",
    "unsure": "the answer was not sure enough for the promise; it was not given, and the next target may answer",
    "outrun": "another target, started because this one was slower than predicted, answered first",
    "too_slow": "no answer began within what the caller's deadline left for this target",
    "idle_timeout": "the answer stopped for longer than the limit",
    "rate_limited": "HTTP 429",
    "unauthorised": "HTTP 401: the target's key is missing or wrong",
    "forbidden": "HTTP 403",
    "no_model": "HTTP 404: the target does not know the model or path",
    "http_4xx": "another HTTP 4xx that says nothing about the request",
    "http_500": "HTTP 500",
    "http_502": "HTTP 502",
    "http_503": "HTTP 503",
    "http_5xx": "another HTTP 5xx",
    "redirect": "a redirect: never followed",
    "captive_portal": "a web page came instead of an answer: somebody between the site and the target answers for it",
    "bad_answer": "the body is not what the API promises (not JSON, no choices, too large)",
    "empty_stream": "the stream ended without content",
    "error_event": "the stream began with an error",
    "context_exceeded": "the target says the prompt is longer than its context, or too large (HTTP 413)",
    "capability": "the target cannot do what the request needs",
    "engine_crashed": "the local engine died",
    "engine_start": "the local engine could not be started",
    "busy": "the target's queue is full, or no slot came free in time",
    "breaker_open": "its breaker opened between the decision and the attempt",
    "budget": "the day's cloud budget was used up between the decision and the attempt",
    "egress_refused": "the egress check refused: permit, digest or address do not match",
}
"""Classes of failure of one attempt at one target. Any of them, before the first byte to the caller, moves the
request to the next target."""

ENDINGS: Final[dict[str, str]] = {
    "answered": "the answer was delivered whole",
    "left": "the caller went away and the work was stopped",
    "broken": "the answer had begun and could not be finished; the caller got an error event",
    "rejected": "the target said that the request itself is wrong; passed on to the caller",
    "refused": "a hard limit or policy refused it before any attempt",
    "failed": "every target in the order failed before the first byte",
    "deadline": "the deadline passed",
    "internal": "a defect of this site; its log says more",
}
"""How a request ends; each ends exactly once."""
