"""What a site is started with: file, environment and flags, read here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ecotone import config as settings
from ecotone.config.document import TEXT_BYTES_MAX
from ecotone.runtime import build
from ecotone.store import KeyRing
from ecotone.values import ConfigError

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


class Inputs(msgspec.Struct, frozen=True):
    """Where the configuration comes from. `load` may be called again for a reload."""

    path: Path | None
    environ: Mapping[str, str]
    flags: Mapping[str, Any]

    def load(self) -> settings.Config:
        """The configuration as it is now.

        Raises:
            ConfigError: with every problem.
        """
        if self.path is None:
            base = settings.built_in(self.environ)
        else:
            base = settings.parse(self._text(self.path), str(self.path))
        return settings.overlay(base, self.environ, self.flags)

    def is_cloud_off(self) -> bool:
        """Whether `ECOTONE_NO_CLOUD` or `--no-cloud` keeps everything at the site.

        Raises:
            ConfigError: the variable is neither yes nor no: guessing would be wrong one way or the other.
        """
        if self.flags.get("no_cloud"):
            return True
        said = self.environ.get("ECOTONE_NO_CLOUD", "").strip().lower()
        if said not in _TRUE | _FALSE:
            raise ConfigError(
                "config.invalid", f"ECOTONE_NO_CLOUD: {said!r} is neither 1 nor 0; write 1 or leave it out"
            )
        return said in _TRUE

    def stamp(self) -> tuple[int, int] | None:
        """Changes when the file does; None where there is none."""
        if self.path is None:
            return None
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size

    def secret(self, reference: str, path: str) -> str:
        """The secret behind a reference at a path of the tree.

        Raises:
            ConfigError: it cannot be read.
        """
        return build.secret_reader(self.environ, _read)(reference, path)

    def key_ring(self, config: settings.Config) -> KeyRing:
        """The callers' keys, hashed.

        Raises:
            ConfigError: a key cannot be read.
        """
        found = {}
        for name, reference in config.keys.items():
            is_digest = reference.startswith("sha256:")
            found[name] = reference.lower() if is_digest else self.secret(reference, f"keys.{name}")
        return KeyRing(found)

    @staticmethod
    def _text(path: Path) -> str:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ConfigError("config.unreadable", f"{path} cannot be read: {error.strerror}") from error
        if len(content) > TEXT_BYTES_MAX:
            raise ConfigError("config.unreadable", f"{path} is larger than {TEXT_BYTES_MAX} bytes")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError("config.unreadable", f"{path} is not UTF-8 text; save it as UTF-8") from error


def _read(name: str) -> bytes:
    with Path(name).expanduser().open("rb") as file:
        return file.read(settings.secrets.SECRET_BYTES_MAX + 1)
