"""Who looks at requests: the quick detectors in this process, the dear ones in a worker that has no network."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ecotone import config as settings
from ecotone import detectors
from ecotone.config.document import Problem
from ecotone.config.parse import config_error
from ecotone.ports import Looked
from ecotone.privacy import Find, Look
from ecotone.privacy.patterns import Patterns
from ecotone.values import EcotoneError, Place

QUICK: Final = ("patterns",)
"""Detectors that run in this process; all others do in the worker."""

HUB: Final = "hub:"
"""What a list's name begins with that a hub delivers."""

FILE_BYTES_MAX: Final = 256 << 20
LOOK_EVERY_S: Final = 0.2
TERM_CHARS: Final = range(2, 513)
EXAMPLES_MAX: Final = 10_000


log = logging.getLogger("ecotone.detectors")


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of `privacy.topic_examples`."""

    label: str
    text: str


class Inspecting:
    """The detectors of a site, over its reloads; implements `ports.Inspector` by the worker of the day.

    The worker is there only where something might leave: a site without a cloud target needs none.
    """

    def __init__(self, store: Path) -> None:
        """Starts nothing."""
        self._store = store
        self._secret = os.urandom(32)
        self._workers: detectors.Inspectors | None = None
        self._setup: tuple[tuple[str, ...], Any] | None = None
        self._wanted: tuple[tuple[str, ...], Any] = ((), None)
        self._closing: set[asyncio.Task[None]] = set()
        self._lists: tuple[Any, Patterns] | None = None
        self._references: tuple[str, ...] = ()

    def arrange(self, config: settings.Config, *, is_cloud_off: bool) -> Look:
        """Who looks under this configuration. Reads the site's own lists; starts nothing yet (`settle`).

        Raises:
            ConfigError: a list cannot be read; the message names file and line.
        """
        privacy = config.privacy
        named = (*(terms.file for terms in privacy.terms), privacy.topic_examples or "")
        self._references = tuple(name for name in named if name.startswith(HUB))
        known = detectors.known()
        dear = tuple(name for name in privacy.detectors if name not in QUICK and name in known)
        missing = [name for name in privacy.detectors if name not in QUICK and name not in known]
        quick: dict[str, Find] = {}
        if "patterns" in privacy.detectors:
            quick["patterns"] = self._patterns(config).find
        examples = self._examples(privacy.topic_examples) if "topics" in dear else []
        is_needed = not is_cloud_off and any(target.at is Place.CLOUD for target in config.targets.values())
        plain = {"store": str(self._store), "topics_examples": examples}
        self._wanted = (dear if is_needed else (), plain)
        labels = frozenset(privacy.withhold)
        withheld = (self._patterns(config).find, labels) if labels else None
        return Look(quick, dear, missing, secret=self._secret, withheld=withheld)

    @property
    def plain(self) -> Any:
        """What the dear detectors are told (`detectors.load`), by the last configuration."""
        return self._wanted[1]

    async def settle(self) -> None:
        """Starts the worker that the last configuration wants; the one before goes, and what it was
        asked is `unknown`."""
        if self._wanted == self._setup:
            return
        self._setup = self._wanted
        old, self._workers = self._workers, None
        names, plain = self._wanted
        if names:
            self._workers = detectors.Inspectors(names, plain)
            self._workers.start()
        if old is not None:
            task = asyncio.get_running_loop().create_task(old.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def look(self, texts: Sequence[str], detectors: Sequence[str], *, limit_s: float) -> Looked:
        """See `ports.Inspector.look`."""
        if self._workers is None:
            return Looked(((),) * len(texts), tuple((name, "not started") for name in detectors))
        return await self._workers.look(texts, detectors, limit_s=limit_s)

    async def live(self) -> None:
        """Says in the log when the worker is ready, and when it is not any more."""
        before = ""
        while True:
            status = None if self._workers is None else self._workers.status()
            state = "" if status is None else status.state
            if status is not None and state == "ready" and before != "ready":
                log.info("detectors are ready: %s (%.1f s)", ", ".join(status.versions), status.load_s)
            elif before == "ready" and state == "pausing" and status is not None:
                log.warning("the detectors' worker %s: nothing that it must see leaves until it is back", status.died)
            before = state
            await asyncio.sleep(LOOK_EVERY_S)

    def status(self) -> dict[str, Any] | None:
        """How the worker is, for `ecotone status`; None where none is needed."""
        return None if self._workers is None else msgspec.to_builtins(self._workers.status())

    def troubles(self) -> list[str]:
        """What an operator should look at."""
        if self._workers is None:
            return []
        status = self._workers.status()
        found = [f"detector {name}: {why} ({cause})" for name, (why, cause) in status.failed.items()]
        if status.state == "starting":
            return ["the detectors' models are being loaded: nothing may leave until they are"]
        if status.state == "pausing":
            found.append(f"the detectors' worker {status.died}; it is started again, and nothing may leave until then")
        return [f"{trouble}: what it should have looked at stays at the site" for trouble in found]

    async def close(self) -> None:
        """Ends the worker. Idempotent."""
        workers, self._workers, self._setup = self._workers, None, None
        if workers is not None:
            await workers.close()
        await asyncio.gather(*self._closing)

    def delivered(self) -> tuple[str, ...]:
        """Digests of the lists that a hub delivers (`hub:NAME`), as they are now: others call for a reload."""
        return tuple(_digest(self._store, name) for name in self._references)

    def _patterns(self, config: settings.Config) -> Patterns:
        """The detector, built once for the same lists."""
        lists = config.privacy.terms
        files = [_file(self._store, terms.file, f"privacy.terms[{index}].file") for index, terms in enumerate(lists)]
        stamp = tuple((terms, path, _stamp(path)) for terms, path in zip(lists, files, strict=True))
        if self._lists is None or self._lists[0] != stamp:
            found: dict[str, list[str]] = {}
            for index, (terms, path) in enumerate(zip(lists, files, strict=True)):
                found.setdefault(terms.label, []).extend(_terms(path, f"privacy.terms[{index}].file"))
            self._lists = (stamp, Patterns(found))
        return self._lists[1]

    def _examples(self, name: str | None) -> list[dict[str, str]]:
        return [] if name is None else _examples(_file(self._store, name, "privacy.topic_examples"))


def _file(store: Path, name: str, path: str) -> Path:
    """The file that is meant; one that a hub delivered has its signed digest.

    Raises:
        ConfigError: it was not delivered yet, or is not what was signed.
    """
    if not name.startswith(HUB):
        return Path(name).expanduser()
    from ecotone import assets

    here = assets.open_store(store)
    try:
        asset = here.resolve(name)
        if asset is not None:
            return here.checked_path(asset)
    except EcotoneError as error:
        raise config_error([Problem(path, error.message)], "settings") from error
    message = (
        f"{name} is not here yet, and without it nobody knows what to protect: `ecotone models pull {name}` brings it"
    )
    raise config_error([Problem(path, message)], "settings")


def _digest(store: Path, name: str) -> str:
    from ecotone import assets

    try:
        asset = assets.open_store(store).resolve(name)
    except EcotoneError:
        return ""
    return "" if asset is None else asset.digest


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _lines(file: Path, path: str) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines that say something.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise config_error([Problem(path, f"{file} is larger than {FILE_BYTES_MAX} bytes")], "settings")
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise config_error([Problem(path, f"{file} cannot be read: {error.strerror}")], "settings") from error
    except UnicodeDecodeError as error:
        message = f"{file} is not UTF-8 text at byte {error.start}; save it as UTF-8"
        raise config_error([Problem(path, message)], "settings") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def _terms(name: Path, path: str) -> Iterator[str]:
    for number, line in _lines(name, path):
        if len(line) not in TERM_CHARS:
            message = f"{name} line {number}: a term has {TERM_CHARS.start} to {TERM_CHARS.stop - 1} characters"
            raise config_error([Problem(path, message)], "settings")
        yield line


def _examples(name: Path) -> list[dict[str, str]]:
    found = []
    for number, line in _lines(name, "privacy.topic_examples"):
        try:
            example = msgspec.json.decode(line, type=Example)
        except msgspec.DecodeError:
            message = f'{name} line {number}: write {{"label": "...", "text": "..."}}'
            raise config_error([Problem("privacy.topic_examples", message)], "settings") from None
        found.append({"label": example.label, "text": example.text})
        if len(found) > EXAMPLES_MAX:
            message = f"{name} holds more than {EXAMPLES_MAX} examples"
            raise config_error([Problem("privacy.topic_examples", message)], "settings")
    return found
