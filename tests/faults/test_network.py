"""The link fails in every way that a link can: real network namespaces, real packets, a real site.

Nothing outside this machine is touched: the "cloud" is a namespace of our own at the other end of a veth pair.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Site, Start, Upstream, network_of, poll

SITE_IP, CLOUD_IP, PUBLIC_IP = "10.77.0.1", "10.77.0.2", "203.0.113.5"
ENV = {"UP_KEY": "sk-planted-key-42"}
CHAT = {"model": "assistant", "messages": [{"role": "user", "content": "hello"}]}
ONE_WAIT_S = 1.6
"""One bounded wait: `connect_s` is 1.0 by default, and the test itself needs some time."""

numbers = itertools.count()


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


class Link:
    """Two namespaces and the link between them."""

    def __init__(self) -> None:
        mark = f"{os.getpid()}-{next(numbers)}"
        self.site, self.cloud = f"eco-site-{mark}", f"eco-cloud-{mark}"

    def make(self) -> None:
        run("ip", "netns", "add", self.site)
        run("ip", "netns", "add", self.cloud)
        run("ip", "-n", self.site, "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", self.cloud)
        for name, device, address in ((self.site, "up0", SITE_IP), (self.cloud, "up1", CLOUD_IP)):
            run("ip", "-n", name, "address", "add", f"{address}/24", "dev", device)
            run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", name, "link", "set", device, "up")
        run("ip", "-n", self.cloud, "address", "add", f"{PUBLIC_IP}/32", "dev", "lo")
        run("ip", "-n", self.site, "route", "add", "default", "via", CLOUD_IP)

    def remove(self) -> None:
        for name in (self.site, self.cloud):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True, timeout=20)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)

    def at_site(self) -> contextlib.AbstractContextManager[None]:
        """New sockets are the site's."""
        return network_of(f"/run/netns/{self.site}")

    def in_cloud(self) -> contextlib.AbstractContextManager[None]:
        """New sockets are the cloud's."""
        return network_of(f"/run/netns/{self.cloud}")

    def swallow(self) -> None:
        """From now on nothing comes back, and nobody says so."""
        run("ip", "-n", self.cloud, "route", "add", "blackhole", f"{SITE_IP}/32")

    def heal(self) -> None:
        """The end of `swallow`."""
        run("ip", "-n", self.cloud, "route", "delete", "blackhole", f"{SITE_IP}/32")

    def down(self) -> None:
        """The cable is pulled at the site."""
        run("ip", "-n", self.site, "link", "set", "up0", "down")

    def up(self) -> None:
        """The end of `down`."""
        run("ip", "-n", self.site, "link", "set", "up0", "up")
        run("ip", "-n", self.site, "route", "replace", "default", "via", CLOUD_IP)

    def narrow(self, kbit: int) -> None:
        """Both ways."""
        for name, device in ((self.site, "up0"), (self.cloud, "up1")):
            shape = ("rate", f"{kbit}kbit", "burst", "1600", "latency", "800ms")
            run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", device, "root", "tbf", *shape)

    def watch(self) -> Watch:
        """Sees all packets on the site's end from now on."""
        with self.at_site():
            return Watch("up0")


