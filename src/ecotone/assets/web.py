"""HTTP GET for downloads: proxies and certificates as the user has set them, every hop checked, nothing unbounded.

Redirects are followed here and not by urllib, which would read a redirect's body without a limit and send an
`Authorization` header on to the next host.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import netrc
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from email.utils import parsedate_to_datetime

import msgspec

from ecotone.assets.errors import FetchError
from ecotone.assets.prompt import PromptConnection, PromptTlsConnection
from ecotone.values import ConfigError

__all__ = ["Cut", "Link", "Refused", "Web", "shown"]

REDIRECTS_MAX = 6
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_AGENT = "ecotone (assets)"


class Cut(Exception):
    """The transfer broke in a way that another try may mend."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Refused(Exception):
    """The server answered, and its answer is no."""

    def __init__(self, status: int, url: str) -> None:
        super().__init__(f"{shown(url)} answered {status}")
        self.status = status


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """How this machine reaches the outside.

    Attributes:
        cert: File or folder of CA certificates in place of the system's.
        client_cert: PEM file with this machine's own certificate and key.
        proxy: Proxy for all schemes in place of `HTTPS_PROXY` and `HTTP_PROXY`; `NO_PROXY` holds for both.
        trusted_hosts: Hosts that may be spoken to without TLS, as `host` or `host:port`.
        tokens: For an origin (`https://host[:port]`), the `Authorization` header to send there and nowhere else.
        timeout_s: Longest silence while connecting or reading, seconds.
    """

    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    tokens: dict[str, str] = {}
    timeout_s: float = 30.0


class Web:
    """GET with bounded redirects."""

    def __init__(self, link: Link) -> None:
        """Raises ConfigError `asset.cert` if the certificates cannot be read."""
        self._link = link
        proxies = None if link.proxy is None else {"http": link.proxy, "https": link.proxy}
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(proxies),
            _Http(),
            _Https(context=_tls(link)),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            self._opener.add_handler(handler)

    def open(self, url: str, headers: dict[str, str], *, stays: bool = False) -> http.client.HTTPResponse:
        """The successful response (2xx), its body unread. The caller closes it.

        Args:
            url: Where to go.
            headers: To be sent besides the usual ones.
            stays: Whether a redirect to another origin is refused.

        Raises:
            Cut: The network or a passing state of the server; another try may do.
            Refused: Any other status.
            ConfigError: `asset.insecure`, for a URL without TLS to a host that is not trusted by name.
            FetchError: `asset.tls`, for a certificate that does not hold.
        """
        self.check(url)
        origin = _origin(url)
        for _ in range(REDIRECTS_MAX + 1):
            if stays and _origin(url) != origin:
                raise Refused(310, url)
            try:
                return self._once(url, headers)
            except urllib.error.HTTPError as error:
                with error:
                    url = self._next(url, error)
            except urllib.error.URLError as error:
                raise _broken(url, error.reason) from error
            except (OSError, http.client.HTTPException) as error:
                raise _broken(url, error) from error
        raise Refused(310, url)

    def read(self, url: str, headers: dict[str, str], bytes_max: int) -> tuple[bytes, str, str]:
        """A small document: its bytes, its content type, and the URL it came from in the end.

        Raises:
            Cut, Refused, ConfigError, FetchError: As `open` does; FetchError `asset.too_large` above `bytes_max`.
        """
        with self.open(url, headers) as response:
            try:
                body = response.read(bytes_max + 1)
            except (OSError, http.client.HTTPException) as error:
                raise _broken(url, error) from error
            if len(body) > bytes_max:
                raise FetchError("asset.too_large", f"{shown(url)} is longer than {bytes_max} bytes")
            if response.length:
                raise Cut(f"{shown(url)} ended {response.length} bytes early")
            return body, response.headers.get_content_type(), response.url

    def check(self, url: str, came_from: str = "") -> None:
        """Promises that the URL may be fetched.

        Args:
            url: Where to go.
            came_from: The document or redirect that named it; one with TLS must not lead to one without.

        Raises:
            ConfigError: `asset.insecure`.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "https" and parts.hostname:
            return
        if parts.scheme == "http" and not came_from.startswith("https:") and self._is_trusted(parts):
            return
        raise ConfigError(
            "asset.insecure",
            f"{shown(url)} is not https. Use https, or name the host in pip's trusted-host (PIP_TRUSTED_HOST) "
            "to allow it without encryption; digests are checked all the same",
        )

    def _once(self, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(url)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        said = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **headers}
        request = urllib.request.Request(bare, headers=said)  # noqa: S310  `check` has seen the scheme
        if (token := self._token(parts)) is not None:
            request.add_unredirected_header("Authorization", token)
        response: http.client.HTTPResponse = self._opener.open(request, timeout=self._link.timeout_s)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise Cut(f"{shown(url)} came encoded though it was asked for as it is")
        return response

    def _next(self, url: str, error: urllib.error.HTTPError) -> str:
        """Where a redirect leads; for any other status, raises what it means."""
        target = error.headers.get("Location")
        if error.code in _REDIRECTS and target:
            try:
                following = urllib.parse.urljoin(url, target)
                self.check(following, came_from=url)
            except ValueError:  # it leads to no address at all
                raise Refused(310, url) from None
            return following
        if error.code in _PASSING:
            raise Cut(f"{shown(url)} answered {error.code}", _retry_after_s(error.headers.get("Retry-After")))
        raise Refused(error.code, url)

    def _token(self, parts: urllib.parse.SplitResult) -> str | None:
        if parts.username is not None:
            user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
            return _basic(user, password)
        origin = f"{parts.scheme}://{parts.netloc}"
        return self._link.tokens.get(origin) or _from_netrc(parts.hostname or "")

    def _is_trusted(self, parts: urllib.parse.SplitResult) -> bool:
        host = parts.hostname or ""
        if host == "localhost" or host in self._link.trusted_hosts or parts.netloc in self._link.trusted_hosts:
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(PromptConnection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._trusted = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(PromptTlsConnection, req, context=self._trusted)


def shown(url: str) -> str:
    """The URL without what may be secret (user, password and query), and without what a terminal would obey."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "(no address)"
    found = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return "".join(letter if letter.isprintable() else "?" for letter in found)


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2]


def _tls(link: Link) -> ssl.SSLContext:
    try:
        if link.cert is not None and os.path.isdir(link.cert):
            context = ssl.create_default_context(capath=link.cert)
        else:
            context = ssl.create_default_context(cafile=link.cert)
        if link.client_cert is not None:
            context.load_cert_chain(link.client_cert)
    except OSError as error:
        raise ConfigError(
            "asset.cert", f"the certificates in {link.cert or link.client_cert} cannot be read: {error}"
        ) from error
    return context


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _from_netrc(host: str) -> str | None:
    try:
        found = netrc.netrc().authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return None  # no such file, or none that pip could read either: the host is asked without a password
    return None if found is None else _basic(found[0], found[2] or "")


def _broken(url: str, reason: object) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return FetchError(
            "asset.tls",
            f"{shown(url)}: the certificate does not hold ({reason.verify_message}). If your network has its own "
            "certificate authority, name its file in PIP_CERT or SSL_CERT_FILE",
        )
    return Cut(f"{shown(url)}: {reason or type(reason).__name__}")


def _retry_after_s(text: str | None) -> float | None:
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at - at.now(at.tzinfo)).total_seconds())
