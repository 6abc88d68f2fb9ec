"""A real site and a real hub: joining, wishes, deliveries, reports; and all that must not depend on a hub."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecotone.hub.settings import Settings
from tests.e2e.conftest import ECOTONE, Site, Start, Upstream, poll
from tests.hub.served import OWNER, Served, Tls, TokenAsked, assign, made, opened, serving

ASK = {"model": "auto", "messages": [{"role": "user", "content": "hello"}]}
QUICK = {"report_minutes": 0.05, "poll_s": 2}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A hub's folder with two versions of `smol`."""
    return made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}")


@pytest.fixture
def hub(settings: Settings) -> Iterator[Served]:
    """The same, served."""
    with serving(settings) as served:
        yield served


def url(hub: Served) -> str:
    return f"http://127.0.0.1:{hub.port}"


def token(hub: Served, site: str = "test", **about: Any) -> str:
    with opened(hub.settings) as services:
        return str(services.sites.tokens.new(OWNER, TokenAsked(site=site, **about))[1])


def ecotone(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [ECOTONE, *arguments, "-c", str(folder / "ecotone.yaml")]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def joining(hub: Served, site: str = "test") -> Callable[[Path], None]:
    """Enrols the site before its first start."""

    def join(store: Path) -> None:
        done = ecotone("enroll", url(hub), token(hub, site), folder=store.parent)
        assert done.returncode == 0, done.stderr

    return join


def config(hub: Served, upstream: Upstream, **about: Any) -> dict[str, Any]:
    return {
        "hub": {"url": url(hub), **QUICK, **about},
        "targets": {"ward": {"url": f"http://127.0.0.1:{upstream.server.server_port}/v1", "model": "m", "at": "edge"}},
    }


def newest(hub: Served, site: str = "test") -> dict[str, Any]:
    with opened(hub.settings) as services:
        raw = services.reports.newest(site)
    return {} if raw is None else dict(json.loads(raw))


def states(site: Site) -> dict[str, str]:
    return {f"{one['name']}@{one['version']}": one["state"] for one in site.status()["hub"]["assets"]}


def entries(site: Site, start: str = "hub.") -> list[dict[str, Any]]:
    """Bodies of what stands in the ledger of messages to the hub."""
    found = []
    for line in site.ledger():
        body = line.get("body", line)
        if str(body.get("request", "")).startswith(start) and "origin" in body:
            found.append(body)
    return found


def test_a_site_joins_takes_what_is_wanted_and_tells_how_it_is(start: Start, hub: Served, upstream: Upstream) -> None:
    site = start(config(hub, upstream), fill=joining(hub))
    poll(lambda: newest(hub), "a first report", 20)
    assign(hub, "test", "smol@1")
    poll(lambda: states(site) == {"smol@1": "good"}, "the wish is carried out", 60)
    assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
    report = poll(lambda: (found := newest(hub))["traffic"]["requests"] and found, "the request is counted", 20)
    (asset,) = report["assets"]
    assert (asset["name"], asset["version"], asset["state"], report["generation"]) == ("smol", "1", "good", 1)
    assert report["traffic"]["at_edge"] == 1
    assert report["link"] == "up"

    # The owner reads word by word what the hub has, and the ledger speaks of each message.
    site.stop()
    said = json.loads(ecotone("status", "--sent", "--json", folder=site.store.parent).stdout)["sent"]
    assert report in [one["report"] for one in said]
    assert "hello" not in json.dumps(said)
    known = entries(site)
    assert {one["request"] for one in known} == {"hub.session", "hub.watch", "hub.report", "hub.fetch"}
    assert {one["origin"] for one in known} == {url(hub)}
    assert all(one["target"] == "hub" and one["labels"] == [] for one in known)
    evidence = json.loads(ecotone("evidence", "--to", "hub", "--json", folder=site.store.parent).stdout)
    with_body = [one for one in known if one["body_bytes"]]
    assert evidence["count"] == len(with_body)
    assert evidence["body_bytes"] == sum(one["body_bytes"] for one in with_body)
    assert evidence["is_complete"]


def test_a_hub_that_is_gone_for_ever_changes_nothing(
    start: Start, settings: Settings, upstream: Upstream, tmp_path: Path
) -> None:
    with serving(settings) as hub:
        site = start(config(hub, upstream), fill=joining(hub))
        assign(hub, "test", "smol@1")
        poll(lambda: states(site) == {"smol@1": "good"}, "the wish is carried out", 60)
    poll(lambda: site.status()["hub"]["state"] == "down", "the hub is seen to be gone", 20)
    assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
    # It is killed, and starts without one.
    site.stop(signal.SIGKILL)
    again = subprocess.Popen([ECOTONE, "up", "-c", str(site.file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert again.stdout is not None
        site.port = int(again.stdout.readline().decode().rsplit(":", 1)[1])
        assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
        status = poll(
            lambda: (found := site.status()["hub"])["outbox"]["waiting"] and found, "reports wait for the link", 20
        )
        assert status["verified_generation"] == 1
        assert states(site) == {"smol@1": "good"}
        assert site.status()["models"]
    finally:
        again.send_signal(signal.SIGTERM)
        assert again.wait(30) == 0
        if again.stdout is not None:
            again.stdout.close()


def test_where_no_byte_may_leave_the_hub_hears_nothing(start: Start, hub: Served, upstream: Upstream) -> None:
    site = start(config(hub, upstream), environ={"ECOTONE_NO_CLOUD": "1"}, fill=joining(hub))
    poll(lambda: site.status()["hub"]["state"] == "held", "it is held", 20)
    assign(hub, "test", "smol@1")
    assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
    assert site.status()["hub"]["why"] == "refused.no_cloud"
    assert newest(hub) == {}
    assert site.status()["hub"]["assets"] == []
    site.stop()
    assert entries(site) == []


def test_policy_keeps_the_site_from_its_hub_and_a_reload_lets_it_go(
    start: Start, hub: Served, upstream: Upstream
) -> None:
    tree = {**config(hub, upstream), "policy": [{"when": {"target": "hub"}, "egress": "never"}]}
    site = start(tree, fill=joining(hub))
    poll(lambda: site.status()["hub"]["why"] == "refused.policy", "policy says no", 20)
    assert newest(hub) == {}
    written = yaml.safe_load(site.file.read_text())
    site.file.write_text(yaml.safe_dump({**written, "policy": []}))
    site.ask("POST", "/admin/reload")
    poll(lambda: newest(hub), "a first report", 60)


def test_reports_that_are_off_stay_here_and_wishes_are_heard(start: Start, hub: Served, upstream: Upstream) -> None:
    site = start(config(hub, upstream, reports="off"), fill=joining(hub))
    assign(hub, "test", "smol@1")
    poll(lambda: states(site) == {"smol@1": "good"}, "the wish is carried out", 60)
    site.stop()
    assert newest(hub) == {}
    assert "hub.report" not in {one["request"] for one in entries(site)}


def test_who_is_revoked_serves_on_and_joins_again_with_a_new_token(
    start: Start, hub: Served, upstream: Upstream
) -> None:
    site = start(config(hub, upstream), fill=joining(hub))
    poll(lambda: newest(hub), "a first report", 20)
    with opened(hub.settings) as services:
        services.sites.revoke(OWNER, "test", "stolen")
    poll(lambda: site.status()["hub"]["state"] == "refused", "it hears that it is revoked", 60)
    assert any("ecotone enroll" in trouble for trouble in site.status()["troubles"])
    assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
    site.stop()
    seq = newest(hub)["seq"]
    done = ecotone("enroll", url(hub), token(hub, again=True), folder=site.store.parent)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(
        [ECOTONE, "up", "-c", str(site.file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        poll(lambda: newest(hub)["seq"] > seq, "it reports again", 60)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_a_site_that_was_restored_is_heard_above_what_the_hub_knows(
    start: Start, hub: Served, upstream: Upstream, tmp_path: Path
) -> None:
    site = start(config(hub, upstream), fill=joining(hub))
    poll(lambda: newest(hub), "a first report", 20)
    shutil.copy(site.store / "hub" / "outbox.sqlite", tmp_path / "backup")
    poll(lambda: newest(hub)["seq"] >= 4, "some more", 60)
    site.stop()
    seq, boot = newest(hub)["seq"], newest(hub)["boot"]
    shutil.copy(tmp_path / "backup", site.store / "hub" / "outbox.sqlite")
    process = subprocess.Popen(
        [ECOTONE, "up", "-c", str(site.file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        poll(lambda: newest(hub)["seq"] > seq, "its reports count", 60)
        assert newest(hub)["boot"] == boot + 1
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_a_new_version_comes_while_requests_are_answered(start: Start, hub: Served, upstream: Upstream) -> None:
    site = start(config(hub, upstream), fill=joining(hub))
    assign(hub, "test", "smol@1")
    poll(lambda: states(site) == {"smol@1": "good"}, "the first", 60)
    assign(hub, "test", "smol@2")
    while states(site).get("smol@2") != "good":
        assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
    assert site.gauge("ecotone_hub_generation") >= 4
    assert site.status()["hub"]["verified_generation"] == 2


def test_tokens_that_are_none_and_hubs_that_are_none(hub: Served, tmp_path: Path) -> None:
    folder = tmp_path / "alone"
    folder.mkdir()
    (folder / "ecotone.yaml").write_text(yaml.safe_dump({"site": "test", "store": {"path": str(folder / "store")}}))
    bad = ecotone("enroll", url(hub), "eco1.nobody.knows-this-one", folder=folder)
    assert (bad.returncode, "hub" in bad.stderr) == (2, True)
    assert ecotone("enroll", url(hub), "not a token", folder=folder).returncode == 2
    assert ecotone("enroll", "http://127.0.0.1:9", "eco1.a.b", folder=folder).returncode == 3
    assert ecotone("enroll", "ftp://x", "eco1.a.b", folder=folder).returncode == 2
    wrong = ecotone("enroll", url(hub), token(hub), "--fingerprint", "00" * 32, folder=folder)
    assert (wrong.returncode, "not trusted" in wrong.stderr) == (1, True)
    assert not (folder / "store" / "hub" / "joined.json").exists()
    good = ecotone("enroll", url(hub), token(hub, again=True), "--json", folder=folder)
    assert good.returncode == 0, good.stderr + good.stdout
    assert json.loads(good.stdout)["site"] == "test"
    assert (folder / "store" / "hub" / "joined.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["joined.json", "identity.key", "trials.json", "outbox.sqlite"])
def test_what_is_damaged_of_a_hub_keeps_no_site_from_serving(
    start: Start, hub: Served, upstream: Upstream, name: str
) -> None:
    def damage(store: Path) -> None:
        joining(hub)(store)
        (store / "hub" / name).write_bytes(b"\xff not what it was " * 50)

    site = start(config(hub, upstream), fill=damage)
    assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200
    if name in ("joined.json", "identity.key"):
        assert any("the hub is not asked" in trouble for trouble in site.status()["troubles"])
        assert "hub" not in site.status()
    else:
        poll(lambda: newest(hub), "reports go", 30)


def test_a_hub_behind_tls_is_known_by_its_own_authority(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {key} -out {cert} -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    subprocess.run(make.split(), check=True, capture_output=True)
    chosen = made(tmp_path, f"sqlite:///{tmp_path / 'state' / 'hub.db'}", tls=Tls(cert=str(cert), key=str(key)))
    with serving(chosen) as hub:
        address = f"https://localhost:{hub.port}"

        def join(store: Path) -> None:
            folder = store.parent
            command = [ECOTONE, "enroll", address, token(hub), "-c", str(folder / "ecotone.yaml")]
            unknown = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
            assert unknown.returncode == 3, unknown.stderr
            env = {**os.environ, "SSL_CERT_FILE": str(cert)}
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env)
            assert done.returncode == 0, done.stderr

        tree = config(hub, upstream)
        tree["hub"] |= {"url": address, "ca_file": str(cert)}
        site = start(tree, fill=join)
        assign(hub, "test", "smol@1")
        poll(lambda: states(site) == {"smol@1": "good"}, "a delivery over TLS", 60)
        poll(lambda: newest(hub), "a report over TLS", 20)
        # Another authority than the one that is trusted: nothing goes there, and requests are answered.
        written = yaml.safe_load(site.file.read_text())
        site.file.write_text(yaml.safe_dump({**written, "hub": {"url": address, **QUICK}}))
        site.ask("POST", "/admin/reload")
        poll(lambda: site.status()["hub"]["why"] == "tls", "the certificate does not hold", 30)
        assert site.ask("POST", "/v1/chat/completions", ASK)[0] == 200


def test_a_site_that_takes_models_by_command_only_asks_and_reports(
    start: Start, hub: Served, upstream: Upstream
) -> None:
    site = start(config(hub, upstream, deliver="command"), fill=joining(hub))
    assign(hub, "test", "smol@1")
    poll(lambda: site.status()["hub"]["generation"] == 1, "it hears of it", 30)
    poll(lambda: newest(hub), "it reports", 30)
    assert site.status()["hub"]["verified_generation"] is None
    site.stop()
    assert "hub.fetch" not in {one["request"] for one in entries(site)}