class Watch:
    """All IP packets that the site sends out over the link."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind((device, 3))
        self._socket.setblocking(False)

    def sent(self) -> list[tuple[str, int]]:
        """(receiver, bytes) of each TCP or UDP packet since the last look; the kernel has seen them as they left."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, where = self._socket.recvfrom(65536)
                is_ours = where[2] == socket.PACKET_OUTGOING and frame[12:14] == b"\x08\x00"
                if is_ours and frame[23] in (socket.IPPROTO_TCP, socket.IPPROTO_UDP):
                    found.append((socket.inet_ntoa(frame[30:34]), len(frame)))
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def link() -> Iterator[Link]:
    """A link of our own."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    made = Link()
    try:
        made.make()
    except subprocess.CalledProcessError as error:
        made.remove()
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield made
    made.remove()


@pytest.fixture
def cloud(link: Link) -> Iterator[Upstream]:
    """The instrument at the far end of the link."""
    with link.in_cloud():
        made = Upstream("0.0.0.0")
    made.address = CLOUD_IP
    yield made
    made.close()


@pytest.fixture
def ward(link: Link) -> Iterator[Upstream]:
    """The instrument on the premises."""
    with link.at_site():
        made = Upstream()
    made.words = ["The ", "edge ", "says ", "hello."]
    yield made
    made.close()


@pytest.fixture
def watch(link: Link) -> Iterator[Watch]:
    made = link.watch()
    yield made
    made.close()


Open = Callable[..., Site]


@pytest.fixture
def site_at(start: Start, link: Link) -> Open:
    """Starts a site at its end of the link: `(cloud, ward, **more)`."""

    def begin(cloud: Upstream, ward: Upstream, environ: dict[str, str] | None = None, **more: Any) -> Site:
        big = {"url": cloud.url, "model": "large-1", "key": "env:UP_KEY", "at": "cloud"} | more.pop("big", {})
        config = {
            "targets": {"big": big, "ward": {"url": ward.url, "model": "small-1", "at": "edge"}},
            "models": {"assistant": {"targets": ["big", "ward"], "mode": "cloud"}},
            # Company for a slow target would answer before what is looked for here shows.
            "hedging": {"share": 0},
        }
        site = start(config | more, ENV | (environ or {}), ("ip", "netns", "exec", link.site))
        site.around = link.at_site
        return site

    return begin


def ask(site: Site, **more: Any) -> tuple[str, float]:
    """(reason, seconds) of a chat that must be answered."""
    began_s = time.monotonic()
    status, headers, body = site.ask("POST", "/v1/chat/completions", CHAT | more)
    assert status == 200, body
    return headers["ecotone-reason"], time.monotonic() - began_s


def is_at_cloud(site: Site) -> bool:
    return ask(site)[0] == "cloud.better"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("before", ["never used", "used a moment ago"])
@pytest.mark.parametrize("how", ["swallowed", "cable pulled"])
def test_a_dead_link_costs_one_bounded_wait_and_the_cloud_is_back_when_the_link_is(
    link: Link, cloud: Upstream, ward: Upstream, site_at: Open, how: str, before: str, stream: bool
) -> None:
    site = site_at(cloud, ward)
    if before == "used a moment ago":
        assert is_at_cloud(site)
    (link.swallow if how == "swallowed" else link.down)()
    reason, took_s = ask(site, stream=stream)
    assert reason in (
        ("fallback.connect_timeout",) if how == "swallowed" else ("fallback.connect_timeout", "fallback.refused")
    )
    assert took_s < ONE_WAIT_S
    for _ in range(5):
        reason, later_s = ask(site, stream=stream)
        assert reason == "edge.offline"
        assert later_s < 0.3
    (link.heal if how == "swallowed" else link.up)()
    healed_s = time.monotonic()
    poll(lambda: is_at_cloud(site), "the cloud is used again", 3.0)
    print(f"\nMEASURED {how}, {before}, stream={stream}: first {took_s:.3f} s, then {later_s:.4f} s, "
          f"back after {time.monotonic() - healed_s:.3f} s")  # fmt: skip


def test_ten_callers_at_once_wait_no_longer_than_one(
    link: Link, cloud: Upstream, ward: Upstream, site_at: Open
) -> None:
    site = site_at(cloud, ward)
    assert is_at_cloud(site)
    link.swallow()
    waits: list[float] = []
    callers = [threading.Thread(target=lambda: waits.append(ask(site)[1])) for _ in range(10)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(waits) == 10
    assert max(waits) < ONE_WAIT_S + 0.5
    assert ask(site)[0] == "edge.offline"


def test_a_link_that_dies_in_mid_stream_is_told_and_not_waited_for_long(
    link: Link, cloud: Upstream, ward: Upstream, site_at: Open
) -> None:
    cloud.words, cloud.gap_s = ["w "] * 1000, 0.01
    site = site_at(cloud, ward, timeouts={"idle_s": 0.5})
    with contextlib.closing(site.begin(CHAT | {"stream": True})) as connection:
        answer = connection.getresponse()
        answer.read1(10)
        link.swallow()
        cut_s = time.monotonic()
        with pytest.raises(http.client.IncompleteRead) as caught:
            answer.read()
    assert b'"code":"idle_timeout"' in caught.value.partial
    assert time.monotonic() - cut_s < 2.0
    link.heal()


@pytest.mark.parametrize("stream", [False, True])
def test_a_reset_in_mid_answer_is_one_error_event_and_no_clean_end(
    cloud: Upstream, ward: Upstream, site_at: Open, stream: bool
) -> None:
    cloud.behaviour = "reset"
    site = site_at(cloud, ward, big={"always_stream": True})
    if not stream:
        assert ask(site)[0] == "fallback.reset", "nothing was told to the caller yet"
        return
    with contextlib.closing(site.begin(CHAT | {"stream": True})) as connection:
        answer = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as caught:
            answer.read()
    events = [event for event in caught.value.partial.split(b"\n\n") if event]
    assert json.loads(events[-1].removeprefix(b"data: "))["error"]["code"] == "reset"
    assert sum(b'"error"' in event for event in events) == 1
    assert b"edge" not in caught.value.partial


class Names:
    """A name server in the cloud: silent, or all names are the cloud's address."""

    def __init__(self, link: Link) -> None:
        with link.in_cloud():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((CLOUD_IP, 53))
        self._socket.settimeout(0.05)
        self.asked = 0
        self.is_silent = True
        self._is_over = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._is_over:
            with contextlib.suppress(TimeoutError):
                query, caller = self._socket.recvfrom(2048)
                self.asked += 1
                if not self.is_silent:
                    self._socket.sendto(self._answer(query), caller)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\0", 12) + 5
        is_a = query[end - 4 : end - 2] == b"\0\1"
        record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(CLOUD_IP) if is_a else b""
        return query[:2] + b"\x81\x80\0\1" + struct.pack(">H", is_a) + b"\0\0\0\0" + query[12:end] + record

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        self._socket.close()


