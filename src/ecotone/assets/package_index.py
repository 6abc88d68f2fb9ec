"""Finds the wheel of one package version: in pip's find-links folders, and by the Simple API of its indexes.

Source: PEP 503 (HTML), PEP 691 (JSON), PEP 427 (names of wheels), PEP 592 (yanked).
"""

from __future__ import annotations

import platform
import re
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import msgspec

from ecotone.assets.errors import FetchError
from ecotone.assets.fetch import Patience, persistently
from ecotone.assets.pip_settings import PipSettings, local_path
from ecotone.assets.progress import Progress
from ecotone.assets.reference import PypiRef
from ecotone.assets.web import Refused, Web, shown
from ecotone.values import ConfigError

__all__ = ["Wheel", "found"]

PAGE_BYTES_MAX = 32 << 20
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that an index or a folder offers.

    Attributes:
        url: An http(s) or file URL.
        sha256: As the index states it.
        bytes: As the index states it.
    """

    filename: str
    url: str
    sha256: str | None = None
    bytes: int | None = None
    is_yanked: bool = False


class _File(msgspec.Struct):
    filename: str
    url: str
    hashes: dict[str, str] = {}
    size: int | None = None
    yanked: bool | str = False


class _Page(msgspec.Struct):
    files: list[_File]


def found(ref: PypiRef, settings: PipSettings, web: Web, patience: Patience, progress: Progress) -> Wheel:
    """The wheel; the first place that has the version gives it.

    Raises:
        ConfigError: `asset.not_found`, if every place was asked and none has it.
        FetchError: `asset.unreachable`, if none has it and some could not be asked.
    """
    search = _Search(ref, web, patience, progress)
    places = [(place, False) for place in settings.find_links] + [(place, True) for place in settings.indexes]
    failures: list[str] = []
    for place, is_index in places:
        try:
            wheels = search.offered(place, is_index)
        except (FetchError, ConfigError) as error:
            failures.append(error.message)
            continue
        if wheels:
            return min(wheels, key=_rank)
    wanted, asked = f"{ref.package} {ref.version}", ", ".join(shown(place) for place, _ in places) or "no index at all"
    if failures:
        raise FetchError("asset.unreachable", f"no wheel of {wanted} could be found: " + "; ".join(failures))
    raise ConfigError("asset.not_found", f"no wheel of {wanted} in {asked}. Check the name and the version")


class _Search:
    def __init__(self, ref: PypiRef, web: Web, patience: Patience, progress: Progress) -> None:
        self.ref, self.web, self.patience, self.progress = ref, web, patience, progress

    def offered(self, place: str, is_index: bool) -> list[Wheel]:
        """The wheels of the version in one place."""
        path = local_path(place)
        if path is not None:
            wheels = _in_folder(path / self.ref.package if is_index else path)
        else:
            page = f"{place.rstrip('/')}/{self.ref.package}/" if is_index else place
            wheels = self._on_page(page)
        return [wheel for wheel in wheels if _is_of(wheel.filename, self.ref)]

    def _on_page(self, url: str) -> list[Wheel]:
        def attempt() -> tuple[bytes, str, str]:
            return self.web.read(url, {"Accept": _ACCEPT}, PAGE_BYTES_MAX)

        try:
            body, content_type, base = persistently(attempt, shown(url), self.patience, self.progress)
        except Refused as refused:
            if refused.status in (404, 410):
                return []
            raise FetchError("asset.refused", f"{refused}; pip's index URL may need a login") from refused
        wheels = _json(body, base) if content_type.endswith("json") else _html(body, base)
        # An index may name files elsewhere on the web, never files of this machine.
        return [_with_login(wheel, url) for wheel in wheels if wheel.url.startswith(("https:", "http:"))]


def _in_folder(folder: Path) -> list[Wheel]:
    page = folder / "index.html" if folder.is_dir() else folder
    try:
        if page.is_file() and page.suffix == ".html":
            with page.open("rb") as file:
                return _html(file.read(PAGE_BYTES_MAX), page.absolute().as_uri())
        if not folder.is_dir():
            return []
        return [Wheel(filename=path.name, url=path.absolute().as_uri()) for path in folder.glob("*.whl")]
    except OSError as error:
        raise FetchError("asset.unreachable", f"{folder}: {error.strerror}") from error


def _json(body: bytes, base: str) -> list[Wheel]:
    try:
        page = msgspec.json.decode(body, type=_Page)
    except msgspec.DecodeError as error:
        raise FetchError("asset.unreachable", f"{shown(base)} does not speak the Simple API: {error}") from error
    return [
        Wheel(
            filename=file.filename,
            url=urllib.parse.urljoin(base, file.url),
            sha256=_digest(file.hashes.get("sha256", "")),
            bytes=file.size,
            is_yanked=file.yanked is not False,
        )
        for file in page.files
    ]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base: str | None = None
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects `<a href>` and the first `<base href>`."""
        if tag == "a":
            self.found.append(dict(attrs))
        elif tag == "base" and self.base is None:
            self.base = dict(attrs).get("href")


def _html(body: bytes, base: str) -> list[Wheel]:
    links = _Links()
    links.feed(body.decode(errors="replace"))
    base = urllib.parse.urljoin(base, links.base or "")
    wheels = []
    for link in links.found:
        url, _, fragment = urllib.parse.urljoin(base, link.get("href") or "").partition("#")
        name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
        sha256 = _digest(fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else "")
        wheels.append(Wheel(filename=name, url=url, sha256=sha256, is_yanked="data-yanked" in link))
    return wheels


def _digest(text: str) -> str | None:
    return text.lower() if _SHA256.fullmatch(text.lower()) else None


def _with_login(wheel: Wheel, index: str) -> Wheel:
    """The index's user and password hold for its own host and for no other."""
    mine, theirs = urllib.parse.urlsplit(index), urllib.parse.urlsplit(wheel.url)
    same = (mine.scheme, mine.hostname, mine.port) == (theirs.scheme, theirs.hostname, theirs.port)
    if not same or mine.username is None or theirs.username is not None:
        return wheel
    return msgspec.structs.replace(wheel, url=theirs._replace(netloc=mine.netloc).geturl())


def _is_of(filename: str, ref: PypiRef) -> bool:
    parts = filename.removesuffix(".whl").split("-")
    if not filename.endswith(".whl") or len(parts) not in (5, 6):
        return False
    package = re.sub(r"[-_.]+", "-", parts[0]).lower()
    return package == ref.package and _version(parts[1]) == _version(ref.version)


def _version(text: str) -> str:
    """Near enough to PEP 440 for equality of released versions: `1.0` is `1.0.0`, `+` may be written `_`."""
    return re.sub(r"(\.0+)+$", "", text.lower().replace("_", "+"))


def _rank(wheel: Wheel) -> tuple[bool, bool, bool, str]:
    """Prefers what is not yanked, then what is for any machine, then what is for this one."""
    stem = wheel.filename.removesuffix(".whl")
    is_mine = stem.endswith(platform.machine().lower()) and "linux" in stem
    return wheel.is_yanked, not stem.endswith("-any"), not is_mine, wheel.filename
