"""Jobs, files and batches as their users meet them: a real site, the official client, kills and cuts in the middle."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.server
import io
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai

from tests.e2e.conftest import ECOTONE, Site, Start, Upstream, link_starter, poll

CHAT = {"model": "assistant", "messages": [{"role": "user", "content": "hello"}]}
PATH = "/v1/chat/completions"
ASYNC = {"Prefer": "respond-async"}
ENV = {"UP_KEY": "sk-planted-key-42"}
SAID = "The cloud says hello."
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


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


def later(site: Site, body: Any = None, **headers: str) -> str:
    """The id of a new job. Header names with `_` for `-`."""
    given = ASYNC | {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, told = site.ask("POST", PATH, body or CHAT, given)
    assert status == 202, told
    return str(json.loads(told)["id"])


def job_of(site: Site, job: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.ask("GET", f"/v1/jobs/{job}")[2])
    return found


def ended(site: Site, job: str) -> dict[str, Any]:
    """The job, once it has ended."""
    poll(lambda: job_of(site, job)["ended_at"], "the job ends", 30)
    return job_of(site, job)


def again(site: Site, config: dict[str, Any]) -> Site:
    """The site killed, and started anew over the same store."""
    site.process.kill()
    site.process.wait()
    return Site(site.file.parent, config, ENV, ()).wait()


def events(site: Site, since: int, count: int) -> list[dict[str, Any]]:
    """What `/v1/jobs/events` tells after a number."""
    found: list[dict[str, Any]] = []
    with contextlib.closing(site.connect()) as connection:
        connection.request("GET", "/v1/jobs/events", headers={"Last-Event-ID": str(since)})
        answer = connection.getresponse()
        assert answer.status == 200
        while len(found) < count:
            line = answer.readline()
            if line.startswith(b"data: "):
                found.append(json.loads(line[6:]))
    return found


Notice = tuple[str, dict[str, str], bytes]


@contextlib.contextmanager
def receiver(port: int = 0) -> Iterator[tuple[str, list[Notice]]]:
    """A program inside the site that takes notices, and refuses the first one."""
    told: list[Notice] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(503 if len(told) == 1 else 204)
            self.end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Jobs.


def test_a_job_is_accepted_at_once_and_answered_later(start: Start, upstream: Upstream) -> None:
    site = start(edge(upstream))
    status, headers, body = site.ask("POST", PATH, CHAT, ASYNC)
    assert status == 202
    job = json.loads(body)["id"]
    assert (headers["location"], headers["ecotone-id"]) == (f"/v1/jobs/{job}", job)
    assert (headers["ecotone-placed"], headers["ecotone-reason"]) == ("deferred", "deferred.asked")
    assert headers["preference-applied"] == "respond-async"
    done = ended(site, job)
    assert (done["state"], done["status"], done["target"], done["at"]) == ("answered", 200, "ward", "edge")
    assert done["response"]["body"]["choices"][0]["message"]["content"] == SAID
    status, headers, body = site.ask("GET", f"/v1/jobs/{job}/answer")
    assert (status, headers["ecotone-target"], said(body)) == (200, "ward", SAID)
    status, headers, body = site.ask("POST", PATH, CHAT, {"Prefer": "respond-async, wait=20"})
    assert (status, said(body), headers["preference-applied"]) == (200, SAID, "respond-async, wait=20")
    assert site.ask("POST", PATH, CHAT | {"stream": True}, ASYNC)[0] == 400
    assert [one["id"] for one in json.loads(site.ask("GET", "/v1/jobs?state=answered")[2])["data"]][1] == job


def test_one_idempotency_key_is_one_job(start: Start, upstream: Upstream) -> None:
    site = start(edge(upstream))
    first = later(site, Idempotency_Key="order-7")
    assert later(site, Idempotency_Key="order-7") == first
    assert site.ask("POST", PATH, CHAT | {"seed": 1}, ASYNC | {"Idempotency-Key": "order-7"})[0] == 422
    ended(site, first)
    assert later(site, Idempotency_Key="order-7") == first
    assert len(upstream.bodies) == 1


def test_a_job_survives_a_kill_and_is_answered_once(start: Start, upstream: Upstream) -> None:
    upstream.behaviour = "silent"
    site = start(edge(upstream))
    job = later(site)
    poll(lambda: upstream.bodies, "the job is under way")
    upstream.behaviour = "ok"
    waiting = later(site, CHAT | {"seed": 2})
    site = again(site, edge(upstream))
    try:
        done = ended(site, job)
        assert (done["state"], done["attempts"]) == ("answered", 2)
        assert ended(site, waiting)["state"] == "answered"
        assert said(site.ask("GET", f"/v1/jobs/{job}/answer")[2]) == SAID
        ends = [one["job"] for one in events(site, 0, 6) if one["state"] == "answered"]
        assert len(ends) == len(set(ends))
    finally:
        site.stop()


def test_a_dead_link_defers_and_a_live_one_delivers(start: Start, upstream: Upstream) -> None:
    port = upstream.server.server_address[1]
    site = start(cloud(upstream), ENV)
    upstream.close()
    for _ in range(3):
        assert site.ask("POST", PATH, CHAT)[0] == 503
    status, headers, body = site.ask("POST", PATH, CHAT, ASYNC)
    assert (status, headers["ecotone-reason"]) == (202, "deferred.offline")
    job = json.loads(body)["id"]
    assert job_of(site, job)["state"] in ("waiting", "running")
    back = Upstream(port=port)
    try:
        done = ended(site, job)
        assert (done["state"], done["at"]) == ("answered", "cloud")
    finally:
        back.close()


def test_a_job_at_the_edge_gives_way(start: Start, upstream: Upstream) -> None:
    upstream.behaviour = "silent"
    config = edge(upstream)
    config["targets"]["ward"] |= {"slots": 1, "queue_max": 1}
    site = start(config)
    job = later(site)
    poll(lambda: upstream.bodies, "the job is under way")
    with contextlib.closing(site.begin(CHAT)) as caller:
        poll(upstream.gone.is_set, "the job gave way to who came")
        poll(lambda: job_of(site, job)["state"] == "waiting", "it waits again")
        assert job_of(site, job)["attempts"] == 0
        upstream.behaviour = "ok"
        upstream.release.set()
        caller.getresponse().read()
    assert ended(site, job)["state"] == "answered"


def test_cancel_retry_and_keys(start: Start, upstream: Upstream) -> None:
    upstream.behaviour = "silent"
    digests = {name: "sha256:" + hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "bob")}
    site = start(edge(upstream, keys=digests))
    ann, bob = ({"Authorization": f"Bearer {name}"} for name in ("ann", "bob"))
    job = later(site, **ann)
    for method, path in (("GET", ""), ("GET", "/answer"), ("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")):
        assert site.ask(method, f"/v1/jobs/{job}{path}", None, bob)[0] == 404
    assert json.loads(site.ask("GET", "/v1/jobs", None, bob)[2])["data"] == []
    poll(lambda: upstream.bodies, "the job is under way")
    assert site.ask("GET", f"/v1/jobs/{job}/answer?wait=0", None, ann)[0] == 202
    assert json.loads(site.ask("POST", f"/v1/jobs/{job}/cancel", None, ann)[2])["state"] == "cancelled"
    status, _, body = site.ask("GET", f"/v1/jobs/{job}/answer", None, ann)
    assert (status, json.loads(body)["error"]["code"]) == (409, "job.cancelled")
    poll(upstream.gone.is_set, "the work was stopped", 20)
    upstream.behaviour = "ok"
    upstream.release.set()
    status, _, body = site.ask("POST", f"/v1/jobs/{job}/retry", None, ann)
    assert status == 202
    new = json.loads(body)["id"]
    assert json.loads(site.ask("GET", f"/v1/jobs/{new}?wait=20", None, ann)[2])["state"] == "answered"
    assert site.ask("POST", f"/v1/jobs/{new}/retry", None, ann)[0] == 409


def test_a_webhook_hears_of_the_end_with_a_signature(start: Start, upstream: Upstream) -> None:
    with receiver() as (url, told):
        site = start(edge(upstream, jobs={"webhook_secret": "env:HOOK"}), {"HOOK": "s3cret"})
        assert site.ask("POST", PATH, CHAT, ASYNC | {"Ecotone-Webhook": "http://1.1.1.1/x"})[0] == 400
        job = later(site, Ecotone_Webhook=f"{url}/hook?a=1")
        poll(lambda: len(told) >= 2, "the notice comes, again after a refusal", 20)
        path, headers, body = told[-1]
        notice = json.loads(body)
        assert (path, notice["id"], notice["state"], notice["status"]) == ("/hook?a=1", job, "answered", 200)
        assert set(notice) == {"id", "state", "status", "reason", "ended_at"}
        at, _, digest = headers["ecotone-signature"].partition(",v1=")
        signed = at.removeprefix("t=").encode() + b"." + body
        assert hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest() == digest


def test_a_webhook_is_told_after_a_kill(start: Start, upstream: Upstream) -> None:
    with receiver() as (url, _):
        pass
    site = start(edge(upstream))
    job = later(site, Ecotone_Webhook=f"{url}/hook")
    ended(site, job)
    site = again(site, edge(upstream))
    try:
        with receiver(int(url.rsplit(":", 1)[1])) as (_, told):
            poll(lambda: len(told) >= 2, "the notice comes", 40)
            assert {json.loads(body)["id"] for _, _, body in told} == {job}
    finally:
        site.stop()


def test_events_go_on_after_the_last_one_seen(start: Start, upstream: Upstream) -> None:
    site = start(edge(upstream))
    ended(site, later(site))
    seen = events(site, 0, 3)
    assert [one["state"] for one in seen] == ["waiting", "running", "answered"]
    assert [one["state"] for one in events(site, seen[1]["seq"], 1)] == ["answered"]
    began_s = time.monotonic()
    with contextlib.closing(site.connect()) as connection:
        connection.request("GET", "/v1/jobs/events")
        answer = connection.getresponse()
        assert site.stop() == 0
        assert b"data" not in answer.read()
    assert time.monotonic() - began_s < 10, "a listener does not hold up the end"


# Files and batches.


def lines(count: int) -> bytes:
    rows = [
        {"custom_id": f"r{n}", "method": "POST", "url": PATH,
         "body": {"model": "assistant", "messages": [{"role": "user", "content": f"line {n}"}]}}
        for n in range(count)
    ]  # fmt: skip
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def client(site: Site) -> openai.OpenAI:
    return openai.OpenAI(base_url=site.url, api_key="unused", max_retries=0, timeout=30)


def batch_of(api: openai.OpenAI, content: bytes) -> Any:
    """A new batch with these lines."""
    file = api.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    return api.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"for": "test"}
    )


def results(api: openai.OpenAI, file: str | None) -> dict[str, Any]:
    """The lines of a file of results by the caller's names."""
    assert file
    return {one["custom_id"]: one for one in map(json.loads, api.files.content(file).text.splitlines())}