@pytest.fixture
def names(link: Link) -> Iterator[Names]:
    folder = Path("/etc/netns") / link.site
    folder.mkdir(parents=True)
    (folder / "resolv.conf").write_text(f"nameserver {CLOUD_IP}\n")
    made = Names(link)
    yield made
    made.close()


def test_a_name_server_that_never_answers_costs_one_bounded_wait(
    cloud: Upstream, ward: Upstream, names: Names, site_at: Open
) -> None:
    site = site_at(cloud, ward, big={"url": cloud.url.replace(CLOUD_IP, "cloud.example")})
    reason, took_s = ask(site)
    assert names.asked > 0, "it was this server that was asked"
    assert reason == "fallback.dns"
    assert took_s < ONE_WAIT_S
    for _ in range(3):
        reason, later_s = ask(site)
        assert reason == "edge.offline"
        assert later_s < 0.3
    names.is_silent = False
    back_s = time.monotonic()
    poll(lambda: is_at_cloud(site), "the cloud is used again", 12.0)
    print(f"\nMEASURED silent name server: first {took_s:.3f} s, back after {time.monotonic() - back_s:.3f} s")


def test_a_site_ends_at_once_though_a_name_is_still_being_asked_for(
    cloud: Upstream, ward: Upstream, names: Names, site_at: Open
) -> None:
    site = site_at(cloud, ward, big={"url": cloud.url.replace(CLOUD_IP, "cloud.example")})
    assert ask(site)[0] == "fallback.dns"
    told_s = time.monotonic()
    assert site.stop() == 0
    assert time.monotonic() - told_s < 2.0


@pytest.fixture
def trust(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS for the cloud's address, and the certificate that vouches for it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", "/CN=cloud", "-addext", f"subjectAltName=IP:{CLOUD_IP}", "-keyout", str(key), "-out",
        str(certificate))  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


@pytest.mark.parametrize("is_trusted", [False, True])
def test_tls_is_believed_only_where_an_authority_of_ours_vouches_for_it(
    link: Link, ward: Upstream, site_at: Open, trust: tuple[ssl.SSLContext, Path], is_trusted: bool
) -> None:
    with link.in_cloud():
        cloud = Upstream(CLOUD_IP, trust[0])
    try:
        site = site_at(cloud, ward, big={"ca_file": str(trust[1])} if is_trusted else {})
        assert ask(site)[0] == ("cloud.better" if is_trusted else "fallback.tls")
        assert len(cloud.bodies) == is_trusted, "no byte of the request before trust"
    finally:
        cloud.close()


@pytest.mark.parametrize("is_ours", [False, True])
def test_nothing_goes_to_a_public_address_as_the_edge_unless_it_was_declared(
    cloud: Upstream, ward: Upstream, site_at: Open, watch: Watch, is_ours: bool
) -> None:
    public = {"url": cloud.url.replace(CLOUD_IP, PUBLIC_IP), "model": "m", "at": "edge"}
    if is_ours:
        public["public_address_is_ours"] = True
    targets = {"public": public, "ward": {"url": ward.url, "model": "small-1", "at": "edge"}}
    models = {"assistant": {"targets": ["public", "ward"]}}
    site = site_at(cloud, ward, targets=targets, models=models)
    reason, _ = ask(site)
    if is_ours:
        assert cloud.bodies
        assert watch.sent()
    else:
        assert reason == "fallback.egress_refused"
        assert watch.sent() == []


