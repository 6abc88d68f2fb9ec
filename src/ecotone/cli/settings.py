"""Which configuration a command works with: the file, the environment, and nothing kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ecotone import config
from ecotone.config.document import TEXT_BYTES_MAX
from ecotone.values import ConfigError

DEFAULT_FILE: Final = Path("ecotone.yaml")


def chosen(path: Path | None) -> Path | None:
    """The file to read: the one that was named, else `./ecotone.yaml` if it is there, else none."""
    if path is None and DEFAULT_FILE.is_file():
        return DEFAULT_FILE
    return path


def text_of(path: Path) -> str:
    """A file's text.

    Raises:
        ConfigError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(TEXT_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError("config.unreadable", f"{path} cannot be read: {error.strerror}") from error
    if len(content) > TEXT_BYTES_MAX:
        raise ConfigError("config.unreadable", f"{path} is larger than {TEXT_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("config.unreadable", f"{path} is not UTF-8 text; save it as UTF-8") from error


def load(path: Path | None, store: str | None = None) -> config.Config:
    """The configuration that a site started here, perhaps with `--store`, would have.

    Raises:
        ConfigError: with every problem.
    """
    file = chosen(path)
    base = config.built_in(os.environ) if file is None else config.parse(text_of(file), str(file))
    return config.overlay(base, os.environ, {"store": store})
