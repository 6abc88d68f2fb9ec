"""From afar over TLS: the hub's and the issuer's certificates are verified, and a proxy is gone through by CONNECT."""

from __future__ import annotations

import http.server
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.hub import issuer as issuers
from tests.hub.members import NOW_S
from tests.hub.served import Served, key, made, serving

from ecotone.cli.failures import UnreachableError
from ecotone.cli.hub_remote import Remote
from ecotone.hub.oidc import Oidc
from ecotone.hub.settings import Oidc as Settings
from ecotone.hub.settings import Tls
from ecotone.values import RefusalError


@pytest.fixture
def tls(tmp_path: Path) -> Tls:
    """A certificate of this machine that signs itself."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(names, critical=False)
        .sign(private, hashes.SHA256())
    )
    cert, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return Tls(cert=str(cert), key=str(secret))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def served(tmp_path: Path, tls: Tls) -> Iterator[Served]:
    with serving(made(tmp_path, f"sqlite:///{tmp_path / 'hub.state' / 'hub.sqlite'}", tls=tls)) as at:
        yield at


class Proxy:
    """An HTTP proxy that only knows CONNECT, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            with caller:
                self._pass(caller)

    def _pass(self, caller: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += caller.recv(4096)
        self.asked.append(head.split(b"\r\n")[0].decode())
        host, _, port = self.asked[-1].split()[1].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as there:
            caller.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            ends = {caller: there, there: caller}
            while True:
                for ready in select.select(list(ends), [], [], 10)[0]:
                    piece = ready.recv(65_536)
                    if not piece:
                        return
                    ends[ready].sendall(piece)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        yield
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(20)


def test_a_hub_is_believed_by_its_certificate_alone(served: Served, tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOTONE_HUB_KEY", key(served, "ann", "owner"))
    remote = Remote.at(f"https://127.0.0.1:{served.port}")
    with pytest.raises(UnreachableError):
        remote.get("/me")
    monkeypatch.setenv("SSL_CERT_FILE", tls.cert)
    assert remote.get("/me")["who"] == "ann"


def test_a_hub_is_asked_through_a_proxy_that_sees_nothing(
    served: Served, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECOTONE_HUB_KEY", key(served, "ann", "owner"))
    monkeypatch.setenv("SSL_CERT_FILE", tls.cert)
    proxy = Proxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with proxy.running():
        assert Remote.at(f"https://127.0.0.1:{served.port}").post("/people", {"name": "bob"}) == {"name": "bob"}
    assert [line.rpartition(" ")[0] for line in proxy.asked] == [f"CONNECT 127.0.0.1:{served.port}"]


def test_an_issuer_is_believed_by_its_certificate_alone(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = http.server.ThreadingHTTPServer.get_request
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.cert, tls.key)

    def wrapped(server: http.server.ThreadingHTTPServer) -> tuple[socket.socket, object]:
        connection, address = plain(server)
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    monkeypatch.setattr(http.server.ThreadingHTTPServer, "get_request", wrapped)
    monkeypatch.setattr(http.server.ThreadingHTTPServer, "handle_error", lambda *_: None)
    with issuers.running() as issuer:
        issuer.url = issuer.url.replace("http://", "https://")
        token = issuer.token()
        given = Settings(issuer=issuer.url, audience="hub")
        with pytest.raises(RefusalError) as found:
            Oidc(given).person(token, NOW_S)
        assert found.value.code == "hub.issuer"
        trusted = Settings(issuer=issuer.url, audience="hub", ca_file=tls.cert)
        assert Oidc(trusted).person(token, NOW_S).name == "oidc:ann"