@pytest.mark.parametrize("size", [100, 24_000])
def test_a_link_of_64_kbit_still_streams(link: Link, cloud: Upstream, ward: Upstream, site_at: Open, size: int) -> None:
    cloud.words = ["word "] * 40
    site = site_at(cloud, ward)
    link.narrow(64)
    body = CHAT | {"messages": [{"role": "user", "content": "x" * size}], "stream": True}
    began_s = time.monotonic()
    with contextlib.closing(site.begin(body)) as connection:
        answer = connection.getresponse()
        assert answer.getheader("Ecotone-Placed") == "cloud"
        seen, first_s = answer.read1(100), time.monotonic() - began_s
        seen += answer.read()
    whole_s = time.monotonic() - began_s
    assert seen.endswith(b"data: [DONE]\n\n")
    assert whole_s - first_s > 0.3, "pieces came as they came, not all at the end"
    print(f"\nMEASURED 64 kbit/s, {size} bytes up: first {first_s:.3f} s, whole {whole_s:.3f} s")


def test_nothing_of_a_labelled_request_goes_over_the_link(
    cloud: Upstream, ward: Upstream, site_at: Open, watch: Watch
) -> None:
    site = site_at(cloud, ward)
    wish = {"Ecotone-Labels": "secret", "Ecotone-Place": "cloud"}
    for stream in (False, True):
        _, headers, _ = site.ask("POST", "/v1/chat/completions", CHAT | {"stream": stream}, wish)
        assert headers["ecotone-placed"] == "edge"
    ward.behaviour = "503"
    assert site.ask("POST", "/v1/chat/completions", CHAT, wish)[0] == 503
    assert watch.sent() == []
    ward.behaviour = "ok"
    assert is_at_cloud(site)
    assert watch.sent(), "the watch sees what goes"


def test_nothing_goes_over_the_link_where_the_cloud_is_off(
    cloud: Upstream, ward: Upstream, site_at: Open, watch: Watch
) -> None:
    site = site_at(cloud, ward, {"ECOTONE_NO_CLOUD": "1"})
    assert ask(site)[0] != "cloud.better"
    ward.behaviour = "503"
    assert site.ask("POST", "/v1/chat/completions", CHAT)[0] == 503
    for path in ("/readyz", "/v1/models", "/metrics", "/admin/status"):
        site.ask("GET", path)
    assert watch.sent() == []


@pytest.fixture
def frozen_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own that can be frozen: writes to it wait."""
    if os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("mkfs.ext4", "fsfreeze", "losetup")):
        pytest.skip("needs root, mkfs.ext4 and fsfreeze")
    image, folder = tmp_path / "disk.img", tmp_path / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(32 << 20)
    try:
        run("mkfs.ext4", "-q", str(image))
        run("mount", "-o", "loop", str(image), str(folder))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no loop mounts here: {error.stderr.decode().strip()}")
    yield folder
    subprocess.run(["fsfreeze", "-u", str(folder)], check=False, capture_output=True, timeout=20)
    run("umount", "-l", str(folder))


def test_no_packet_goes_before_the_ledgers_entry_is_on_the_disk(
    cloud: Upstream, ward: Upstream, site_at: Open, watch: Watch, frozen_disk: Path
) -> None:
    site = site_at(cloud, ward, store={"path": str(frozen_disk / "store")})
    site.store = frozen_disk / "store"
    told: list[str] = []
    run("fsfreeze", "-f", str(frozen_disk))
    try:
        caller = threading.Thread(target=lambda: told.append(ask(site)[0]))
        caller.start()
        poll(lambda: site.status()["ledger"]["entries"] > site.status()["ledger"]["durable"], "it waits for the disk")
        labelled = site.ask("POST", "/v1/chat/completions", CHAT, {"Ecotone-Labels": "secret"})
        assert labelled[1]["ecotone-placed"] == "edge", "the edge does not wait for the disk"
        assert watch.sent() == []
        assert told == []
    finally:
        run("fsfreeze", "-u", str(frozen_disk))
    caller.join()
    assert told == ["cloud.better"]
    assert watch.sent()
    (entry,) = [entry for entry in site.ledger() if entry["kind"] == "egress"]
    assert entry["body"]["target"] == "big"
