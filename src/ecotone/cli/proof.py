"""Reading the ledger on disk: its chain and tree, what left, and the entries of one request."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import click
import msgspec

from ecotone import store
from ecotone.cli.failures import NotFoundError
from ecotone.cli.settings import load
from ecotone.values import ConfigError

Read = TypeVar("Read")

AWAIT_S: Final = 15.0
"""So long `evidence` waits for a running site to sign its newest entries."""
_AGO_S: Final = {"d": 86_400, "h": 3600, "m": 60}
_SMALL_BYTES: Final = 16 << 20


def store_of(config_path: Path | None) -> Path:
    """The configuration's store."""
    return Path(load(config_path).store.path).expanduser()


def folder_of(config_path: Path | None) -> Path:
    """Where the configuration's ledger lies."""
    return store_of(config_path) / store.FOLDER


def trusted(
    config_path: Path | None,
    files: Sequence[Path],
    *,
    keys: Sequence[str] = (),
    heads: Sequence[str] = (),
    checkpoints: Sequence[object] = (),
) -> store.Trust:
    """What the options give to check against; for the configuration's own ledger also its `site.pub`.

    Raises:
        ConfigError: an option is not what it must be.
    """
    given = [_key(text) for text in keys]
    if not given and not files:
        path = store_of(config_path) / store.PUBLIC
        given = [_read(path)] if path.is_file() else []
    notes = [note for path in checkpoints for note in _notes(Path(str(path)))]
    return store.Trust(tuple(given), tuple(_head(text) for text in heads), tuple(notes))


def verified(config_path: Path | None, files: Sequence[Path], trust: store.Trust) -> store.Report:
    """The report on the given files, or on the configuration's ledger.

    Raises:
        ConfigError: nothing is there, or it cannot be read.
    """
    paths = list(files) or [folder_of(config_path)]
    return _reading(paths[0], lambda: store.verify(paths, trust=trust))


def question(label: str | None, to: str | None, since: str | None, until: str | None) -> store.Question:
    """What `evidence` is asked.

    Raises:
        ConfigError: a time is none.
    """
    return store.Question(label, to, time_ms("--since", since), time_ms("--until", until))


def answered(
    config_path: Path | None, files: Sequence[Path], asked: store.Question, trust: store.Trust
) -> store.Answer:
    """The answer of the given files, or of the configuration's ledger.

    Raises:
        ConfigError: nothing is there, or it cannot be read.
    """
    paths = list(files) or [folder_of(config_path)]
    as_of = None
    if not files and store.Lock.is_held(store_of(config_path) / store.LOCK):
        as_of = _reading(paths[0], lambda: store.await_checkpoint(paths[0], AWAIT_S))
    return _reading(paths[0], lambda: store.answered(paths, asked, trust, as_of))


def public_key(config_path: Path | None) -> tuple[str, str]:
    """The site's public key: PEM, and as a verifier key.

    Raises:
        ConfigError: there is none yet.
    """
    path = store_of(config_path) / store.PUBLIC
    if not path.is_file():
        raise ConfigError("store.public_key", f"{path} is not there: a site makes its key at its first start")
    pem = _read(path)
    return pem.decode("ascii", "replace"), store.verifier_key(load(config_path).site, pem)


def newest(config_path: Path | None) -> store.Note:
    """The newest checkpoint.

    Raises:
        ConfigError: there is none yet, or it cannot be read.
    """
    path = folder_of(config_path) / store.CHECKPOINTS
    found = _reading(path, lambda: store.last_note(path, lambda _: True))
    if found is None:
        raise ConfigError("config.unreadable", f"{path} holds no checkpoint yet")
    return found


def proved(config_path: Path | None, what: str, copy: Path | None, keys: Sequence[str]) -> list[store.Proof]:
    """Proofs for the entry at a position, or for all of a request.

    Raises:
        ConfigError: the ledger cannot be read, or is not whole.
        NotFoundError: there is no such entry under a checkpoint.
    """
    folder = copy or folder_of(config_path)
    trust = trusted(config_path, [copy] if copy is not None else [], keys=keys)
    seq = int(what) if re.fullmatch(r"\d{1,18}", what) else -1
    needle = b'"request":' + msgspec.json.encode(what)
    found, report = _reading(
        folder, lambda: store.proofs(folder, lambda text, link: link.seq == seq or needle in text, trust)
    )
    if report.bad is not None:
        raise ConfigError("store.ledger", f"{folder} is not whole; `ecotone ledger verify` says where")
    if not found:
        message = f"no entry {what!r} in {folder} that a checkpoint covers; a running site signs within seconds"
        raise NotFoundError("request.unknown", message, status=404)
    return found