def content(line: dict[str, Any]) -> Any:
    return line["response"]["body"]["choices"][0]["message"]["content"]


def test_a_batch_through_the_official_client_with_a_kill_in_the_middle(start: Start, upstream: Upstream) -> None:
    upstream.behaviour = "echo"
    upstream.gap_s = 0.005
    config = edge(upstream, jobs={"concurrent": 4})
    site = start(config)
    with client(site) as api:
        batch = batch_of(api, lines(50))
        poll(lambda: len(upstream.bodies) >= 10, "some lines were asked", 30)
    site = again(site, config)
    try:
        with client(site) as api:
            poll(lambda: api.batches.retrieve(batch.id).status == "completed", "the batch is done", 30)
            batch = api.batches.retrieve(batch.id)
            assert batch.error_file_id is None
            assert (batch.request_counts.total, batch.request_counts.completed) == (50, 50)
            assert batch.metadata == {"for": "test"}
            told = results(api, batch.output_file_id)
            assert {name: content(one) for name, one in told.items()} == {f"r{n}": f"line {n}" for n in range(50)}
            assert [one.id for one in api.batches.list()] == [batch.id]
            assert {one.id for one in api.files.list()} == {batch.input_file_id, batch.output_file_id}
            assert api.files.content(batch.input_file_id).content == lines(50)
            assert api.files.delete(batch.input_file_id).deleted
    finally:
        site.stop()


