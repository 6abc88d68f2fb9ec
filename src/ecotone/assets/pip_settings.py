"""Where and how this machine reaches package indexes, as its owner has told pip; pip itself is not run.

Environment (`PIP_*`) goes before section `[download]`, which goes before `[global]`; inside a section the last of
pip's files wins. Source: pip's documentation, 'Configuration', and `pip config debug`.
"""

from __future__ import annotations

import configparser
import os
import sys
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ecotone.assets.web import Link
from ecotone.values import ConfigError

__all__ = ["PipSettings", "config_files", "local_path", "read"]

PYPI = "https://pypi.org/simple"
TIMEOUT_S_MAX = 120.0


class PipSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of pip's configuration that a download needs.

    Attributes:
        indexes: Roots of Simple APIs, in the order in which they are asked; they may hold passwords.
        find_links: Folders, or pages of links, that are asked before the indexes.
        link: Certificates, proxy, time limit.
    """

    indexes: tuple[str, ...] = (PYPI,)
    find_links: tuple[str, ...] = ()
    link: Link = Link()


def config_files(environ: Mapping[str, str]) -> list[Path]:
    """pip's configuration files, the weakest first; they need not exist."""
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    system = [Path(folder) / "pip" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder]
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip"
    folders = [*reversed(system), Path("/etc"), home / ".pip", user, Path(sys.prefix)]
    return [folder / "pip.conf" for folder in folders] + ([Path(named)] if named else [])


def read(environ: Mapping[str, str], paths: list[Path] | None = None) -> PipSettings:
    """The settings in force.

    Args:
        environ: The environment.
        paths: Configuration files, the weakest first; by default pip's own.

    Raises:
        ConfigError: `asset.pip_config`, if a file or a value cannot be understood.
    """
    found = _merged(config_files(environ) if paths is None else paths)
    for name, value in environ.items():
        if name.startswith("PIP_") and value:
            found[name[4:].lower().replace("_", "-")] = value
    indexes = (found.get("index-url") or found.get("pypi-url") or PYPI, *found.get("extra-index-url", "").split())
    return PipSettings(
        indexes=() if _is_true(found.get("no-index", "")) else indexes,
        find_links=tuple(found.get("find-links", "").split()),
        link=Link(
            cert=found.get("cert") or environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or None,
            client_cert=found.get("client-cert"),
            proxy=found.get("proxy"),
            trusted_hosts=tuple(found.get("trusted-host", "").split()),
            timeout_s=_timeout_s(found),
        ),
    )


def local_path(place: str) -> Path | None:
    """The path that a place means, if it is on this machine: `file:///a` or `/a`."""
    parts = urllib.parse.urlsplit(place)
    if parts.scheme == "file":
        return Path(urllib.request.url2pathname(parts.path))
    return None if parts.scheme in ("http", "https") else Path(place).expanduser()


def _merged(paths: list[Path]) -> dict[str, str]:
    sections: dict[str, dict[str, str]] = {"global": {}, "download": {}}
    for path in paths:
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError("asset.pip_config", f"{path} is not a pip configuration: {error}") from error
        for section, values in sections.items():
            if parser.has_section(section):
                values.update({key.replace("_", "-"): value for key, value in parser.items(section)})
    return sections["global"] | sections["download"]


def _timeout_s(found: Mapping[str, str]) -> float:
    text = found.get("timeout") or found.get("default-timeout")
    if text is None:
        return Link().timeout_s
    try:
        return min(max(float(text), 1.0), TIMEOUT_S_MAX)
    except ValueError as error:
        raise ConfigError("asset.pip_config", f"pip's timeout '{text[:40]}' is not a number of seconds") from error


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "t", "yes", "y", "on")
