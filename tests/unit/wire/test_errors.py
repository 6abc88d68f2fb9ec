"""`wire.errors`: OpenAI's error object."""

from __future__ import annotations

import json

import pytest

from ecotone.values import (
    DeadlineError,
    EcotoneError,
    PlacementError,
    RefusalError,
    RequestError,
    TargetError,
)
from ecotone.wire.errors import encode_error, encode_error_event, error_headers, retry_after_header


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RequestError("request.n", "n: no", param="n"), "invalid_request_error"),
        (RequestError("auth.missing_key", "a key", status=401), "authentication_error"),
        (RequestError("model_not_found", "none", status=404), "invalid_request_error"),
        (RefusalError("refused.policy", "no"), "permission_error"),
        (RefusalError("refused.rate_limited", "slower", status=429), "rate_limit_error"),
        (RefusalError("refused.concurrency", "full", status=503), "service_unavailable_error"),
        (PlacementError("refused.all_failed", "none"), "service_unavailable_error"),
        (DeadlineError("deadline", "late"), "timeout_error"),
        (TargetError("reset", "gone"), "upstream_error"),
        (EcotoneError("internal", "defect"), "server_error"),
    ],
)
def test_an_error_has_openais_four_fields(error: EcotoneError, kind: str) -> None:
    told = json.loads(encode_error(error))
    assert told == {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}


def test_an_event_holds_the_same_object_on_one_line() -> None:
    error = TargetError("reset", "gone\nin two lines")
    event = encode_error_event(error)
    assert event == b"data: " + encode_error(error) + b"\n\n"
    assert event.count(b"\n") == 2


def test_headers_say_when_to_try_again_and_how_to_authenticate() -> None:
    plain = [("content-type", "application/json")]
    assert error_headers(RequestError("a", "b")) == plain
    assert error_headers(PlacementError("a", "b", retry_after_s=2.1)) == [*plain, ("retry-after", "3")]
    assert error_headers(RequestError("a", "b", status=401)) == [*plain, ("www-authenticate", "Bearer")]


@pytest.mark.parametrize(("seconds", "value"), [(0.0, "1"), (-5.0, "1"), (0.2, "1"), (1.0, "1"), (1.01, "2")])
def test_retry_after_is_whole_seconds_and_at_least_one(seconds: float, value: str) -> None:
    assert retry_after_header(seconds) == value
