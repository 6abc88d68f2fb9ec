"""References to secrets: which ones a configuration holds, and what each one says. The world is an argument."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Final

from ecotone.config.build import join
from ecotone.config.kinds import REFERENCE
from ecotone.config.tree import Config, UrlTarget
from ecotone.values import ConfigError

SECRET_BYTES_MAX: Final = 64 * 1024
UNREADABLE: Final = "config.secret"
"""Code of an error about a secret that cannot be read."""


def references(config: Config) -> dict[str, str]:
    """Every reference to a secret: path in the tree -> reference."""
    found: dict[str, str] = {}
    for name, target in config.targets.items():
        if not isinstance(target, UrlTarget):
            continue
        path = join("targets", name)
        if target.key is not None:
            found[f"{path}.key"] = target.key
        for header, value in target.headers.items():
            if is_readable(value):
                found[join(f"{path}.headers", header)] = value
    for name, given in (("key", config.jobs.key), ("webhook_secret", config.jobs.webhook_secret)):
        if given is not None:
            found[join("jobs", name)] = given
    for name, reference in config.keys.items():
        found[join("keys", name)] = reference
    return found


def is_readable(text: str) -> bool:
    """Whether a text is a reference that `resolve` can follow: `env:NAME` or `file:PATH`."""
    return re.search(REFERENCE, text) is not None


def resolve(reference: str, environ: Mapping[str, str], read_file: Callable[[str], bytes], *, path: str = "") -> str:
    """The secret that a reference names, without the white space around it.

    Args:
        reference: `env:NAME` or `file:PATH`.
        environ: The environment.
        read_file: Reads a file; may raise `OSError`.
        path: Where the reference stands in the tree, for the message.

    Raises:
        ConfigError: it is not set, cannot be read, is empty, or is not a header's text.
    """
    where = f"{path}: " if path else ""
    kind, _, name = reference.partition(":")
    if kind == "env":
        secret = environ.get(name, "").strip()
        if not secret:
            raise ConfigError(UNREADABLE, f"{where}the environment variable {name} is not set or empty; set it")
    elif kind == "file":
        secret = _from_file(name, read_file, where)
    else:
        raise ConfigError(UNREADABLE, f"{where}not a reference that can be read; write `env:NAME` or `file:PATH`")
    if not secret.isprintable() or not secret.isascii():
        raise ConfigError(
            UNREADABLE, f"{where}{kind}:{name} holds a line break, or a character that is not printable ASCII"
        )
    return secret


def _from_file(name: str, read_file: Callable[[str], bytes], where: str) -> str:
    try:
        content = read_file(name)
    except OSError as error:
        raise ConfigError(UNREADABLE, f"{where}the file {name} cannot be read: {error.strerror}") from error
    if len(content) > SECRET_BYTES_MAX:
        raise ConfigError(UNREADABLE, f"{where}the file {name} is too large for a secret")
    secret = content.decode("utf-8", "replace").strip()
    if not secret:
        raise ConfigError(UNREADABLE, f"{where}the file {name} is empty")
    return secret


def digest(secret: str) -> str:
    """A caller's key as `keys` may hold it: `sha256:HEX`."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()