def test_a_line_that_fails_and_a_file_that_is_wrong(start: Start, upstream: Upstream) -> None:
    site = start(edge(upstream, jobs={"concurrent": 8}))
    bad = {"custom_id": "bad", "method": "POST", "url": PATH, "body": {"model": "nobody", "messages": []}}
    with client(site) as api:
        batch = batch_of(api, lines(3) + json.dumps(bad).encode())
        poll(lambda: api.batches.retrieve(batch.id).status == "completed", "the batch is done", 30)
        batch = api.batches.retrieve(batch.id)
        assert (batch.request_counts.completed, batch.request_counts.failed) == (3, 1)
        assert set(results(api, batch.output_file_id)) == {"r0", "r1", "r2"}
        failed = results(api, batch.error_file_id)["bad"]
        assert failed["response"]["status_code"] == 400
        assert failed["response"]["body"]["error"]["code"] == "request.messages"
        batch = batch_of(api, lines(2) + b"no json\n" + lines(1))
        poll(lambda: api.batches.retrieve(batch.id).status == "failed", "the file is refused", 30)
        errors = api.batches.retrieve(batch.id).errors
        assert errors is not None
        assert errors.data is not None
        assert [(one.code, one.line) for one in errors.data] == [("invalid_json_line", 3), ("duplicate_custom_id", 4)]


def test_a_batch_that_is_cancelled_keeps_what_was_done(start: Start, upstream: Upstream) -> None:
    upstream.gap_s = 0.02
    site = start(edge(upstream, jobs={"concurrent": 1}))
    with client(site) as api:
        batch = batch_of(api, lines(40))
        poll(lambda: api.batches.retrieve(batch.id).request_counts.completed >= 2, "some are done", 30)  # type: ignore[union-attr]
        assert api.batches.cancel(batch.id).status == "cancelling"
        poll(lambda: api.batches.retrieve(batch.id).status == "cancelled", "it is over", 30)
        batch = api.batches.retrieve(batch.id)
        done, cut = results(api, batch.output_file_id), results(api, batch.error_file_id)
        assert len(done) >= 2
        assert {one["error"]["code"] for one in cut.values()} == {"batch_cancelled"}


