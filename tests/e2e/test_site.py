"""A site as its users meet it: a real process, real sockets, the official client, a scripted upstream."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.e2e.conftest import ECOTONE, Site, Start, Upstream, poll

CHAT = {"model": "assistant", "messages": [{"role": "user", "content": "PLANTED-SECRET-7731 hello"}]}


def cloud(upstream: Upstream, **more: Any) -> dict[str, Any]:
    """One cloud target behind the name `assistant`."""
    big = {"url": upstream.url, "model": "large-1", "key": "env:UP_KEY", "at": "cloud"} | more
    return {"targets": {"big": big}, "models": {"assistant": {"targets": ["big"]}}}


def pair(first: Upstream, second: Upstream, **more: Any) -> dict[str, Any]:
    """A cloud target first, a server on the premises second."""
    config = cloud(first)
    config["targets"]["ward"] = {"url": second.url, "model": "small-1", "at": "edge"}
    config["models"]["assistant"] = {"targets": ["big", "ward"], "mode": "cloud"}
    return config | more


ENV = {"UP_KEY": "sk-planted-key-42"}


@pytest.fixture
def second() -> Any:
    """Another upstream, at the edge."""
    made = Upstream()
    made.words = ["The ", "edge ", "says ", "hello."]
    yield made
    made.close()


def client(site: Site) -> openai.OpenAI:
    return openai.OpenAI(base_url=site.url, api_key="unused", max_retries=0, timeout=30)


def test_the_official_client_with_only_base_url_changed(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream), ENV)
    with client(site) as api:
        whole = api.chat.completions.create(**CHAT)
        assert whole.choices[0].message.content == "The cloud says hello."
        assert whole.model == "large-1"
        pieces = list(api.chat.completions.create(**CHAT, stream=True))
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == "The cloud says hello."
        assert all(piece.usage is None for piece in pieces), "usage was not asked for by this caller"
        counted = list(api.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
        assert counted[-1].usage is not None
        assert [model.id for model in api.models.list()] == ["assistant"]
    assert upstream.bodies[0]["model"] == "large-1"
    assert upstream.headers[0]["authorization"] == "Bearer sk-planted-key-42"
    assert upstream.bodies[1]["stream_options"] == {"include_usage": True}, "asked of the upstream all the same"


def test_headers_say_where_it_went_and_why(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream), ENV)
    status, headers, _ = site.ask("POST", "/v1/chat/completions", CHAT, {"Ecotone-Debug": "1"})
    assert status == 200
    assert (headers["ecotone-placed"], headers["ecotone-target"]) == ("cloud", "big")
    assert headers["ecotone-reason"] == "cloud.better"
    assert float(headers["ecotone-overhead-ms"]) < 1000
    assert int(headers["ecotone-egress-bytes"]) > 0
    assert headers["ecotone-attempts"] == "big"


def test_unknown_fields_go_through_untouched(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream), ENV)
    body = CHAT | {"seed": 7, "stop": ["x"], "x_vendor": {"deep": [1, "model"]}, "tools": [], "logprobs": True}
    site.ask("POST", "/v1/chat/completions", body)
    assert upstream.bodies[0] == body | {"model": "large-1"}


def test_a_target_may_always_be_asked_for_a_stream(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream, always_stream=True), ENV)
    with client(site) as api:
        whole = api.chat.completions.create(**CHAT)
    assert whole.choices[0].message.content == "The cloud says hello."
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 4
    assert upstream.bodies[0]["stream"] is True


def test_an_unknown_model_is_openais_404_and_names_those_that_exist(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream), ENV)
    with client(site) as api, pytest.raises(openai.NotFoundError) as caught:
        api.chat.completions.create(**CHAT | {"model": "gpt-9"})
    assert "assistant" in caught.value.message
    assert caught.value.code == "model_not_found"


FAILURES: dict[str, tuple[str, str]] = {
    "503": ("http_503", "503"),
    "502": ("http_502", "502"),
    "500": ("http_500", "500"),
    "504": ("http_5xx", "504"),
    "429": ("rate_limited", "429"),
    "429 with Retry-After": ("rate_limited", "429-5"),
    "401": ("unauthorised", "401"),
    "403": ("forbidden", "403"),
    "404": ("no_model", "404"),
    "302": ("redirect", "302"),
    "a web page": ("captive_portal", "html"),
    "silent": ("first_byte_timeout", "silent"),
    "empty stream": ("empty_stream", "empty"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("stream", [False, True])
def test_each_class_of_failure_goes_to_the_next_target(
    start: Start, upstream: Upstream, second: Upstream, case: str, stream: bool
) -> None:
    failure, behaviour = FAILURES[case]
    if behaviour == "empty" and not stream:
        behaviour, failure = "html", "captive_portal"
    upstream.behaviour = behaviour
    site = start(pair(upstream, second, timeouts={"first_byte_s": 0.3, "whole_s": 0.3}), ENV)
    status, headers, body = site.ask("POST", "/v1/chat/completions", CHAT | {"stream": stream})
    assert status == 200, body
    assert b"edge " in body
    assert b"cloud " not in body
    assert headers["ecotone-reason"] == f"fallback.{failure}"
    assert headers["ecotone-placed"] == "edge"


def _refused() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


UNREACHABLE: dict[str, tuple[str, Callable[[], str]]] = {
    "dns": ("dns", lambda: "http://no-such-host.invalid/v1"),
    "refused": ("refused", _refused),
}


@pytest.mark.parametrize("case", ["dns", "refused"])
def test_an_unreachable_cloud_costs_one_bounded_wait_and_then_nothing(
    start: Start, second: Upstream, upstream: Upstream, case: str
) -> None:
    failure, url = UNREACHABLE[case]
    config = pair(upstream, second, timeouts={"connect_s": 1.0})
    config["targets"]["big"]["url"] = url()
    site = start(config, ENV)
    reasons = [site.ask("POST", "/v1/chat/completions", CHAT)[1]["ecotone-reason"] for _ in range(3)]
    assert reasons == [f"fallback.{failure}", "edge.offline", "edge.offline"]


def test_a_cut_stream_never_looks_complete(start: Start, upstream: Upstream) -> None:
    upstream.behaviour = "cut"
    site = start(cloud(upstream), ENV)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request("POST", "/v1/chat/completions", json.dumps(CHAT | {"stream": True}))
    answer = connection.getresponse()
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    seen = caught.value.partial
    connection.close()
    assert b"cloud " in seen
    assert b"[DONE]" not in seen
    last = [line for line in seen.split(b"\n\n") if line][-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "reset"


def test_a_caller_who_leaves_stops_the_work_upstream(start: Start, upstream: Upstream) -> None:
    upstream.words = ["w "] * 2000
    upstream.gap_s = 0.005
    site = start(cloud(upstream), ENV)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request("POST", "/v1/chat/completions", json.dumps(CHAT | {"stream": True}))
    answer = connection.getresponse()
    answer.read1(10)
    assert connection.sock is not None
    connection.sock.close()
    connection.close()
    assert upstream.gone.wait(5.0)


def test_limits_are_told_at_once_in_openais_shape(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream) | {"limits": {"body_bytes_max": 2048, "in_flight_max": 1}}, ENV)
    big = CHAT | {"messages": [{"role": "user", "content": "x" * 4096}]}
    status, _, body = site.ask("POST", "/v1/chat/completions", big)
    assert status == 413
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    upstream.behaviour = "silent"
    waiting = threading.Thread(target=site.ask, args=("POST", "/v1/chat/completions", CHAT))
    waiting.start()
    assert upstream.begun.wait(10)
    status, headers, body = site.ask("POST", "/v1/chat/completions", CHAT)
    assert status == 503
    assert int(headers["retry-after"]) >= 1
    assert json.loads(body)["error"]["code"] == "refused.concurrency"
    upstream.release.set()
    waiting.join()


def test_keys_are_asked_for_and_a_wrong_one_is_told(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream) | {"keys": {"app": "env:APP_KEY"}}, ENV | {"APP_KEY": "eco-secret"})
    assert site.ask("POST", "/v1/chat/completions", CHAT)[0] == 401
    assert site.ask("GET", "/v1/models", headers={"Authorization": "Bearer wrong"})[0] == 401
    assert site.ask("GET", "/v1/models", headers={"Authorization": "Bearer eco-secret"})[0] == 200
    assert site.ask("GET", "/v1/models", headers={"x-api-key": "eco-secret"})[0] == 200
    assert site.ask("GET", "/healthz")[0] == 200


def test_a_web_page_of_elsewhere_may_not_use_a_site_without_keys(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream), ENV)
    for origin, status in (("http://evil.test:3266", 403), ("null", 403), ("http://localhost:3000", 200)):
        assert site.ask("POST", "/v1/chat/completions", CHAT, {"Origin": origin})[0] == status, origin
    assert len(upstream.bodies) == 1


def test_a_label_keeps_data_at_the_site_whatever_the_caller_wishes(
    start: Start, upstream: Upstream, second: Upstream
) -> None:
    site = start(pair(upstream, second), ENV)
    wish = {"Ecotone-Labels": "secret", "Ecotone-Place": "cloud"}
    _, headers, _ = site.ask("POST", "/v1/chat/completions", CHAT, wish)
    assert headers["ecotone-reason"] == "edge.private"
    second.behaviour = "503"
    status, headers, body = site.ask("POST", "/v1/chat/completions", CHAT, wish)
    assert status == 503, body
    assert upstream.bodies == [], "no fallback goes round the label"


def test_no_cloud_beats_the_file(start: Start, upstream: Upstream, second: Upstream) -> None:
    site = start(pair(upstream, second), ENV | {"ECOTONE_NO_CLOUD": "1"})
    _, headers, _ = site.ask("POST", "/v1/chat/completions", CHAT, {"Ecotone-Place": "cloud"})
    assert headers["ecotone-placed"] == "edge"
    assert upstream.bodies == []


def test_explain_before_and_after(start: Start, upstream: Upstream, second: Upstream) -> None:
    site = start(pair(upstream, second), ENV)
    status, _, body = site.ask("POST", "/v1/explain", CHAT)
    before = json.loads(body)
    assert status == 200
    assert upstream.bodies == []
    assert (before["target"], before["reason"]) == ("big", "cloud.better")
    _, headers, _ = site.ask("POST", "/v1/chat/completions", CHAT)
    request = headers["ecotone-id"]
    after = json.loads(site.ask("GET", f"/v1/explain/{request}")[2])
    assert [entry["kind"] for entry in after["entries"]] == ["placed", "egress", "outcome"]
    told = subprocess.run(
        [ECOTONE, "explain", request, "-c", site.file, "--json"], capture_output=True, text=True, check=False,
        env=os.environ | {"ECOTONE_LISTEN_PORT": str(site.port)} | ENV,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert request in told.stdout


def test_nothing_the_site_writes_holds_content_or_secrets(start: Start, upstream: Upstream, second: Upstream) -> None:
    site = start(pair(upstream, second, log={"level": "debug"}), ENV)
    site.ask("POST", "/v1/chat/completions", CHAT)
    upstream.behaviour = "503"
    site.ask("POST", "/v1/chat/completions", CHAT | {"stream": True})
    site.ask("POST", "/v1/chat/completions", b'{"model": "assistant", PLANTED-SECRET-7731')
    _, _, metrics = site.ask("GET", "/metrics")
    status = site.ask("GET", "/admin/status")[2]
    site.stop()
    written = metrics + status + site.log.read_bytes()
    written += b"".join(path.read_bytes() for path in site.store.rglob("*") if path.is_file())
    for planted in (b"PLANTED-SECRET-7731", b"sk-planted-key-42", b"cloud says"):
        assert planted not in written


def test_the_ledger_verifies_and_a_changed_byte_is_found(start: Start, upstream: Upstream) -> None:
    site = start(cloud(upstream), ENV)
    for _ in range(5):
        site.ask("POST", "/v1/chat/completions", CHAT)
    site.stop()
    kinds = [entry["kind"] for entry in site.ledger()]
    assert kinds.count("egress") == 5
    assert kinds.count("outcome") == 5
    verify = [ECOTONE, "ledger", "verify", "-c", str(site.file)]
    assert subprocess.run(verify, capture_output=True, check=False).returncode == 0
    segment = next(path for path in sorted((site.store / "ledger").glob("*.jsonl")) if b'"egress"' in path.read_bytes())
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b'"body_bytes":', b'"body_bytez":', 1))
    broken = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert broken.returncode == 1
    assert segment.name in broken.stdout + broken.stderr


def test_the_days_spending_survives_a_kill(start: Start, upstream: Upstream, second: Upstream) -> None:
    price = {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 1e6}
    config = pair(upstream, second, budgets={"cloud_usd_per_day": 300.0})
    config["targets"]["big"]["price"] = price
    site = start(config, ENV)
    body = CHAT | {"max_tokens": 8}
    assert site.ask("POST", "/v1/chat/completions", body)[1]["ecotone-placed"] == "cloud"
    assert json.loads(site.ask("GET", "/admin/status")[2])["today"]["cloud_usd"] == pytest.approx(4.0)
    path = f"/v1/explain/{site.ask('POST', '/v1/chat/completions', body)[1]['ecotone-id']}"
    # Asking makes durable what was noted; the answer may be here a moment before its outcome is.
    poll(lambda: json.loads(site.ask("GET", path)[2])["outcome"], "the second outcome is durable")
    site.stop(signal.SIGKILL)
    again = Site(site.file.parent, config, ENV, ()).wait()
    try:
        assert json.loads(again.ask("GET", "/admin/status")[2])["today"]["cloud_usd"] == pytest.approx(8.0)
    finally:
        again.stop()


def test_a_reload_is_atomic_and_a_wrong_file_changes_nothing(
    start: Start, upstream: Upstream, second: Upstream
) -> None:
    site = start(pair(upstream, second), ENV)
    good = site.file.read_text()
    site.file.write_text(good.replace("mode: cloud", "mode: edge"))
    assert site.ask("POST", "/admin/reload")[0] == 200
    assert site.ask("POST", "/v1/chat/completions", CHAT)[1]["ecotone-placed"] == "edge"
    site.file.write_text(good.replace("mode: cloud", "mode: clowd"))
    status, _, body = site.ask("POST", "/admin/reload")
    assert status == 400
    assert b"models.assistant.mode" in body
    assert site.ask("POST", "/v1/chat/completions", CHAT)[1]["ecotone-placed"] == "edge"
    site.stop()
    changes = [entry["body"]["what"] for entry in site.ledger() if entry["kind"] == "config"]
    assert changes[:3] == ["started", "reloaded", "rejected"]


def test_shutdown_finishes_streams_and_exits_cleanly(start: Start, upstream: Upstream) -> None:
    upstream.words = ["w "] * 40
    upstream.gap_s = 0.02
    site = start(cloud(upstream), ENV)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request("POST", "/v1/chat/completions", json.dumps(CHAT | {"stream": True}))
    answer = connection.getresponse()
    first = answer.read1(10)
    site.process.send_signal(signal.SIGTERM)
    rest = first + answer.read()
    connection.close()
    assert rest.endswith(b"data: [DONE]\n\n")
    assert site.stop() == 0


def test_a_non_loopback_address_without_keys_refuses_to_start(tmp_path: Any) -> None:
    file = tmp_path / "ecotone.yaml"
    file.write_text("listen: {address: 0.0.0.0}\n")
    done = subprocess.run([ECOTONE, "up", "-c", str(file)], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert "keys" in done.stderr


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs root and unshare for a netns")
def test_with_no_network_at_all_start_health_and_models_are_the_same(start: Start, upstream: Upstream) -> None:
    script = """
import http.client, sys
for path in ("/healthz", "/readyz", "/v1/models", "/metrics"):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    connection.request("GET", path)
    print(path, connection.getresponse().status)
"""
    site = start(cloud(upstream) | {"targets": {"big": cloud(upstream)["targets"]["big"] | {"url": "http://cloud.invalid/v1"}}},
                 ENV, ("unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"))  # fmt: skip
    inside = subprocess.run(
        ["nsenter", "-t", str(site.process.pid), "-n", sys.executable, "-c", script, str(site.port)],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert inside.stdout.split() == ["/healthz", "200", "/readyz", "200", "/v1/models", "200", "/metrics", "200"]
