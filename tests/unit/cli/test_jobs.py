"""`ecotone jobs` against a made site."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ecotone.cli import work

from .conftest import MadeSite, Shell


def job(name: str, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": name, "object": "job", "state": "waiting", "reason": "deferred.asked", "model": "auto", "priority": 5,
        "created_at": 1_000, "deadline_at": 4_000_000_000, "ended_at": None, "target": None, "attempts": 0,
    }  # fmt: skip
    return base | changes


def page(*jobs: dict[str, Any], has_more: bool = False) -> dict[str, Any]:
    return {"object": "list", "data": list(jobs), "has_more": has_more}


def test_a_list_is_a_table_or_json(shell: Shell, site: MadeSite) -> None:
    url = f"http://127.0.0.1:{site.port}"
    done = job("job-2", state="answered", ended_at=2_000, target="ward", reason="edge.pinned")
    site.answers["GET", "/v1/jobs?limit=20"] = 200, page(job("job-1"), done)
    text = shell("jobs", "list", "--url", url).stdout
    first, second, third = text.splitlines()
    assert first.split() == ["job", "state", "reason", "model", "priority", "age", "deadline", "by"]
    assert second.startswith("job-1")
    assert "in " in second
    assert third.split()[-1] == "ward"
    assert [one["id"] for one in json.loads(shell("jobs", "list", "--url", url, "--json").stdout)] == ["job-1", "job-2"]


def test_a_long_list_is_read_in_pages(shell: Shell, site: MadeSite) -> None:
    url = f"http://127.0.0.1:{site.port}"
    first = [job(f"job-{n}") for n in range(100)]
    site.answers["GET", "/v1/jobs?state=waiting&batch=b&limit=100"] = 200, page(*first, has_more=True)
    path = "/v1/jobs?state=waiting&batch=b&limit=20&after=job-99"
    site.answers["GET", path] = 200, page(*(job(f"job-{n}") for n in range(100, 120)), has_more=True)
    told = shell("jobs", "list", "--url", url, "--state", "waiting", "--batch", "b", "--limit", "120").stdout
    assert len(told.splitlines()) == 122
    assert told.endswith("and more: --limit\n")
    site.answers["GET", "/v1/jobs?limit=20"] = 200, page()
    assert shell("jobs", "list", "--url", url).stdout == "no jobs\n"


def test_one_job_and_its_answer_where_it_is_asked_for(shell: Shell, site: MadeSite) -> None:
    url = f"http://127.0.0.1:{site.port}"
    answered = job("job-1", state="answered", ended_at=2_000, response={"status_code": 200, "body": {"said": "secret"}})
    site.answers["GET", "/v1/jobs/job-1"] = 200, answered
    told = shell("jobs", "show", "job-1", "--url", url).stdout
    assert "ago" in told
    assert "in " in told
    assert "secret" not in told
    assert "secret" in shell("jobs", "show", "job-1", "--answer", "--json", "--url", url).stdout
    assert shell("jobs", "show", "job-x", "--url", url).exit_code == 1


def test_cancel_and_retry(shell: Shell, site: MadeSite) -> None:
    url = f"http://127.0.0.1:{site.port}"
    site.answers["POST", "/v1/jobs/job-1/cancel"] = 200, job("job-1", state="cancelled", response=None)
    site.answers["POST", "/v1/jobs/job-1/retry"] = 202, job("job-2")
    assert shell("jobs", "cancel", "job-1", "--url", url).stdout == "job-1: cancelled\n"
    assert json.loads(shell("jobs", "cancel", "job-1", "--url", url, "--json").stdout)[0]["state"] == "cancelled"
    assert shell("jobs", "retry", "job-1", "--url", url).stdout == "job-1: asked again as job-2\n"
    assert json.loads(shell("jobs", "retry", "job-1", "--url", url, "--json").stdout)[0]["id"] == "job-2"
    assert shell("jobs", "cancel", "job-x", "--url", url).exit_code == 1


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-5, "0 s"), (59, "59 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (200_000, "2 d")]
)
def test_spans(seconds: float, shown: str) -> None:
    assert work.span(seconds) == shown