def test_the_command_line_lists_shows_cancels_and_retries(start: Start, upstream: Upstream) -> None:
    upstream.behaviour = "silent"
    site = start(edge(upstream))
    job = later(site)

    def command(*words: str, code: int = 0) -> str:
        told = subprocess.run(
            [ECOTONE, "jobs", *words, "--url", site.url], capture_output=True, text=True, check=False, timeout=30
        )
        assert told.returncode == code, told.stderr
        return told.stdout

    assert job in command("list")
    assert [one["id"] for one in json.loads(command("list", "--json"))] == [job]
    assert "deadline at" in command("show", job)
    assert command("cancel", job) == f"{job}: cancelled\n"
    assert command("list", "--state", "waiting") == "no jobs\n"
    assert "asked again as job-" in command("retry", job)
    command("show", "job-1", code=1)


def test_the_link_is_told_and_a_metered_one_is_kept(start: Start, upstream: Upstream) -> None:
    port = upstream.server.server_address[1]
    closed = {"days": DAYS[(time.gmtime().tm_wday + 3) % 7], "from": "00:00", "to": "00:01"}
    site = start(cloud(upstream, link={"windows": [closed]}), ENV)
    status, headers, body = site.ask("POST", PATH, CHAT, ASYNC)
    assert (status, headers["ecotone-reason"]) == (202, "deferred.window")
    job = json.loads(body)["id"]
    told = site.status()["link"]
    assert (told["state"], told["window"], told["window_egress_bytes"]) == ("up", "closed", 0)
    assert site.status()["targets"]["big"]["link"]["state"] == "up"
    upstream.close()
    for _ in range(3):
        site.ask("POST", PATH, CHAT)
    poll(lambda: site.status()["link"]["state"] == "down", "the link is down")
    metrics = site.ask("GET", "/metrics")[2].decode()
    assert 'ecotone_link_state{target="big"} 2.0' in metrics
    assert "ecotone_site_link_state 2.0" in metrics
    assert job_of(site, job)["state"] == "waiting"
    screen = subprocess.run(
        [ECOTONE, "top", "-c", str(site.file), "--url", site.url.removesuffix("/v1"), "--count", "1"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "▁" in screen
    assert "down" in screen
    back = Upstream(port=port)
    try:
        poll(lambda: site.status()["link"]["state"] == "degraded", "the link is back, for a short while only")
        assert site.ask("POST", PATH, CHAT)[0] == 200, "who waits is served outside the windows too"
        assert job_of(site, job)["state"] == "waiting"
    finally:
        back.close()


def test_a_strict_link_is_closed_to_all_outside_its_windows(start: Start, upstream: Upstream) -> None:
    closed = {"days": DAYS[(time.gmtime().tm_wday + 3) % 7], "from": "00:00", "to": "00:01"}
    site = start(cloud(upstream, link={"windows": [closed], "interactive": "refused"}), ENV)
    status, headers, body = site.ask("POST", PATH, CHAT)
    assert (status, json.loads(body)["error"]["code"]) == (503, "refused.window")
    assert 0 < int(headers["retry-after"]) <= 3_600
    assert upstream.bodies == []


def test_a_job_of_the_local_model_gives_way_and_is_answered(start: Start) -> None:
    """The starter model decodes a long job; who comes and waits is served first."""
    config = {
        "targets": {"small": {"engine": "llama.cpp", "model": "smollm2-135m", "slots": 1, "context_tokens": 1024}},
        "models": {"assistant": {"targets": ["small"]}},
    }
    site = start(config, fill=link_starter)
    poll(lambda: all(one["state"] == "ready" for one in site.status()["engines"].values()), "the engine is ready", 60)
    long = CHAT | {"max_tokens": 250, "temperature": 0, "seed": 1}
    long["messages"] = [{"role": "user", "content": "Tell a very long story about a river, its birds and its stones."}]
    job = later(site, long)
    poll(lambda: job_of(site, job)["state"] == "running", "the job is under way", 20)
    poll(lambda: site.status()["targets"]["small"]["in_flight"], "the engine decodes it", 20)
    status, headers, _ = site.ask("POST", PATH, CHAT | {"max_tokens": 4})
    assert status == 200
    assert headers["ecotone-target"] == "small"
    now = job_of(site, job)
    assert now["ended_at"] is None, "the caller did not wait for its end"
    poll(lambda: job_of(site, job)["ended_at"], "the job ends", 120)
    done = job_of(site, job)
    assert (done["state"], done["target"]) == ("answered", "small")
