"""Where a hub's files lie: a folder, or a bucket at a store that speaks S3's, Google's or Azure's API."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import obstore
from obstore import exceptions
from obstore.store import from_url

from ecotone.assets import StoreError
from ecotone.config import secrets
from ecotone.delivery.objects import CONTENT_BYTES_MAX, LEFT_S, PIECE_BYTES, Folder, Objects, Stored, named
from ecotone.values import ConfigError

__all__ = ["Bucket", "Folder", "Objects", "Stored", "open_objects"]

SCHEMES: Final = ("s3://", "gs://", "az://")
_SECRET: Final = re.compile(r"secret|access_key|account_key|token|password|sas|credential|service_account_key", re.I)
_NONE: Final = MappingProxyType[str, str]({})
_TAKE_BYTES_MAX: Final = 128 << 20
"""Longest file that is put where there must be none yet: it goes in one request. A sealed pack is shorter."""


def open_objects(where: str, options: Mapping[str, str] = _NONE) -> Objects:
    """The objects of a hub.

    Args:
        where: A folder's path, or `s3://BUCKET/PREFIX`, `gs://...`, `az://...`.
        options: What the store's client is told beside that, in its own words (`endpoint`, `region`,
            `aws_access_key_id` ...). Secrets by reference: `env:NAME` or `file:PATH`. What is not said is looked for
            in the environment (`AWS_ACCESS_KEY_ID` ...), as its other tools do.

    Raises:
        ConfigError: `hub.objects`: it is no such place; `hub.secret`: a secret stands there itself; `config.secret`: a
            reference leads to nothing.
    """
    if not where.startswith(SCHEMES):
        if "://" in where:
            raise ConfigError(
                "hub.objects", f"'{where.partition('://')[0]}' is no store of a hub: {', '.join(SCHEMES)}"
            )
        return Folder(Path(where))
    return Bucket(where, {name: _given(name, value) for name, value in options.items()})


def _given(name: str, value: str) -> str:
    if secrets.is_readable(value):
        return secrets.resolve(value, os.environ, _bytes_of, path=f"objects.{name}")
    if _SECRET.search(name) and not name.endswith("_id"):
        raise ConfigError(
            "hub.secret", f"objects.{name}: a secret must not stand in the file: `env:NAME` or `file:PATH`"
        )
    return value


def _bytes_of(name: str) -> bytes:
    with Path(name).expanduser().open("rb") as file:
        return file.read(secrets.SECRET_BYTES_MAX + 1)


class Bucket:
    """A bucket, or what in it begins with a prefix. One request writes an object whole, as the store promises."""

    def __init__(self, url: str, options: Mapping[str, str] = _NONE) -> None:
        """Connects to nothing yet.

        Raises:
            ConfigError: `hub.objects`.
        """
        self.url: Final = url
        is_plain = options.get("endpoint", options.get("aws_endpoint", "")).startswith("http://")
        client: dict[str, Any] = {
            "timeout": "120s",
            "connect_timeout": "10s",
            "allow_http": is_plain,
            "user_agent": "ecotone-hub",
        }
        retry: dict[str, Any] = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
        make: Any = from_url  # its types list each store's options, and these come from a file
        try:
            self._store: Final = make(url, config=dict(options), client_options=client, retry_config=retry)
        except (exceptions.BaseError, ValueError, TypeError) as error:
            raise ConfigError(
                "hub.objects", f"the store {url} cannot be used: {_said(error)}. Look at `objects` in the hub's file"
            ) from error

    @property
    def where(self) -> str:
        """See `Objects.where`."""
        return self.url

    @property
    def local(self) -> Path | None:
        """See `Objects.local`."""
        return None

    def get(self, name: str, bytes_max: int = CONTENT_BYTES_MAX) -> bytes:
        """See `Objects.get`."""
        content = b"".join(self.stream(name, 0, bytes_max + 1))
        if len(content) > bytes_max:
            raise StoreError("hub.objects", f"{self.url}/{name} is longer than {bytes_max} bytes: it is not read")
        return content

    def range(self, name: str, start: int, length: int) -> bytes:
        """See `Objects.range`."""
        return b"".join(self.stream(name, start, length))

    def stream(self, name: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Objects.stream`."""
        if length == 0:
            return
        wanted: dict[str, Any] = {"range": (start, start + length) if length is not None else {"offset": start}}
        is_whole = start == 0 and length is None
        with self._told(name):
            try:
                found = obstore.get(self._store, named(name), options=None if is_whole else wanted)  # type: ignore[arg-type]  # a dict of its shape
            except exceptions.BaseError:
                # A range of nothing is refused, each store in its own words.
                size = self.size(name)
                if size is None or start < size:
                    raise
                return
            for block in found.stream(min_chunk_size=PIECE_BYTES):
                whole = memoryview(block)
                for at in range(0, len(whole), PIECE_BYTES):
                    yield bytes(whole[at : at + PIECE_BYTES])

    def put(self, name: str, content: bytes, *, is_new: bool = False) -> None:
        """See `Objects.put`."""
        with self._told(name):
            obstore.put(
                self._store, named(name), content, mode="create" if is_new else "overwrite", use_multipart=False
            )

    def take(self, name: str, path: Path, *, is_new: bool = False) -> None:
        """See `Objects.take`. A long one goes in parts, of which the store makes one object at the end."""
        with self._told(name):
            if is_new:
                if path.stat().st_size > _TAKE_BYTES_MAX:
                    raise StoreError("hub.objects", f"{path} is too long to be put into {self.url} in one request")
                obstore.put(self._store, named(name), path, mode="create", use_multipart=False)
            else:
                obstore.put(self._store, named(name), path, max_concurrency=2)
        path.unlink(missing_ok=True)

    def list(self, folder: str) -> Iterator[Stored]:
        """See `Objects.list`."""
        with self._told(folder):
            for found in obstore.list(self._store, prefix=folder.rstrip("/") or None):
                for one in found:
                    yield Stored(one["path"], one["size"], one["last_modified"].timestamp())

    def delete(self, name: str) -> None:
        """See `Objects.delete`."""
        named(name)
        with contextlib.suppress(FileNotFoundError), self._told(name):
            obstore.delete(self._store, name)

    def size(self, name: str) -> int | None:
        """See `Objects.size`."""
        try:
            with self._told(name):
                return int(obstore.head(self._store, named(name))["size"])
        except FileNotFoundError:
            return None

    def tidy(self, older_s: float = LEFT_S) -> int:
        """See `Objects.tidy`. Parts of uploads that were cut off are the store's to remove: give it a rule for that."""
        return 0

    def scratch(self, name: str) -> Path:
        """See `Objects.scratch`: the system's folder for such files (`TMPDIR`)."""
        return Path(tempfile.gettempdir())

    @contextlib.contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except exceptions.AlreadyExistsError as error:
            raise FileExistsError(name) from error
        except (FileNotFoundError, exceptions.NotFoundError) as error:
            raise FileNotFoundError(name) from error
        except (exceptions.BaseError, OSError) as error:
            raise StoreError(
                "hub.objects",
                f"the store {self.url} cannot do that with '{name[:120]}': {_said(error)}. Look whether it can be "
                "reached, and what these credentials may do there",
            ) from error


def _said(error: BaseException) -> str:
    """The first line of what a client says: what follows are its own innards."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
