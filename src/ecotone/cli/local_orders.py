"""What somebody at the site orders for versions that come from a hub."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ecotone.agent import orders
from ecotone.assets import reference
from ecotone.cli.output import show_json
from ecotone.cli.settings import load
from ecotone.delivery.running import site_running
from ecotone.runtime.switching import Shelf, opened
from ecotone.values import ConfigError


def pinned(text: str, config_path: Path | None, store: str | None, *, is_json: bool) -> None:
    """Holds a version fast: the one that is named, or the one in use."""
    root, ref = _root(config_path, store), _asset(text)
    shelf = Shelf(root)
    version = ref.version or shelf.where(ref.name)[0]
    if not version or not shelf.manifest(ref.name, version):
        raise ConfigError(
            "asset.unknown", f"{text} is not on this machine: only what is here whole can be held fast. "
            "`ecotone models list` shows what is"
        )  # fmt: skip
    orders.pin(root, ref.name, version)
    _carried_out(root, ref.name, f"hub:{ref.name} is held at {version}", is_json=is_json)


def unpinned(text: str, config_path: Path | None, store: str | None, *, is_json: bool) -> None:
    """Lets the hub decide again."""
    root, ref = _root(config_path, store), _asset(text)
    was = orders.unpin(root, ref.name)
    said = f"hub:{ref.name} is as the hub wants it from now on" if was else f"hub:{ref.name} was not held"
    _carried_out(root, ref.name, said, is_json=is_json)


def rolled_back(text: str, config_path: Path | None, store: str | None, *, is_json: bool) -> None:
    """Goes back to the version that was used before."""
    root, ref = _root(config_path, store), _asset(text)
    version, _ = Shelf(root).before(ref.name)
    if ref.version or not version:
        raise ConfigError(
            "asset.unknown", f"there is no version before the one of {text} that is used: give hub:NAME, without a "
            "version, of an asset of which two came"
        )  # fmt: skip
    orders.go_back(root, ref.name)
    _carried_out(root, ref.name, f"hub:{ref.name} goes back to the version before", is_json=is_json)


def _carried_out(root: Path, name: str, said: str, *, is_json: bool) -> None:
    """By the site within seconds, or here where none runs."""
    is_running = site_running(root) != ""
    if not is_running:
        opened(root, time.time, is_start=False).obey()
    version, _ = Shelf(root).where(name)
    found: dict[str, Any] = {
        "name": name,
        "version": version,
        "pinned": orders.read(root).pinned.get(name),
        "by": "the site that runs" if is_running else "this command",
    }
    if is_json:
        show_json(found)
        return
    click.echo(f"{said}; {'the site that runs does it within seconds' if is_running else f'it is {version} now'}")


def _asset(text: str) -> reference.HubRef:
    ref, _ = reference.parse(text)
    if not isinstance(ref, reference.HubRef) or ref.file:
        raise ConfigError("asset.name", f"'{text[:200]}' is no asset of a hub: give hub:NAME[@VERSION]")
    return ref


def _root(config_path: Path | None, store: str | None) -> Path:
    return Path(load(config_path, store).store.path).expanduser().absolute()
