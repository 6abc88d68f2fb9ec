"""What `ecotone store` does."""

from __future__ import annotations

from pathlib import Path

import click

from ecotone import store
from ecotone.cli.output import show_json
from ecotone.cli.settings import load
from ecotone.values import ConfigError


def backed_up(config_path: Path | None, to: Path) -> store.Copied:
    """A copy of the configuration's queue."""
    return store.backup(_folder(config_path), to)


def restored(config_path: Path | None, source: Path, key_path: Path | None) -> store.Copied:
    """A copy put into the configuration's store; its key too, where the store has none."""
    folder = _folder(config_path)
    given = _read(key_path) if key_path is not None else None
    key = store.store_key(folder, given, may_make=False)
    if (folder / store.STORE_KEY).exists() and store.store_key(folder, None) != key:
        raise ConfigError("store.key", f"{folder / store.STORE_KEY}: another key; move it away if the queue's is right")
    copied = store.restore(source, folder, store.Sealer(key))
    store.keep_key(folder, key)
    return copied


def checked(config_path: Path | None, file: Path | None, key_path: Path | None) -> store.Condition:
    """What is found in the configuration's queue, or in a copy; a copy is opened only with a key that is named."""
    folder = _folder(config_path)
    if key_path is not None:
        key = store.store_key(folder, _read(key_path))
    elif file is not None:
        return store.examined(file, None)
    else:
        key = store.store_key(folder, None, may_make=False)
    return store.examined(file or folder / store.JOBS_FILE, store.Sealer(key))


def show_copied(copied: store.Copied, *, is_json: bool) -> None:
    """Prints what was copied."""
    if is_json:
        show_json(copied)
    else:
        click.echo(f"{copied.path}: {copied.jobs} jobs, {copied.size} bytes")


def show_condition(found: store.Condition, *, is_json: bool) -> None:
    """Prints what was found."""
    if is_json:
        show_json({"whole": found.is_whole, "found": found})
        return
    for fault in found.faults:
        click.echo(f"broken: {fault}")
    for kind, number in found.unreadable.items():
        if number:
            click.echo(f"unreadable: {number} {kind}")
    jobs = ", ".join(f"{number} {state}" for state, number in sorted(found.states.items())) or "no jobs"
    click.echo(f"{found.path}: {'whole' if found.is_whole else 'broken'}; version {found.version}; {jobs}")


def _folder(config_path: Path | None) -> Path:
    return Path(load(config_path).store.path).expanduser()


def _read(path: Path) -> bytes:
    """A key's file.

    Raises:
        ConfigError: `store.key`: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError("store.key", f"{path}: {error.strerror}") from error
