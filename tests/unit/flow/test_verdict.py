"""What a status means."""

from __future__ import annotations

import pytest

from ecotone.flow.verdict import RETRY_AFTER_S_MAX, is_elsewhere, judge_status


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


@pytest.mark.parametrize(
    ("status", "kind", "is_astray"),
    [
        (200, "text/html", True),
        (200, "Text/HTML; charset=utf-8", True),
        (200, "application/xhtml+xml", True),
        (511, "text/html", True),
        (200, "application/json", False),
        (200, "text/plain", False),
        (200, "", False),
        (404, "text/html", False),
        (503, "text/html", False),
    ],
)
def test_a_page_instead_of_an_answer_is_somebody_elses(status: int, kind: str, is_astray: bool) -> None:
    headers = {"content-type": kind} if kind else {}
    failure = judge_status(status, headers)
    assert (failure is not None and failure.code == "captive_portal") == is_astray
    assert is_elsewhere(status, headers) == is_astray


def test_a_probe_that_is_redirected_did_not_reach_its_target() -> None:
    assert is_elsewhere(302, {})