def checked(config_path: Path | None, file: Path, keys: Sequence[str]) -> list[tuple[store.Proof, str]]:
    """(proof, why it does not hold or `''`) of all proofs in a file.

    Raises:
        ConfigError: there is no key, or the file holds no proofs.
    """
    trust = trusted(config_path, [], keys=keys)
    if not trust.keys:
        raise ConfigError("config.invalid", "--key: give the site's public key; there is none in the store")
    content = sys.stdin.buffer.read(_SMALL_BYTES) if str(file) == "-" else _read(file)
    try:
        proofs = msgspec.json.decode(content, type=list[store.Proof])
    except msgspec.DecodeError as error:
        raise ConfigError("config.invalid", f"{file} holds no proofs: {error}") from error
    return [(proof, store.checked(proof, trust.keys)) for proof in proofs]


def show(report: store.Report) -> None:
    """Prints a report."""
    click.echo(entries(report))
    if report.side_files:
        click.echo(f"beside it, left by crashes: {', '.join(report.side_files)}")
    if report.bad is None:
        show_signature(report, max(0, report.last_seq + 1 - report.attested.size))
        click.echo(f"whole. Head, to be kept elsewhere: {report.head.seq}:{report.head.hash}")
        return
    bad = report.bad
    place = f"{bad.file} line {bad.line}" if bad.line else bad.file or "the ledger"
    click.echo(f"NOT WHOLE. First bad entry: {bad.seq} ({bad.why}), {place}: {bad.detail}")


def show_signature(report: store.Report, uncovered: int) -> None:
    """Prints what is signed, and what not."""
    attested, removed = report.attested, report.attested.removed
    if removed is not None:
        click.echo(
            f"removed by retention: entries 0 to {removed.first_seq - 1}, dated {instant(removed.from_ms)} to "
            f"{instant(removed.until_ms)}; the site's note of {instant(removed.at_ms)} says so"
        )
    if not attested.size:
        click.echo("signed: nothing; there is no checkpoint, so a rewritten ledger or a cut end would not show")
        return
    origin = attested.note.partition("\n")[0]
    behind = f"; {uncovered} newer ones stand in the chain only" if uncovered else ""
    if attested.unchecked:
        behind += f"; {attested.unchecked} checkpoints speak of removed entries only, and were not compared"
    if attested.is_signed:
        click.echo(
            f"signed: entries up to {attested.size - 1}, by {origin}, {attested.checkpoints} checkpoints{behind}"
        )
    else:
        click.echo(f"signatures not checked (no --key); {attested.checkpoints} checkpoints of {origin} fit{behind}")


def entries(report: store.Report) -> str:
    """How many entries of when."""
    count = "1 entry" if report.entries == 1 else f"{report.entries} entries"
    segments = "1 segment" if report.segments == 1 else f"{report.segments} segments"
    return f"{count} in {segments}: {_span(report)}"


def entries_of(folder: Path, request_id: str) -> list[store.Entry]:
    """The entries of one request; none where there is no ledger.

    Raises:
        ConfigError: it cannot be read.
    """
    return _reading(folder, lambda: store.find(folder, request_id) if folder.is_dir() else [])


def instant(at_ms: int) -> str:
    """Milliseconds since the Unix epoch as UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _span(report: store.Report) -> str:
    if not report.entries:
        return "nothing"
    return f"{instant(report.first_at_ms)} to {instant(report.last_at_ms)}"


def _head(text: str) -> store.Head:
    match = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text)
    if match is None:
        raise ConfigError("config.invalid", f"--head: {text[:80]!r} is not SEQ:HASH as `ledger verify` prints it")
    return store.Head(int(match[1]), match[2])


def _key(text: str) -> bytes:
    path = Path(text)
    return text.encode() if "+" in text and not path.is_file() else _read(path)


def _notes(path: Path) -> list[store.Note]:
    notes = store.parse_all(_read(path))
    if notes is None:
        raise ConfigError("config.invalid", f"--checkpoint: {path} holds no signed checkpoint")
    return notes


def _read(path: Path) -> bytes:
    return _reading(path, path.read_bytes)


def _reading(path: Path, read: Callable[[], Read]) -> Read:
    """What is read.

    Raises:
        ConfigError: it cannot be.
    """
    try:
        return read()
    except OSError as error:
        shown = error.filename or path
        raise ConfigError("config.unreadable", f"{shown} cannot be read: {error.strerror or error}") from error


def time_ms(option: str, text: str | None) -> int | None:
    """Milliseconds since the Unix epoch of a date, a time, or so long ago."""
    if text is None:
        return None
    ago = re.fullmatch(r"(\d{1,6})([dhm])", text)
    if ago is not None:
        return int(time.time() * 1000) - int(ago[1]) * _AGO_S[ago[2]] * 1000
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{option}: {text[:40]!r} is no time; write 2026-11-01, 2026-11-01T08:00Z, 30d, 12h or 45m"
        raise ConfigError("config.invalid", message) from None
    return int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)
