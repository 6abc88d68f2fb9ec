"""An issuer for tests, over real HTTP: it publishes the keys it is given, signs what it is told, and can misbehave."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey


class Issuer:
    """Keys by name, the claims it signs, and what it answers."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys: dict[str, RSAKey | ECKey] = {"k1": RSAKey.generate_key(2048)}
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.is_down = False
        self.polls: list[dict[str, Any]] = []
        self.forms: list[dict[str, list[str]]] = []

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Good claims of `ann`, and what a test changes; None leaves out."""
        said = {"iss": self.url, "aud": "hub", "sub": "ann", "iat": 1_800_000_000, "exp": 1_800_000_600, **changes}
        return {name: value for name, value in said.items() if value is not None}

    def token(self, claims: dict[str, Any] | None = None, key: str = "k1", **head: Any) -> str:
        """A signed token."""
        said = {"alg": "RS256", "kid": key, **head}
        return jwt.encode(said, self.claims() if claims is None else claims, self.keys[key], algorithms=[said["alg"]])

    def document(self, path: str) -> Any:
        """What it publishes at a path; None for nothing."""
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks",
                "token_endpoint": f"{self.url}/token",
                "device_authorization_endpoint": f"{self.url}/device",
            }
        if path == "/jwks":
            return {"keys": [{**key.as_dict(private=False), "kid": name} for name, key in self.keys.items()]}
        if path == "/device":
            return {
                "device_code": "dc", "user_code": "ABCD-EFGH", "verification_uri": f"{self.url}/type", "interval": 1,
                "expires_in": 600,
            }  # fmt: skip
        if path == "/token":
            return self.polls.pop(0)
        return None


@contextmanager
def running() -> Iterator[Issuer]:
    """An issuer that listens on this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        issuer: ClassVar[Issuer]

        def do_GET(self) -> None:
            self.issuer.asked.append(self.path)
            found = None if self.issuer.is_down else self.issuer.document(self.path)
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            status = 503 if found is None else 400 if isinstance(found, dict) and "error" in found else 200
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.issuer.forms.append(parse_qs(body.decode()))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.issuer = Issuer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Handler.issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
