"""Jobs, files and batches as their users meet them: a real site, the official client, kills and cuts in the middle."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import io
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.conftest import Site, Start, Upstream, poll

CHAT = {"model": "assistant", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
ASYNC = {"Prefer": "respond-async"}
ENV = {"UP_KEY": "sk-planted-key-42"}


def edge(upstream: Upstream, **more: Any) -> dict[str, Any]:
    """One server on the premises behind the name `assistant`."""
    ward = {"url": upstream.url, "model": "small-1", "at": "edge"}
    return {"targets": {"ward": ward}, "models": {"assistant": {"targets": ["ward"]}}} | more


def cloud(upstream: Upstream, **more: Any) -> dict[str, Any]:
    """One cloud target behind the name `assistant`."""
    big = {"url": upstream.url, "model": "large-1", "key": "env:UP_KEY", "at": "cloud"}
    return {"targets": {"big": big}, "models": {"assistant": {"targets": ["big"]}}} | more


def said(answer: bytes) -> Any:
    return json.loads(answer)["choices"][0]["message"]["content"]


def ended(site: Site, job: str) -> dict[str, Any]:
    """The job, once it has ended."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = json.loads(site.ask("GET", f"/v1/jobs/{job}")[2])
        return found if found["ended_at"] else None

    found: dict[str, Any] = poll(look, "the job ends", 30)
    return found


def again(tmp_path: Path, site: Site, config: dict[str, Any]) -> Site:
    """The site killed and started anew over the same store."""
    site.process.kill()
    site.process.wait()
    return Site(site.file.parent, config, ENV, ()).wait()


def test_a_job_is_accepted_at_once_and_answered_later(start: Start, upstream: Upstream) -> None:
    site = start(edge(upstream))
    status, headers, body = site.ask("POST", PATH, CHAT, ASYNC)
    assert status == 202
    job = json.loads(body)
    assert headers["location"] == f"/v1/jobs/{job['id']}"
    assert (headers["ecotone-placed"], headers["ecotone-reason"]) == ("deferred", "deferred.asked")
    assert headers["preference-applied"] == "respond-async"
    done = ended(site, job["id"])
    assert (done["state"], done["status"], done["target"], done["at"]) == ("answered", 200, "ward", "edge")
    assert done["response"]["body"]["choices"][0]["message"]["content"] == "The cloud says hello."
    status, headers, body = site.ask("GET", f"/v1/jobs/{job['id']}/answer")
    assert (status, headers["ecotone-target"], said(body)) == (200, "ward", "The cloud says hello.")
    status, headers, body = site.ask("POST", PATH, CHAT, {"Prefer": "respond-async, wait=20"})
    assert (status, said(body), headers["preference-applied"]) == (
        200,
        "The cloud says hello.",
        "respond-async, wait=20",
    )
    assert [one["id"] for one in json.loads(site.ask("GET", "/v1/jobs?state=answered")[2])["data"]][1] == job["id"]


def lines(count: int) -> bytes:
    rows = [
        {"custom_id": f"r{n}", "method": "POST", "url": PATH,
         "body": {"model": "assistant", "messages": [{"role": "user", "content": f"line {n}"}]}}
        for n in range(count)
    ]  # fmt: skip
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_a_batch_through_the_official_client(start: Start, upstream: Upstream) -> None:
    upstream.behaviour = "echo"
    site = start(edge(upstream, jobs={"concurrent": 8}))
    with openai.OpenAI(base_url=site.url, api_key="unused", max_retries=0, timeout=30) as api:
        file = api.files.create(file=("in.jsonl", io.BytesIO(lines(50))), purpose="batch")
        batch = api.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"for": "test"}
        )
        poll(lambda: api.batches.retrieve(batch.id).status == "completed", "the batch is done", 30)
        batch = api.batches.retrieve(batch.id)
        assert batch.output_file_id
        assert batch.error_file_id is None
        assert batch.request_counts is not None
        assert (batch.request_counts.total, batch.request_counts.completed) == (50, 50)
        told = [json.loads(line) for line in api.files.content(batch.output_file_id).text.splitlines()]
        assert {one["custom_id"]: one["response"]["body"]["choices"][0]["message"]["content"] for one in told} == {
            f"r{n}": f"line {n}" for n in range(50)
        }
        assert [one.id for one in api.batches.list()] == [batch.id]
        assert file.id in [one.id for one in api.files.list()]
        assert api.files.delete(file.id).deleted
