"""Every hop is checked; secrets go where they belong."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ecotone.assets.errors import FetchError
from ecotone.assets.web import Cut, Link, Refused, Web, shown
from ecotone.values import ConfigError


@pytest.fixture
def web():
    return Web(Link(timeout_s=2.0))


def go(origin, made, *targets, status=302):
    origin.files["/file"] = b"here"
    origin.acts.extend(made.says(status, {"Location": target}, b"x" * 10) for target in targets)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_with_its_headers(origin, made, web, status):
    go(origin, made, "/file?signed=1", status=status)
    origin.files["/file?signed=1"] = b"there"
    assert web.read(f"{origin.url}/file", {"Range": "bytes=0-"}, 100)[0] == b"there"
    assert origin.asked("/file?signed=1") == ["bytes=0-"]


def test_a_circle_of_redirects_ends(origin, made, web):
    go(origin, made, *["/file"] * 50)
    with pytest.raises(Refused):
        web.open(f"{origin.url}/file", {})
    assert len(origin.log) == 7


@pytest.mark.parametrize("target", ["http://example.org/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher:x"])
def test_a_redirect_to_a_place_that_may_not_be_asked_is_refused(origin, made, web, target):
    go(origin, made, target)
    with pytest.raises(ConfigError) as caught:
        web.open(f"{origin.url}/file", {})
    assert caught.value.code == "asset.insecure"


def test_a_document_with_tls_leads_to_none_without(web):
    web.check("https://example.org/x", came_from="https://example.org")
    with pytest.raises(ConfigError):
        web.check("http://127.0.0.1/x", came_from="https://example.org")


def test_without_tls_only_this_machine_and_hosts_trusted_by_name():
    web = Web(Link(trusted_hosts=("mirror", "other:8080")))
    for url in ("http://mirror/x", "http://mirror:1/x", "http://other:8080/x", "http://localhost:1/", "http://[::1]/x"):
        web.check(url)
    for url in ("http://other/x", "http://10.0.0.1/x", "https:///x", "mirror/x"):
        with pytest.raises(ConfigError):
            web.check(url)


def test_a_token_goes_to_its_origin_only(made, origin):
    web = Web(Link(tokens={origin.url: "Bearer secret"}))
    go(origin, made, origin.url.replace("127.0.0.1", "localhost") + "/file")
    web.read(f"{origin.url}/file", {}, 100)
    assert [headers.get("authorization") for _, headers in origin.log] == ["Bearer secret", None]


def test_a_login_of_netrc_is_used(origin, web, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    origin.files["/file"] = b""
    web.read(f"{origin.url}/file", {}, 100)
    assert origin.log[0][1]["authorization"] == "Basic bWU6c2VjcmV0"


def test_an_encoded_body_is_not_taken_for_the_file(origin, made, web):
    origin.files["/file"] = b""
    origin.acts.append(made.says(200, {"Content-Encoding": "gzip"}))
    with pytest.raises(Cut, match="encoded"):
        web.open(f"{origin.url}/file", {})


def test_a_date_to_retry_after_is_understood(origin, made, web):
    origin.files["/file"] = b""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    origin.acts.extend([made.says(503, {"Retry-After": later}), made.says(503, {"Retry-After": "soon"})])
    with pytest.raises(Cut) as caught:
        web.open(f"{origin.url}/file", {})
    assert 90 < (caught.value.retry_after_s or 0) <= 100
    with pytest.raises(Cut) as caught:
        web.open(f"{origin.url}/file", {})
    assert caught.value.retry_after_s is None


def test_a_refused_connection_is_a_cut(web):
    with pytest.raises(Cut, match="refused"):
        web.open("http://127.0.0.1:9/x", {})


def test_the_proxy_that_pip_names_is_used(origin):
    origin.files["http://localhost:9/x"] = b"by proxy"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NO_PROXY")
        assert Web(Link(proxy=origin.url)).read("http://localhost:9/x", {}, 100)[0] == b"by proxy"


def test_certificates_that_cannot_be_read_are_said(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        Web(Link(cert=str(tmp_path / "none.pem")))
    assert caught.value.code == "asset.cert"
    Web(Link(cert=str(tmp_path)))


def test_what_is_shown_holds_no_secret():
    assert shown("https://me:pw@host:1/a?sig=x#y") == "https://host:1/a"


def test_a_certificate_that_does_not_hold_is_said_with_how_to_mend_it_and_not_tried_again(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            str(key),
            "-out",
            str(cert),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    class Hello(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Hello) as server:
        server.handle_error = lambda *args: None
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        url = f"https://localhost:{server.server_port}/"
        with pytest.raises(FetchError, match="PIP_CERT") as caught:
            Web(Link()).open(url, {})
        assert caught.value.code == "asset.tls"
        assert Web(Link(cert=str(cert), timeout_s=5.0)).read(url, {}, 10)[0] == b"hello"
        server.shutdown()
        thread.join()
