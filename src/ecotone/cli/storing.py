"""What `ecotone store` does."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ecotone import config, store
from ecotone.cli.output import show_json
from ecotone.cli.settings import load
from ecotone.config import secrets
from ecotone.values import ConfigError


def backed_up(config_path: Path | None, to: Path) -> store.Copied:
    """A copy of the configuration's queue."""
    return store.backup(_folder(load(config_path)), to)


def restored(config_path: Path | None, source: Path, key_path: Path | None) -> store.Copied:
    """A copy put into the configuration's store; its key too, where the store has none and none is configured."""
    tree = load(config_path)
    folder, configured = _folder(tree), configured_key(tree)
    key = store.store_key(folder, configured if key_path is None else _read(key_path), may_make=False)
    has_own = configured is not None or (folder / store.STORE_KEY).exists()
    if has_own and store.store_key(folder, configured) != key:
        where = "jobs.key" if configured is not None else folder / store.STORE_KEY
        raise ConfigError("store.key", f"{where}: another key than --key; the site could not read what is put back")
    copied = store.restore(source, folder, store.Sealer(key))
    if not has_own:
        store.keep_key(folder, key)
    return copied


def checked(config_path: Path | None, file: Path | None, key_path: Path | None) -> store.Condition:
    """What is found in the configuration's queue, or in a copy; a copy is opened only with a key that is named."""
    tree = load(config_path)
    folder = _folder(tree)
    if key_path is None and file is not None:
        return store.examined(file, None)
    given = configured_key(tree) if key_path is None else _read(key_path)
    key = store.store_key(folder, given, may_make=False)
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


def _folder(tree: config.Config) -> Path:
    return Path(tree.store.path).expanduser()


def configured_key(tree: config.Config) -> bytes | None:
    """The key that the configuration refers to, if it does."""
    if tree.jobs.key is None:
        return None
    if not secrets.is_readable(tree.jobs.key):
        # `keyring:SERVICE/NAME`, which the store looks up.
        return tree.jobs.key.encode()
    return secrets.resolve(tree.jobs.key, os.environ, _bytes, path="jobs.key").encode()


def _bytes(name: str) -> bytes:
    return Path(name).expanduser().read_bytes()


def _read(path: Path) -> bytes:
    """A key's file.

    Raises:
        ConfigError: `store.key`: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError("store.key", f"{path}: {error.strerror}") from error
