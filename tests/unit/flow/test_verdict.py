"""What a status means."""

from __future__ import annotations

import pytest

from ecotone.flow.verdict import RETRY_AFTER_S_MAX, judge_status


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_success_is_no_failure(status: int) -> None:
    assert judge_status(status, {}) is None


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_may_be_the_requests_fault_must_be_read(status: int) -> None:
    failure = judge_status(status, {})
    assert failure is not None
    assert failure.code == "rejected"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("3", 3.0),
        (" 3 ", 3.0),
        ("0000000005", 5.0),
        ("9" * 400, RETRY_AFTER_S_MAX),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_counts_only_as_whole_seconds(given: str | None, seconds: float | None) -> None:
    failure = judge_status(503, {} if given is None else {"retry-after": given})
    assert failure is not None
    assert failure.retry_after_s == seconds
