"""Reading the ledger on disk: its chain, and the entries of one request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from ecotone import store
from ecotone.cli.settings import load
from ecotone.values import ConfigError


def folder_of(config_path: Path | None) -> Path:
    """Where the configuration's ledger lies."""
    return Path(load(config_path).store.path).expanduser() / store.FOLDER


def verified(config_path: Path | None, files: Sequence[Path], heads: Sequence[str]) -> store.Report:
    """The report on the given files, or on the configuration's ledger.

    Raises:
        ConfigError: nothing is there, it cannot be read, or a head is not `SEQ:HASH`.
    """
    paths = list(files) or [folder_of(config_path)]
    known = [_head(text) for text in heads]
    try:
        return store.verify(paths, known=known)
    except OSError as error:
        shown = error.filename or paths[0]
        raise ConfigError("config.unreadable", f"{shown} cannot be read: {error.strerror or error}") from error


def show(report: store.Report) -> None:
    """Prints a report."""
    entries = "1 entry" if report.entries == 1 else f"{report.entries} entries"
    segments = "1 segment" if report.segments == 1 else f"{report.segments} segments"
    click.echo(f"{entries} in {segments}: {_span(report)}")
    if report.side_files:
        click.echo(f"beside it, left by crashes: {', '.join(report.side_files)}")
    if report.bad is None:
        click.echo(f"whole. Head, to be kept elsewhere: {report.head.seq}:{report.head.hash}")
        return
    bad = report.bad
    place = f"{bad.file} line {bad.line}" if bad.line else bad.file or "the ledger"
    click.echo(f"NOT WHOLE. First bad entry: {bad.seq} ({bad.why}), {place}: {bad.detail}")


def entries_of(folder: Path, request_id: str) -> list[store.Entry]:
    """The entries of one request; none where there is no ledger.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return store.find(folder, request_id) if folder.is_dir() else []
    except OSError as error:
        raise ConfigError("config.unreadable", f"{folder} cannot be read: {error.strerror or error}") from error


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
